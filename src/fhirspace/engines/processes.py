"""The engine that runs batches in several processes and still writes them in order, so that the bytes do not change.

Batches travel to the workers as Arrow IPC messages. What a worker made stays in memory that it shares with the parent
(`slots`); only the reports return. When the turn of a batch comes, which follows from its number, the worker learns
where the sinks will end, and puts the bytes so that the parent's thread of writing can give them to the disk as they
are; while a batch waits for its turn the worker makes the next one. The workers compute, one thread hashes, one waits
for the disk.

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
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any

import pyarrow as pa

from fhirspace.engines import Job, Made
from fhirspace.engines.slots import SLOTS, Filled, Slots, Views
from fhirspace.errors import FhirspaceError, InterruptedRun
from fhirspace.tables.growing import Growing

_AHEAD = 3
"""Batches at a worker: one that waits for its turn, one in hand, one to come."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a worker tells instead of a report: the error, and where it came from (frames only: no data)."""

    error: Exception
    frames: str


@dataclass(frozen=True, slots=True)
class _Done:
    """What a worker tells of a batch: the job's report, and where its bytes are."""

    report: Any
    filled: Filled


@dataclass(frozen=True, slots=True)
class _Turns:
    """Whose turn it is, and where each sink will end: ``state`` is the number of the batch, then the sizes."""

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
    job: Job, batches: Iterable[pa.RecordBatch], sinks: Mapping[str, Growing], workers: int
) -> Generator[Any, None, None]:
    """Runs a picklable job over all batches in `workers` processes; yields the report of each batch in order.

    Close the generator where it is left early (`contextlib.closing`): that ends the workers.

    Args:
        job: the function of a batch, sent to each worker once.
        batches: text tables in pieces, read in this process.
        sinks: growing files by name, which nobody else adds to before the last report.
        workers: the number of processes.

    Raises:
        InterruptedRun: FS690, a worker died. OSError: what the disk says. What a job raises is raised here again, or
            FS691 where it cannot travel.
    """
    context = multiprocessing.get_context("spawn")
    turns = _Turns(context.Condition(), context.Array("q", [0, *(sink.size for sink in sinks.values())], lock=False))
    pipes: dict[Connection, Views] = {}
    processes: list[Any] = []
    try:
        for _ in range(workers):
            mine, theirs = context.Pipe()
            views = pipes[mine] = Views(context.Semaphore(SLOTS))
            process = context.Process(target=_work, args=(theirs, job, list(sinks), turns, views.free), daemon=True)
            with theirs, _deaf():
                process.start()
            processes.append(process)
        with ThreadPoolExecutor(1) as writing:
            yield from _drive(pipes, iter(batches), _Writer(sinks, writing))
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


@dataclass(slots=True)
class _Writer:
    """Puts what stands in the workers' slots into the sinks, in order, while others work."""

    sinks: Mapping[str, Growing]
    thread: ThreadPoolExecutor
    pending: deque[Future[None]] = field(default_factory=deque)

    def take(self, views: Views, filled: Filled) -> None:
        """Takes the bytes of the next batch over. Raises: OSError, what became of earlier ones."""
        self.pending.append(self.thread.submit(self._write, views, filled))
        while self.pending and self.pending[0].done():
            self.pending.popleft().result()

    def close(self) -> None:
        """Until all stands. Raises: OSError."""
        while self.pending:
            self.pending.popleft().result()

    def _write(self, views: Views, filled: Filled) -> None:
        try:
            try:
                memory = memoryview(views.memory(filled))
            except OSError:
                raise _died() from None
            for sink, place, size in filled.parts:
                self.sinks[sink].append(memory[place:], size)
        finally:
            views.free.release()


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


def _drive(
    pipes: Mapping[Connection, Views], batches: Iterator[pa.RecordBatch], writer: _Writer
) -> Generator[Any, None, None]:
    """Feeds the workers and hands out their reports in the order of the batches."""
    done: dict[int, tuple[Views, _Done]] = {}
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
            number, told = _receive(ready)
            done[number] = (pipes[ready], told)
            open_[ready] -= 1
        while given in done:
            views, told = done.pop(given)
            writer.take(views, told.filled)
            yield told.report
            given += 1
    writer.close()


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


def _died() -> InterruptedRun:
    return InterruptedRun("FS690", "", "workers that live until the end")


def _receive(pipe: Connection) -> tuple[int, _Done]:
    try:
        number, report = pipe.recv()
    except (EOFError, OSError):
        raise _died() from None
    if isinstance(report, _Failed):
        report.error.add_note(f"In a worker process:\n{report.frames}")
        raise report.error
    return number, report


# -- in a worker


def _work(pipe: Connection, job: Job, sinks: list[str], turns: _Turns, free: Any) -> None:  # pragma: no cover
    """A worker: takes batches, makes them, puts them into its slots. (It runs where coverage does not look.)"""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)
    todo: _Queue = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, todo), daemon=True).start()
    desk = _Desk(pipe, sinks, turns, Slots(free))
    placed: Future[bool] | None = None
    with ThreadPoolExecutor(1) as placing:
        while True:
            number, message = todo.get()
            made = _made(job, message)
            if placed is not None and not placed.result():
                return
            placed = placing.submit(desk.place, number, made)


def _made(job: Job, message: bytes) -> Made | _Failed:  # pragma: no cover  (in a worker, as `_work`)
    """What a batch became. Whatever the job raises is told to the parent, which raises it."""
    try:
        return job(pa.ipc.open_stream(pa.py_buffer(message)).read_next_batch())
    except Exception as error:
        return _failed(error)


@dataclass(frozen=True, slots=True)
class _Desk:  # pragma: no cover  (in a worker, as `_work`)
    """Where a worker hands over what it made, in a thread of its own: the next batch is made while one waits."""

    pipe: Connection
    sinks: list[str]
    turns: _Turns
    slots: Slots

    def place(self, number: int, made: Made | _Failed) -> bool:
        """Puts a batch's bytes into a slot when its turn comes, and tells the parent. Whether all went well."""
        try:
            told = made if isinstance(made, _Failed) else _Done(made.report, self._fill(number, made.outputs))
            self.pipe.send((number, told))
        except Exception as error:
            told = _failed(error)
            self.pipe.send((number, told))
        return isinstance(told, _Done)

    def _fill(self, number: int, outputs: Sequence[tuple[str, Any]]) -> Filled:
        self.slots.wait()
        sizes = [(self.sinks.index(name), memoryview(data).nbytes) for name, data in outputs]
        starts = self.turns.take(number, sizes)
        return self.slots.fill((name, data, at) for (name, data), at in zip(outputs, starts, strict=True))


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
