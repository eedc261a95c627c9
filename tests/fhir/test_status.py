"""The rules of status elements hold every code of every release, and doubt no less than they must."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from fhirspace.fhir.status import MISTAKE, Outcome, Verdict, doubtful, rules, verdicts
from fhirspace.mapping.library import Library
from fhirspace.standards.fhir import RELEASES, Release, definitions

STATUS = {"status", "verificationStatus", "clinicalStatus", "actuality", "intent", "active", "adherence"}

BACKPORT = "http://hl7.org/fhir/uv/ae-research-backport-ig/StructureDefinition/status"


def kinds(release: Release) -> set[str]:
    """The resource types that our mappings write, contained ones too."""
    return {block.resource for mapping in Library(release).complete().values() for block in mapping.blocks} | {
        "Specimen"
    }


HL7_CONFIRMED = {"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}
SCT_KNOWN = {"system": "http://snomed.info/sct", "code": "410605003"}


@pytest.mark.parametrize("release", ["R4", *(pytest.param(name, marks=pytest.mark.slow) for name in ("R4B", "R5"))])
def test_every_code_of_every_status_element_has_an_outcome(release: Release) -> None:
    known = definitions(release)
    for kind in kinds(release):
        for name in STATUS & known.children(kind).keys():
            path = "adherence.code" if name == "adherence" else name
            binding = known.children(kind)[name].binding
            codes: set[str] | frozenset[str] = (known.codes(binding.value_set) if binding else None) or frozenset()
            assert path in rules()[kind], (kind, path)
            assert codes <= rules()[kind][path].keys(), (kind, path)


def test_no_code_is_listed_that_no_release_has() -> None:
    for kind, elements in rules().items():
        for path, outcomes in elements.items():
            bindings = [
                (definitions(release), definitions(release).children(kind)[path].binding)
                for release in RELEASES
                if path in definitions(release).children(kind)
            ]
            sets = [codes for known, bound in bindings if bound and (codes := known.codes(bound.value_set))]
            assert not sets or outcomes.keys() == frozenset().union(*sets), (kind, path)
            assert set(outcomes.values()) <= set(get_args(Outcome))


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"resourceType": "Observation", "status": "final"}, []),
        ({"resourceType": "Composition", "status": "final"}, []),
        ({"resourceType": "Composition", "status": "entered-in-error"}, [Verdict("never", "status", MISTAKE)]),
        ({"resourceType": "Observation", "status": "cancelled"}, [Verdict("not done", "status", "cancelled")]),
        ({"resourceType": "Observation", "status": "Final"}, [Verdict("not understood", "status")]),
        ({"resourceType": "Observation", "status": ["final"]}, [Verdict("not understood", "status")]),
        ({"resourceType": "Observation", "status": 5}, [Verdict("not understood", "status")]),
        *(
            ({"resourceType": "Condition", "verificationStatus": {"coding": codings}}, verdict)
            for codings, verdict in (
                ([HL7_CONFIRMED, SCT_KNOWN], []),  # a translation beside the code that FHIR demands
                ([SCT_KNOWN, HL7_CONFIRMED], []),
                ([SCT_KNOWN], [Verdict("not understood", "verificationStatus")]),
                ([HL7_CONFIRMED, {"code": "410605003"}], [Verdict("not understood", "verificationStatus")]),
                ([{**HL7_CONFIRMED, "code": "sure"}, SCT_KNOWN], [Verdict("not understood", "verificationStatus")] * 2),
                (
                    [SCT_KNOWN, {**HL7_CONFIRMED, "code": "refuted"}],
                    [Verdict("not occurred", "verificationStatus", "refuted")],
                ),
            )
        ),
        ({"resourceType": "Patient", "active": False}, [Verdict("finding", "active", "false")]),
        ({"resourceType": "Patient", "active": True}, []),
        (
            {
                "resourceType": "Condition",
                "verificationStatus": {"coding": [{"code": "confirmed"}, {"code": "refuted"}]},
            },
            [Verdict("not occurred", "verificationStatus", "refuted")],
        ),
        (
            {"resourceType": "Condition", "verificationStatus": {"coding": ["refuted"]}},
            [Verdict("not understood", "verificationStatus")],
        ),
        (
            {"resourceType": "MedicationStatement", "adherence": {"code": {"coding": [{"code": "not-taking"}]}}},
            [Verdict("not occurred", "adherence.code", "not-taking")],
        ),
        (
            {"resourceType": "Observation", "contained": [{"resourceType": "Specimen", "status": "entered-in-error"}]},
            [Verdict("never", "contained[0].status", "entered-in-error")],
        ),
        ({"resourceType": "Observation", "doNotPerform": True}, [Verdict("never", "doNotPerform")]),
        ({"resourceType": "Observation", "wasNotGiven": False}, []),
        ({"resourceType": "Observation", "implicitRules": "http://x"}, [Verdict("not understood", "implicitRules")]),
        (
            {"resourceType": "Observation", "component": [{}, {"modifierExtension": []}]},
            [Verdict("not understood", "component[1].modifierExtension")],
        ),
        ({"resourceType": "AdverseEvent", "modifierExtension": [{"url": BACKPORT, "valueCode": "completed"}]}, []),
        (
            {"resourceType": "AdverseEvent", "modifierExtension": [{"url": BACKPORT, "valueCode": "entered-in-error"}]},
            [Verdict("never", "modifierExtension", "entered-in-error")],
        ),
        (
            {"resourceType": "AdverseEvent", "modifierExtension": [{"url": BACKPORT, "valueCode": "x"}, {"url": "x"}]},
            [Verdict("not understood", "modifierExtension"), Verdict("not understood", "modifierExtension")],
        ),
        ({"resourceType": ["Observation"], "status": "cancelled", "contained": {"status": 1}}, []),
    ],
)
def test_verdicts(resource: dict[str, object], expected: list[Verdict]) -> None:
    assert verdicts(resource) == expected


@pytest.mark.parametrize(
    ("line", "doubt"),
    [
        ('{"resourceType":"Observation","status":"final"}', False),
        ('{"resourceType":"Observation","status":"cancelled"}', True),
        ('{"resourceType":"Observation","status":"\\u0063ancelled"}', True),
        (' { "resourceType" : "Observation", "status" : "final" }', False),
        ('{"status":"final","resourceType":"Observation"}', True),
        ('{"resourceType":"Observation","valueString":"cancelled by \\u2265 2"}', False),
        ('{"resourceType":"Condition","verificationStatus":{"coding":[{"code":"refuted"}]}}', True),
    ],
)
def test_doubtful_looks_at_bytes_only(line: str, doubt: bool) -> None:
    assert doubtful([(4, line.encode())]) == ([4] if doubt else [])


def test_doubtful_never_misses_a_listed_code() -> None:
    for kind, elements in rules().items():
        for path, outcomes in elements.items():
            for code, outcome in outcomes.items():
                value: object = code == "true" if path == "active" else code
                for name in reversed(path.split(".")):
                    value = {name: value}
                line = json.dumps({"resourceType": kind, **value}).encode()  # type: ignore[dict-item]
                expected = outcome != "row" and path != "active"  # no template has a place for it: it is unread
                assert bool(doubtful([(1, line)])) == expected, (kind, path, code)
