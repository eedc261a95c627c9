"""The way around the full check for resources whose members were seen before.

The resources of a study repeat themselves: the same code, category, subject in thousands of lines. A line is cut into
its members without parsing them; each distinct text of a member is parsed and checked once (see `members`). What is
not certain to be judged as the full way judges it goes the full way.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal

import msgspec

from fhirspace.fhir.references import ID
from fhirspace.fhir.validation.check import Checker, compiled
from fhirspace.fhir.validation.declared import Declared
from fhirspace.fhir.validation.elements.contexts import NAMES
from fhirspace.fhir.validation.elements.findings import Finding, prefixed
from fhirspace.fhir.validation.elements.objects import ObjectCheck
from fhirspace.fhir.validation.elements.references import contained_types
from fhirspace.fhir.validation.holes import around, is_moment
from fhirspace.fhir.validation.members import (
    LONGEST,
    MASKS,
    NOTHING,
    Extensions,
    Listed,
    Masked,
    Member,
    bounded_in_number,
    members_of,
)
from fhirspace.fhir.validation.values.objects import RULES
from fhirspace.json import JsonError, parse
from fhirspace.standards.fhir import Release

_ID = re.compile(rf'"{ID}"'.encode())
_ESCAPED: Final = rb"\u006"
"""How a letter of ``id`` begins that is spelt otherwise."""
_NONE: Final[dict[str, str]] = {}
_RIGHT: Final[Sequence[Finding]] = ()


class _Type:
    """The members of one resource type, as they are met."""

    def __init__(self, name: str, checker: Checker) -> None:
        self.name = f'"{name}"'.encode()
        self.key = name
        self.whole: ObjectCheck = checker.object(name)
        self.members: dict[str, Member] = {}
        self.shapes: dict[tuple[str, ...], tuple[str, ...] | Literal[True] | None] = {}
        """By the names of the members: those whose values decide on invariants; None: all; True: names suffice."""
        self.any_moment: set[tuple[str, ...]] = set()
        """Names of members of which invariants ask no more of moments than whether they are there."""
        self.declared = Declared(name, checker)
        self.holding: set[tuple[Any, ...]] = set()
        """Texts of such members by which no invariant is broken."""
        self._checker = checker

    def member(self, name: str) -> Member | None:
        """The check of a member; None for what has to go the full way."""
        check = self.whole.member(name)
        if check is None:
            return None
        element = self._checker.definitions.children(self.key).get(name)
        mask = MASKS.get((element.type, element.is_list)) if element is not None else None
        if name in NAMES:
            made: Member = Extensions(check, self._checker.object("Extension"), self._checker)
        elif mask is not None:
            made = Masked(check, mask)
        elif element is not None and element.is_list and not element.primitive:
            one, alone = self._checker.one(element), MASKS.get((element.type, False))
            made = Listed(check, Masked(one, alone) if alone else Member(one))
        else:
            made = Member(check)
        return self.members.setdefault(name, made)

    def alike(self, names: tuple[str, ...], members: Mapping[str, msgspec.Raw]) -> tuple[Hashable, ...]:
        """What a resource shares with others: all but its id, and but what may be anything. Args: as `holds`."""
        rests = [self.members[name].rest(bytes(raw)) for name, raw in members.items() if name != "id"]
        return (names, *rests)

    def right(self, names: tuple[str, ...], members: Mapping[str, msgspec.Raw]) -> bool:
        """Whether a resource has the members that it must have. Args: their names, in order; the members."""
        return names in self.shapes or not self.whole.whole(members)

    def holds(self, names: tuple[str, ...], members: Mapping[str, msgspec.Raw], line: bytes) -> bool:
        """Whether a resource breaks no invariant of its type. Args: as `right`; all of the resource."""
        if names not in self.shapes:
            bounded_in_number(self.shapes)
            asked = self.whole.asked(members)
            self.shapes[names] = self.whole.decided(members) or (None if asked is None else tuple(sorted(asked)))
            if not self.whole.compares(members):
                bounded_in_number(self.any_moment)
                self.any_moment.add(names)
        decisive = self.shapes[names]
        if decisive is True:
            return True
        if decisive is None:
            return self.whole.holds(parse(line))
        texts = [bytes(members[name]) for name in decisive]
        if names in self.any_moment:
            texts = [NOTHING if is_moment(text) else text for text in texts]
        key = (names, *texts)
        if key in self.holding:
            return True
        if not self.whole.holds(parse(line)):
            return False
        if sum(map(len, key)) <= 4 * LONGEST:
            bounded_in_number(self.holding)
            self.holding.add(key)
        return True


class Quick:
    """Judges resources of which everything but some values was seen before; others are for the full check."""

    def __init__(self, checker: Checker) -> None:
        """Args: the checks of the release."""
        self.checker = checker
        self._types = {f'"{name}"'.encode(): name for name in checker.definitions.resources if name not in RULES}
        self._made: dict[bytes, _Type] = {}
        self._contained: dict[bytes, dict[str, str] | None] = {}

    def sound(self, line: bytes) -> bool:
        """Whether a resource is certainly right; False says nothing. Args: compact JSON, as in NDJSON."""
        found = self.findings(line)
        return found is not None and not found

    def findings(self, line: bytes) -> Sequence[Finding] | None:
        """What `check.judged` finds in a resource; None where only that can say. Args: compact JSON, as in NDJSON."""
        try:
            return self._findings(line)
        except JsonError:
            return None

    def _findings(self, line: bytes) -> Sequence[Finding] | None:
        members = members_of(line)
        kind = self._type(bytes(members.pop("resourceType", NOTHING)))
        names = tuple(members)
        if kind is None or not kind.right(names, members):
            return None
        wrong = self._wrong(kind, members, line)
        if wrong is None or not kind.holds(names, members, line):
            return None
        meta = bytes(members.get("meta", NOTHING))
        declared = kind.declared.findings(meta, line, lambda: kind.alike(names, members))
        return prefixed(kind.key, [*wrong, *declared]) if wrong or declared else _RIGHT

    def _wrong(self, kind: _Type, members: dict[str, msgspec.Raw], line: bytes) -> Sequence[Finding] | None:
        """What is wrong with the members of a resource, each by itself; None where that is not certain."""
        length = len(kind.name) + 17  # {"resourceType":...}
        raw_contained = members.get("contained")
        inside, types = (NOTHING, _NONE) if raw_contained is None else self._held(bytes(raw_contained))
        if types is None:
            return None
        used: set[str] = set()
        wrong: list[Finding] = []
        for name, raw in members.items():
            member = kind.members.get(name) or kind.member(name)
            if member is None:
                return None
            text = bytes(raw)
            length += len(name) + len(text) + 4
            if text in member.good or (name == "id" and _ID.fullmatch(text)):
                continue
            more = member.used(text, inside, types)
            if more is not None:
                used |= more
            elif (found := None if inside else member.wrong(text)) is not None:
                wrong += prefixed(name, found)
            else:
                return None
        ids = line.count(b'"id"') - len(types) - ("id" in members)  # of elements, of which two may be the same
        ids += 2 * (_ESCAPED in line)
        if length != len(line) or ids > 1:  # a name that occurs twice, or blanks between the members, make it longer
            return None
        return None if inside and "" not in used and not used.issuperset(types) else wrong

    def _type(self, quoted: bytes) -> _Type | None:
        found = self._made.get(quoted)
        if found is None and quoted in self._types:
            found = self._made[quoted] = _Type(self._types[quoted], self.checker)
        return found

    def _held(self, raw: bytes) -> tuple[bytes, dict[str, str] | None]:
        """The text of contained resources without what may be anything; their types by id, None where some have none
        of their own."""
        rest = around(raw)
        if rest in self._contained:
            return rest, self._contained[rest]
        items = parse(raw)
        types = contained_types({"contained": items})
        found = types if type(items) is list and len(items) == len(types) else None
        if len(rest) <= 4 * LONGEST:
            bounded_in_number(self._contained, len(rest))
            self._contained[rest] = found
        return rest, found


@cache
def _quick(release: Release) -> Quick:
    return Quick(compiled(release))


def sound(line: bytes, release: Release) -> bool:
    """`Quick.sound` for single lines of a release."""
    return _quick(release).sound(line)
