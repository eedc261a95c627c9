"""The short way remembers what is around free values: what is not free is judged in each line all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.fhir.validation import members
from fhirspace.fhir.validation.check import check, compiled
from fhirspace.fhir.validation.quick import Quick, sound
from fhirspace.json import parse
from fhirspace.limits import LIMITS
from fhirspace.study.validate import validate

OWN = "http://example.org/fhir/StructureDefinition/"
WHOLE = {"url": f"{OWN}whole", "extension": [{"url": "part", "valueString": "a long text of no interest to anybody"}]}
SHORT = {
    "resourceType": "StructureDefinition",
    "url": f"{OWN}short",
    "type": "Extension",
    "derivation": "constraint",
    "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
    "context": [{"type": "element", "expression": "Observation"}],
    "differential": {
        "element": [
            {"id": "Extension.url", "path": "Extension.url", "fixedUri": f"{OWN}short"},
            {"id": "Extension.value[x]", "path": "Extension.value[x]", "min": 1, "fixedString": "yes"},
        ]
    },
}


def line(*extensions: dict[str, Any]) -> bytes:
    whole = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "extension": list(extensions)}
    return json.dumps(whole, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "other",
    [
        {"url": f"{OWN}whole", "extension": [{"url": "part", "valueString": "blank at the end, which is allowed, "}]},
        {"url": f"{OWN}whole", "extension": [{"url": "part", "valueString": ""}]},
        {"url": f"{OWN}whole", "extension": [{"url": "part", "valueQuantity": {"value": "5", "unit": "mg"}}]},
        {"url": f"{OWN}whole", "extension": [{"url": "part", "valueQuantity": {"value": 5, "unit": ["mg"]}}]},
        {"url": f"{OWN}whole", "extension": [{"url": "part", "valueString": "a", "valueCode": "a"}]},
        {"url": f"{OWN}whole", "extension": [{"url": "part", "valueString": "a", "valueQuantity": {"value": 1}}]},
        {"url": "whole", "extension": [{"url": "part", "valueString": "a long text of no interest to anybody"}]},
        {"url": f"{OWN}whole", "extension": [{"url": "part", "valueString": "a\x01"}]},
        {"url": f"{OWN}whole", "extension": [{"url": "part", "valueString": "a", "id": "b"}]},
    ],
)
def test_values_that_are_not_free_are_judged(other: dict[str, Any]) -> None:
    again = {**WHOLE, "extension": [{"url": "part", "valueString": "and another one, which is as long as that"}]}
    assert sound(line(WHOLE, WHOLE), "R4")
    assert sound(line(again, WHOLE), "R4")
    assert not (sound(line(WHOLE, other), "R4") and check(parse(line(WHOLE, other)), "R4"))


def test_a_text_that_a_definition_fixes_is_judged_each_time(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "short.json").write_text(json.dumps(SHORT), encoding="utf-8")
    texts = ["yes", "no", "yes", "nay"]
    lines = [line(WHOLE, {"url": f"{OWN}short", "valueString": text}) for text in texts]
    (tmp_path / "o.ndjson").write_bytes(b"\n".join(lines))
    found = list(validate([tmp_path / "o.ndjson"], profile=[tmp_path / "package"]))
    assert [problem.place.row for problem in found] == [2, 4]


def test_what_is_known_is_looked_up_by_all_but_its_free_values() -> None:
    """An extension with a definition has its own text in the key: another one of it is judged anew."""
    place = {"url": "http://hl7.org/fhir/StructureDefinition/observation-bodyPosition"}
    assert sound(line({**place, "valueCodeableConcept": {"text": "SITTING"}}, WHOLE, WHOLE), "R4")
    assert not sound(line({**place, "valueString": "SITTING"}, WHOLE, WHOLE), "R4")


def test_what_is_too_deep_is_left_to_the_full_way() -> None:
    inner: dict[str, Any] = {"url": "part", "valueString": "x"}
    for _ in range(LIMITS["json-depth"].default // 2 + 1):
        inner = {"url": "part", "extension": [inner]}
    assert not sound(line({**inner, "url": f"{OWN}deep"}), "R4")


def test_all_members_together_remember_so_much_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fullest members forget; what is found is the same."""
    monkeypatch.setattr(members, "_ALL", 12)
    monkeypatch.setattr(members, "_LOOK", 1)
    quick = Quick(compiled("R4"))
    for number in range(50):
        coding = {"system": "http://example.org", "code": f"c{number}"}
        whole = {"resourceType": "Observation", "status": "final", "code": {"coding": [coding]}}
        assert quick.sound(json.dumps(whole, separators=(",", ":")).encode())
        wrong = {**whole, "status": "bogus"}
        assert not quick.sound(json.dumps(wrong, separators=(",", ":")).encode())
    known = [len(each.good) for each in members._every]
    assert 1 < sum(known) <= 13
