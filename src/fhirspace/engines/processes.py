"""The engine that runs batches in several processes and still writes them in order, so that the bytes do not change.

Batches travel to the workers as Arrow IPC messages. What a worker made never travels back: when its turn comes, which
follows from the number of its batch, it takes a place of the right size in each sink, and then writes there by itself
while others take theirs. The bytes are copied once, nobody waits for another's disk; only the reports return.

Nothing waits for a process that is gone: a worker that dies ends the run at once, and a worker whose parent dies ends
itself. Workers ignore Ctrl-C; the parent hears it and ends them.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pyarrow as pa

from fhirspace.engines import Job
from fhirspace.errors import FhirspaceError, InterruptedRun

_AHEAD = 2
"""Batches that wait at a worker: one in hand, one to come."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a worker tells instead of a report: the error, and where it came from (frames only: no data)."""

    error: Exception
    frames: str


@dataclass(frozen=True, slots=True)
class _Turns:
    """Whose turn it is, and where each sink ends: ``state`` is the number of the batch, then the sizes."""

    moved: Any
    state: Any

    def take(self, number: int, sizes: list[tuple[int, int]]) -> list[int]:
        """Waits for the turn of a batch and takes places in the sinks (by index, bytes); gives where they begin."""
        with self.moved:
            self.moved.wait_for(lambda: self.state[0] == number)
            starts = []
            for sink, size in sizes:
                starts.append(self.state[1 + sink])
                self.state[1 + sink] += size
            self.state[0] = number + 1
            self.moved.notify_all()
        return starts


_Queue = SimpleQueue[tuple[int, bytes]]


def run(
    job: Job, batches: Iterable[pa.RecordBatch], sinks: Mapping[str, Path], workers: int
) -> Generator[Any, None, None]:
    """Runs a picklable job over all batches in `workers` processes; yields the report of each batch in order.

    Close the generator where it is left early (`contextlib.closing`): that ends the workers.

    Args:
        job: the function of a batch, sent to each worker once.
        batches: text tables in pieces, read in this process.
        sinks: files by name, which exist and are appended to.
        workers: the number of processes.

    Raises:
        InterruptedRun: FS690, a worker died. What a job raises is raised here again, or FS691 where it cannot travel.
    """
    context = multiprocessing.get_context("spawn")
    sizes = [path.stat().st_size for path in sinks.values()]
    turns = _Turns(context.Condition(), context.Array("q", [0, *sizes], lock=False))
    pipes: list[Connection] = []
    processes: list[Any] = []
    try:
        for _ in range(workers):
            mine, theirs = context.Pipe()
            pipes.append(mine)
            process = context.Process(target=_work, args=(theirs, job, dict(sinks), turns), daemon=True)
            with theirs, _deaf():
                process.start()
            processes.append(process)
        yield from _drive(pipes, iter(batches))
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        # A worker whose pipe is closed ends by itself: it has nothing in hand any more, or it was killed.
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()
            process.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """Children started within never hear Ctrl-C, not even while they come up; this process hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # pragma: no cover  (Windows: `_work` does what can be done)
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _drive(pipes: list[Connection], batches: Iterator[pa.RecordBatch]) -> Generator[Any, None, None]:
    """Feeds the workers and hands out their reports in the order of the batches."""
    reports: dict[int, Any] = {}
    sent = given = 0
    more = True
    open_: dict[Connection, int] = dict.fromkeys(pipes, 0)
    while more or given < sent:
        while more and min(open_.values()) < _AHEAD:
            batch = next(batches, None)
            if batch is None:
                more = False
                break
            pipe = min(open_, key=lambda each: open_[each])
            _send(pipe, sent, batch)
            open_[pipe] += 1
            sent += 1
        for ready in wait(list(open_)) if given < sent else ():
            assert isinstance(ready, Connection)
            number, report = _receive(ready)
            reports[number] = report
            open_[ready] -= 1
        while given in reports:
            yield reports.pop(given)
            given += 1


def _send(pipe: Connection, number: int, batch: pa.RecordBatch) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    try:
        pipe.send(number)
        pipe.send_bytes(sink.getvalue())
    except OSError:
        while True:  # It is gone, but may have said why before it went; at the end of what it said this raises.
            _receive(pipe)


def _receive(pipe: Connection) -> tuple[int, Any]:
    try:
        number, report = pipe.recv()
    except (EOFError, OSError):
        raise InterruptedRun("FS690", "", "workers that live until the end") from None
    if isinstance(report, _Failed):
        report.error.add_note(f"In a worker process:\n{report.frames}")
        raise report.error
    return number, report


# -- in a worker


def _work(pipe: Connection, job: Job, sinks: dict[str, Path], turns: _Turns) -> None:  # pragma: no cover
    """A worker: takes batches, makes them, writes at its place, reports. (It runs where coverage does not look.)"""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)
    todo: _Queue = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, todo), daemon=True).start()
    with ExitStack() as stack:
        files = {name: stack.enter_context(path.open("r+b", buffering=0)) for name, path in sinks.items()}
        places = {name: index for index, name in enumerate(sinks)}
        while True:
            number, message = todo.get()
            try:
                made = job(pa.ipc.open_stream(pa.py_buffer(message)).read_next_batch())
                starts = turns.take(number, [(places[name], memoryview(data).nbytes) for name, data in made.outputs])
                for (name, data), start in zip(made.outputs, starts, strict=True):
                    _write(files[name], data, start)
            except Exception as error:
                pipe.send((number, _failed(error)))
                return
            pipe.send((number, made.report))


def _listen(pipe: Connection, todo: _Queue) -> None:
    """Reads ahead all the time: were nobody reading, parent and worker could both wait for room in the pipe.

    When the parent closes its end the worker has nothing in hand; when the parent is gone, nobody wants what it has.
    Either way the process ends here and now, whatever its other thread waits for.
    """
    try:
        while True:
            number = pipe.recv()
            todo.put((number, pipe.recv_bytes()))
    except (EOFError, OSError):
        os._exit(0)


def _failed(error: Exception) -> _Failed:
    """An error made ready to travel; FS691 where it cannot."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:
        return _Failed(FhirspaceError("FS691", type(error).__name__, "a job that runs to its end"), frames)
    return _Failed(error, frames)


def _write(file: FileIO, data: Any, start: int) -> None:
    file.seek(start)
    view = memoryview(data)
    while view.nbytes:
        view = view[file.write(view) :]
