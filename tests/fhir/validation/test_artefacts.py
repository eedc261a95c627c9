"""Resources that describe FHIR itself: their parts have to fit together."""

from __future__ import annotations

from typing import Any

import pytest

from fhirspace.fhir.validation.check import check
from fhirspace.standards.fhir import RELEASES, Release

PARAMETER: dict[str, Any] = {
    "resourceType": "SearchParameter",
    "url": "http://example.org/SearchParameter/s",
    "name": "S",
    "status": "draft",
    "description": "d",
    "code": "s",
    "base": ["Patient", "Person"],
    "type": "token",
}
SOURCE = {"context": "from", "element": "name", "variable": "n"}
TARGET = {"context": "to", "contextType": "variable", "element": "participant"}
STATUS = "http://hl7.org/fhir/StructureDefinition/structuredefinition-standards-status"


def _map(source: dict[str, Any] = SOURCE, target: dict[str, Any] = TARGET, **inner: Any) -> dict[str, Any]:
    """A StructureMap from a Patient to an Appointment, with a rule within its rule where `inner` gives parts of one."""
    rule: dict[str, Any] = {"name": "r", "source": [source], "target": [target]}
    if inner:
        rule["rule"] = [{"name": "i", "source": [{"context": "n"}], **inner}]
    inputs = [
        {"name": "from", "type": "Patient", "mode": "source"},
        {"name": "to", "type": "A", "mode": "target"},
        {"name": "other", "type": "Thing", "mode": "source"},
    ]
    return {
        "resourceType": "StructureMap",
        "url": "http://example.org/StructureMap/m",
        "name": "M",
        "status": "draft",
        "structure": [
            {"url": "http://hl7.org/fhir/StructureDefinition/Appointment", "mode": "target", "alias": "A"},
            {"url": "http://hl7.org/fhir/StructureDefinition/Patient", "mode": "source"},
        ],
        "group": [{"name": "g", "typeMode": "none", "input": inputs, "rule": [rule]}],
    }


def _found(resource: dict[str, Any], release: Release) -> list[str]:
    """The paths of what these checks find: other findings are of the elements of one release."""
    ours = (
        "as base says", "a variable that", "an element of Patient", "an element of Appointment", "guides of HL7",
        "as supplements is given", "parts of the composite", "content is", "of this Questionnaire", "combined",
        "that it supplements", "of a code system;", "Extension.url", "starts at a type",
    )  # fmt: skip
    return [path for path, _, expected in check(resource, release) if any(each in expected for each in ours)]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("expression", "right"),
    [
        ("Patient.name | Person.name", True),
        ("(Patient.deceased as boolean) | Person.active.where(true)", True),
        ("Resource.id", True),
        ("name", True),
        ("Patient.link.where(resolve() is Practitioner)", True),
        ("Practitioner.name", False),
        ("Patient.name | Practitioner.extension('http://e.org')", False),
        ("(Practitioner.deceased as boolean)", False),
        ("Practitioner.name[0]", False),
        ("no FHIRPath (", True),
    ],
)
def test_a_search_parameter_starts_at_its_types(expression: str, right: bool, release: Release) -> None:
    found = _found({**PARAMETER, "expression": expression}, release)
    assert found == ([] if right else ["SearchParameter.expression"])


@pytest.mark.parametrize(
    ("url", "extensions", "right"),
    [
        ("http://hl7.org/fhir/us/x", [], False),
        ("http://hl7.org/fhir/us/x", [{"url": STATUS, "valueCode": "trial-use"}], True),
        ("http://example.org/fhir/x", [], True),
    ],
)
def test_a_guide_of_hl7_says_its_status(url: str, extensions: list[dict[str, Any]], right: bool) -> None:
    guide = {
        "resourceType": "ImplementationGuide",
        "url": f"{url}/ImplementationGuide/x",
        "name": "X",
        "packageId": "x",
    }
    more = {"status": "active", "fhirVersion": ["4.0.1"], **({"extension": extensions} if extensions else {})}
    assert _found({**guide, **more}, "R4") == ([] if right else ["ImplementationGuide.extension"])


