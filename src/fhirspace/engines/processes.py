"""The engine that runs batches in several processes and still writes them in order, so that the bytes do not change.

Batches travel to the workers as Arrow IPC messages. What a worker made never travels back: each one appends to the
sinks itself when its turn comes, so that the bytes are copied once. A worker's turn follows from the number of its
batch; only the reports return.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pyarrow as pa

from fhirspace.engines import Job
from fhirspace.errors import FhirspaceError

_AHEAD = 2
"""Batches that wait at a worker: one in hand, one to come."""


def run(job: Job, batches: Iterable[pa.RecordBatch], sinks: Mapping[str, Path], workers: int) -> Iterator[Any]:
    """Runs a picklable job over all batches in `workers` processes; yields the report of each batch in order.

    Args:
        job: the function of a batch, sent to each worker once.
        batches: text tables in pieces, read in this process.
        sinks: files by name, which exist and are appended to.
        workers: the number of processes.

    Raises:
        FhirspaceError: FS690 where a worker died; what a job raises is raised here again.
    """
    context = multiprocessing.get_context("spawn")
    turn, moved = context.Value("q", 0, lock=False), context.Condition()
    with ExitStack() as stack:
        pipes: list[Connection] = []
        for _ in range(workers):
            mine, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, job, dict(sinks), turn, moved), daemon=True)
            process.start()
            theirs.close()
            stack.callback(_end, process, mine)
            pipes.append(mine)
        yield from _drive(pipes, iter(batches))


def _drive(pipes: list[Connection], batches: Iterator[pa.RecordBatch]) -> Iterator[Any]:
    """Feeds the workers and hands out their reports in the order of the batches."""
    reports: dict[int, Any] = {}
    sent = given = 0
    more = True
    open_: dict[Connection, int] = dict.fromkeys(pipes, 0)
    while more or given < sent:
        while more and min(open_.values()) < _AHEAD and sent - given < len(pipes) * _AHEAD:
            batch = next(batches, None)
            if batch is None:
                more = False
                break
            pipe = min(open_, key=lambda each: open_[each])
            _send(pipe, sent, batch)
            open_[pipe] += 1
            sent += 1
        if given < sent:
            for ready in wait(list(open_)):
                if isinstance(ready, Connection):
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
    pipe.send(number)
    pipe.send_bytes(sink.getvalue())


def _receive(pipe: Connection) -> tuple[int, Any]:
    try:
        number, report = pipe.recv()
    except (EOFError, OSError):
        raise FhirspaceError("FS690", "", "workers that live until the end") from None
    if isinstance(report, BaseException):
        raise report
    return number, report


def _end(process: Any, pipe: Connection) -> None:
    with suppress(OSError, ValueError):
        pipe.send(None)
    pipe.close()
    process.join(5)
    if process.is_alive():
        process.kill()
        process.join()


def _work(pipe: Connection, job: Job, sinks: dict[str, Path], turn: Any, moved: Any) -> None:
    """A worker: takes batches, makes them, appends in turn, reports."""
    pa.set_cpu_count(1)
    with ExitStack() as stack:
        files = {name: stack.enter_context(path.open("ab", buffering=0)) for name, path in sinks.items()}
        while (number := _next(pipe)) is not None:
            batch = pa.ipc.open_stream(pa.py_buffer(pipe.recv_bytes())).read_next_batch()
            try:
                made = job(batch)
            except Exception as error:
                pipe.send((number, error))
                return
            with moved:
                moved.wait_for(lambda wanted=number: turn.value == wanted)
            for name, data in made.outputs:
                _append(files[name].fileno(), data)
            with moved:
                turn.value = number + 1
                moved.notify_all()
            pipe.send((number, made.report))


def _next(pipe: Connection) -> int | None:
    try:
        number: int | None = pipe.recv()
    except (EOFError, OSError):
        return None
    return number


def _append(descriptor: int, data: Any) -> None:
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]
