"""What others put where we keep locks, journals, plans and scratch files: it neither stops nor misleads us, nor is lost."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirspace import folders
from fhirspace.cli import main
from fhirspace.folders import locked, locked_folder, open_own, scratch
from fhirspace.testing import FaultyServer, serving
from tests.hostile import planted
from tests.hostile.planted import Plant, in_time, state  # noqa: F401
from tests.hostile.studies import Told, refused, told  # noqa: F401
from tests.support.resources import trial

OTHERS: list[Plant] = [
    planted.fifo,
    planted.named_socket,
    planted.endless,
    planted.link,
    planted.dangling,
    planted.loop,
    planted.folder,
]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, which everybody may write to, and a file of the user beside it."""
    (tmp_path / "precious.txt").write_text("precious\n")
    home = tmp_path / "tmp"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    return home


def _old(folder: Path) -> Path:
    """As if it had been there for an hour."""
    long_ago = time.time() - 3600
    for path in (folder / "scratch.lock", folder):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    return folder


def _left(home: Path, name: str = "fhirspace-x") -> Path:
    """What a killed run leaves."""
    (home / name).mkdir(mode=0o700)
    (home / name / "scratch.lock").touch(mode=0o600)
    (home / name / "patients.ndjson").write_text("a patient")
    return _old(home / name)


def _sweeps() -> None:
    with scratch() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_a_killed_run_left_is_removed(temporary: Path) -> None:
    _left(temporary)
    _sweeps()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("plant", [*OTHERS, planted.text])
def test_something_else_in_place_of_a_scratch_folder(plant: Plant, temporary: Path) -> None:
    plant(temporary / "fhirspace-x", temporary.parent / "precious.txt")
    before = state(temporary.parent)
    _sweeps()
    assert state(temporary.parent) == before


@pytest.mark.parametrize("plant", OTHERS)
def test_something_else_in_place_of_its_lock(plant: Plant, temporary: Path) -> None:
    folder = _left(temporary)
    (folder / "scratch.lock").unlink()
    plant(folder / "scratch.lock", temporary.parent / "precious.txt")
    if plant is not planted.endless:
        _old(folder)
    before = state(temporary.parent)
    _sweeps()
    assert state(temporary.parent) == before


def test_a_link_to_a_folder_of_the_user(temporary: Path) -> None:
    """The folder even looks like one of ours."""
    real = _left(temporary.parent, "study")
    (temporary / "fhirspace-x").symlink_to(real)
    _sweeps()
    assert (real / "patients.ndjson").is_file()


