"""Answers read within bounds: seconds, bytes, and the ratio of compression.

`http.client` bounds the lines of a head (65,536 bytes each, 100 headers), and a socket's time limit the wait for the
next byte. Neither bounds the whole: a server may send one byte a second for ever, or a megabyte that unpacks to a
gigabyte. So the time that is left is given to the socket before each read, also while the head is read, and bodies are
unpacked here, block by block.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from fhirspace.errors import ServerError
from fhirspace.limits import answered_too_much, limit

ENCODINGS = "gzip, deflate"
"""What is asked for in ``Accept-Encoding``: what is unpacked here."""
DEADLINE: ContextVar[float] = ContextVar("DEADLINE")
"""When the answer under way must be whole (monotonic clock); where nobody says, ``answer-seconds`` after its begin."""
_BLOCK = 1 << 16
_LARGE = 16 << 20
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_BARE_DEFLATE = -15


class LateError(Exception):
    """The answer took longer than allowed. No OSError: nobody on the way may take it for a fault worth repeating."""


class WriteError(Exception):
    """What takes the body could not be written to; the cause says why. No OSError either."""


class _Timely(io.RawIOBase):
    """A socket's stream that ends with LateError at the deadline, whatever comes when."""

    def __init__(self, stream: io.RawIOBase, sock: socket.socket) -> None:
        self._stream, self._sock = stream, sock
        self._patience = sock.gettimeout()
        self._deadline = DEADLINE.get(time.monotonic() + limit("answer-seconds"))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise LateError
        self._sock.settimeout(left if self._patience is None else min(left, self._patience))
        try:
            return self._stream.readinto(buffer)
        except TimeoutError:
            if time.monotonic() >= self._deadline:
                raise LateError from None
            raise

    def close(self) -> None:
        self._stream.close()
        super().close()


class TimelyResponse(http.client.HTTPResponse):
    """`http.client`'s, whose head too must come before the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp = io.BufferedReader(_Timely(self.fp.detach(), sock))


class _Plain(HTTPConnection):
    response_class = TimelyResponse


class _Secure(HTTPSConnection):
    response_class = TimelyResponse


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


POOLS = {"http": _PlainPool, "https": _SecurePool}
"""What connects in a `urllib3.PoolManager`."""


def body_of(raw: Any, server: str, bound: str, write: Callable[[bytes], object]) -> None:
    """Read a body, unpacked, and pass it on in blocks.

    Args:
        raw: the answer, as `urllib3` gives it, with nothing of its body read.
        server: whose it is, for errors.
        bound: the limit in bytes, a name in `limits.LIMITS`.
        write: gets the blocks.

    Raises:
        ServerError: FS519 too much, also by compression; FS512 compressed in a way that was not asked for, or broken.
        LateError: it takes too long. WriteError: `write` raised an OSError.
        urllib3.exceptions.HTTPError: it was cut short.
    """
    most, ratio, total = limit(bound), limit("expansion"), 0
    packed = _Packed(raw)
    try:
        for block in packed.unpacked(raw.headers.get("content-encoding", "")):
            total += len(block)
            if total > most:
                raise answered_too_much(bound, server)
            if total > _LARGE and total > ratio * packed.read:
                raise answered_too_much("expansion", server)
            _written(write, block)
    except (zlib.error, ValueError):
        raise ServerError("FS512", server, "a body that is not compressed, or whole and by gzip or deflate") from None


def _written(write: Callable[[bytes], object], block: bytes) -> None:
    try:
        write(block)
    except OSError as error:
        raise WriteError from error


class _Packed:
    """The bytes of a body as they come; `read` counts them."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.read = 0

    def _blocks(self) -> Iterator[bytes]:
        while block := self._raw.read(_BLOCK, decode_content=False):
            self.read += len(block)
            yield block

    def unpacked(self, encoding: str) -> Iterator[bytes]:
        """The body, unpacked. Raises zlib.error or ValueError: it cannot be."""
        names = [name.strip().lower() for name in encoding.split(",") if name.strip().lower() not in ("", "identity")]
        if not names:
            yield from self._blocks()
        elif len(names) > 1 or names[0] not in _WINDOWS:
            raise ValueError("another encoding")
        else:
            yield from self._inflated(names[0])

    def _inflated(self, name: str) -> Iterator[bytes]:
        inflate: Any = None
        whole = True
        for block in self._blocks():
            rest, full = block, False
            while rest or full:
                if inflate is None or inflate.eof:  # gzip may have several members, one after the other
                    inflate = zlib.decompressobj(_window(name, rest))
                found = inflate.decompress(rest, _BLOCK)
                yield found
                rest, full = inflate.unconsumed_tail or inflate.unused_data, len(found) == _BLOCK and not inflate.eof
            whole = inflate.eof
        if not whole:
            raise ValueError("cut short")


def _window(name: str, begin: bytes) -> int:
    """Some servers send ``deflate`` without the head of zlib that RFC 9110 wants."""
    bare = name == "deflate" and begin[0] & 0x0F != 8
    return _BARE_DEFLATE if bare else _WINDOWS[name]