@pytest.mark.parametrize("base", ["Resource", "DomainResource"])
def test_a_search_parameter_of_all_types_may_start_at_any(base: str) -> None:
    assert _found({**PARAMETER, "base": [base], "expression": "Practitioner.name"}, "R4") == []


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (_map(), ""),
        (_map({**SOURCE, "context": "From"}), "source[0].context"),
        (_map(target={**TARGET, "context": "n"}), ""),
        (_map(target={**TARGET, "context": "m"}), "target[0].context"),
        (_map(target={**TARGET, "context": "Appointment", "contextType": "type"}), ""),
        (_map({**SOURCE, "element": "names"}), "source[0].element"),
        (_map({**SOURCE, "element": "deceased"}), ""),
        (_map({**SOURCE, "element": "deceasedBoolean"}), "source[0].element"),
        (_map({**SOURCE, "context": "other", "element": "anything"}), ""),
        (_map(target={**TARGET, "element": "participants"}), "target[0].element"),
        (_map(target={"context": "n", "variable": "v"}, documentation="d"), ""),
        (_map(source={**SOURCE, "variable": "m"}, rule=[]), "rule[0].source[0].context"),
    ],
)
def test_a_map_knows_its_variables_and_elements(resource: dict[str, Any], path: str, release: Release) -> None:
    assert _found(resource, release) == ([f"StructureMap.group[0].rule[0].{path}"] if path else [])


@pytest.mark.parametrize(
    "broken", [{"group": 1}, {"group": [{"input": [1], "rule": [{"source": 1}]}]}, {"structure": [{"alias": []}]}]
)
def test_parts_of_other_kinds_are_no_crash(broken: dict[str, Any]) -> None:
    assert check({**_map(), **broken}, "R4")


@pytest.mark.parametrize("release", RELEASES)
def test_a_composite_parameter_has_two_parts(release: Release) -> None:
    part = {"definition": "http://example.org/SearchParameter/p", "expression": "name"}
    for count, place in ((0, ["SearchParameter.component"]), (1, ["SearchParameter.component"]), (2, [])):
        more = {"component": [part] * count} if count else {}
        assert _found({**PARAMETER, "type": "composite", **more}, release) == place


@pytest.mark.parametrize("release", RELEASES)
def test_what_supplements_a_code_system_says_so(release: Release) -> None:
    system = {"resourceType": "CodeSystem", "url": "http://example.org/s", "status": "draft", "content": "supplement"}
    other = {"supplements": "http://example.org/t"}
    assert _found({**system, **other}, release) == []
    assert _found(system, release) == ["CodeSystem.content"]
    assert _found({**system, **other, "content": "fragment"}, release) == ["CodeSystem.content"]
    assert _found({**system, "content": "fragment"}, release) == []
    assert _found({**system, "content": "not-present", "concept": [{"code": "a"}]}, release) == ["CodeSystem.concept"]


@pytest.mark.parametrize("release", RELEASES)
def test_a_complete_code_system_counts_its_concepts(release: Release) -> None:
    system = {"resourceType": "CodeSystem", "url": "http://example.org/s", "status": "draft", "content": "complete"}
    concepts = [{"code": "a", "concept": [{"code": "b"}]}, {"code": "c"}]
    assert _found({**system, "concept": concepts, "count": 3}, release) == []
    assert _found({**system, "concept": concepts, "count": 2}, release) == ["CodeSystem.count"]
    assert _found({**system, "concept": concepts, "count": 9, "content": "fragment"}, release) == []
    assert "CodeSystem.count" in _found({**system, "concept": [1, {"concept": 2}], "count": 9}, release)


@pytest.mark.parametrize("release", RELEASES)
def test_a_value_set_takes_codes_of_a_code_system(release: Release) -> None:
    def taking(system: str) -> list[str]:
        return _found(
            {"resourceType": "ValueSet", "status": "draft", "compose": {"include": [{"system": system}]}}, release
        )

    assert taking(GENDER) == taking("http://example.org/codes") == taking("#contained") == []
    for wrong in ("gender", f"{GENDER}|4.0.1", "http://hl7.org/fhir/ValueSet/administrative-gender"):
        assert taking(wrong) == ["ValueSet.compose.include[0].system"]


