"""Memory that a worker fills and its parent reads: outputs are not copied through a pipe.

A slot is a file in memory where the system has such files (Linux), otherwise a temporary one. A slot that is too small
is replaced by a larger one. The worker may fill a slot when the parent has released it; a semaphore counts those that
are free.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirspace.tables.growing import BLOCK

SLOTS = 2
"""Slots of a worker: the parent writes one to the disk while the worker fills the other."""


@dataclass(frozen=True, slots=True)
class Filled:
    """The content of a slot: bytes by sink, each starting at the beginning of a disk block, after its lead."""

    slot: int
    made: int
    """Numbers the files that the worker has made: a path alone may be used again for another file."""
    path: str
    length: int
    parts: list[tuple[str, int, int]]
    """Of each sink: its name, where its first block begins, and its bytes without the lead."""


class Slots:
    """A worker's side."""

    def __init__(self) -> None:
        self._next = self._made = 0
        self._files: list[tuple[Any, int, str, mmap.mmap] | None] = [None] * SLOTS

    def fill(self, outputs: Iterable[tuple[str, Any, int]]) -> Filled:
        """Copies outputs (sink, bytes, size of the sink before them) into the next slot that was released."""
        parts, end, places = [], 0, []
        for sink, data, start in outputs:
            view, lead = memoryview(data).cast("B"), start % BLOCK
            parts.append((sink, end, view.nbytes))
            places.append((end + lead, view))
            end += -(-(lead + view.nbytes) // BLOCK) * BLOCK
        slot, self._next = self._next, (self._next + 1) % SLOTS
        made, path, memory = self._memory(slot, max(end, BLOCK))
        for place, view in places:
            memory[place : place + view.nbytes] = view
        return Filled(slot, made, path, len(memory), parts)

    def close(self) -> None:
        """Closes the files; memory with a view on it stays."""
        for held in self._files:
            if held:
                held[0].close()

    def _memory(self, slot: int, size: int) -> tuple[int, str, mmap.mmap]:
        """The slot with room for so many bytes: the number of its file, the path, and the memory."""
        held = self._files[slot]
        if held is None or len(held[3]) < size:
            if held:
                held[0].close()
            room = size + size // 8 // BLOCK * BLOCK
            file, path = _file()
            file.truncate(room)
            self._made += 1
            held = self._files[slot] = (file, self._made, path, mmap.mmap(file.fileno(), room))
        return held[1:]


def _file() -> tuple[Any, str]:
    """A file for memory, and a path at which another process can open it while this one lives."""
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("fhirspace"), "r+b", buffering=0)
        return file, f"/proc/{os.getpid()}/fd/{file.fileno()}"
    made = tempfile.NamedTemporaryFile(prefix="fhirspace-")  # noqa: SIM115  # pragma: no cover  (not on Linux)
    return made, made.name  # pragma: no cover


@dataclass(slots=True)
class Views:
    """The parent's side: the slots of one worker."""

    free: Any
    _open: dict[int, tuple[int, mmap.mmap]] = field(default_factory=dict)

    def memory(self, filled: Filled) -> mmap.mmap:
        """The memory of a filled slot; it stays while there is a view on it. Raises: OSError, the worker has ended."""
        held = self._open.get(filled.slot)
        if held is None or held[0] != filled.made:
            with Path(filled.path).open("r+b", buffering=0) as file:
                held = self._open[filled.slot] = (filled.made, mmap.mmap(file.fileno(), filled.length))
        return held[1]
