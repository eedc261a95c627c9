"""The audit log: every change shows, no kill breaks it, and anybody can check it with a few lines of his own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st

from fhirspace import cli
from fhirspace.delivery.audit.log import Audit, Head, Log, anchor, log_of, records, verify
from fhirspace.delivery.journal import Journal
from fhirspace.delivery.runs import runs
from fhirspace.errors import UsageError

SERVER, RUN = "https://fhir.example.org/fhir", "20250101T000000Z-ab12"
CANARY = "Patient/MRN-4711"


def written(path: Path, lines: int = 5) -> Head:
    """A log of so many lines."""
    with Log(path, SERVER, RUN) as log:
        log.append("run started", counts={"resources": 300})
        for number in range(lines - 2):
            log.append("bundle answered", counts={"created": 100}, keys=[CANARY, f"Patient/p-{number}"])
        return log.append("run finished", counts={"created": 300, "refused": 0})


def code(found: Audit) -> tuple[str, int | None]:
    return (found.problem.code, found.problem.place.row) if found.problem else ("", None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


# -- what a log is


def test_a_log_is_whole_and_goes_on_over_runs(path: Path) -> None:
    first = written(path)
    assert verify(path, first) == Audit(first, anchored=True)
    second = written(path)
    assert second.sequence == 10
    assert verify(path, second).whole
    assert verify(path, first).whole, "an older head is still in it"
    assert [record.sequence for record in records(path)] == list(range(1, 11))


def test_a_log_is_for_its_owner_only_and_names_no_resource(path: Path) -> None:
    written(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert CANARY not in path.read_text()
    told = next(record for record in records(path) if record.event == "bundle answered")
    assert told.keys == hashlib.sha256(f"{CANARY}\nPatient/p-0\n".encode()).hexdigest()


def test_anybody_can_check_it_with_any_json_library(path: Path) -> None:
    head = written(path)
    previous = "0" * 64
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        fields = json.loads(line)
        told = fields.pop("hash")
        plain = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert (fields["sequence"], fields["previous"]) == (number, previous)
        assert told == hashlib.sha256(plain.encode()).hexdigest()
        previous = told
    assert previous == head.hash


def test_a_line_is_on_the_disk_when_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = os.fsync, list[int]()

    def fsync(file: int) -> None:
        real(file)
        seen.append(os.fstat(file).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    with Log(path, SERVER, RUN) as log:
        for _ in range(2):
            log.append("token renewed")
            assert seen[-1] == path.stat().st_size


def test_threads_take_turns(path: Path) -> None:
    with Log(path, SERVER, RUN) as log, ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(lambda _: log.append("token renewed"), range(40)))
        assert log.head == max(heads)
    assert verify(path, max(heads)).whole
    assert len({head.hash for head in heads}) == 40


def test_two_at_once_exclude_each_other(path: Path) -> None:
    with Log(path, SERVER, RUN) as log:
        script = (
            f"from fhirspace.delivery.audit.log import Log; Log(__import__('pathlib').Path({str(path)!r}), 's', 'r')"
        )
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "FS570" in other.stderr
        log.append("run started")
    with Log(path, SERVER, RUN) as log:
        assert log.head.sequence == 1


# -- what shows


@pytest.mark.slow
@settings(max_examples=400)
@given(data=st.data(), piece=st.binary(max_size=6))
def test_every_edit_shows(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, piece: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "edited" / "audit.log"
    original, head = whole_log(path.parent)
    begin = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(begin, len(original)) | st.integers(begin, min(begin + 3, len(original))))
    edited = original[:begin] + piece + original[end:]
    assume(edited != original)
    path.write_bytes(edited)
    assert not verify(path, head).whole


_made: dict[Path, tuple[bytes, Head]] = {}


def whole_log(folder: Path) -> tuple[bytes, Head]:
    """A log with a line that was closed off in it, made once."""
    if folder not in _made:
        folder.mkdir()
        path = folder / "made.log"
        written(path)
        with path.open("ab") as file:
            file.write(b'{"counts":{"cre')
        head = written(path)
        _made[folder] = path.read_bytes(), head
    return _made[folder]


Lines = list[bytes]
EDITS: dict[str, tuple[Callable[[Lines], Lines], str, int]] = {
    "changed": (lambda at: [*at[:2], at[2].replace(b":100", b":101"), *at[3:]], "FS571", 3),
    "spaced": (lambda at: [*at[:2], at[2].replace(b'","', b'", "', 1), *at[3:]], "FS571", 3),
    "deleted": (lambda at: at[:2] + at[3:], "FS572", 3),
    "first deleted": (lambda at: at[1:], "FS572", 1),
    "doubled": (lambda at: [*at[:3], *at[2:]], "FS572", 4),
    "put in": (lambda at: [*at[:2], b"{}\n", *at[2:]], "FS571", 3),
    "blank": (lambda at: [*at[:2], b"\n", *at[2:]], "FS571", 3),
    "moved": (lambda at: [at[0], at[2], at[1], *at[3:]], "FS572", 2),
    "cut at a line": (lambda at: at[:-1], "FS573", 5),
    "emptied": (lambda at: [], "FS573", 1),
    "cut in a line": (lambda at: [*at[:-1], at[-1][:-9]], "FS573", 5),
    "without its line end": (lambda at: [*at[:-1], at[-1][:-1]], "FS575", 6),
    "closed off and empty": (lambda at: [at[0], b"\x1e" + at[1], *at[2:]], "FS571", 2),
    "nested": (lambda at: [b'{"counts":' * 100_000 + b"\n", *at], "FS571", 1),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_told_with_its_line(path: Path, edit: str) -> None:
    head = written(path)
    change, expected, row = EDITS[edit]
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    assert code(verify(path, head)) == (expected, row)


UNFINISHED: dict[str, tuple[bytes, bytes]] = {
    "changed": (b"{never ", b"{Never "),
    "shortened": (b"{never ", b"never "),
    "taken out": (b"{never finished\x1e", b""),
    "told of otherwise": (b'"bytes":15', b'"bytes":16'),
}


@pytest.mark.parametrize("edit", UNFINISHED)
def test_an_edit_of_an_unfinished_line_shows_too(path: Path, edit: str) -> None:
    path.write_bytes(b"{never finished")
    head = written(path)
    assert verify(path, head).closed == (1,)
    path.write_bytes(path.read_bytes().replace(*UNFINISHED[edit]))
    assert code(verify(path, head)) == ("FS571", 1)


def test_a_chain_made_anew_shows_against_the_journal_only(path: Path, tmp_path: Path) -> None:
    head = written(path)
    time.sleep(0.002)  # lines of one millisecond would be the same
    other = written(tmp_path / "other.log")
    (tmp_path / "other.log").replace(path)
    assert other.sequence == head.sequence
    assert verify(path).whole
    assert code(verify(path, head)) == ("FS574", 5)


def test_nothing_is_added_to_a_broken_log(path: Path) -> None:
    written(path)
    broken = path.read_bytes().replace(b":300", b":301", 1)
    path.write_bytes(broken)
    with pytest.raises(UsageError, match="FS571"):
        Log(path, SERVER, RUN)
    assert path.read_bytes() == broken


# -- kills


def test_killed_at_every_byte_of_a_line_nothing_acknowledged_is_lost(path: Path) -> None:
    head = written(path, 3)
    base = path.read_bytes()
    with Log(path, SERVER, RUN) as log:
        log.append("bundle answered", counts={"created": 7})
    line = path.read_bytes()[len(base) :]
    for cut in range(len(line) + 1):
        path.write_bytes(base + line[:cut])
        assert verify(path, head).whole is (cut in (0, len(line)))
        with Log(path, SERVER, RUN) as log:
            last = log.append("run finished")
        found = verify(path, last)
        assert found.whole, cut
        assert verify(path, head).whole
        events = [record.event for record in records(path)][3:]
        unfinished = 0 < cut < len(line) - 1
        assert events == [
            *(["line closed off"] if unfinished else ["bundle answered"] if cut else []),
            "run finished",
        ]
        assert found.closed == ((4,) if unfinished else ())
        assert path.read_bytes().startswith(base + line[:cut]), "nothing is ever taken away"


def test_killed_at_every_byte_while_it_closes_off(path: Path) -> None:
    head = written(path, 2)
    torn = path.read_bytes() + b'{"event":"bund'
    path.write_bytes(torn)
    with Log(path, SERVER, RUN):
        closing = path.read_bytes()[len(torn) :]
    for cut in range(len(closing) + 1):
        path.write_bytes(torn + closing[:cut])
        with Log(path, SERVER, RUN) as log:
            last = log.append("run finished")
        assert verify(path, last).whole, cut
        assert verify(path, head).closed == (3,)
        assert last.sequence == 4


KILLED = """
import sys
from pathlib import Path
from fhirspace.delivery.audit.log import Log
with Log(Path(sys.argv[1]), "s", "r") as log:
    while True:
        print(log.append("bundle answered", counts={"created": 1}).sequence, flush=True)
