"""Who may read what is written: its owner, and nobody else, whatever the umask, unless the folder is said to be shared."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from fhirspace.cli import main
from fhirspace.delivery.bulk.download import fetch
from fhirspace.delivery.bulk.manifest import Desk, State
from fhirspace.errors import ServerError
from fhirspace.fhirserver.http.client import Client, Response
from fhirspace.study.demo.run import sample
from fhirspace.tables.outputs import OutputFolder
from fhirspace.testing import serving
from tests import small_study
from tests.hostile.planted import modes
from tests.support.resources import trial

PRIVATE = {("d", 0o700), ("-", 0o600)}
BAD = small_study.AE.replace("Rash", "\x07")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path / "state"))
    small_study.write(tmp_path / "in", AE=BAD)
    return tmp_path


def _sdtm(home: Path, *more: str) -> Path:
    command = ["convert", str(home / "in"), "--to", "fhir", "--id-key", "demo", "--out", str(home / "fhir")]
    assert main(command) == 3
    command = ["convert", str(home / "fhir"), "--to", "sdtm", "--format", "xpt", "parquet", "csv"]
    assert main([*command, "--out", str(home / "out"), *more]) == 0
    return home / "out"


def _fhir(home: Path, *more: str) -> Path:
    command = ["convert", str(home / "in"), "--to", "fhir", "--id-key", "demo", "--out", str(home / "out")]
    assert main([*command, *more]) == 3
    assert (home / "out" / "quarantine").is_dir()
    return home / "out"


def _zipped(home: Path, *more: str) -> Path:
    command = ["convert", str(home / "in"), "--to", "fhir", "--gzip", "--id-key", "demo", "--out", str(home / "out")]
    assert main([*command, *more]) == 3
    return home / "out"


def _unread(home: Path, *more: str) -> Path:
    (home / "fhir").mkdir()
    line = '{"resourceType":"Patient","id":"a","photo":[{"title":"x"}]}\n'
    (home / "fhir" / "Patient.ndjson").write_text(line + '{"resourceType":"Basic","id":"b","code":{"text":"x"}}\n')
    command = ["convert", str(home / "fhir"), "--to", "sdtm", "--out", str(home / "out")]
    main([*command, *more])
    assert (home / "out" / "unread").is_dir()
    return home / "out"


def _pull(home: Path, *more: str) -> Path:
    with serving() as server:
        trial(home / "sent", patients=2, each=2)
        assert main(["push", str(home / "sent"), "--server", server.url, "--id-key", "demo"]) == 0
        command = ["pull", "--server", server.url, "--study", "TRIAL01", "--out", str(home / "out")]
        assert main([*command, *more]) == 0
    return home / "out"


def _records(home: Path, *more: str) -> Path:
    forms = [str(sample() / "records" / f"{name}.csv") for name in ("demographics", "adverse_events")]
    assert main(["convert", *forms, "--to", "fhir", "--id-key", "demo", "--out", str(home / "fhir")]) in (0, 1)
    command = ["convert", str(home / "fhir"), "--to", "records", "--source", "space", "--out", str(home / "out")]
    assert main([*command, *more]) in (0, 1)
    return home / "out"


RUNS: list[Callable[..., Path]] = [_fhir, _zipped, _sdtm, _unread, _pull]


@pytest.mark.parametrize("run", [*RUNS, _records])
def test_what_is_written_is_its_owners_alone(run: Callable[..., Path], home: Path) -> None:
    with umask(0o000):
        out = run(home)
    assert modes(out) <= PRIVATE
    assert len(list(out.rglob("*"))) > 3


@pytest.mark.parametrize("run", RUNS)
def test_a_shared_folder_obeys_the_umask_but_for_what_is_as_it_came(run: Callable[..., Path], home: Path) -> None:
    with umask(0o027):
        out = run(home, "--shared")
    apart = {path for name in ("quarantine", "unread") if (out / name).is_dir() for path in modes(out / name)}
    assert apart <= PRIVATE
    others = {
        (stat.filemode(path.stat().st_mode)[0], stat.S_IMODE(path.stat().st_mode))
        for path in [out, *out.rglob("*")]
        if not {"quarantine", "unread"} & {*path.relative_to(out).parts}
    }
    assert others == {("d", 0o750), ("-", 0o640)}


def test_a_round_trip_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
    assert main(["roundtrip", str(home / "in")]) == 3
    assert list((home / "tmp").iterdir()) == []


def test_a_folder_of_the_user_keeps_its_mode(home: Path) -> None:
    for name in ("out", "out/fhir", "out/quarantine"):
        (home / name).mkdir(mode=0o755)
        (home / name).chmod(0o2755)
    out = _fhir(home)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (out, out / "fhir", out / "quarantine")} == {0o2755}
    assert {mode for kind, mode in modes(out) if kind == "-"} == {0o600}


def test_nothing_is_open_while_a_run_is_at_work(tmp_path: Path) -> None:
    """Files that wait, half of one among them, even in a shared folder: what a killed run leaves."""
    with (
        umask(0o000),
        OutputFolder(tmp_path / "out", shared=True) as folder,
        folder.open("fhir/Patient.ndjson") as stream,
        folder.grow("fhir/Group.ndjson") as grown,
    ):
        stream.write(b"a patient")
        stream.flush()
        grown.write(b"a group")
        waiting = tmp_path / "out" / ".fhirspace-staging"
        assert stat.S_IMODE(waiting.stat().st_mode) == 0o700
        assert (waiting / "fhir" / "Patient.ndjson").stat().st_size == 9
    with umask(0o000), OutputFolder(tmp_path / "private") as folder, folder.stage("sdtm/ae.csv") as path:
        path.write_text("a patient")
        assert modes(tmp_path / "private" / ".fhirspace-staging") <= {("d", 0o700), ("-", 0o666)}
    assert modes(tmp_path / "private") <= PRIVATE


def test_what_an_export_under_way_leaves(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with umask(0o000):
        desk.save(State("r", "s"))
        answers = iter([Response(206, {"content-range": "bytes 0-1/9"}, b"{}"), Response(500, {}, b"")])
        client = Client(
            "http://127.0.0.1:9/fhir", SimpleNamespace(send=lambda *_: next(answers)), sleep=lambda _: None, attempts=1
        )
        with pytest.raises(ServerError):
            fetch(client, "http://127.0.0.1:9/file", desk.path(0), piece=2)
    assert sorted(path.name for path in desk.folder.iterdir()) == ["000000.ndjson.part", "state.json"]
    assert modes(desk.folder) == PRIVATE


def test_the_books_of_a_delivery(home: Path) -> None:
    """Journal, log, locks, plan, dead letters, and what is remembered of them."""
    folder = trial(home / "sent", patients=2, each=2)
    with umask(0o000), serving() as server:
        server.refuse = lambda body: body["resourceType"] == "Observation"
        there = ["--server", server.url, "--id-key", "demo"]
        assert main(["plan", str(folder), *there]) == 0
        assert main(["push", str(folder), *there]) == 3
    books = [path for path in folder.rglob("*") if path.parent.name != "fhir" and path.name != "fhir"]
    names = {path.name for path in books}
    assert names >= {"journal.db", "journal.db.lock", "audit.log", "audit.log.lock", "plan.db", "dead"}
    assert {(stat.filemode(path.stat().st_mode)[0], stat.S_IMODE(path.stat().st_mode)) for path in books} == PRIVATE
    assert modes(home / "state") == PRIVATE
