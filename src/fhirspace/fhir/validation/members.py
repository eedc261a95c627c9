"""The members of resources by their texts: each distinct text of a member is parsed and checked once.

What a check finds in a text is remembered as well as that it finds nothing. Extensions are cut further, as one text of
them has parts that repeat and parts that do not.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from itertools import count
from typing import Any
from weakref import WeakSet

import msgspec

from fhirspace.fhir.validation.check import Checker
from fhirspace.fhir.validation.elements.findings import Check, Finding, Scope
from fhirspace.fhir.validation.holes import ALONE, IDENTIFIER, TEXT, WORD, around
from fhirspace.fhir.validation.values.addresses import absolute, uri
from fhirspace.json import bounded, decoder, parse, parse_resource
from fhirspace.limits import limit

REMEMBERED = 8192
LONGEST = 512
_SPLIT = 160
"""Arrays of extensions that are longer than this are cut into their items."""

_MOST = 1 << 24
"""Bytes of an array that is cut; the items of longer ones are not copied."""
_FRAME = len('{"url":,"extension":}')

members_of = decoder(dict[str, msgspec.Raw], bound=False)
_array = decoder(list[msgspec.Raw], bound=False)
_plain = decoder(Any, bound=False)
_NUMBER = rb"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?"
_VALUE = rb'"value(?:String":%b|Quantity":\{"value":%b,"unit":%b\})' % (TEXT, _NUMBER, TEXT)
_PART_TEXT = rb'\{"url":"[A-Za-z0-9-]{1,64}",%b\}' % _VALUE
_PART = re.compile(_PART_TEXT)
"""A part of an extension with a plain text or amount, which is right whatever that is: no need to remember each."""
_FREE = re.compile(rb'"value(?:String":%b|Quantity":\{"value":%b,"unit":%b)' % (TEXT, _NUMBER, TEXT))
"""Such a text or amount wherever it is among extensions; what is around it, as the code of a unit, repeats itself."""
_HOLE = b"\0"
MASKS = {
    ("Identifier", False): re.compile(rb"\{%b\}" % IDENTIFIER),
    ("Identifier", True): re.compile(rb"\[\{%b\}\]" % IDENTIFIER),
    ("Quantity", False): re.compile(
        rb'\{"value":%b((?:,"unit":%b)?(?:,"system":%b,"code":%b)?)\}' % (_NUMBER, TEXT, WORD, WORD)
    ),
    **{(kind, False): pattern for kind, pattern in ALONE.items()},
}
"""By type and whether it is a list: values of which one part may be anything of its kind. The rest is the group."""
NOTHING = b""
_AROUND = b"[" * 8
"""As deep as a text may be in a line, or deeper."""
UNUSED: frozenset[str] = frozenset()
_ALL, _LOOK = 200_000, 20_000
"""How many texts all members may know together, and after how many new ones that is looked at."""
_number = count(1)
_every: WeakSet[Member] = WeakSet()


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


class Member:
    """The check of one member of a resource, with the texts that passed it, and those that did not."""

    __slots__ = ("__weakref__", "_around", "_check", "_rests", "_wrong", "good", "local")

    def __init__(self, check: Check) -> None:
        self._check = check
        self.good: set[bytes] = set()
        self._around: set[bytes] = set()
        """What was around the holes in texts that are right."""
        self._rests: dict[bytes, Hashable] = {}
        self._wrong: dict[bytes, Sequence[Finding]] = {}
        """What is wrong with texts of resources that contain no others, by what is around their holes."""
        self.local: dict[tuple[bytes, bytes], frozenset[str]] = {}
        """By the text of the contained resources and its own: the ids that it refers to."""
        _every.add(self)

    def used(self, raw: bytes, inside: bytes, types: Mapping[str, str]) -> frozenset[str] | None:
        """The contained resources that a member refers to, if it is right; None where that is not certain.

        Args:
            raw: the text of the member. inside: that of ``contained``, with the types of its resources by id.
        """
        found = self.local.get((inside, raw))
        if found is not None:
            return found
        rest = around(raw)
        if rest in self._wrong and not inside:
            return None
        if rest not in self._around:
            return self._judged(raw, rest, inside, types)
        if len(raw) <= LONGEST:
            bounded_in_number(self.good)
            self.good.add(raw)
        return UNUSED

    def _judged(self, raw: bytes, rest: bytes, inside: bytes, types: Mapping[str, str]) -> frozenset[str] | None:
        scope = Scope(types)
        if self._check(_value(raw), scope):
            if not inside and len(rest) <= 4 * LONGEST:
                self._remember(raw, rest)
            return None
        if scope.around.asked:
            return None
        used = frozenset(scope.used)
        if used and len(raw) <= LONGEST:
            bounded_in_number(self.local)
            self.local[inside, raw] = used
        elif not used and len(rest) <= 4 * LONGEST:
            good = self.good if rest is raw else self._around
            bounded_in_number(good, len(rest))
            good.add(rest)
        return used

    def rest(self, raw: bytes) -> Hashable:
        """What is around the holes in a text that is right."""
        found = self._rests.get(raw)
        if found is None:
            found = around(raw)
            if len(raw) <= LONGEST:
                bounded_in_number(self._rests)
                self._rests[raw] = found
        return found

    def wrong(self, raw: bytes) -> Sequence[Finding] | None:
        """What is wrong with a text that `used` found not to be right; None where that is not remembered."""
        return self._wrong.get(around(raw))

    def _remember(self, raw: bytes, rest: bytes) -> None:
        """Remembers what is wrong with a text, if it is what the full way says of it, whatever is around it."""
        scope = Scope({})
        value, empty = parse_resource(raw)
        found = self._check(value, scope) or ()
        is_empty = bool(empty) or value in (None, "", [], {})  # which is found in the resource as a whole
        if found and not is_empty and not scope.around.asked:
            bounded_in_number(self._wrong, len(rest))
            self._wrong[rest] = found


def bounded_in_number(known: set[Any] | dict[Any, Any], length: int = LONGEST) -> None:
    """Forgets all that is remembered before it is too much. Args: what is; the bytes of what is added, if many."""
    if len(known) >= REMEMBERED * LONGEST // max(length, LONGEST):
        known.clear()
    if next(_number) % _LOOK == 0:
        _forget()


def _forget() -> None:
    """Forgets what the fullest members know where all of them know too much together."""
    known = sorted(((len(each.good), each.good) for each in _every), key=lambda each: each[0])
    total = sum(number for number, _ in known)
    while total > _ALL:
        number, texts = known.pop()
        texts.clear()
        total -= number


class Masked(Member):
    """The check of a member of which a part differs in each resource, and is right whatever it is.

    The value of an Identifier is a text that nothing else depends on, unless its system is that of URIs; so is the
    number of a Quantity. What is around them repeats itself.
    """

    __slots__ = ("_mask", "_right")

    def __init__(self, check: Check, mask: re.Pattern[bytes]) -> None:
        super().__init__(check)
        self._mask = mask
        self._right: set[Hashable] = set()

    def used(self, raw: bytes, inside: bytes, types: Mapping[str, str]) -> frozenset[str] | None:
        """As that of any member; what is around the part is judged once."""
        found = self._mask.fullmatch(raw)
        if found is None:
            return super().used(raw, inside, types)
        rest = found.groups()
        if rest in self._right:
            return UNUSED
        used = super().used(raw, inside, types)
        if used == UNUSED:
            bounded_in_number(self._right)
            self._right.add(rest)
        return used

    def rest(self, raw: bytes) -> Hashable:
        """As that of any member."""
        found = self._mask.fullmatch(raw)
        return super().rest(raw) if found is None else found.groups()


class Listed(Member):
    """The check of an array, whose items are judged each by itself where it is long."""

    __slots__ = ("_items",)

    def __init__(self, check: Check, items: Member) -> None:
        """Args: the check of the array. items: that of its items."""
        super().__init__(check)
        self._items = items

    def used(self, raw: bytes, inside: bytes, types: Mapping[str, str]) -> frozenset[str] | None:
        """As that of any member."""
        if _SPLIT < len(raw) <= _MOST and self._each(raw, inside, types):
            return UNUSED
        return super().used(raw, inside, types)

    def _each(self, raw: bytes, inside: bytes, types: Mapping[str, str]) -> bool:
        """Whether all items are right, and none refers to a contained resource."""
        items = _array(raw)
        for each in items:
            text = bytes(each)
            if text not in self._items.good and self._items.used(text, inside, types) != UNUSED:
                return False
        return bool(items)


class Extensions(Member):
    """Extensions: those of definitions that are known are judged together, others one by one."""

    __slots__ = ("_free_around", "_items", "_own", "_parts", "_registry")

    def __init__(self, check: Check, item: Check, checker: Checker) -> None:
        super().__init__(check)
        self._registry = checker.registry
        self._own: dict[bytes, bool] = {}
        self._items, self._parts = Member(item), Member(item)
        self._free_around: set[bytes] = set()

    def used(self, raw: bytes, inside: bytes, types: Mapping[str, str]) -> frozenset[str] | None:
        """As that of any member; long texts are cut, and what is around free values in them is judged once."""
        if len(raw) <= _SPLIT:
            return super().used(raw, inside, types)
        rest = _FREE.sub(_HOLE, raw)
        if rest in self._free_around:
            return UNUSED
        _bound(raw)
        used = UNUSED if self._cut(raw, inside, types, part=False) else super().used(raw, inside, types)
        if used == UNUSED and len(rest) <= 4 * LONGEST and self._free(raw, inside, types):
            bounded_in_number(self._free_around, len(rest))
            self._free_around.add(rest)
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
        members = members_of(raw)
        url = bytes(members.get("url", NOTHING))
        own = self._own.get(url)
        if own is None:
            own = self._is_own(url)
        if not own or (not part and b":" not in url):
            return False
        inner = members.get("extension")
        if inner is None or len(members) != 2 or len(raw) <= _SPLIT:
            return (self._parts if part else self._items).used(raw, inside, types) == UNUSED
        if len(raw) != len(url) + len(bytes(inner)) + _FRAME:
            return False  # blanks, or a name twice
        return self._cut(bytes(inner), inside, types, part=True)

    def _is_own(self, quoted: bytes) -> bool:
        """Whether an address is that of a part, or of an extension that no definition is known of."""
        address = parse(quoted) if quoted else None
        own = type(address) is str and (":" not in address or self._is_unknown(address))
        if len(self._own) < REMEMBERED:
            self._own[quoted] = own
        return own

    def _is_unknown(self, address: str) -> bool:
        return absolute(address) and not uri(address) and self._registry.extension(address) is None
