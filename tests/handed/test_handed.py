"""The cases that the project was handed: each gives the right result that the README of its folder says.

They are not in the repository: ``../shared/cases/NAME/README.md`` belongs to ``NAME.toml`` here, which has a ``[[case]]``
for each line of the README and each input of it. Beside what `tests.support.cases` describes, a case has

- ``name``, and ``inputs``: files and folders beside the README, copied into the working directory before the first run;
- ``right``: the README's words for the right result. They must be in the README: another README asks for another look;
- ``why``: if ours differs, or is one of several that the README allows, the reason. ``pytest -rP`` prints it;
- ``[case.server]``: a server of `fhirspace.testing` with these settings, and ``holds``, resources that are there. It is
  ``{url}`` in commands; after each, its resources are in ``stored/TYPE.ndjson``;
- ``slow``: the case takes more than 0.35 s of CPU.

Beside those of fhirspace there are the commands ``append FROM TO``, ``scaffold CSV YAML`` (what ``mapping new CSV``
prints is the file) and ``python SCRIPT``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.testing import FaultyServer, serving
from tests.support.cases import run_case, write_files

HERE = Path(__file__).parent
HANDED = Path(__file__).parents[3] / "shared" / "cases"
SECTIONS = {path.stem: tomllib.loads(path.read_text("utf-8"))["case"] for path in sorted(HERE.glob("*.toml"))}
CASES = {f"{section}/{case['name']}": case for section, cases in SECTIONS.items() for case in cases}
KEYS = {"name", "inputs", "right", "why", "server", "slow", "files", "run"}
ELSEWHERE = "foreign"
"""The folder whose case is tested in tests/views."""

pytestmark = pytest.mark.skipif(not HANDED.is_dir(), reason="the handed cases are not beside the repository")


def test_each_handed_file_is_an_input_of_a_case() -> None:
    named = {
        HANDED / section / path for section, cases in SECTIONS.items() for case in cases for path in case["inputs"]
    }
    handed = [path for path in HANDED.glob("*/**/*") if path.is_file() and path.name != "README.md"]
    missing = [path.relative_to(HANDED).as_posix() for path in handed if not named & {path, *path.parents}]
    assert [path for path in missing if path.partition("/")[0] in SECTIONS] == []


def test_names_of_cases_are_unique() -> None:
    assert len(CASES) == sum(map(len, SECTIONS.values())) > 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if "slow" in case else []) for name, case in CASES.items()]
)
def test_handed_case(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case, section = CASES[name], HANDED / name.partition("/")[0]
    assert set(case) <= KEYS and case["right"] in (section / "README.md").read_text("utf-8")
    for path in case["inputs"]:
        _copy(section / path, tmp_path / path)
    write_files(case, tmp_path)
    monkeypatch.chdir(tmp_path)
    with _server(case) as server:
        url = server.url if server else ""
        run_case(
            case,
            lambda: "".join(capsys.readouterr()),
            lambda words: _execute([word.replace("{url}", url) for word in words]),
            lambda: _store(server),
        )
    print(f"{name}: {case['right']}", case.get("why", ""), sep="\n")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


@contextmanager
def _server(case: dict[str, Any]) -> Iterator[FaultyServer | None]:
    settings = dict(case.get("server", {}))
    holds = settings.pop("holds", [])
    if "server" not in case:
        yield None
        return
    with serving(**settings) as server:
        for key in holds:
            kind, _, identity = key.partition("/")
            server.store[key] = json.dumps({"resourceType": kind, "id": identity}).encode()
        yield server


def _store(server: FaultyServer | None) -> None:
    """What the server has now, as files."""
    shutil.rmtree("stored", ignore_errors=True)
    for key, body in sorted(server.store.items()) if server else ():
        path = Path("stored", f"{key.partition('/')[0]}.ndjson")
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(json.loads(body)) + "\n")


def _execute(words: list[str]) -> int:
    match words:
        case ["scaffold", source, target]:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            with Path(target).open("w", encoding="utf-8") as stream, redirect_stdout(stream):
                return main(["mapping", "new", source])
        case ["append", source, target]:
            Path(target).write_bytes(Path(target).read_bytes() + Path(source).read_bytes())
            return 0
        case ["python", *script]:
            command = [sys.executable, str(HERE / "script.py"), *script]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            print(ended.stdout, ended.stderr)
            return ended.returncode
    return main(words)
