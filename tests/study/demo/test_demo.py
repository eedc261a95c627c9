"""The demonstration, end to end, without a server; what it does with one is in test_server."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.pull import pull
from fhirspace.delivery.push import push
from fhirspace.errors import UsageError
from fhirspace.idkey import DEMO_KEY, PUBLIC
from fhirspace.localserver import server
from fhirspace.study.demo import run as module
from fhirspace.study.demo.run import demo
from tests.study.space_study import Space


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A server that holds what it is sent, and says so; what it gives back can be changed."""
    state = SimpleNamespace(folder=None, lose=0, versions=0, started=[])

    def fake_push(sent: Path, url: str, *, journal: Path | None = None, progress: Any = None, **more: Any) -> Any:
        state.folder = sent
        if journal:
            journal.touch()
        if progress:
            for done in (0, 5, 10, 10):
                progress(done, 10)
        return SimpleNamespace(sent=10, refused=0, rate=5.0, created=0, updated=state.versions if journal else 0)

    def fake_pull(url: str, study: str, out: Path, *, shared: bool) -> None:
        (out / "fhir").mkdir(parents=True, exist_ok=True)
        for file in (state.folder / "fhir").glob("*.ndjson"):
            lines = file.read_bytes().splitlines(keepends=True)
            (out / "fhir" / file.name).write_bytes(b"".join(lines[state.lose :]))

    def start(fhir: str, *, progress: Any) -> Any:
        progress("starting")
        state.started.append(fhir)
        return SimpleNamespace(url="http://127.0.0.1:1/fhir", port=1)

    monkeypatch.setattr(push, "push", fake_push)
    monkeypatch.setattr(pull, "pull", fake_pull)
    monkeypatch.setattr(server, "start", start)
    monkeypatch.setattr(server, "stop", lambda port: state.started.append(port))  # noqa: PLW0108 - it is called by name
    return state


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch, space: Space) -> None:
    """What is converted is copied: other tests convert the same."""

    def convert(records: Path, *, to: str, out: Path, **more: Any) -> Any:
        made = space.sdtm() if to == "sdtm" else space.fhir()
        shutil.copytree(made.out, out, dirs_exist_ok=True)
        return made

    monkeypatch.setattr(module, "convert", convert)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, converted: None) -> None:
    """Without the round trip and the checks, which another test holds."""
    proof = SimpleNamespace(legs=[], differences=0, exit_code=0, losses=[])
    monkeypatch.setattr(module, "roundtrip", lambda *args, **more: proof)
    monkeypatch.setattr(module, "validate", lambda *args, **more: iter(()))
    monkeypatch.setattr(module, "_judged", lambda steps, out: None)


@pytest.mark.slow
@pytest.mark.usefixtures("converted")
def test_the_demonstration_ends_well_with_a_table_of_figures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(folder)]) == 0
    captured = capsys.readouterr()
    assert "FAIL" not in captured.err
    assert captured.err.count("ids are made with the published demonstration key, so they are not pseudonyms") == 1
    assert captured.err.count("  ok   ") == 8
    head, _, *rows = captured.out.splitlines()
    assert head.split() == ["figure", "published", "SDTM", "FHIR"]
    assert len(rows) > 4
    for row in rows[:-1]:
        figures = re.split(r" {2,}", row[32:].strip())
        assert len(figures) == 3
        assert len(set(figures)) == 1
    assert (folder / "sdtm" / "manifest.json").is_file()
    assert json.loads((folder / "fhir" / "manifest.json").read_text("utf-8"))["id_key"] == {
        "fingerprint": DEMO_KEY.fingerprint,
        "note": PUBLIC,
    }
    # Nobody but the owner may read what it wrote.
    assert {path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")] if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_as_json_it_is_one_document_and_a_server_is_a_further_column(
    folder: Path, delivered: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(folder), "--server", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert list(found["figures"]) == ["published", "SDTM", "FHIR", "FHIR server"]
    assert all(figures == found["figures"]["published"] for figures in found["figures"].values())
    assert all(step["ok"] for step in found["steps"])
    assert delivered.started == ["R4", 1]
    assert "pushed 5 of 10" in captured.err
    assert not (folder / "fresh-journal.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "step"), [({"lose": 1}, "pulled back"), ({"versions": 2}, "pushed again")])
@pytest.mark.usefixtures("quick")
def test_what_a_server_gets_wrong_ends_with_1(
    fault: dict[str, int],
    step: str,
    tmp_path: Path,
    delivered: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    vars(delivered).update(fault)
    assert demo(tmp_path, server=True, say=lambda text: None, as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert step in [each["step"] for each in found["steps"] if not each["ok"]]


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_fault_stops_the_server_that_was_started(
    tmp_path: Path, delivered: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(push, "push", broken)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path, server=True, say=lambda text: None)
    assert delivered.started == ["R4", 1]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="FS616"):
        demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
