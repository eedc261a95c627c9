"""What of a text may be anything of its kind: it is left out, and what is around it is judged once.

A moment that exists, the id in a reference, the value of an identifier, the positive number of an amount, plain text
to display, base64: a check judges another one of the same kind in the same place alike. Where something compares two of
them, they stay: the ends of a period that are not in order (per-1), of ranges (rng-2, ratrng-2), size and hash of an
attachment. Resources within a resource have invariants of their own that compare moments (mdd-1, inv-1), so that of
these only what no invariant looks at is left out. Texts with extensions stay as they are: their definitions may say
anything.

`tests/fhir/validation/test_holes.py` looks through all invariants of all releases for such comparisons.
"""

from __future__ import annotations

import re
from typing import Final

_ID: Final = rb"[A-Za-z0-9.-]{1,64}+"
TEXT: Final = rb'"[ !#-\[\]-~]{0,200}[!#-\[\]-~]"'
_DAY: Final = (
    rb"[12][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    rb"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_ZONE: Final = rb"(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])"
_SECOND: Final = rb"%bT(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]" % _DAY
_MOMENT: Final = rb"%b(?:\.[0-9]{1,9})?%b" % (_SECOND, _ZONE)
_REFERENCE: Final = rb'"reference":"([A-Za-z]{1,64}/)%b"' % _ID

_REFERENCES: Final = re.compile(_REFERENCE)
_DISPLAYS: Final = re.compile(rb'"display":%b' % TEXT)
_MOMENTS: Final = re.compile(rb'":"(?<!"start":")(?<!"end":")%b"' % _MOMENT)
_PERIODS: Final = re.compile(rb'\{"start":"(%b)(%b)","end":"(%b)(%b)"\}' % (_SECOND, _ZONE, _SECOND, _ZONE))
_WHOLE: Final = re.compile(rb'"value":(-?)[1-9][0-9]{0,17}(?=[,}])')
_BROKEN: Final = re.compile(rb'"value":(-?)(?:[1-9][0-9]{0,17}|0(?=\.0{0,16}[1-9]))\.[0-9]{1,17}(?=[,}])')
WORD: Final = rb'"[!#-\[\]-~]{1,400}+"'
IDENTIFIER: Final = rb'"system":((?!"urn:ietf:rfc:3986")%b),"value":%b' % (WORD, TEXT)
"""System and value of an identifier; the value of one whose system is that of URIs has to be a URI."""
_IDENTIFIERS: Final = re.compile(IDENTIFIER)
_UUID: Final = rb"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_UUIDS: Final = re.compile(rb'"(value|reference)":"urn:uuid:%b"' % _UUID)
_SEQUENCES: Final = re.compile(rb'equence":[1-9][0-9]{0,8}(?=[,}])')
_LISTS: Final = re.compile(rb'equence":\[[1-9][0-9]{0,8}(?:,[1-9][0-9]{0,8})*\]')
_DATA: Final = re.compile(rb'"data":"(?:[A-Za-z0-9+/]{4}){1,50000}+(?:[A-Za-z0-9+/]{2}(?:==|[A-Za-z0-9+/]=))?"')
_SHORTEST: Final = 40
_LONGEST: Final = 1 << 18
"""Longer texts are not copied."""

_IS_MOMENT: Final = re.compile(rb'()"%b"' % _MOMENT)
ALONE: Final = {
    "dateTime": _IS_MOMENT,
    "instant": _IS_MOMENT,
    "Reference": re.compile(rb'\{%b(?:(,"display":)%b)?\}' % (_REFERENCE, TEXT)),
}
"""By type: a whole value of which only the groups matter."""


def around(raw: bytes) -> bytes:
    """A JSON text without what may be anything of its kind; as it is where nothing may. No JSON has the holes."""
    if not _SHORTEST <= len(raw) <= _LONGEST or b"\\" in raw or b'xtension"' in raw:
        return raw
    found = raw
    if b'"reference":' in found:
        found = _REFERENCES.sub(b'"reference":"\\1\0"', found)
    if b'"display":' in found:
        found = _DISPLAYS.sub(b'"display":\0', found)
    if b"urn:uuid:" in found:
        found = _UUIDS.sub(b'"\\1":"urn:uuid:\0"', found)
    return found if b'"resourceType"' in raw else _of_elements(found)


def _of_elements(found: bytes) -> bytes:
    """Without what only invariants of resources as a whole compare."""
    if b'"start":' in found:
        found = _PERIODS.sub(_ordered, found)
    found = _MOMENTS.sub(b'":\0', found)
    if b'","value":"' in found:
        found = _IDENTIFIERS.sub(b'"system":\\1,"value":\0', found)
    if b'"value":' in found and b'"low' not in found:
        found = _BROKEN.sub(b'"value":\\1\0.', _WHOLE.sub(b'"value":\\1\0', found))
    if b'equence":' in found:
        found = _LISTS.sub(b'equence":[\0]', _SEQUENCES.sub(b'equence":\0', found))
    if b'"data":' in found and b'"hash"' not in found and b'"size"' not in found:
        found = _DATA.sub(b'"data":\0', found)
    return found


def is_moment(raw: bytes) -> bool:
    """Whether a JSON text is a moment that exists."""
    return _IS_MOMENT.fullmatch(raw) is not None


def _ordered(period: re.Match[bytes]) -> bytes:
    """A hole for a period that is in order, which can be seen where both ends are of one zone."""
    start, zone, end, other = period.groups()
    return b"{\0}" if zone == other and start <= end else period[0]
