"""A file that grows at its end only: hashed while it is written, on the disk when it is finished.

Bytes come in two ways. `write` takes any bytes through the system's cache. `append` takes large buffers in memory that
is aligned as the disk requires, and writes them past the cache where the system can: copying gigabytes into the cache
and out of it again costs more than making them (``docs/decisions/0011-writing.md``).
"""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

BLOCK = 4096
"""Bytes to which places in the file and in memory are aligned for `Growing.append`."""

_SYNC_EVERY = 1 << 29
"""Bytes between two calls of `fsync`: at the end of a large file there is little left to wait for."""


class Growing:
    """A new file, used in a ``with`` statement.

    Attributes:
        path: where it is.
        size: its bytes so far.
    """

    def __init__(self, path: Path, *, mode: int = 0o600) -> None:
        """Makes the file; it must not be there."""
        self.path, self.size = path, 0
        self._stack = ExitStack()
        self._plain = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        self._stack.callback(os.close, self._plain)
        self._direct: int | None = None
        self._rest = b""  # the end of the file, less than a block, that `append` keeps for the next block
        self._sha256 = hashlib.sha256()
        self._hashing = self._stack.enter_context(ThreadPoolExecutor(1))
        self._syncing = self._stack.enter_context(ThreadPoolExecutor(1))
        self._synced: Future[None] | None = None
        self._since = 0

    def __enter__(self) -> Growing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, data: Any) -> None:
        """Adds bytes (anything with a buffer).

        Raises:
            OSError: from the disk, for these bytes or earlier ones.
        """
        self._put_rest()
        view = memoryview(data).cast("B")
        self._sha256.update(view)
        self._write_at(self._plain, view, self.size)
        self._grown(view.nbytes)

    def append(self, memory: memoryview, size: int) -> None:
        """Adds `size` bytes from memory that begins at a page, after `lead` bytes that are free to use.

        A rest of less than a block is written by the next `write` or `finish`.

        Args:
            memory: writable; ``memory[lead : lead + size]`` are the bytes, `lead` being ``self.size % BLOCK``.
            size: bytes to add.

        Raises:
            OSError: from the disk, for these bytes or earlier ones.
        """
        lead = self.size % BLOCK
        hashed = self._hashing.submit(self._sha256.update, memory[lead : lead + size])
        memory[:lead] = self._rest or self._pread(lead)
        whole = (lead + size) // BLOCK * BLOCK
        self._write_aligned(memory[:whole], self.size - lead)
        self._rest = bytes(memory[whole : lead + size])
        hashed.result()
        self._grown(size)

    def finish(self) -> dict[str, Any]:
        """The SHA-256 in hex and the size of the file, which is on the disk afterwards.

        Raises:
            OSError: from the disk, for these bytes or earlier ones.
        """
        self._put_rest()
        if self._synced:
            self._synced.result()
        os.fsync(self._plain)
        return {"sha256": self._sha256.hexdigest(), "size": self.size}

    def _grown(self, size: int) -> None:
        self.size += size
        self._since += size
        if self._since >= _SYNC_EVERY and (self._synced is None or self._synced.done()):
            if self._synced:
                self._synced.result()
            self._synced, self._since = self._syncing.submit(os.fsync, self._plain), 0

    def _put_rest(self) -> None:
        self._write_at(self._plain, memoryview(self._rest), self.size - len(self._rest))
        self._rest = b""

    def _write_aligned(self, memory: memoryview, start: int) -> None:
        if self._direct is None:
            self._direct = self._past_the_cache()
        try:
            self._write_at(self._direct, memory, start)
        except OSError as error:
            if error.errno != errno.EINVAL or self._direct == self._plain:
                raise
            self._direct = self._plain  # this file system wants another alignment
            self._write_at(self._direct, memory, start)

    def _past_the_cache(self) -> int:
        """A descriptor for writing past the cache, or the plain one where there is no such thing."""
        try:
            opened = os.open(self.path, os.O_WRONLY | os.O_DIRECT)
        except (AttributeError, OSError):
            return self._plain
        self._stack.callback(os.close, opened)
        return opened

    def _pread(self, size: int) -> bytes:
        """The last bytes of the file."""
        os.lseek(self._plain, self.size - size, os.SEEK_SET)
        return os.read(self._plain, size)

    @staticmethod
    def _write_at(descriptor: int, view: memoryview, start: int) -> None:
        while view.nbytes:
            os.lseek(descriptor, start, os.SEEK_SET)
            written = os.write(descriptor, view)
            view, start = view[written:], start + written
