"""Memory that a worker fills and its parent reads: nothing that a batch became is copied through a pipe.

A slot is a file in memory where the system has such files (Linux), otherwise a temporary one. It grows by being
replaced. The worker may fill a slot when the parent gave it back; a semaphore counts those that are free.
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
    """What stands in a slot: bytes of sinks by name, each from a block's beginning on, after its lead."""

    path: str
    length: int
    parts: list[tuple[str, int, int]]
    """Of each sink: its name, where its first block begins, and its bytes without the lead."""


class Slots:
    """A worker's side. Args: a semaphore with the value `SLOTS`."""

    def __init__(self, free: Any) -> None:
        self._free, self._next = free, 0
        self._files: list[tuple[Any, str, mmap.mmap] | None] = [None] * SLOTS

    def fill(self, outputs: Iterable[tuple[str, Any, int]]) -> Filled:
        """Copies outputs (sink, bytes, where the sink ends before them) into the slot that `wait` found free."""
        parts, end, places = [], 0, []
        for sink, data, start in outputs:
            view, lead = memoryview(data).cast("B"), start % BLOCK
            parts.append((sink, end, view.nbytes))
            places.append((end + lead, view))
            end += -(-(lead + view.nbytes) // BLOCK) * BLOCK
        path, memory = self._memory(max(end, BLOCK))
        for place, view in places:
            memory[place : place + view.nbytes] = view
        return Filled(path, len(memory), parts)

    def wait(self) -> None:
        """Until a slot is free."""
        self._free.acquire()

    def _memory(self, size: int) -> tuple[str, mmap.mmap]:
        """The next slot, with room for so many bytes."""
        index, self._next = self._next, (self._next + 1) % SLOTS
        held = self._files[index]
        if held is None or len(held[2]) < size:
            if held:
                held[0].close()
            room = size + size // 8 // BLOCK * BLOCK
            file, path = _file()
            file.truncate(room)
            held = self._files[index] = (file, path, mmap.mmap(file.fileno(), room))
        return held[1], held[2]


def _file() -> tuple[Any, str]:
    """A file for memory, and a path at which another process can open it while this one lives."""
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("fhirspace"), "r+b", buffering=0)
        return file, f"/proc/{os.getpid()}/fd/{file.fileno()}"
    made = tempfile.NamedTemporaryFile(prefix="fhirspace-")  # noqa: SIM115  # pragma: no cover  (not on Linux)
    return made, made.name  # pragma: no cover


@dataclass(slots=True)
class Views:
    """The parent's side: what stands in the slots of one worker."""

    free: Any
    _open: dict[str, mmap.mmap] = field(default_factory=dict)

    def memory(self, filled: Filled) -> mmap.mmap:
        """The memory of a filled slot; it stays while somebody looks at it."""
        held = self._open.get(filled.path)
        if held is None or len(held) != filled.length:
            with Path(filled.path).open("r+b", buffering=0) as file:
                held = self._open[filled.path] = mmap.mmap(file.fileno(), filled.length)
        return held
