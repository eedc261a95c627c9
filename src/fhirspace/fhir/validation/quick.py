"""The way around the full check for resources whose members were seen before.

The resources of a study repeat themselves: the same code, category, subject in thousands of lines. A line is cut into
its members without parsing them; each distinct text of a member is parsed and checked once. Extensions are cut
further, as one text of them has parts that repeat and parts that do not. What is not certainly right goes the full
way, which alone says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import msgspec

from fhirspace.fhir.references import ID
from fhirspace.fhir.validation.check import Checker, compiled
from fhirspace.fhir.validation.elements.contexts import NAMES
from fhirspace.fhir.validation.elements.findings import Check, Scope
from fhirspace.fhir.validation.elements.objects import ObjectCheck
from fhirspace.fhir.validation.elements.references import contained_types
from fhirspace.fhir.validation.values.addresses import absolute, uri
from fhirspace.fhir.validation.values.objects import RULES
from fhirspace.json import JsonError, bounded, decoder, parse
from fhirspace.limits import limit
from fhirspace.standards.fhir import Release

_REMEMBERED = 8192
_LONGEST = 512
_SPLIT = 160
"""Arrays of extensions that are longer than this are cut into their items."""

_FRAME = len('{"url":,"extension":}')

_members = decoder(dict[str, msgspec.Raw], bound=False)
_array = decoder(list[msgspec.Raw], bound=False)
_plain = decoder(Any, bound=False)
_WORD = rb'"[!#-\[\]-~]{1,400}"'
_TEXT = rb'"[ !#-\[\]-~]{0,200}[!#-\[\]-~]"'
_NUMBER = rb"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?"
_VALUE = rb'"value(?:String":%b|Quantity":\{"value":%b,"unit":%b\})' % (_TEXT, _NUMBER, _TEXT)
_PART_TEXT = rb'\{"url":"[A-Za-z0-9-]{1,64}",%b\}' % _VALUE
_PART = re.compile(_PART_TEXT)
"""A part of an extension with a plain text or amount, which is right whatever that is: no need to remember each."""
_FREE = re.compile(rb'"value(?:String":%b|Quantity":\{"value":%b,"unit":%b)' % (_TEXT, _NUMBER, _TEXT))
"""Such a text or amount wherever it is among extensions; what is around it, as the code of a unit, repeats itself."""
_HOLE = b"\0"
_IDENTIFIER = rb'\{"system":((?!"urn:ietf:rfc:3986")%b),"value":%b\}' % (_WORD, _TEXT)
_MASKS = {
    ("Identifier", False): re.compile(_IDENTIFIER),
    ("Identifier", True): re.compile(rb"\[%b\]" % _IDENTIFIER),
    ("Quantity", False): re.compile(
        rb'\{"value":%b((?:,"unit":%b)?(?:,"system":%b,"code":%b)?)\}' % (_NUMBER, _TEXT, _WORD, _WORD)
    ),
}
"""By type and whether it is a list: values of which one part may be anything of its kind. The rest is the group."""
_ID = re.compile(rf'"{ID}"'.encode())
_NOTHING = b""
_AROUND = b"[" * 8
"""As deep as a text may be in a line, or deeper."""
_UNUSED: frozenset[str] = frozenset()


def _bound(raw: bytes) -> None:
    """Raises JsonError where a part of a line may be too deep: which it is, the full way says."""
    if raw.count(b"{") + raw.count(b"[") > limit("json-depth") - len(_AROUND):
        bounded(_AROUND + raw)


def _value(raw: bytes) -> Any:
    """The value of a text, as `parse` gives it but for the spelling of numbers. Raises JsonError as `parse`."""
    _bound(raw)
    found = _plain(raw)
    if b"\\" in raw or raw.count(b'"') != msgspec.json.encode(found).count(b'"'):
        return parse(raw)  # which sees names that come twice, and halves of surrogate pairs
    return found


class _Member:
    """The check of one member of a resource, with the texts that passed it."""

    __slots__ = ("_check", "good", "local")

    def __init__(self, check: Check) -> None:
        self._check = check
        self.good: set[bytes] = set()
        self.local: dict[tuple[bytes, bytes], frozenset[str]] = {}
        """By the text of the contained resources and its own: the ids that it refers to."""

    def used(self, raw: bytes, inside: bytes, types: Mapping[str, str]) -> frozenset[str] | None:
        """The contained resources that a member refers to, if it is right; None where that is not certain.

        Args:
            raw: the text of the member. inside: that of ``contained``, with the types of its resources by id.
        """
        found = self.local.get((inside, raw))
        if found is not None:
            return found
        scope = Scope(types)
        if self._check(_value(raw), scope) or scope.around.asked:
            return None
        used = frozenset(scope.used)
        if len(raw) <= _LONGEST:
            if used:
                _bounded(self.local)
                self.local[inside, raw] = used
            else:
                _bounded(self.good)
                self.good.add(raw)
        return used


def _bounded(known: set[Any] | dict[Any, Any]) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()


class _Masked(_Member):
    """The check of a member of which a part differs in each resource, and is right whatever it is.

    The value of an Identifier is a text that nothing else depends on, unless its system is that of URIs; so is the
    number of a Quantity. What is around them repeats itself.
    """

    __slots__ = ("_mask", "_rests")

    def __init__(self, check: Check, mask: re.Pattern[bytes]) -> None:
        super().__init__(check)
        self._mask = mask
        self._rests: set[bytes] = set()

    def used(self, raw: bytes, inside: bytes, types: Mapping[str, str]) -> frozenset[str] | None:
        """As that of any member; what is around the part is judged once."""
        found = self._mask.fullmatch(raw)
        if found is None:
            return super().used(raw, inside, types)
        rest = found[1]
        if rest in self._rests:
            return _UNUSED
        used = super().used(raw, inside, types)
        if used == _UNUSED:
            _bounded(self._rests)
            self._rests.add(rest)
        return used


class _Extensions(_Member):
    """Extensions: those of definitions that are known are judged together, others one by one."""

    __slots__ = ("_items", "_own", "_parts", "_registry", "_rests")

    def __init__(self, check: Check, item: Check, checker: Checker) -> None:
        super().__init__(check)
        self._registry = checker.registry
        self._own: dict[bytes, bool] = {}
        self._items, self._parts = _Member(item), _Member(item)
        self._rests: set[bytes] = set()

    def used(self, raw: bytes, inside: bytes, types: Mapping[str, str]) -> frozenset[str] | None:
        """As that of any member; long texts are cut, and what is around free values in them is judged once."""
        if len(raw) <= _SPLIT:
            return super().used(raw, inside, types)
        rest = _FREE.sub(_HOLE, raw)
        if rest in self._rests:
            return _UNUSED
        _bound(raw)
        used = _UNUSED if self._cut(raw, inside, types, part=False) else super().used(raw, inside, types)
        if used == _UNUSED and len(rest) <= 4 * _LONGEST and self._free(raw, inside, types):
            _bounded(self._rests)
            self._rests.add(rest)
        return used

    def _free(self, raw: bytes, inside: bytes, types: Mapping[str, str]) -> bool:
        """Whether free values in an array that is right may be any: none is in an extension with a definition."""
        texts = map(bytes, _array(raw))
        return all(not _FREE.search(text) or self._item(text, inside, types, part=False) for text in texts)

    def _cut(self, raw: bytes, inside: bytes, types: Mapping[str, str], *, part: bool) -> bool:
        """Whether an array of extensions is right, none of them has a definition, and none refers to others."""
        items, length, items_of = _array(raw), 1, self._parts if part else self._items
        for each in items:
            text = bytes(each)
            length += len(text) + 1
            if part and _PART.fullmatch(text):
                continue
            if text not in items_of.good and not self._item(text, inside, types, part=part):
                return False
        return length == len(raw) and bool(items)

    def _item(self, raw: bytes, inside: bytes, types: Mapping[str, str], *, part: bool) -> bool:
        members = _members(raw)
        url = bytes(members.get("url", _NOTHING))
        own = self._own.get(url)
        if own is None:
            own = self._is_own(url)
        if not own or (not part and b":" not in url):
            return False
        inner = members.get("extension")
        if inner is None or len(members) != 2 or len(raw) <= _SPLIT:
            return (self._parts if part else self._items).used(raw, inside, types) == _UNUSED
        if len(raw) != len(url) + len(bytes(inner)) + _FRAME:
            return False  # blanks, or a name twice
        return self._cut(bytes(inner), inside, types, part=True)

    def _is_own(self, quoted: bytes) -> bool:
        """Whether an address is that of a part, or of an extension that no definition is known of."""
        address = parse(quoted) if quoted else None
        own = type(address) is str and (":" not in address or self._is_unknown(address))
        if len(self._own) < _REMEMBERED:
            self._own[quoted] = own
        return own

    def _is_unknown(self, address: str) -> bool:
        return absolute(address) and not uri(address) and self._registry.extension(address) is None


class _Type:
    """The members of one resource type, as they are met."""

    def __init__(self, name: str, checker: Checker) -> None:
        self.name = f'"{name}"'.encode()
        self.key = name
        self.whole: ObjectCheck = checker.object(name)
        self.members: dict[str, _Member] = {}
        self.shapes: dict[tuple[str, ...], tuple[str, ...] | Literal[True] | None] = {}
        """By the names of the members: those whose values decide on invariants; None: all; True: names suffice."""
        self.holding: set[tuple[Any, ...]] = set()
        """Texts of such members by which no invariant is broken."""
        self._checker = checker

    def member(self, name: str) -> _Member | None:
        """The check of a member; None for what has to go the full way."""
        check = self.whole.member(name)
        if check is None:
            return None
        element = self._checker.definitions.children(self.key).get(name)
        mask = _MASKS.get((element.type, element.is_list)) if element is not None else None
        if name in NAMES:
            made: _Member = _Extensions(check, self._checker.object("Extension"), self._checker)
        else:
            made = _Member(check) if mask is None else _Masked(check, mask)
        return self.members.setdefault(name, made)

    def right(self, names: tuple[str, ...], members: Mapping[str, msgspec.Raw]) -> bool:
        """Whether a resource has the members that it must have. Args: their names, in order; the members."""
        return names in self.shapes or not self.whole.whole(members)

    def holds(self, names: tuple[str, ...], members: Mapping[str, msgspec.Raw], line: bytes) -> bool:
        """Whether a resource breaks no invariant of its type. Args: as `right`; all of the resource."""
        if names not in self.shapes:
            _bounded(self.shapes)
            asked = self.whole.asked(members)
            self.shapes[names] = self.whole.decided(members) or (None if asked is None else tuple(sorted(asked)))
        decisive = self.shapes[names]
        if decisive is True:
            return True
        if decisive is None:
            return self.whole.holds(parse(line))
        key = (names, *[bytes(members[name]) for name in decisive])
        if key in self.holding:
            return True
        if not self.whole.holds(parse(line)):
            return False
        if sum(map(len, key)) <= 4 * _LONGEST:
            _bounded(self.holding)
            self.holding.add(key)
        return True


class Quick:
    """Judges whether a resource is certainly right; the other way is the full check."""

    def __init__(self, checker: Checker) -> None:
        """Args: the checks of the release."""
        self.checker = checker
        self._types = {f'"{name}"'.encode(): name for name in checker.definitions.resources if name not in RULES}
        self._made: dict[bytes, _Type] = {}
        self._contained: dict[bytes, dict[str, str]] = {}

    def sound(self, line: bytes) -> bool:
        """Whether a resource is certainly right; False says nothing. Args: compact JSON, as in NDJSON."""
        try:
            return self._sound(line)
        except JsonError:
            return False

    def _sound(self, line: bytes) -> bool:
        members = _members(line)
        kind = self._type(bytes(members.pop("resourceType", _NOTHING)))
        names = tuple(members)
        if kind is None or not kind.right(names, members):
            return False
        length = len(kind.name) + 17  # {"resourceType":...}
        raw_contained = members.get("contained")
        inside = _NOTHING if raw_contained is None else bytes(raw_contained)
        types = self._held(inside) if inside else {}
        used: set[str] = set()
        for name, raw in members.items():
            member = kind.members.get(name) or kind.member(name)
            if member is None:
                return False
            text = bytes(raw)
            length += len(name) + len(text) + 4
            if text in member.good or (name == "id" and _ID.fullmatch(text)):
                continue
            more = member.used(text, inside, types)
            if more is None:
                return False
            used |= more
        ids = line.count(b'"id":') - len(types) - ("id" in members)  # of elements, of which two may be the same
        if length != len(line) or ids > 1:  # a name that occurs twice, or blanks between the members, make it longer
            return False
        if inside and "" not in used and not used.issuperset(types):
            return False
        return kind.holds(names, members, line) and self._declared(kind, members, line)

    def _declared(self, kind: _Type, members: dict[str, msgspec.Raw], line: bytes) -> bool:
        """Whether a resource conforms to the profiles that it declares."""
        name = kind.key
        if name not in self.checker.asked and ("meta" not in members or b'"profile"' not in bytes(members["meta"])):
            return True
        return not self.checker.declared(parse(line), name)

    def _type(self, quoted: bytes) -> _Type | None:
        found = self._made.get(quoted)
        if found is None and quoted in self._types:
            found = self._made[quoted] = _Type(self._types[quoted], self.checker)
        return found

    def _held(self, raw: bytes) -> dict[str, str]:
        """The types of contained resources by id."""
        found = self._contained.get(raw)
        if found is None:
            found = contained_types({"contained": parse(raw)})
            if len(self._contained) >= _REMEMBERED:
                self._contained.clear()
            if len(raw) <= 4 * _LONGEST:
                self._contained[raw] = found
        return found


@cache
def _quick(release: Release) -> Quick:
    return Quick(compiled(release))


def sound(line: bytes, release: Release) -> bool:
    """`Quick.sound` for single lines of a release."""
    return _quick(release).sound(line)
