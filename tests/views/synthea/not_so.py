"""Changes to resources that make each say "this did not happen", "this was an error", or something unknown."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from tests.views.ehr import coded

_TERMS: Final = "http://terminology.hl7.org/CodeSystem"
_ODD: Final = {"modifierExtension": [{"url": "http://hospital.example/not-this-patient", "valueBoolean": True}]}


def _of(*codes: str) -> list[dict[str, Any]]:
    return [{"status": code} for code in codes]


def _verified(system: str) -> list[dict[str, Any]]:
    return [{"verificationStatus": coded(f"{_TERMS}/{system}", code)} for code in ("refuted", "entered-in-error")]


CHANGES: Final[Mapping[str, list[dict[str, Any]]]] = {
    "Observation": [*_of("entered-in-error", "cancelled", "invented"), {"implicitRules": "http://hospital.example/r"}],
    "Condition": _verified("condition-ver-status"),
    "AllergyIntolerance": _verified("allergyintolerance-verification"),
    "MedicationRequest": [
        *_of("cancelled", "entered-in-error", "draft"),
        {"doNotPerform": True},
        {"intent": "proposal"},
    ],
    "MedicationAdministration": _of("not-done", "entered-in-error"),
    "Procedure": _of("not-done", "preparation", "entered-in-error"),
    "Immunization": _of("not-done", "entered-in-error"),
}


def chosen(made: Mapping[str, set[str]], wanted: int, seed: int) -> dict[str, dict[str, Any]]:
    """The change of each of so many resources, by id: of each type its share, then of any.

    Args:
        made: by type, the ids of resources that made rows.
    """
    draw = random.Random(seed)
    order = {kind: draw.sample(sorted(ids), len(ids)) for kind, ids in made.items()}
    share = wanted // len(order)
    first = [(kind, name) for kind, names in order.items() for name in names[:share]]
    rest = [(kind, name) for kind, names in order.items() for name in names[share:]]
    turns = defaultdict[str, int](int)
    found = dict[str, dict[str, Any]]()
    for kind, name in [*first, *draw.sample(rest, wanted - len(first))]:
        changes = [*CHANGES[kind], _ODD]
        found[name] = changes[turns[kind] % len(changes)]
        turns[kind] += 1
    return found
