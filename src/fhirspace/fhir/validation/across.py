"""What can be seen only across resources: ids that occur twice, references that nothing in the set answers, subjects.

Ids and references are stored as 64-bit hashes with their places (see `hashes`), so that any number fits.
Source: FHIR, "Resource" (id), "References" (literal references), "Bundle" (resolving references).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from fhirspace.errors import Place, Problem
from fhirspace.fhir.files import FhirFile, bundle_of
from fhirspace.fhir.references import ID, parsed
from fhirspace.fhir.validation.hashes import Table, first_places, missing, repeated
from fhirspace.fhir.validation.subjects import Subjects, patient_of
from fhirspace.foreign import member
from fhirspace.json import JsonError, decoder
from fhirspace.limits import limit, too_much

_REFERENCE = re.compile(rb'"reference"\s*:\s*"((?:[^"\\]|\\.){1,2000})"')
_HEAD = re.compile(rb'\{"resourceType":"([A-Za-z]{1,64})","id":"([A-Za-z0-9.-]{1,64})"')
_NAME = b'"reference"'
_LONGEST = 2000
_REMEMBERED = 100_000
_URN = (b"urn:uuid:", b"urn:oid:")
_PLAIN = re.compile(rf"[A-Z][A-Za-z]{{0,63}}/{ID}".encode())
_LINES, _TYPES = 32, 8
"""Bits of a place: after those of its file come those of its line and of its type; the last one says: in a Bundle."""
_LAST, _STEP = (1 << _LINES) - 1, 1 << _TYPES + 1


class _Head(msgspec.Struct, rename="camel"):
    resource_type: str = ""
    id: str = ""


_head = decoder(_Head, bound=False)


def _key(head: _Head) -> int:
    return hash(f"{head.resource_type}/{head.id}".encode())


def _references(raw: bytes) -> list[bytes]:
    """The texts of all references in a JSON text."""
    if b"\\" in raw:
        return _REFERENCE.findall(raw)
    found = []
    for part in raw.split(_NAME)[1:]:
        if part[:2] != b':"':
            return _REFERENCE.findall(raw)  # blanks, or no name at all
        end = part.find(b'"', 2)
        if 2 < end <= _LONGEST + 2:
            found.append(part[2:end])
    return found


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where resources are looked for that the files do not have.

    Attributes:
        base: the address of a server; absolute references that begin with it are looked for as relative ones are.
        resources: gives those of some keys (``Type/id``, each once) that are there.
    """

    base: str
    resources: Callable[[Iterable[str]], Iterator[bytes]]


