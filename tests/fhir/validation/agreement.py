"""Errors of HL7's validator beside ours: an error is found if we have one at the same element, in it, or around it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from fhirspace.errors import explain
from fhirspace.fhir.validation.check import Checker
from fhirspace.fhir.validation.validate import findings_of
from fhirspace.json import JsonError
from tests.fhir.validation.oracle import Message, Verdict

_TYPE = re.compile(r"\.(?:ofType|as)\((\w)(\w*)\)")
_NOTES = re.compile(r"(?<=\.)_|/\*.*?\*/|\[url='[^']*'\]|\[x\]|\.resolve\(\)")
"""What one of the two adds to a path."""
_OF_ANY_ENTRY = "BUNDLE_ENTRY_URL_MATCHES_TYPE_ID"
"""It gives the first entry as the place, whichever it means."""

_INNER = re.compile(r"\((Bundle\.entry[^ )]*)\)")


class Error(NamedTuple):
    """One error: where, of which kind (a message id of HL7's, a code of ours), what it says."""

    place: str
    kind: str
    text: str


class Compared(NamedTuple):
    """The errors of both about one resource: HL7's that we find, HL7's that we miss, and ours alone."""

    found: list[Error]
    missed: list[Error]
    ours: list[Error]


def errors(line: bytes, checker: Checker) -> list[Error]:
    """Ours."""
    try:
        found = findings_of(line, checker)
    except JsonError as error:
        return [Error("", error.code, error.expected)]
    return [Error(*each) for each in found if explain(each[1]).level == "error"]


def theirs(verdict: Verdict) -> list[Error]:
    """HL7's."""
    return [Error(_place(each), each.id, each.text) for each in verdict if each.refuses]


def compare(verdict: Verdict, own: Iterable[Error]) -> Compared:
    """Set the errors of both beside each other."""
    own, other = list(own), theirs(verdict)
    own_places, their_places = ([_plain(each.place) for each in errors] for errors in (own, other))
    known = [any(_near(place, own_place) for own_place in own_places) for place in their_places]
    return Compared(
        [each for each, is_known in zip(other, known, strict=True) if is_known],
        [each for each, is_known in zip(other, known, strict=True) if not is_known],
        [
            each
            for each, place in zip(own, own_places, strict=True)
            if not any(_near(place, their_place) for their_place in their_places)
        ],
    )


def _place(message: Message) -> str:
    """Where an error is: of a reference that leads nowhere in a Bundle, its text says it."""
    if message.id == _OF_ANY_ENTRY:
        return "Bundle.entry"
    found = _INNER.search(message.text) if message.location == "Bundle" else None
    return found[1] if found else message.location


def _plain(place: str) -> str:
    return _NOTES.sub("", _TYPE.sub(lambda found: found[1].upper() + found[2], place))


def _near(one: str, other: str) -> bool:
    """The same element, or one in the other; the resource as a whole is near its own members only."""
    inner, outer = (one, other) if len(one) > len(other) else (other, one)
    if one == other or not outer:
        return True
    within = inner.startswith(outer) and inner[len(outer)] in ".["
    return within and ("." in outer or inner.count(".") == 1)


def table(rows: Iterable[tuple[str, Compared]]) -> str:
    """How many errors of each kind are found by both, by HL7's validator alone, by us alone, as lines of Markdown."""
    counts: tuple[Counter[tuple[str, str]], ...] = (Counter(), Counter(), Counter())
    for release, compared in rows:
        for count, found in zip(counts, compared, strict=True):
            count.update((release, each.kind) for each in found)
    kinds = sorted({kind for count in counts for kind in count})
    lines = [f"| {' | '.join(kind)} | {' | '.join(str(count[kind]) for count in counts)} |" for kind in kinds]
    head = "| release | kind | both | only HL7's | only fhirspace |\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *lines])
