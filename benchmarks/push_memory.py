"""Peak memory of ``fhirspace push`` for a small and a large folder, on a server that takes all and keeps keys only."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.push_contenders import Spent, fhirspace, spend
from benchmarks.push_corpus import write
from fhirspace.testing import serving


def memory(work: Path, sizes: Sequence[int], options: Sequence[str] = ()) -> list[Spent]:
    """What a push of so many resources took, for each of `sizes`. Raises RuntimeError when one did not end well."""
    found = []
    for size in sizes:
        folder = work / f"memory-{size}"
        write(folder, size, "mem")
        with _sink() as server:
            spent = spend(fhirspace(options).command(folder, server), work / "memory.log")
        if spent.code:
            raise RuntimeError(f"push ended with {spent.code}: {(work / 'memory.log').read_text('utf-8')[-2000:]}")
        found.append(spent)
        shutil.rmtree(folder)
    return found


@contextmanager
def _sink() -> Iterator[str]:
    """The URL of a server in a process of its own, so that its memory and its time are not the push's."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(theirs,))
    child.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.send("enough")
        child.join()


def _serve(asked: Connection) -> None:
    with serving(sink=True, integrity=False) as server:
        asked.send(server.url)
        asked.recv()