class Across:
    """The ids and references of a set of files."""

    def __init__(self, elsewhere: Elsewhere | None = None) -> None:
        """Args: where to look for what references name and the files do not have."""
        self._elsewhere = elsewhere
        self._keys: dict[int, str] = {}
        """What the hashes of references name, where they are looked for elsewhere."""
        self._file: FhirFile | None = None
        self._files: list[str] = []
        self._kind: bytes | None = None
        self._base = 0
        self._types = {b"": 0}
        self._ids, self._wanted = Table(3), Table(2)
        self._lately: set[bytes] = set()
        self._sets = 0
        self._subjects = Subjects()

    def add(self, raw: bytes, file: FhirFile, number: int | None, *, one: bool, sound: bool) -> None:
        """Looks at a resource.

        Args:
            raw: its JSON. file, number: its file and line. one: it is all that its file holds.
            sound: it is right, and so it is JSON with each name once.
        """
        if file is not self._file:
            self._file, self._kind = file, None
            self._files.append(file.name)
        if one and file.kind == "bundle":
            self._bundle(raw)
            return
        self._sets += not one
        found = _HEAD.match(raw) if sound else None
        if found is not None:
            self._resource(raw, found[1], found[2], number or 0)
            return
        try:
            head = _head(raw)
        except JsonError:
            return  # a finding of its own
        self._resource(raw, head.resource_type.encode(), head.id.encode(), number or 0)

    def _resource(self, raw: bytes, kind: bytes, identity: bytes, number: int) -> None:
        place = self._place(kind, number)
        texts = _references(raw)
        owner = self._subjects.add(kind, raw, texts, place) if texts else 0
        if identity:
            self._ids.add(hash(b"%b/%b" % (kind, identity)), place, owner)
        for text in texts:
            if text not in self._lately:
                self._reference(text, place)

    def _reference(self, text: bytes, place: int) -> None:
        if len(self._lately) >= _REMEMBERED:
            self._lately.clear()
        self._lately.add(text)
        key = text if text.startswith(_URN) or _PLAIN.fullmatch(text) else self._named(text)
        if not key:
            return
        self._wanted.add(hash(key), place)
        if self._elsewhere and not key.startswith(_URN) and len(self._keys) <= limit("targets"):
            self._keys[hash(key)] = key.decode()

    def _named(self, text: bytes) -> bytes:
        """The key of what a reference names, if it is in the set or where else resources are looked for."""
        named = parsed(text.decode("utf-8", "replace").replace("\\/", "/"))
        base = f"{self._elsewhere.base}/" if self._elsewhere else ""
        return named.key.encode() if named and named.base in ("", base) else b""

    def _bundle(self, raw: bytes) -> None:
        """The entries of a Bundle: their ids count, their references are for whoever made the Bundle."""
        try:
            entries = bundle_of(raw).entries
        except JsonError:
            return  # a finding of its own
        for number, entry in enumerate(entries, 1):
            try:
                head = _head(bytes(entry.resource))
            except JsonError:
                continue
            place = self._place(head.resource_type.encode(), number) | 1
            if head.id:
                self._ids.add(_key(head), place, 0)
            for text in _references(bytes(entry.resource)) if self._elsewhere else ():
                if not text.startswith(_URN) and text not in self._lately:
                    self._reference(text, place)

    def _place(self, kind: bytes, number: int) -> int:
        """Where a resource is, as one number: in their order."""
        if kind != self._kind:
            self._kind = kind
            if kind not in self._types and len(self._types) < 1 << _TYPES:
                self._types[kind] = len(self._types)
            self._base = (len(self._files) << _LINES + _TYPES | self._types.get(kind, 0)) << 1
        return self._base + (number if number < _LAST else _LAST) * _STEP

    def problems(self) -> Iterator[Problem]:
        """An error for each further resource with the id of another; warnings for each first dangling reference, and
        for resources of a patient that refer to another one's."""
        for place in repeated(self._ids):
            where, kind = self._shown(place)
            yield Problem("FS436", Place(*where, f"{kind}.id"), "an id that no other resource of the type has", kind)
        if self._elsewhere:
            self._look(self._elsewhere)
        elif not self._sets:
            return  # single resources are no set
        for place in first_places(self._wanted, self._ids):
            where, kind = self._shown(place)
            yield Problem("FS435", Place(*where, kind), "the resource that the reference names", kind)
        for place in self._subjects.others(self._ids):
            where, kind = self._shown(place)
            yield Problem("FS452", Place(*where, kind), "a resource of the same patient", kind)
        for place in self._subjects.not_enrolled():
            where, kind = self._shown(place)
            yield Problem("FS453", Place(*where, kind), "the study of the patient's ResearchSubject", kind)

    def _look(self, elsewhere: Elsewhere) -> None:
        """Adds the resources that are elsewhere: they are there, and of some patient. Raises InputError: FS160."""
        if len(self._keys) > limit("targets"):
            raise too_much("targets", Place(self._files[-1]))
        absent = (pair for part in missing(self._wanted, self._ids) for pair in part.items())
        wanted = {key: place for key, place in absent if key in self._keys}
        for raw in elsewhere.resources(self._keys[key] for key in wanted):
            head = _head(raw)
            self._ids.add(_key(head), wanted[_key(head)] | 1, patient_of(_references(raw)))

    def _shown(self, place: int) -> tuple[tuple[str, int | None], str]:
        rest, of_type = divmod(place >> 1, 1 << _TYPES)
        file, line = divmod(rest, 1 << _LINES)
        kind = [*self._types][of_type].decode() or "Resource"
        return (self._files[file - 1], line or None), member(kind, 1)
