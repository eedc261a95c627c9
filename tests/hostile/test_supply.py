"""Programs and code that are not ours: planted in the cache folder, or hidden in names that become code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.errors import UsageError
from fhirspace.folders import cache_folder
from fhirspace.localserver import jars, server
from fhirspace.localserver.digests import note

Attack = Callable[[Path, Path], object]
"""What is done to the folder, and a free path outside of it."""

COMPILER = """#!/bin/sh
while [ $# -gt 0 ]; do
  if [ "$1" = -d ]; then echo ours > "$2/Server.class"; fi
  shift
done
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and a compiler that makes one class."""
    monkeypatch.setenv("FHIRSPACE_CACHE", str(tmp_path / "cache"))
    java = tmp_path / "java"
    java.write_text(COMPILER)
    java.chmod(0o700)
    monkeypatch.setattr(jars, "java", lambda: java)
    return cache_folder()


@pytest.fixture
def classes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    monkeypatch.setattr(jars, "fetch", lambda *_: [Path("ecj.jar")])
    return lambda: jars.compiled([Path("a.jar")], "lock")


def _elsewhere(done: Path, out: Path) -> None:
    """The folder is a link to a copy that somebody else can change."""
    shutil.copytree(done, out)
    shutil.rmtree(done)
    done.symlink_to(out)


def _linked(done: Path, out: Path) -> None:
    shutil.copy(done / "Server.class", out)
    (done / "Server.class").unlink()
    (done / "Server.class").symlink_to(out)


def _forged(done: Path, out: Path, mode: int = 0o644) -> None:
    """The class and its note are changed together, by somebody who cannot make a file of this user's alone."""
    (done / "Server.class").write_text("evil")
    note(done, done.with_suffix(".json"))
    done.with_suffix(".json").chmod(mode)


def _forged_link(done: Path, out: Path) -> None:
    (done / "Server.class").write_text("evil")
    note(done, out)
    done.with_suffix(".json").unlink()
    done.with_suffix(".json").symlink_to(out)


def _put(name: str, text: str = "evil") -> Attack:
    def put(done: Path, _: Path) -> None:
        (done / name).parent.mkdir(parents=True, exist_ok=True)
        (done / name).write_text(text)

    return put


def _noted(text: str) -> Attack:
    return lambda done, _: [_put("Server.class")(done, _), done.with_suffix(".json").write_text(text)]


PLANTED: dict[str, Attack] = {
    "class changed": _put("Server.class"),
    "class added": _put("Server$1.class"),
    "service added": _put("META-INF/services/java.sql.Driver"),
    "package added": _put("org/hl7/fhir/r5/packages/hl7.fhir.r5.core-5.0.0.tgz"),
    "class removed": lambda done, _: (done / "Server.class").unlink(),
    "class is a link": _linked,
    "folder is a link": _elsewhere,
    "folder in it is a link": lambda done, out: (out.mkdir(), (done / "org").symlink_to(out)),
    "pipe": lambda done, _: os.mkfifo(done / "Other.class"),
    "a file in the folder's place": lambda done, _: (shutil.rmtree(done), done.write_text("evil")),
    "note removed": lambda done, _: done.with_suffix(".json").unlink(),
    "note forged, group may write": lambda done, out: _forged(done, out, 0o660),
    "note forged, others may read": _forged,
    "note is a link": _forged_link,
    "note of nothing": _noted("null"),
    "note of a list": _noted("[]"),
    "note torn": _noted('{"Server.class": "'),
    "note of deep lists": _noted("[" * 100_000),
    "note of bytes": lambda done, _: done.with_suffix(".json").write_bytes(b"\xff\xfe\x00"),
}


def _content(folder: Path) -> dict[Path, bytes | None]:
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("attack", PLANTED)
def test_what_was_planted_among_the_compiled_classes_is_made_again(
    attack: str, classes: Callable[[], Path], tmp_path: Path
) -> None:
    done = classes()
    clean = _content(done)
    PLANTED[attack](done, tmp_path / "elsewhere")
    again = classes()
    assert not again.is_symlink()
    assert _content(again) == clean
    assert (again / "Server.class").read_text() == "ours\n"


def test_classes_that_nobody_changed_are_not_compiled_again(classes: Callable[[], Path]) -> None:
    done = classes()
    before = (done / "Server.class").stat().st_mtime_ns
    assert classes() == done
    assert (done / "Server.class").stat().st_mtime_ns == before
    assert done.with_suffix(".json").stat().st_mode & 0o777 == 0o600
    assert (done.stat().st_mode | done.parent.stat().st_mode) & 0o077 == 0


def _opened(name: str, mode: int) -> Attack:
    def open_(cache: Path, _: Path) -> None:
        (cache / name).mkdir(exist_ok=True)
        (cache / name).chmod(mode)

    return open_


SHARED: dict[str, Attack] = {
    "everybody writes": _opened("", 0o777),
    "everybody writes, sticky": _opened("", 0o1777),
    "the group writes": _opened("", 0o770),
    "everybody writes jars": _opened("jars", 0o707),
    "the group writes classes": _opened("classes", 0o770),
    "the group writes notes of servers": _opened("servers", 0o775),
    "classes are elsewhere": lambda cache, out: (out.mkdir(), (cache / "classes").symlink_to(out)),
    "jars are elsewhere": lambda cache, out: (out.mkdir(), (cache / "jars").symlink_to(out)),
}


@pytest.mark.parametrize("attack", SHARED)
def test_a_cache_folder_that_others_write_into_is_refused(
    attack: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jars, "fetch", lambda *_: [jars.private_cache("jars") / "a.jar"])
    monkeypatch.setattr(server, "_spawn", lambda *_: pytest.fail("a program of that folder was run"))
    SHARED[attack](cache, tmp_path / "elsewhere")
    assert main(["server", "start"]) == 2
    assert "FS508" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no owners of files")
@pytest.mark.parametrize("command", ["start", "status", "stop"])
def test_a_cache_folder_of_another_user_is_refused(
    command: str, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert main(["server", command]) == 2
    assert "another user owns it" in capsys.readouterr().err


NOTES = {
    "no JSON": b"torn",
    "not UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "all processes": json.dumps({"url": "u", "pid": -1, "port": 1, "fhir": "R4", "folder": "/x"}).encode(),
    "a path as process": json.dumps({"url": "u", "pid": "self", "port": 1, "fhir": "R4", "folder": ""}).encode(),
    "a huge process": json.dumps({"url": "u", "pid": 2**62, "port": 1, "fhir": "R4", "folder": ""}).encode(),
    "a port of text": json.dumps({"url": "u", "pid": os.getpid(), "port": "x", "fhir": "R4", "folder": "/"}).encode(),
    "a folder of numbers": json.dumps({"url": "u", "pid": os.getpid(), "port": 1, "fhir": "R4", "folder": 1}).encode(),
    "this process": json.dumps({"url": "u", "pid": os.getpid(), "port": 1, "fhir": "R4", "folder": "/x"}).encode(),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("attack", NOTES)
def test_a_planted_note_ends_no_process(attack: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process was ended"))
    folder = jars.private_cache("servers")
    (folder / "1.json").write_bytes(NOTES[attack])
    assert main(["server", "stop"]) == 0
    assert not (folder / "1.json").exists()


def test_a_pipe_among_the_jars_hangs_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (jar,) = jars.read_lock("org.example:thing:1.0 00 5")
    path = jars.private_cache("jars") / jar.path
    path.parent.mkdir(parents=True)
    os.mkfifo(path)

    class Nothing:
        def __getattr__(self, name: str) -> Callable[..., object]:
            return self._failed if name == "resolve" else lambda *_, **__: self

        def _failed(self) -> object:
            raise OSError

    monkeypatch.setattr("jgo.maven.MavenContext", lambda **_: Nothing())
    with pytest.raises(Exception, match="FS502"):
        jars.fetch([jar])
    assert not path.exists()


def test_the_cache_folder_may_be_given_by_a_link(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(cache)
    monkeypatch.setenv("FHIRSPACE_CACHE", str(tmp_path / "link"))
    assert jars.private_cache("jars") == cache / "jars"
    cache.chmod(0o777)
    with pytest.raises(UsageError, match="FS508"):
        jars.private_cache("jars")
