"""Which files are Dataset-JSON, and their bytes, unpacked in bounded memory.

A compressed file (DSJC) is one stream of zlib. Streams of gzip, the same algorithm in another wrapping, are read too:
CDISC's own examples are of this kind.

Source: CDISC Compressed Dataset-JSON 1.1; RFC 1950, RFC 1952.
"""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Literal, cast

from fhirspace.errors import InputError, Place
from fhirspace.limits import expands_too_far, too_much

Container = Literal["json", "ndjson", "dsjc"]
SUFFIXES: Final[dict[str, Container]] = {".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".dsjc": "dsjc"}
"""How the names of Dataset-JSON files end, in upper case too, and what they contain."""
FORMATS: Final[dict[str, Container]] = {"dataset-json": "json", "dataset-ndjson": "ndjson", "dsjc": "dsjc"}
"""By the name of a format that can be asked for, what its files contain, and how they end."""
_HEAD: Final = 1 << 16
_BUFFER: Final = 1 << 17
_GZIP: Final = b"\x1f\x8b"
_EITHER: Final = zlib.MAX_WBITS | 32
"""zlib or gzip, as the first bytes say."""
_MARK: Final = re.compile(rb'"datasetJSONVersion"\s*:')
_OBJECT: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"(?!resourceType")')


def container(path: Path) -> Container | None:
    """What a file contains by its name; None for any other name."""
    return SUFFIXES.get(path.suffix.lower())


def is_dataset(path: Path) -> bool:
    """Whether a file is Dataset-JSON, whole or damaged, by its name and its first bytes (or last: its rows come first).

    Never raises: a file that cannot be opened is none.
    """
    kind = container(path)
    try:
        if kind == "dsjc":
            return _is_packed(path)
        return kind is not None and _is_plain(path)
    except OSError:
        return False


def _is_packed(path: Path) -> bool:
    """By the first bytes alone: one that is damaged behind them is a damaged Dataset-JSON file."""
    with path.open("rb") as stream:
        head = stream.read(2)
    return head == _GZIP or (len(head) == 2 and head[0] & 15 == 8 and int.from_bytes(head) % 31 == 0)


def _is_plain(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        if not _OBJECT.match(head):
            return False
        if not _MARK.search(head):
            size = stream.seek(0, 2)
            stream.seek(max(len(head), size - _HEAD))
            head = stream.read(_HEAD)
        return _MARK.search(head) is not None


def unpacked(path: Path) -> IO[bytes]:
    """The content of a file as a stream.

    Raises:
        InputError: FS101 (no file), FS102 (empty); FS165 (damaged, cut short) and FS160 (unpacks to too much), while it
            is read.
    """
    if not path.is_file():
        raise InputError("FS101", Place(path.name), "a Dataset-JSON file")
    if not path.stat().st_size:
        raise InputError("FS102", Place(path.name), "a dataset")
    if container(path) != "dsjc":
        return path.open("rb")
    return cast(IO[bytes], io.BufferedReader(_Unpacked(path.open("rb"), path.name), _BUFFER))


class _Unpacked(io.RawIOBase):
    """The bytes in a stream of zlib or gzip."""

    def __init__(self, packed: BinaryIO, file: str) -> None:
        self._packed, self._file = packed, file
        self._decoder = zlib.decompressobj(_EITHER)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data and not self._decoder.eof:
            packed = self._decoder.unconsumed_tail or self._packed.read(_BUFFER)
            try:
                data = self._decoder.decompress(packed, len(buffer))
            except zlib.error:
                raise self._damaged() from None
            if not packed and not data and not self._decoder.eof:
                raise self._damaged()
        if self._decoder.eof and (self._decoder.unused_data or self._packed.read(1)):
            raise self._damaged()
        self._count += len(data)
        if expands_too_far(self._count, self._packed.tell()):
            raise too_much("expansion", Place(self._file))
        buffer[: len(data)] = data
        return len(data)

    def _damaged(self) -> InputError:
        return InputError("FS165", Place(self._file), "one whole, undamaged stream of zlib")

    def close(self) -> None:
        self._packed.close()
        super().close()
