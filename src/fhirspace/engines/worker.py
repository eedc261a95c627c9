"""A worker: makes batches one after the other, and hands each over when its turn comes.

Of each batch it tells the parent how many bytes it became, and, when the parent has said where these go, in which slot
they stand, with the job's report. While a batch waits for its turn the worker makes the next one. A worker is a process
of its own (`serve`) or a thread of the parent.
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
"""The number with which a process tells that it can take batches."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Told instead of all else: the error, and where it came from (frames only: no data)."""

    error: Exception
    frames: str


@dataclass(frozen=True, slots=True)
class Sized:
    """Told of a batch that is made: the bytes that it adds, by sink."""

    sizes: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Done:
    """Told of a batch that had its turn: the job's report, and where its bytes are."""

    report: Any
    filled: Filled


class Worker:
    """Takes batches by `todo` and their turns by `turns`: where the sinks end before each, in the order of `Sized`."""

    def __init__(self, pipe: Connection, job: Job, free: Any) -> None:
        """Args: the way to the parent; the function of a batch; a semaphore with the value `slots.SLOTS`."""
        self.todo: SimpleQueue[tuple[int, pa.RecordBatch] | None] = SimpleQueue()
        self.turns: SimpleQueue[list[int] | None] = SimpleQueue()
        self._pipe, self._job, self._free, self._slots = pipe, job, free, Slots()
        self._telling = threading.Lock()

    def run(self) -> None:
        """Works until the end, or until something fails, which it tells."""
        placed: Future[bool] | None = None
        with ThreadPoolExecutor(1) as placing:
            while task := self.todo.get():
                number, batch = task
                made = self._make(number, batch)
                if not made or (placed and not placed.result()):
                    return
                placed = placing.submit(self._place, number, made)

    def end(self) -> None:
        """Lets `run` return after the batch in hand, whatever it waits for. Its slots are nobody's any more."""
        self.todo.put(None)
        self.turns.put(None)
        self._free.release()

    def close(self) -> None:
        """Gives its memory back, after `run`."""
        self._slots.close()

    def tell(self, number: int, told: Failed | Sized | Done | None) -> bool:
        """Tells the parent of a batch; whether all is well."""
        try:
            with self._telling:
                self._pipe.send((number, told))
        except OSError:
            return False  # the parent listens no more
        except Exception as error:
            return self.tell(number, _failed(error))
        return not isinstance(told, Failed)

    def _make(self, number: int, batch: pa.RecordBatch) -> Made | None:
        """What a batch becomes; its size is told. Whatever the job raises is told too; the parent raises it."""
        try:
            made = self._job(batch)
        except Exception as error:
            self.tell(number, _failed(error))
            return None
        sizes = [(name, memoryview(data).nbytes) for name, data in made.outputs]
        return made if self.tell(number, Sized(sizes)) else None

    def _place(self, number: int, made: Made) -> bool:
        """Puts a batch's bytes into a slot when its turn comes, and tells the parent. Whether all went well."""
        starts = self.turns.get()
        if starts is None:
            return False
        try:
            self._free.acquire()
            filled = self._slots.fill((name, data, at) for (name, data), at in zip(made.outputs, starts, strict=True))
        except Exception as error:
            return self.tell(number, _failed(error))
        return self.tell(number, Done(made.report, filled))


def serve(pipe: Connection, job: Job, free: Any) -> None:  # pragma: no cover  (in a process that is not looked at)
    """The main function of a process that works for its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)
    worker = Worker(pipe, job, free)
    threading.Thread(target=listen, args=(pipe, worker), daemon=True).start()
    worker.tell(UP, None)
    worker.run()


def send_batch(pipe: Connection, number: int, batch: pa.RecordBatch) -> None:
    """The parent's word for `listen`. Raises: OSError, nobody listens."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    pipe.send(number)
    pipe.send_bytes(sink.getvalue())


def listen(pipe: Connection, worker: Worker) -> None:
    """Reads ahead all the time: were nobody reading, parent and worker could both wait for room in the pipe.

    When the parent is gone, or closes its end, nobody wants what the process has. It ends here and now, whatever its
    other threads wait for.
    """
    try:
        while True:
            told = pipe.recv()
            if isinstance(told, int):
                worker.todo.put((told, pa.ipc.open_stream(pa.py_buffer(pipe.recv_bytes())).read_next_batch()))
            else:
                worker.turns.put(told)
    except (EOFError, OSError):
        os._exit(0)


def _failed(error: Exception) -> Failed:
    """An error made ready to travel; FS691 where it cannot."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # nosec B301  # our own bytes, of this very moment
    except Exception:
        return Failed(FhirspaceError("FS691", type(error).__name__), frames)
    return Failed(error, frames)