@pytest.mark.parametrize("release", RELEASES)
def test_an_extension_has_its_address_and_contexts(release: Release) -> None:
    def extension(url: str, context: str) -> dict[str, Any]:
        elements = [{"id": "Extension.url", "path": "Extension.url", "fixedUri": url}]
        return {
            "resourceType": "StructureDefinition",
            "url": "http://example.org/e",
            "type": "Extension",
            "derivation": "constraint",
            "context": [{"type": "element", "expression": context}],
            "differential": {"element": elements},
        }

    for right in ("Patient", "Patient.contact.name", "Element", "CanonicalResource", "http://example.org/s#Patient"):
        assert _found(extension("http://example.org/e", right), release) == []
    assert _found(extension("http://example.org/f", "Patient"), release) == ["StructureDefinition.url"]
    assert _found(extension("http://example.org/e", "Pateint"), release) == [
        "StructureDefinition.context[0].expression"
    ]


@pytest.mark.parametrize("release", RELEASES)
def test_a_condition_asks_for_an_item_of_the_questionnaire(release: Release) -> None:
    def asking(link: str, **more: Any) -> dict[str, Any]:
        when = {"question": link, "operator": "exists", "answerBoolean": True}
        inner = {"linkId": "2", "type": "group", "item": [{"linkId": "3", "type": "display", "enableWhen": [when]}]}
        items = [{"linkId": "1", "type": "boolean"}, inner]
        return {"resourceType": "Questionnaire", "status": "draft", "item": items, **more}

    assert _found(asking("1"), release) == []
    assert _found(asking("4"), release) == ["Questionnaire.item[1].item[0].enableWhen[0].question"]
    assert _found(asking("3"), release) == ["Questionnaire.item[1].item[0].enableWhen[0].question"]
    twins = asking("3")
    assert _found({**twins, "item": [*twins["item"], {"linkId": "3", "type": "display"}]}, release) == []
    assert _found(asking("4", derivedFrom=["http://example.org/q"]), release) == []
    assert _found({**asking("1"), "item": [1, {"item": 2, "enableWhen": [3]}]}, release) == []
    twice = {**asking("1"), "item": [{"linkId": "1"}, {"linkId": "2", "enableWhen": [{"question": "1"}] * 2}]}
    assert _found(twice, release) == ["Questionnaire.item[1].enableBehavior"]


GENDER = "http://hl7.org/fhir/administrative-gender"
V3_GENDER = "http://terminology.hl7.org/CodeSystem/v3-AdministrativeGender"


def _concepts(release: Release, code: str, other: str, **more: str) -> list[str]:
    """The paths of unknown codes in a map of one gender to another."""
    how = {"relationship": "equivalent"} if release == "R5" else {"equivalence": "equal"}
    element = {"code": code, "target": [{"code": other, **how}]}
    group = {"source": GENDER, "target": V3_GENDER, **more, "element": [element]}
    found = check({"resourceType": "ConceptMap", "status": "draft", "group": [group]}, release)
    return [path.removeprefix("ConceptMap.group[0].element[0].") for path, key, _ in found if key == "FS426"]


@pytest.mark.parametrize("release", RELEASES)
def test_a_concept_map_maps_codes_of_its_systems(release: Release) -> None:
    assert _concepts(release, "male", "M") == []
    assert _concepts(release, "male", "UNK") == ["target[0].code"]
    assert _concepts(release, "male, female", "M") == ["code"]
    assert _concepts(release, "male, female", "UNK", source="http://example.org/other") == ["target[0].code"]
    assert _concepts(release, "any", "UNK", target="http://example.org/other") == ["code"]


def test_codes_of_other_versions_of_a_system_are_not_judged() -> None:
    assert _concepts("R4", "any", "UNK", sourceVersion="1", targetVersion="1") == []
    assert _concepts("R5", "any", "UNK", source=f"{GENDER}|1", target=f"{V3_GENDER}|1") == []


def test_what_is_no_group_of_a_map_is_refused_as_such() -> None:
    for odd in (1, "x", [1], [{"code": 1, "target": 1}], [{"target": [1]}]):
        group = {"source": GENDER, "target": V3_GENDER, "element": odd}
        assert check({"resourceType": "ConceptMap", "status": "draft", "group": [group]})
