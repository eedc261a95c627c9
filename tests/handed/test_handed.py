"""The cases that the project was handed: each gives the right result that the README of its folder says.

They are not in the repository: ``../shared/cases/NAME/README.md`` belongs to ``NAME.toml`` here, which has a ``[[case]]``
for each line of the README and each input of it. Beside what `tests.support.cases` describes, a case has

- ``name``, and ``inputs``: files and folders beside the README, copied into the working directory before the first run;
- ``right``: the README's words for the right result. They must be in the README: another README asks for another look;
- ``why``: if ours differs, or is one of several that the README allows, the reason. ``pytest -rP`` prints it;
- ``server``: a server of `fhirspace.testing` with these settings; ``holds`` are resources that are there, ``poison`` is a
  type at which it fails, ``proxy`` is a script between it and the commands. It is ``{url}`` in commands; after each, its
  resources are in ``stored/TYPE.ndjson``;
- ``real``: the case is run with a real server, too;
- ``slow``: the case takes more than 0.35 s of CPU.

Beside those of fhirspace there are the commands ``copy FROM TO``, ``append FROM TO``, ``scaffold CSV YAML`` (what
``mapping new CSV`` prints is the file), ``python SCRIPT``, and ``below MB COMMAND...``: in at most so much memory.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from fhirspace.cli import main
from fhirspace.testing import FaultyServer, serving
from tests.hostile.measured import measured
from tests.support.cases import run_case, write_files

HERE = Path(__file__).parent
HANDED = Path(__file__).parents[3] / "shared" / "cases"
SECTIONS = {path.stem: tomllib.loads(path.read_text("utf-8"))["case"] for path in sorted(HERE.glob("*.toml"))}
CASES = {f"{section}/{case['name']}": case for section, cases in SECTIONS.items() for case in cases}
KEYS = {"name", "inputs", "right", "why", "server", "real", "slow", "files", "run"}
ELSEWHERE = "foreign"
"""The folder whose case is tested in tests/views."""

pytestmark = pytest.mark.skipif(not HANDED.is_dir(), reason="the handed cases are not beside the repository")


def test_each_handed_file_is_an_input_of_a_case() -> None:
    named = {
        HANDED / section / path for section, cases in SECTIONS.items() for case in cases for path in case["inputs"]
    }
    handed = [path for path in HANDED.glob("*/**/*") if path.is_file() and path.name != "README.md"]
    missing = [path.relative_to(HANDED).as_posix() for path in handed if not named & {path, *path.parents}]
    assert [path for path in missing if not path.startswith(f"{ELSEWHERE}/")] == []


def test_names_of_cases_are_unique() -> None:
    assert len(CASES) == sum(map(len, SECTIONS.values())) > 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if "slow" in case else []) for name, case in CASES.items()]
)
def test_handed_case(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _prepare(name)
    with _server(CASES[name]) as (url, server):
        _run(name, capsys, url, lambda: _store(server.store.values() if server else ()))


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.get("real")])
def test_handed_case_with_a_real_server(
    name: str,
    hapi: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    _prepare(name)
    upstream, settings = hapi("R4"), CASES[name]["server"]
    time.sleep(1)  # The servers' clock, in `Date`, has whole seconds; what others wrote is to be before them.
    since = parsedate_to_datetime(requests.get(f"{upstream}/metadata", timeout=60).headers["Date"]).isoformat()
    for key in settings.get("holds", []):
        headers = {"Content-Type": "application/fhir+json"}
        assert requests.put(f"{upstream}/{key}", _held(key), headers=headers, timeout=60).ok
    with _behind(settings.get("proxy"), upstream) as url:
        _run(name, capsys, url, lambda: _store(_written(upstream, CASES[name], since)))


def _prepare(name: str) -> None:
    """Copy the inputs of a case into the working directory, if the README still says what the case is right by."""
    case, section = CASES[name], HANDED / name.partition("/")[0]
    assert set(case) <= KEYS and case["right"] in (section / "README.md").read_text("utf-8")
    for path in case["inputs"]:
        _copy(section / path, Path(path))
    write_files(case, Path())


def _run(name: str, capsys: pytest.CaptureFixture[str], url: str, after: Callable[[], object]) -> None:
    """Run the commands of a case, with a server at `url`."""
    case = CASES[name]
    run_case(
        case,
        lambda: "".join(capsys.readouterr()),
        lambda words: _execute([word.replace("{url}", url) for word in words]),
        after,
    )
    print(f"{name}: {case['right']}", case.get("why", ""), sep="\n")


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder; what it may be done with is not copied."""
    for path in source.rglob("*") if source.is_dir() else [source]:
        if path.is_file():
            copied = target / path.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)


@contextmanager
def _server(case: dict[str, Any]) -> Iterator[tuple[str, FaultyServer | None]]:
    """The address for a case's commands and the server, if it has one."""
    settings = dict(case.get("server", {}))
    holds, proxy, poison = settings.pop("holds", []), settings.pop("proxy", None), settings.pop("poison", None)
    if "server" not in case:
        yield "", None
        return
    with serving(**settings, poison=lambda resource: resource["resourceType"] == poison) as server:
        for key in holds:
            server.store[key] = _held(key)
        with _behind(proxy, server.url) as url:
            yield url, server


def _held(key: str) -> bytes:
    kind, _, identity = key.partition("/")
    return json.dumps({"resourceType": kind, "id": identity}).encode()


@contextmanager
def _behind(proxy: str | None, url: str) -> Iterator[str]:
    """The address of a server behind a handed proxy: ``PROXY PORT htmlpost UPSTREAM``."""
    if proxy is None:
        yield url
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = subprocess.Popen([sys.executable, proxy, str(port), "htmlpost", url.removesuffix("/fhir")])
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}/fhir"
    finally:
        started.kill()
        started.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise TimeoutError("the proxy does not answer")


def _store(resources: Iterable[bytes]) -> None:
    """What a server has now, as files."""
    shutil.rmtree("stored", ignore_errors=True)
    for resource in sorted(map(json.loads, resources), key=lambda resource: str(resource["id"])):
        path = Path("stored", f"{resource['resourceType']}.ndjson")
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(resource) + "\n")


def _written(url: str, case: dict[str, Any], since: str) -> list[bytes]:
    """The resources that a real server was given since then, of the types that the case looks at."""
    looked_at = {path for run in case["run"] for path in [*run.get("absent", []), *run.get("resources", {})]}
    found = []
    for kind in sorted(Path(path).stem for path in looked_at):
        query = {"_lastUpdated": f"ge{since}", "_count": "100"}
        answer = requests.get(f"{url}/{kind}", query, headers={"Cache-Control": "no-cache"}, timeout=60)
        found += [json.dumps(entry["resource"]).encode() for entry in answer.json().get("entry", [])]
    return found


def _execute(words: list[str]) -> int:
    match words:
        case ["scaffold", source, target]:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            with Path(target).open("w", encoding="utf-8") as stream, redirect_stdout(stream):
                return main(["mapping", "new", source])
        case ["copy", source, target]:
            _copy(Path(source), Path(target))
            return 0
        case ["append", source, target]:
            Path(target).write_bytes(Path(target).read_bytes() + Path(source).read_bytes())
            return 0
        case ["python", *script]:
            command = [sys.executable, str(HERE / "script.py"), *script]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            print(ended.stdout, ended.stderr)
            return ended.returncode
        case ["below", most, *command]:
            run = measured(*command)
            print(run.said, run.printed)
            assert run.peak < int(most), run.said
            return run.code
    return main(words)
