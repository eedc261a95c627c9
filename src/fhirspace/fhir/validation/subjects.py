"""Whose data the resources of a set are: references to what is another patient's, and patients of another study.

A resource is of a patient if all references to a Patient in it name the same one. What may be about several (a Group,
a Provenance) is not looked at. All is stored as 64-bit hashes, as in `across`. Source: FHIR, "Compartments" (patient),
ResearchSubject.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from fhirspace.fhir.validation.hashes import of_others

_PATIENT, _STUDY = b"Patient/", b"ResearchStudy/"
_VERSION = b"/_history/"
_ENROLMENT = "ResearchSubject"
_OF_ONE = (b'"subject":', b'"patient":', b'"individual":')
"""Members by which a resource is about one patient."""
_REMEMBERED = 100_000


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
        self._known: set[tuple[bytes, bytes]] = set()
        self._targets, self._owners, self._places = array("q"), array("q"), array("q")
        self._studies, self._patients, self._study_places = array("q"), array("q"), array("q")
        self._enrolled: set[int] = set()
        self._enrolments: set[tuple[int, int]] = set()

    def add(self, kind: str, raw: bytes, texts: Sequence[bytes], place: int) -> int:
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
        new = texts if kind == _ENROLMENT else [text for text in texts if (patient, text) not in self._known]
        if new and any(each in raw for each in _OF_ONE):
            for text in new:
                self._link(kind, patient, text, place)
        return owner

    def _link(self, kind: str, patient: bytes, text: bytes, place: int) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known.add((patient, text))
        target, owner = hash(text.partition(_VERSION)[0]), hash(patient)
        if kind == _ENROLMENT and text.startswith(_STUDY):
            self._enrolled.add(owner)
            self._enrolments.add((owner, target))
        elif text.startswith(_STUDY):
            self._patients.append(owner)
            self._studies.append(target)
            self._study_places.append(place)
        elif not text.startswith(_PATIENT):
            self._owners.append(owner)
            self._targets.append(target)
            self._places.append(place)

    def others(self, ids: array[int], owners: array[int]) -> Iterator[int]:
        """The places of references to what is another patient's. Args: all ids of the set, and their patients."""
        return (self._places[at] for at in of_others(self._targets, self._owners, ids, owners))

    def not_enrolled(self) -> Iterator[int]:
        """The places of references to a study that the patient is not in, while there is another one that he is in."""
        for owner, study, place in zip(self._patients, self._studies, self._study_places, strict=True):
            if owner in self._enrolled and (owner, study) not in self._enrolments:
                yield place
