"""Jobs for the tests of the engines: they must be importable by a worker process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from fhirspace.engines import Made
from fhirspace.errors import InputError, Place


@dataclass
class Lines:
    """Writes numbers as lines, even and odd ones to two sinks; something happens at one of them."""

    at: int = -1
    what: str = ""
    report: int = 0
    long: int = 0

    def __call__(self, batch: pa.RecordBatch) -> Made:
        numbers = batch.column("n").to_pylist()
        if self.at in numbers:
            getattr(self, "_" + self.what)()
        elif numbers[0] % 3 == 0:
            time.sleep(0.01)  # so that workers overtake each other
        text = [b"%d%s\n" % (number, b"." * (number * self.long)) for number in numbers]
        outputs = [("even", b"".join(text[::2])), ("odd", b"".join(text[1::2]))]
        return Made(outputs, (numbers[0], b"x" * self.report))

    def _fails(self) -> None:
        raise InputError("FS101", Place("ae.csv", 7), "a file")

    def _leaves(self) -> None:
        sys.exit()

    def _odd(self) -> None:
        raise OddError("a", "b")


@dataclass
class Where(Lines):
    """Reports the process that made a batch; in another one than the first something happens after so many (`at`)."""

    made: int = 0

    def __call__(self, batch: pa.RecordBatch) -> Made:
        time.sleep(0.01)  # so that there is something left to do when others come up
        if self.made == self.at and multiprocessing.parent_process():
            getattr(self, "_" + self.what)()
        self.made += 1
        return Made(Lines()(batch).outputs, os.getpid())

    def _killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _stops(self) -> None:
        time.sleep(600)


class OddError(Exception):
    """It cannot be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)
        self.two = two


class OddReport(Lines):
    """Its report cannot be pickled."""

    def __call__(self, batch: pa.RecordBatch) -> Made:
        return Made(super().__call__(batch).outputs, lambda: None)


def batches(count: int, size: int = 10, padding: int = 0) -> Iterator[pa.RecordBatch]:
    """`count` batches of `size` numbers each, with so many bytes of padding in each row."""
    for start in range(0, count * size, size):
        padded = [os.urandom(padding // 2).hex()] * size
        yield pa.record_batch({"n": pa.array(range(start, start + size)), "p": pa.array(padded)})
