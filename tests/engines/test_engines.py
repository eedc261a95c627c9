"""The engines: same bytes, same reports, and nothing that hangs or lingers when something goes wrong."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from fhirspace.engines import Made, inline, processes
from fhirspace.engines.slots import SLOTS
from fhirspace.engines.worker import Done, Worker, listen, send_batch
from fhirspace.errors import FhirspaceError, InputError, InterruptedRun, Place
from fhirspace.tables.growing import Growing
from tests.engines.engine_jobs import Lines, OddError, OddReport, Where, batches

DRIVER = Path(__file__).with_name("driver.py")
LONG = 10_000
"""Batches that nobody will wait for: processes have come up, or died, long before."""


@contextmanager
def growing(folder: Path) -> Iterator[dict[str, Growing]]:
    """Two sinks that hold something already."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        made = {name: stack.enter_context(Growing(folder / name)) for name in ("even", "odd")}
        for sink in made.values():
            sink.write(b"before\n")
        yield made


@pytest.fixture
def sinks(tmp_path: Path) -> Iterator[dict[str, Growing]]:
    with growing(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def bytes_of(sinks: dict[str, Growing]) -> dict[str, bytes]:
    """What stands in the sinks in the end, which is what they say of it."""
    found = {}
    for name, sink in sinks.items():
        told, found[name] = sink.finish(), sink.path.read_bytes()
        assert told == {"sha256": hashlib.sha256(found[name]).hexdigest(), "size": len(found[name])}
    return found


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("job", [Lines(), Lines(long=300)], ids=["short", "blocks"])
def test_processes_write_what_inline_writes_in_the_same_order(
    workers: int, job: Lines, sinks: dict[str, Growing], tmp_path: Path
) -> None:
    with growing(tmp_path / "inline") as other:
        expected = list(inline.run(job, batches(25), other))
        assert list(processes.run(job, batches(25), sinks, workers)) == expected
        assert list(processes.run(job, batches(5), sinks, workers)) == list(inline.run(job, batches(5), other))
        assert bytes_of(sinks) == bytes_of(other)
    assert [first for first, _ in expected] == list(range(0, 250, 10))


def test_a_full_disk_ends_the_run(sinks: dict[str, Growing], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(memory: memoryview, size: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(sinks["odd"], "append", full)
    with pytest.raises(OSError, match="full"):
        list(processes.run(Lines(), batches(25), sinks, 2))


def test_no_batches_make_no_reports(sinks: dict[str, Growing]) -> None:
    assert list(processes.run(Lines(), [], sinks, 2)) == []
    assert bytes_of(sinks) == {"even": b"before\n", "odd": b"before\n"}


def test_large_batches_and_large_reports_at_once_do_not_lock_each_other_out(sinks: dict[str, Growing]) -> None:
    # Both are far larger than what a pipe holds: parent and worker would both wait for the other one to read.
    done = processes.run(Lines(report=3_000_000), batches(8, padding=200_000), sinks, 2)
    assert [(first, len(text)) for first, text in done] == [(n, 3_000_000) for n in range(0, 80, 10)]


@pytest.mark.parametrize("at", [0, 57, 240])
def test_what_a_job_raises_is_raised_here(at: int, sinks: dict[str, Growing]) -> None:
    with pytest.raises(InputError) as caught:
        list(processes.run(Lines(at, "fails"), batches(25), sinks, 2))
    assert caught.value.problem.place == Place("ae.csv", 7)
    assert "engine_jobs.py" in "".join(caught.value.__notes__)


def test_an_error_that_cannot_travel_is_told_by_its_kind(sinks: dict[str, Growing]) -> None:
    with pytest.raises(FhirspaceError, match="FS691 OddError"):
        list(processes.run(Lines(57, "odd"), batches(25), sinks, 2))
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(OddError("a", "b")))


@pytest.mark.parametrize("count", [1, 25])
def test_a_report_that_cannot_travel_ends_the_run(count: int, sinks: dict[str, Growing]) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError), match="pickle"):
        list(processes.run(OddReport(), batches(count), sinks, 2))


