"""A worker: makes batches one after the other, and hands each over when its turn comes.

For each batch the worker sends the parent the number of bytes of its outputs, and, when the parent has answered where
these will be written, the slot that contains them and the job's report. While a batch waits for its turn the worker
makes the next one. A worker is a process of its own (`serve`) or a thread of the parent.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import pyarrow as pa

from fhirspace.engines import Job, Made
from fhirspace.engines.slots import Filled, Slots
from fhirspace.errors import FhirspaceError

UP = -1
"""The number with which a process reports that it can take batches."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Sent instead of all else: the error, and where it was raised (frames only: no data)."""

    error: Exception
    frames: str


@dataclass(frozen=True, slots=True)
class Sized:
    """Sent when a batch is made: the number of bytes that it adds, by sink."""

    sizes: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Done:
    """Sent after the turn of a batch: the job's report, and where its bytes are."""

    report: Any
    filled: Filled


class Worker:
    """Takes batches from `todo` and turns (the sizes of the sinks) from `turns`, in the order of `Sized`."""

    def __init__(self, pipe: Connection, job: Job, free: Any) -> None:
        """Args: the pipe to the parent; the function of a batch; a semaphore with the value `slots.SLOTS`."""
        self.todo: SimpleQueue[tuple[int, pa.RecordBatch] | None] = SimpleQueue()
        self.turns: SimpleQueue[list[int] | None] = SimpleQueue()
        self._pipe, self._job, self._free, self._slots = pipe, job, free, Slots()
        self._sending = threading.Lock()

    def run(self) -> None:
        """Works until the end, or until an error, which it sends."""
        placed: Future[bool] | None = None
        with ThreadPoolExecutor(1) as placing:
            while task := self.todo.get():
                number, batch = task
                made = self._make(number, batch)
                if not made or (placed and not placed.result()):
                    return
                placed = placing.submit(self._place, number, made)

    def end(self) -> None:
        """Lets `run` return after the current batch, whatever it waits for. Its slots are no longer used."""
        self.todo.put(None)
        self.turns.put(None)
        self._free.release()

    def close(self) -> None:
        """Releases its memory, after `run`."""
        self._slots.close()

    def send(self, number: int, message: Failed | Sized | Done | None) -> bool:
        """Sends the parent a message about a batch; whether all is well."""
        try:
            with self._sending:
                self._pipe.send((number, message))
        except OSError:
            return False  # the parent has closed the pipe
        except Exception as error:
            return self.send(number, _failed(error))
        return not isinstance(message, Failed)

    def _make(self, number: int, batch: pa.RecordBatch) -> Made | None:
        """The result of a batch; its size is sent. An error of the job is sent too, and the parent raises it."""
        try:
            made = self._job(batch)
        except Exception as error:
            self.send(number, _failed(error))
            return None
        sizes = [(name, memoryview(data).nbytes) for name, data in made.outputs]
        return made if self.send(number, Sized(sizes)) else None

    def _place(self, number: int, made: Made) -> bool:
        """Copies a batch's bytes into a slot when its turn comes, and sends their place; whether all is well."""
        starts = self.turns.get()
        if starts is None:
            return False
        try:
            self._free.acquire()
            filled = self._slots.fill((name, data, at) for (name, data), at in zip(made.outputs, starts, strict=True))
        except Exception as error:
            return self.send(number, _failed(error))
        return self.send(number, Done(made.report, filled))


def serve(pipe: Connection, job: Job, free: Any) -> None:  # pragma: no cover  (in a process without coverage)
    """The main function of a process that works for its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)
    worker = Worker(pipe, job, free)
    threading.Thread(target=listen, args=(pipe, worker), daemon=True).start()
    worker.send(UP, None)
    worker.run()


def send_batch(pipe: Connection, number: int, batch: pa.RecordBatch) -> None:
    """Sends a batch to `listen`. Raises: OSError, the worker has ended."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    pipe.send(number)
    pipe.send_bytes(sink.getvalue())


def listen(pipe: Connection, worker: Worker) -> None:
    """Reads ahead all the time: otherwise parent and worker could both wait for space in the pipe.

    When the parent has ended, or closes its end, the process ends at once, whatever its other threads wait for.
    """
    try:
        while True:
            message = pipe.recv()
            if isinstance(message, int):
                worker.todo.put((message, pa.ipc.open_stream(pa.py_buffer(pipe.recv_bytes())).read_next_batch()))
            else:
                worker.turns.put(message)
    except (EOFError, OSError):
        os._exit(0)


def _failed(error: Exception) -> Failed:
    """An error that can be pickled; FS691 if it cannot."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # nosec B301  # our own bytes, of this very moment
    except Exception:
        return Failed(FhirspaceError("FS691", type(error).__name__), frames)
    return Failed(error, frames)
