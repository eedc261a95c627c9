"""Base64 of any length in memory that does not grow with it. Source: RFC 4648 section 4; FHIR, base64Binary."""

from __future__ import annotations

import binascii
import hashlib
from typing import Final

_STEP: Final = 1 << 16
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BLANKS: Final = b" \t\r\n"


def decoded_length(text: str) -> int | None:
    """The number of bytes that a base64 text encodes; None if it is no base64 (white space is allowed)."""
    if not text.isascii():
        return None
    letters, padding = 0, 0
    for start in range(0, len(text), _STEP):
        chunk = text[start : start + _STEP].encode().translate(None, _BLANKS)
        body = chunk.rstrip(b"=")
        if (body and padding) or body.translate(None, _ALPHABET):
            return None
        letters += len(body)
        padding += len(chunk) - len(body)
    if padding > 2 or (letters + padding) % 4 or not letters:
        return None
    return letters * 3 // 4


def sha1(text: str) -> str:
    """The SHA-1 of the bytes that a base64 text encodes, as base64; FHIR's ``Attachment.hash``.

    Args:
        text: right base64 (see `decoded_length`).
    """
    digest = hashlib.sha1(usedforsecurity=False)
    rest = b""
    for start in range(0, len(text), _STEP):
        rest += text[start : start + _STEP].encode().translate(None, _BLANKS)
        whole = len(rest) - len(rest) % 4
        digest.update(binascii.a2b_base64(rest[:whole]))
        rest = rest[whole:]
    return binascii.b2a_base64(digest.digest(), newline=False).decode()