"""


@pytest.mark.slow
def test_killed_for_real_the_lines_it_told_of_are_there(path: Path) -> None:
    told = 0
    for turn in range(5):
        command = [sys.executable, "-c", KILLED, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(20 + turn):
                told = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().splitlines(keepends=True)
        told = max([told, *(int(text) for text in rest if text.endswith("\n"))])
    with Log(path, "s", "r") as log:
        assert log.head.sequence >= told
        assert verify(path, log.head).whole


def test_a_full_disk_in_mid_line_is_closed_off_by_the_next_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Log(path, SERVER, RUN) as log:
        log.append("run started")
        real = os.write

        def half(file: int, data: bytes) -> int:
            if len(data) < 100:
                raise OSError(28, "No space left on device")
            return real(file, data[: len(data) // 2])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            with pytest.raises(OSError, match="No space"):
                log.append("bundle answered")
        head = log.append("run interrupted")
    assert [record.event for record in records(path)] == ["run started", "line closed off", "run interrupted"]
    assert verify(path, head).whole


# -- the command


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, Any, str]:
    exit_code = cli.main(["runs", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return exit_code, json.loads(captured.out), captured.err


def test_runs_audit_holds_the_log_against_its_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "audit.log"
    head = written(log)
    with Journal(tmp_path / "journal.db", SERVER) as book:
        book.begin(RUN)
        book.finish({"created": 300, "audit": head._asdict()})
    assert anchor(runs(tmp_path / "journal.db")) == head

    assert cli.main(["runs", "audit", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 5
    assert "run started: resources 300" in captured.out
    assert captured.err == f"audit log: whole, 5 lines, the last {head.hash}\n"

    exit_code, found, _ = told(capsys, "audit", tmp_path / "journal.db")
    assert (exit_code, found["whole"], found["anchored"], len(found["events"])) == (0, True, True, 5)
    assert cli.main(["runs", str(tmp_path)]) == 0, "the journal is listed as before"
    assert f"{RUN}: 300 created; " in capsys.readouterr().out

    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    exit_code, found, said = told(capsys, "audit", tmp_path)
    assert (exit_code, found["whole"], found["problem"]["code"]) == (1, False, "FS573")
    assert "error: FS573 audit.log:4" in said
    exit_code, found, said = told(capsys, "audit", log)
    assert (exit_code, found["whole"], found["anchored"]) == (0, True, False)
    (tmp_path / "journal.db").unlink()
    assert told(capsys, "audit", tmp_path)[1] == found
    assert "not held against a journal" in said


def test_runs_audit_without_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(tmp_path / "journal.db", SERVER) as book:
        book.begin(RUN)
    exit_code, found, _ = told(capsys, "audit", tmp_path)
    assert (exit_code, found["error"]["code"]) == (2, "FS576")


@pytest.mark.parametrize(("journal", "log"), [("journal.db", "audit.log"), ("site.db", "site.audit.log")])
def test_each_journal_has_a_log_of_its_own(journal: str, log: str) -> None:
    assert log_of(Path("a", journal)) == Path("a", log)
