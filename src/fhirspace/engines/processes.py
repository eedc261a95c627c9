"""The engine that runs batches in several processes and still writes them in order, so that the bytes do not change.

This process is one of them: it reads the batches, and a thread of it works like the other processes (`worker`), which
get batches as Arrow IPC messages. The outputs of a batch stay in shared memory (`slots`); only sizes and reports
are sent back. When all earlier batches are made, it is the turn of the next one: the worker is sent the sizes of
the sinks, and aligns the bytes so that a thread of this process can write them to the disk directly. The workers
compute, one thread hashes, one waits for the disk.

Nothing waits for a process that has ended: if a worker dies, the run ends at once, and a worker whose parent dies ends
itself. Workers ignore Ctrl-C; the parent receives it and ends them.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import pyarrow as pa

from fhirspace.engines import Job
from fhirspace.engines.slots import SLOTS, Filled, Views
from fhirspace.engines.worker import UP, Done, Failed, Sized, Worker, send_batch, serve
from fhirspace.errors import InterruptedRun
from fhirspace.tables.growing import Growing

_AHEAD = 3
"""Batches at a worker: one that waits for its turn, one in hand, one to come."""

_CONTEXT = multiprocessing.get_context("spawn")


def run(
    job: Job, batches: Iterable[pa.RecordBatch], sinks: Mapping[str, Growing], workers: int
) -> Generator[Any, None, None]:
    """Runs a picklable job over all batches in `workers` processes; yields the report of each batch in order.

    Close the generator where it is left early (`contextlib.closing`): that ends the workers, this process's own after
    the batch in hand.

    Args:
        job: the function of a batch, sent to each other process once. One thread calls it in this one.
        batches: text tables, read in this process.
        sinks: growing files by name, which nobody else adds to before the last report.
        workers: the number of processes, this one included.

    Raises:
        InterruptedRun: FS690, a worker died. OSError: from the disk. An error of a job is raised here again, or FS691
            if it cannot be pickled.
    """
    with ExitStack() as stack:
        hands: list[_Hand] = [_Here(job)]
        stack.callback(hands[0].end)
        for _ in range(workers - 1):
            hands.append(_Process(job))
            stack.callback(hands[-1].end)
        # All outputs are written before the workers end, because they are in the workers' memory.
        writing = stack.enter_context(ThreadPoolExecutor(1))
        yield from _Run(hands, iter(batches), _Writer(sinks, writing)).reports()


class _Hand(ABC):
    """The parent's side of a worker.

    Attributes:
        pipe: receives the worker's messages.
        views: the worker's slots.
        up: whether it can take batches.
        open: the number of its batches that are not done.
    """

    def __init__(self, pipe: Connection, free: Any, *, up: bool) -> None:
        self.pipe, self.views, self.up, self.open = pipe, Views(free), up, 0

    @abstractmethod
    def give(self, number: int, batch: pa.RecordBatch) -> None:
        """Sends a batch to the worker. Raises: InterruptedRun, it died; the error that it sent before."""

    @abstractmethod
    def turn(self, starts: list[int]) -> None:
        """Sends the turn of its next batch: the sizes of the sinks before it. Raises: as `give`."""

    @abstractmethod
    def end(self) -> None:
        """Ends the worker."""

    def receive(self) -> tuple[int, Sized | Done | None]:
        """The next message. Raises: InterruptedRun, the worker died; any error of its job."""
        try:
            number, message = self.pipe.recv()
        except (EOFError, OSError):
            raise _died() from None
        if isinstance(message, Failed):
            message.error.add_note(f"In a worker:\n{message.frames}")
            raise message.error
        return number, message


class _Here(_Hand):
    """A thread of this process."""

    def __init__(self, job: Job) -> None:
        mine, self._theirs = _CONTEXT.Pipe(duplex=False)
        free = threading.Semaphore(SLOTS)
        super().__init__(mine, free, up=True)
        self._worker = Worker(self._theirs, job, free)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        with self._theirs:  # the parent is notified of the end, also after an error
            self._worker.run()

    def give(self, number: int, batch: pa.RecordBatch) -> None:
        self._worker.todo.put((number, batch))

    def turn(self, starts: list[int]) -> None:
        self._worker.turns.put(starts)

    def end(self) -> None:
        self._worker.end()
        self.pipe.close()  # the thread does not wait until a last message is read
        self._thread.join()
        self._worker.close()


class _Process(_Hand):
    """A process of its own."""

    def __init__(self, job: Job) -> None:
        mine, theirs = _CONTEXT.Pipe()
        free = _CONTEXT.Semaphore(SLOTS)
        super().__init__(mine, free, up=False)
        self._process = _CONTEXT.Process(target=serve, args=(theirs, job, free), daemon=True)
        with theirs, _ctrl_c_blocked():
            self._process.start()

    def give(self, number: int, batch: pa.RecordBatch) -> None:
        with self._or_its_error():
            send_batch(self.pipe, number, batch)

    def turn(self, starts: list[int]) -> None:
        with self._or_its_error():
            self.pipe.send(starts)

    def end(self) -> None:
        self._process.kill()
        self.pipe.close()
        self._process.join()
        self._process.close()

    @contextmanager
    def _or_its_error(self) -> Iterator[None]:
        """For sending: if the worker has ended, raises the error that it sent before, if any."""
        try:
            yield
        except OSError:
            while True:  # raises after the last message
                self.receive()


class _Run:
    """Feeds the workers, gives the turns, and hands out the reports, all in the order of the batches."""

    def __init__(self, hands: Sequence[_Hand], batches: Iterator[pa.RecordBatch], writer: _Writer) -> None:
        self._hands, self._batches, self._writer = hands, batches, writer
        self._ends = {name: sink.size for name, sink in writer.sinks.items()}
        self._made: dict[int, tuple[_Hand, Sized]] = {}
        self._done: dict[int, tuple[_Hand, Done]] = {}
        self._sent = self._turns = self._given = 0
        self._more = True

    def reports(self) -> Generator[Any, None, None]:
        """The report of each batch, as soon as its bytes are queued for writing."""
        pipes: dict[object, _Hand] = {hand.pipe: hand for hand in self._hands}
        while self._feed() or self._given < self._sent:
            for ready in wait([hand.pipe for hand in self._hands]):
                self._receive(pipes[ready])
            while self._turns in self._made:
                self._turn(*self._made.pop(self._turns))
            while self._given in self._done:
                hand, done = self._done.pop(self._given)
                self._writer.take(hand.views, done.filled)
                yield done.report
                self._given += 1
        self._writer.close()

    def _feed(self) -> bool:
        """Sends each worker as many batches as it can queue; whether there are more."""
        while self._more:
            hand = min((hand for hand in self._hands if hand.up), key=lambda each: each.open)
            if hand.open == _AHEAD:
                return True
            batch = next(self._batches, None)
            if batch is None:
                self._more = False
                break
            hand.give(self._sent, batch)
            hand.open += 1
            self._sent += 1
        return self._more

    def _receive(self, hand: _Hand) -> None:
        number, message = hand.receive()
        if number == UP:
            hand.up = True
        elif isinstance(message, Sized):
            self._made[number] = hand, message
        elif isinstance(message, Done):
            self._done[number] = hand, message
            hand.open -= 1

    def _turn(self, hand: _Hand, sized: Sized) -> None:
        starts = []
        for name, size in sized.sizes:
            starts.append(self._ends[name])
            self._ends[name] += size
        hand.turn(starts)
        self._turns += 1


@dataclass(slots=True)
class _Writer:
    """Writes the workers' slots to the sinks, in order, in a thread of its own."""

    sinks: Mapping[str, Growing]
    thread: ThreadPoolExecutor
    pending: deque[Future[None]] = field(default_factory=deque)

    def take(self, views: Views, filled: Filled) -> None:
        """Queues the bytes of the next batch. Raises: OSError, from writing earlier ones."""
        self.pending.append(self.thread.submit(self._write, views, filled))
        while self.pending and self.pending[0].done():
            self.pending.popleft().result()

    def close(self) -> None:
        """Waits until everything is written. Raises: OSError."""
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


def _died() -> InterruptedRun:
    return InterruptedRun("FS690", "a worker process")


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Children started within never receive Ctrl-C, not even while they start; this process receives it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # pragma: no cover  (Windows: `serve` does what can be done)
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
