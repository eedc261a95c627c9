"""Reading a file compressed by gzip, which must not unpack to a size out of proportion.

Source: RFC 1952 (members one after the other are one file).
"""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import IO, Any, cast

from fhirspace.errors import InputError, Place
from fhirspace.limits import expands_too_far, too_much

MAGIC = b"\x1f\x8b"
_BUFFER = 1 << 17


def unpacked(path: Path) -> IO[bytes]:
    """The content of a compressed file as a stream.

    Raises:
        InputError: FS404 (damaged or cut short) and FS160 (unpacks to too much), while it is read.
    """
    return cast(IO[bytes], io.BufferedReader(_Unpacked(path), _BUFFER))


class _Unpacked(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        self._file = path.name
        self._packed = path.open("rb")
        self._content = gzip.GzipFile(fileobj=self._packed)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count = self._content.readinto(buffer)
        except (OSError, EOFError, zlib.error):
            raise InputError("FS404", Place(self._file), "whole, undamaged compressed data") from None
        self._count += count
        if expands_too_far(self._count, self._packed.tell()):
            raise too_much("expansion", Place(self._file))
        return count

    def close(self) -> None:
        self._content.close()
        self._packed.close()
        super().close()