@pytest.mark.slow
@pytest.mark.parametrize("made", [0, 1, 12])
@pytest.mark.parametrize("padding", [0, 400_000])
def test_a_killed_worker_ends_the_run_at_once(made: int, padding: int, sinks: dict[str, Growing]) -> None:
    begin = time.monotonic()
    with pytest.raises(InterruptedRun, match="FS690"):
        deque(processes.run(Where(made, "killed"), batches(LONG, padding=padding), sinks, 2), 0)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_leaves_ends_the_run(workers: int, sinks: dict[str, Growing]) -> None:
    with pytest.raises(InterruptedRun, match="FS690"):
        list(processes.run(Lines(57, "leaves"), batches(25), sinks, workers))


@pytest.mark.slow
def test_this_process_and_all_others_take_their_part(sinks: dict[str, Growing]) -> None:
    found: set[int] = set()
    with closing(processes.run(Where(), batches(LONG), sinks, 3)) as reports:
        while len(found) < 3:
            found.add(next(reports))
        assert found == {os.getpid(), *(child.pid for child in multiprocessing.active_children())}


def test_a_job_that_cannot_be_sent_leaves_no_process(sinks: dict[str, Growing]) -> None:
    def make(batch: pa.RecordBatch) -> Made:
        return Lines()(batch)

    with pytest.raises((AttributeError, pickle.PicklingError)):
        list(processes.run(make, batches(3), sinks, 2))


def test_a_run_that_is_left_early_ends_its_workers_whatever_they_do(sinks: dict[str, Growing]) -> None:
    with closing(processes.run(Where(1, "stops"), batches(LONG), sinks, 3)) as reports:
        while next(reports) == os.getpid():
            pass
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []


def test_a_fault_in_reading_the_batches_ends_the_workers(sinks: dict[str, Growing]) -> None:
    def broken() -> Iterator[object]:
        yield from batches(3)
        raise InputError("FS101", "lb.parquet")

    with pytest.raises(InputError):
        list(processes.run(Lines(), broken(), sinks, 2))


@contextmanager
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """The driver, once all its processes work, and its workers; afterwards none of them is left."""
    command = [sys.executable, str(DRIVER), str(folder), str(LONG)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stdout is not None
    found: set[int] = set()
    while len(found) < 3:
        found.add(int(child.stdout.readline()))
    workers = [psutil.Process(pid) for pid in found - {child.pid}]
    try:
        yield child, workers
    finally:
        child.kill()
        for each in filter(lives, workers):
            each.kill()
        child.communicate(timeout=20)


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_without_a_word_of_the_workers(tmp_path: Path) -> None:
    with started(tmp_path) as (child, workers):
        os.killpg(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=60)
        assert child.returncode == -signal.SIGINT
        assert said.count("KeyboardInterrupt") == 1
        assert ended(workers)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with started(tmp_path) as (child, workers):
        child.kill()
        child.wait(60)
        assert ended(workers)


def ended(workers: list[psutil.Process]) -> bool:
    """Whether all of them end, soon."""
    deadline = time.monotonic() + 30
    while any(map(lives, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(map(lives, workers))


def lives(process: psutil.Process) -> bool:
    """Whether a process runs; one that ended and that nobody asks about does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_listener_ends_its_process_when_the_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = multiprocessing.Pipe()
    worker = Worker(theirs, Lines(), threading.Semaphore())
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    [batch] = batches(1)
    send_batch(mine, 5, batch)
    mine.send([7, 0])
    mine.close()
    with theirs:
        listen(theirs, worker)
    assert worker.todo.get() == (5, batch)
    assert worker.turns.get() == [7, 0]
    assert codes == [0]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_worker_ends_after_the_batch_in_hand_whatever_it_waits_for(turns: int) -> None:
    """For a batch, for the turn of one that is made, or for a slot: nobody takes what it has made."""
    mine, theirs = multiprocessing.Pipe()
    worker = Worker(theirs, Lines(), threading.Semaphore(SLOTS))
    thread = threading.Thread(target=worker.run)
    thread.start()
    for number, batch in enumerate(batches(4)):
        worker.todo.put((number, batch))
    for _ in range(turns):
        worker.turns.put([0, 0])
    with mine, theirs:
        told = [type(mine.recv()[1]) for _ in range(2 + 2 * min(turns, SLOTS))]
        assert told.count(Done) == min(turns, SLOTS)
        worker.end()
        thread.join(30)
    assert not thread.is_alive()
    worker.close()
