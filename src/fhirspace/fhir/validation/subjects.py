"""Whose data the resources of a set are: references to what is another patient's, and patients of another study.

A resource is of a patient if all references to a Patient in it name the same one. What may be about several (a Group,
a Provenance) is not looked at. All is stored as 64-bit hashes, as in `across`. Source: FHIR, "Compartments" (patient),
ResearchSubject.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fhirspace.fhir.validation.hashes import Table, not_among, of_others

_PATIENT, _STUDY = b"Patient/", b"ResearchStudy/"
_VERSION = b"/_history/"
_ENROLMENT = b"ResearchSubject"
_OF_ONE = (b'"subject":', b'"patient":', b'"individual":')
"""Members by which a resource is about one patient."""
_REMEMBERED = 100_000
_NONE: frozenset[bytes] = frozenset()


def patient_of(texts: Sequence[bytes]) -> int:
    """The hash of the reference to the one patient that references of a resource name; 0: none, or several."""
    patient = _one(texts)
    return hash(patient) if patient else 0


def _one(texts: Sequence[bytes]) -> bytes:
    patients = {text.partition(_VERSION)[0] for text in texts if text.startswith(_PATIENT)}
    return patients.pop() if len(patients) == 1 else b""


class Subjects:
    """The patients of the resources of a set, and the references between these resources."""

    def __init__(self) -> None:
        self._known: dict[bytes, set[bytes]] = {}
        """The references that were met, by the patient of their resource."""
        self._number = 0
        self._links, self._studies, self._enrolments = Table(3), Table(3), Table(2)

    def add(self, kind: bytes, raw: bytes, texts: Sequence[bytes], place: int) -> int:
        """Looks at a resource.

        Args:
            kind: its type. raw: its JSON. texts: its references. place: where it is.

        Returns:
            The hash of the reference to its patient; 0 where it has none, or several.
        """
        patient = _one(texts)
        if not patient:
            return 0
        owner = hash(patient)
        known = self._known.get(patient, _NONE)
        new = texts if kind == _ENROLMENT else [text for text in texts if text not in known]
        if new and any(each in raw for each in _OF_ONE):
            for text in dict.fromkeys(new):
                self._link(kind, owner, text, place)
            self._remember(patient, new)
        return owner

    def _remember(self, patient: bytes, new: Sequence[bytes]) -> None:
        if self._number >= _REMEMBERED:
            self._known, self._number = {}, 0
        self._known.setdefault(patient, set()).update(new)
        self._number += len(new)

    def _link(self, kind: bytes, owner: int, text: bytes, place: int) -> None:
        target = hash(text.partition(_VERSION)[0])
        if kind == _ENROLMENT and text.startswith(_STUDY):
            self._enrolments.add(owner, target)
        elif text.startswith(_STUDY):
            self._studies.add(owner, target, place)
        elif not text.startswith(_PATIENT):
            self._links.add(target, owner, place)

    def others(self, ids: Table) -> Iterator[int]:
        """The places of references to what is another patient's. Args: all ids of the set, as `of_others` has them."""
        return of_others(self._links, ids)

    def not_enrolled(self) -> Iterator[int]:
        """The places of references to a study that the patient is not in, while there is another one that he is in."""
        return not_among(self._studies, self._enrolments)
