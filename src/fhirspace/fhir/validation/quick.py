"""The way around the full check for resources whose members were seen before.

The resources of a study repeat themselves: the same code, category, subject in thousands of lines. A line is cut into
its members without parsing them; each distinct text of a member is parsed and checked once. What is not certainly
right goes the full way, which alone says what is wrong.
"""

from __future__ import annotations

from functools import cache

import msgspec

from fhirspace.fhir.validation.check import ObjectCheck, compiled
from fhirspace.fhir.validation.leaves import Check, Scope
from fhirspace.json import JsonError, decoder, parse
from fhirspace.standards.fhir import Release

_REMEMBERED = 4096
_REMEMBERED_LENGTH = 512

_members = decoder(dict[str, msgspec.Raw])


class _Member:
    """The check of one member of a resource, with the texts that passed it."""

    __slots__ = ("_check", "good")

    def __init__(self, check: Check) -> None:
        self._check = check
        self.good: set[bytes] = set()

    def sound(self, raw: bytes) -> bool:
        """Whether the text of the member is strict JSON and right, whatever is around it."""
        scope = Scope({})
        if self._check(parse(raw), scope) or scope.used or scope.around.asked:
            return False
        if len(raw) <= _REMEMBERED_LENGTH and len(self.good) < _REMEMBERED:
            self.good.add(raw)
        return True


class _Type:
    """The members of one resource type, as they are met."""

    def __init__(self, name: str, whole: ObjectCheck) -> None:
        self.name = f'"{name}"'.encode()
        self.whole = whole
        self.members: dict[str, _Member] = {}

    def member(self, name: str) -> _Member | None:
        """The check of a member; None for what has to go the full way."""
        check = self.whole.member(name) if name != "contained" else None
        if check is None:
            return None
        return self.members.setdefault(name, _Member(check))


@cache
def _types(release: Release) -> dict[bytes, _Type]:
    checker = compiled(release)
    return {f'"{name}"'.encode(): _Type(name, checker.object(name)) for name in checker.definitions.resources}


def sound(line: bytes, release: Release) -> bool:
    """Whether a resource is certainly right; False says nothing.

    Args:
        line: the resource, compact JSON as in NDJSON.
        release: the release of FHIR it is written in.
    """
    try:
        members = _members(line)
        kind = _types(release).get(bytes(members.pop("resourceType", b"")))
        if kind is None or kind.whole.whole(members):
            return False
        length = len(kind.name) + 17  # {"resourceType":...}
        for name, raw in members.items():
            member = kind.members.get(name) or kind.member(name)
            text = bytes(raw)
            if member is None or (text not in member.good and not member.sound(text)):
                return False
            if name == "meta" and b'"profile"' in text:
                return False  # the profile is about all members
            length += len(name) + len(text) + 4
    except JsonError:
        return False
    if length != len(line):  # a name that occurs twice, or blanks between the members, would make it longer
        return False
    return kind.whole.decided(members) or kind.whole.holds(parse(line))
