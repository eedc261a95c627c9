"""The engine that runs batches in several processes and still writes them in order, so that the bytes do not change.

This process is one of them: it reads the batches, and a thread of it works like the other processes (`worker`), to
which batches travel as Arrow IPC messages. What a batch became stays in memory that is shared (`slots`); only sizes and
reports come back. The turn of a batch comes when all before it are made: the worker learns where the sinks will end,
and puts the bytes so that a thread of this process can give them to the disk as they are. The workers compute, one
thread hashes, one waits for the disk.

Nothing waits for a process that is gone: a worker that dies ends the run at once, and a worker whose parent dies ends
itself. Workers ignore Ctrl-C; the parent hears it and ends them.
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
        batches: text tables in pieces, read in this process.
        sinks: growing files by name, which nobody else adds to before the last report.
        workers: the number of processes, this one included.

    Raises:
        InterruptedRun: FS690, a worker died. OSError: what the disk says. What a job raises is raised here again, or
            FS691 where it cannot travel.
    """
    with ExitStack() as stack:
        hands: list[_Hand] = [_Here(job)]
        stack.callback(hands[0].end)
        for _ in range(workers - 1):
            hands.append(_Process(job))
            stack.callback(hands[-1].end)
        # What still has to be written is written before the workers end: it stands in their memory.
        writing = stack.enter_context(ThreadPoolExecutor(1))
        yield from _Run(hands, iter(batches), _Writer(sinks, writing)).reports()


class _Hand(ABC):
    """The parent's side of a worker.

    Attributes:
        pipe: what the worker tells comes here.
        views: the worker's slots.
        up: whether it can take batches.
        open: batches that it has, of which not all is told yet.
    """

    def __init__(self, pipe: Connection, free: Any, *, up: bool) -> None:
        self.pipe, self.views, self.up, self.open = pipe, Views(free), up, 0

    @abstractmethod
    def give(self, number: int, batch: pa.RecordBatch) -> None:
        """Gives it a batch. Raises: InterruptedRun, it died; what it told before."""

    @abstractmethod
    def turn(self, starts: list[int]) -> None:
        """Tells it that the turn of its next batch has come, and where the sinks end before it. Raises: as `give`."""

    @abstractmethod
    def end(self) -> None:
        """Ends it."""

    def hear(self) -> tuple[int, Sized | Done | None]:
        """The next that it tells. Raises: InterruptedRun, it died; what its job raised."""
        try:
            number, told = self.pipe.recv()
        except (EOFError, OSError):
            raise _died() from None
        if isinstance(told, Failed):
            told.error.add_note(f"In a worker:\n{told.frames}")
            raise told.error
        return number, told


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
        with self._theirs:  # the parent hears of the end, whatever ends it
            self._worker.run()

    def give(self, number: int, batch: pa.RecordBatch) -> None:
        self._worker.todo.put((number, batch))

    def turn(self, starts: list[int]) -> None:
        self._worker.turns.put(starts)

    def end(self) -> None:
        self._worker.end()
        self.pipe.close()  # whatever the thread still has to tell, it does not wait for us to read it
        self._thread.join()
        self._worker.close()


class _Process(_Hand):
    """A process of its own."""

    def __init__(self, job: Job) -> None:
        mine, theirs = _CONTEXT.Pipe()
        free = _CONTEXT.Semaphore(SLOTS)
        super().__init__(mine, free, up=False)
        self._process = _CONTEXT.Process(target=serve, args=(theirs, job, free), daemon=True)
        with theirs, _deaf():
            self._process.start()

    def give(self, number: int, batch: pa.RecordBatch) -> None:
        with self._heard_out():
            send_batch(self.pipe, number, batch)

    def turn(self, starts: list[int]) -> None:
        with self._heard_out():
            self.pipe.send(starts)

    def end(self) -> None:
        self._process.kill()
        self.pipe.close()
        self._process.join()
        self._process.close()

    @contextmanager
    def _heard_out(self) -> Iterator[None]:
        """Where nobody listens any more: it is gone, but may have said why before it went."""
        try:
            yield
        except OSError:
            while True:  # at the end of what it said this raises
                self.hear()


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
        """The report of each batch, as soon as its bytes wait for the disk."""
        pipes: dict[object, _Hand] = {hand.pipe: hand for hand in self._hands}
        while self._feed() or self._given < self._sent:
            for ready in wait([hand.pipe for hand in self._hands]):
                self._hear(pipes[ready])
            while self._turns in self._made:
                self._turn(*self._made.pop(self._turns))
            while self._given in self._done:
                hand, done = self._done.pop(self._given)
                self._writer.take(hand.views, done.filled)
                yield done.report
                self._given += 1
        self._writer.close()

    def _feed(self) -> bool:
        """Gives each worker what it can take; whether there is more."""
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

    def _hear(self, hand: _Hand) -> None:
        number, told = hand.hear()
        if number == UP:
            hand.up = True
        elif isinstance(told, Sized):
            self._made[number] = hand, told
        elif isinstance(told, Done):
            self._done[number] = hand, told
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


def _died() -> InterruptedRun:
    return InterruptedRun("FS690", "a worker process")


@contextmanager
def _deaf() -> Iterator[None]:
    """Children started within never hear Ctrl-C, not even while they come up; this process hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # pragma: no cover  (Windows: `serve` does what can be done)
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