def test_a_folder_of_another_user(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _left(temporary)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        _sweeps()
        assert (folder / "patients.ndjson").is_file()
    _sweeps()
    assert not folder.exists()


def test_a_folder_that_others_may_write_to(temporary: Path) -> None:
    folder = _left(temporary)
    folder.chmod(0o777)
    _sweeps()
    assert (folder / "patients.ndjson").is_file()


def test_a_lock_of_another_user_in_a_folder_of_ours(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _left(temporary)
    monkeypatch.setattr(folders, "is_mine", lambda path: path.name != "scratch.lock")
    _sweeps()
    assert (folder / "patients.ndjson").is_file()


def test_three_thousand_folders_of_our_name(temporary: Path) -> None:
    """They cost a look each, and ours are found among them."""
    for number in range(3_000):
        (temporary / f"fhirspace-{number}").mkdir()
    left = _left(temporary)
    begin = time.monotonic()
    _sweeps()
    assert not left.exists()
    assert time.monotonic() - begin < 20
    assert len(list(temporary.iterdir())) == 3_000


# ---- locks


@pytest.mark.parametrize("plant", [each for each in OTHERS if each is not planted.folder])
def test_a_lock_is_an_ordinary_file(plant: Plant, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("precious\n")
    plant(tmp_path / "lock", tmp_path / "precious.txt")
    before = state(tmp_path)
    with pytest.raises(OSError), locked(tmp_path / "lock", wait=False):
        pytest.fail("it is locked")
    with pytest.raises(OSError):
        open_own(tmp_path / "lock", os.O_RDONLY)
    assert state(tmp_path) == before


def test_the_lock_of_a_folder_leaves_nothing_and_is_one_persons(tmp_path: Path) -> None:
    with locked_folder(tmp_path):
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(BlockingIOError), locked_folder(tmp_path):
            pytest.fail("held twice")
    with locked_folder(tmp_path):
        pass


def test_where_folders_cannot_be_locked_a_file_in_them_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = folders._take

    def take(descriptor: int, wait: bool) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(9, "Bad file descriptor")
        real(descriptor, wait)

    monkeypatch.setattr(folders, "_take", take)
    with locked_folder(tmp_path), pytest.raises(BlockingIOError), locked_folder(tmp_path):
        pytest.fail("held twice")
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {".fhirspace.lock": 0o600}


# ---- journal, audit log, dead letters, plan


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with serving(types=["Observation", "Organization", "Patient", "ResearchStudy"]) as server:
        yield server


@pytest.fixture
def pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to push, whose state is remembered in the test's folder, and a file of the user."""
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path / "state"))
    (tmp_path / "precious.txt").write_text("precious\n")
    return trial(tmp_path / "in", patients=1, each=1)


def _push(folder: Path, server: FaultyServer, *more: str) -> int:
    return main(["push", str(folder), "--server", server.url, "--id-key", "demo", *more])


@pytest.mark.parametrize("plant", OTHERS)
@pytest.mark.parametrize("name", ["journal.db", "journal.db.lock", "audit.log", "audit.log.lock"])
def test_something_else_in_place_of_the_books(
    name: str, plant: Plant, pushed: Path, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(pushed / name, pushed.parent / "precious.txt")
    assert _push(pushed, server) == 2
    assert name.removesuffix(".lock") in capsys.readouterr().err
    assert (pushed.parent / "precious.txt").read_text() == "precious\n"
    assert not (pushed.parent / "not-there").exists()


@pytest.mark.parametrize("plant", [planted.link, planted.dangling, planted.fifo, planted.loop])
def test_something_else_in_place_of_what_is_remembered(plant: Plant, pushed: Path, server: FaultyServer) -> None:
    (pushed.parent / "state").mkdir()
    plant(pushed.parent / "state" / "journals.txt", pushed.parent / "precious.txt")
    assert _push(pushed, server) == 2
    assert (pushed.parent / "precious.txt").read_text() == "precious\n"
    assert not (pushed.parent / "not-there").exists()


@pytest.mark.parametrize("command", ["push", "retry"])
def test_dead_letters_behind_a_link(
    command: str, pushed: Path, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (pushed.parent / "elsewhere").mkdir()
    (pushed.parent / "elsewhere" / "r.ndjson").write_text('{"resourceType":"Patient","id":"secret"}\n')
    (pushed / "dead").symlink_to(pushed.parent / "elsewhere")
    assert main([command, str(pushed), "--server", server.url, "--id-key", "demo"]) == 2
    assert "FS152" in capsys.readouterr().err
    assert "Patient/secret" not in server.store
    assert [path.name for path in (pushed.parent / "elsewhere").iterdir()] == ["r.ndjson"]


@pytest.mark.parametrize("plant", [planted.link, planted.endless, planted.fifo])
def test_a_dead_letter_that_is_none(plant: Plant, pushed: Path, server: FaultyServer) -> None:
    (pushed / "dead").mkdir()
    plant(pushed / "dead" / "r.ndjson", pushed.parent / "precious.txt")
    assert main(["retry", str(pushed), "--server", server.url, "--id-key", "demo"]) == 2
    assert (pushed.parent / "precious.txt").read_text() == "precious\n"


def _notes(path: Path) -> Path:
    path.write_text("notes\n")
    return path


def _sqlite(path: Path) -> Path:
    import sqlite3

    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE poems (text TEXT)")
    base.close()
    return path


FOREIGN: list[Callable[[Path], Path]] = [_notes, _sqlite]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_plan_does_not_replace_a_file_of_the_user(
    foreign: Callable[[Path], Path], pushed: Path, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign(pushed.parent / "mine")
    content = path.read_bytes()
    assert main(["plan", str(pushed), "--server", server.url, "--id-key", "demo", "--out", str(path)]) == 2
    assert "FS537" in capsys.readouterr().err
    assert path.read_bytes() == content


@pytest.mark.parametrize("plant", OTHERS)
def test_a_plan_does_not_go_where_something_else_is(plant: Plant, pushed: Path, server: FaultyServer) -> None:
    plant(pushed / "plan.db", pushed.parent / "precious.txt")
    before = state(pushed)
    assert main(["plan", str(pushed), "--server", server.url, "--id-key", "demo"]) == 2
    assert state(pushed) == before
    assert not (pushed.parent / "not-there").exists()


def test_a_plan_that_fails_leaves_the_earlier_one(pushed: Path, server: FaultyServer) -> None:
    command = ["plan", str(pushed), "--server", server.url, "--id-key", "demo"]
    assert main(command) in (0, 1)
    before = (pushed / "plan.db").read_bytes()
    (pushed / "fhir").rename(pushed / "gone")
    assert main(command) == 2
    assert (pushed / "plan.db").read_bytes() == before


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_journal_is_not_made_in_a_file_of_the_user(
    foreign: Callable[[Path], Path], pushed: Path, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign(pushed.parent / "mine")
    (pushed.parent / "mine.lock").write_text("a lock of a package manager\n")
    content = path.read_bytes()
    assert _push(pushed, server, "--journal", str(path)) == 2
    assert "FS525" in capsys.readouterr().err
    assert path.read_bytes() == content
    assert (pushed.parent / "mine.lock").read_text() == "a lock of a package manager\n"


# ---- an export under way


@pytest.mark.parametrize("plant", [planted.link, planted.dangling, planted.text, planted.fifo, planted.loop])
def test_something_else_in_place_of_an_export(plant: Plant, tmp_path: Path, told: Told, server: FaultyServer) -> None:  # noqa: F811
    (tmp_path / "precious.txt").write_text("precious\n")
    out = tmp_path / "out"
    out.mkdir()
    plant(out / ".bulk-export", tmp_path / "precious.txt")
    before = state(tmp_path)
    refused(told, "FS144", "pull", "--server", server.url, "--study", "S", "--out", out, "--bulk")
    assert state(tmp_path) == before


def test_files_of_the_user_beside_those_of_an_export_stay(tmp_path: Path) -> None:
    from fhirspace.delivery.bulk.manifest import Desk, State

    desk = Desk(tmp_path)
    desk.save(State("r", "s"))
    desk.path(0).write_text("a patient")
    (desk.folder / "mine.txt").write_text("mine")
    desk.clear()
    assert [path.name for path in desk.folder.iterdir()] == ["mine.txt"]
    shutil.rmtree(desk.folder)
