"""What can be seen only across resources: ids that occur twice, references that nothing in the set answers, subjects.

Ids and references are stored as 64-bit hashes with their places, some 20 bytes each, so that millions fit.
Source: FHIR, "Resource" (id), "References" (literal references), "Bundle" (resolving references).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from fhirspace.errors import InputError, Place, Problem
from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.references import parsed
from fhirspace.fhir.validation.hashes import missing, repeating
from fhirspace.fhir.validation.subjects import Subjects, patient_of
from fhirspace.foreign import member
from fhirspace.json import JsonError, decoder
from fhirspace.limits import limit, too_much

_REFERENCE = re.compile(rb'"reference"\s*:\s*"((?:[^"\\]|\\.){1,2000})"')
_HEAD = re.compile(rb'\{"resourceType":"([A-Za-z]{1,64})","id":"([A-Za-z0-9.-]{1,64})"')
_NAME = b'"reference"'
_LONGEST = 2000
_REMEMBERED = 200_000
_MANY = 1_000_000
"""So many references are looked for among the ids that were met before more are stored."""
_URN = (b"urn:uuid:", b"urn:oid:")


class _Head(msgspec.Struct, rename="camel"):
    resource_type: str = ""
    id: str = ""


_head = decoder(_Head, bound=False)


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
        self._kind, self._base = "", 0
        self._files: list[str] = []
        self._types: list[str] = []
        self._ids, self._id_places, self._id_owners = array("q"), array("q"), array("q")
        self._wanted, self._wanted_places = array("q"), array("q")
        self._full = _MANY
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
            self._file, self._kind = file, ""
            self._files.append(file.name)
        if one and file.kind == "bundle":
            self._bundle(file)
            return
        self._sets += not one
        found = _HEAD.match(raw) if sound else None
        if found is not None:
            self._resource(raw, found[1].decode(), found[2].decode(), number or 0)
            return
        try:
            head = _head(raw)
        except JsonError:
            return  # a finding of its own
        self._resource(raw, head.resource_type, head.id, number or 0)

    def _resource(self, raw: bytes, kind: str, identity: str, number: int) -> None:
        place = self._place(kind, number)
        texts = _references(raw)
        owner = self._subjects.add(kind, raw, texts, place) if texts else 0
        if identity:
            self._is_there(kind, identity, place, owner)
        for text in texts:
            if text not in self._lately:
                self._reference(text, place)

    def _is_there(self, kind: str, identity: str, place: int, owner: int) -> None:
        self._ids.append(hash(f"{kind}/{identity}".encode()))
        self._id_places.append(place)
        self._id_owners.append(owner)

    def _reference(self, text: bytes, place: int) -> None:
        if len(self._lately) >= _REMEMBERED:
            self._lately.clear()
        self._lately.add(text)
        named = None if text.startswith(_URN) else parsed(text.decode("utf-8", "replace").replace("\\/", "/"))
        bases = ("", f"{self._elsewhere.base}/") if self._elsewhere else ("",)
        key = text if text.startswith(_URN) else named.key.encode() if named and named.base in bases else b""
        if key:
            if len(self._wanted) >= self._full:
                self._drop_answered()
            self._wanted.append(hash(key))
            self._wanted_places.append(place)
        if key and self._elsewhere and named and len(self._keys) <= limit("targets"):
            self._keys[hash(key)] = named.key

    def _drop_answered(self) -> None:
        """Forgets the references to what is there already; of large sets most are."""
        rest = missing(self._wanted, self._ids)
        self._wanted = array("q", map(self._wanted.__getitem__, rest))
        self._wanted_places = array("q", map(self._wanted_places.__getitem__, rest))
        self._full = len(rest) + _MANY

    def _bundle(self, file: FhirFile) -> None:
        """The entries of a Bundle: their ids count, their references are for whoever made the Bundle."""
        try:
            entries = file.entries()
        except InputError:
            return
        for number, entry in enumerate(entries, 1):
            try:
                head = _head(bytes(entry.resource))
            except JsonError:
                continue
            place = -self._place(head.resource_type, number)
            if head.id:
                self._is_there(head.resource_type, head.id, place, 0)
            for text in _references(bytes(entry.resource)) if self._elsewhere else ():
                if not text.startswith(_URN) and text not in self._lately:
                    self._reference(text, place)

    def _place(self, kind: str, number: int) -> int:
        if kind != self._kind:
            if kind not in self._types:
                self._types.append(kind)
            self._kind, self._base = kind, (len(self._files) << 44) | (self._types.index(kind) << 32)
        return self._base | min(number, (1 << 32) - 1)

    def problems(self) -> Iterator[Problem]:
        """An error for each further resource with the id of another; warnings for each first dangling reference, and
        for resources of a patient that refer to another one's."""
        for place in self._twice():
            where, kind = self._shown(place)
            yield Problem("FS436", Place(*where, f"{kind}.id"), "an id that no other resource of the type has", kind)
        if self._elsewhere:
            self._look(self._elsewhere)
        elif not self._sets:
            return  # single resources are no set
        for place in self._dangling():
            where, kind = self._shown(place)
            yield Problem("FS435", Place(*where, kind), "the resource that the reference names", kind)
        for place in self._subjects.others(self._ids, self._id_owners):
            where, kind = self._shown(place)
            yield Problem("FS452", Place(*where, kind), "a resource of the same patient", kind)
        for place in self._subjects.not_enrolled():
            where, kind = self._shown(place)
            yield Problem("FS453", Place(*where, kind), "the study of the patient's ResearchSubject", kind)

    def _twice(self) -> Iterator[int]:
        doubled, met = repeating(self._ids), set[int]()
        for key, place in zip(self._ids, self._id_places, strict=True) if doubled else ():
            if key in doubled and key in met and place >= 0:
                yield place
            if key in doubled and place >= 0:
                met.add(key)

    def _look(self, elsewhere: Elsewhere) -> None:
        """Adds the resources that are elsewhere: they are there, and of some patient. Raises InputError: FS160."""
        if len(self._keys) > limit("targets"):
            raise too_much("targets", Place(self._files[-1]))
        absent = {self._wanted[at]: at for at in missing(self._wanted, self._ids)}
        wanted = {key: place for key, place in absent.items() if key in self._keys}
        for raw in elsewhere.resources(self._keys[key] for key in wanted):
            head = _head(raw)
            place = self._wanted_places[wanted[hash(f"{head.resource_type}/{head.id}".encode())]]
            self._is_there(head.resource_type, head.id, -abs(place), patient_of(_references(raw)))

    def _dangling(self) -> Iterator[int]:
        met: set[int] = set()
        for at in missing(self._wanted, self._ids):
            if self._wanted[at] not in met:
                met.add(self._wanted[at])
                yield self._wanted_places[at]

    def _shown(self, place: int) -> tuple[tuple[str, int | None], str]:
        place = abs(place)
        kind = self._types[(place >> 32) & 0xFFF] or "Resource"
        return (self._files[(place >> 44) - 1], (place & 0xFFFFFFFF) or None), member(kind, 1)
