"""HL7's definitions as packaged: types, elements, bindings, patterns."""

import re

import pytest

from fhirspace.standards.fhir import RELEASES, Binding, Definitions, Release, definitions


@pytest.fixture(scope="module")
def r4() -> Definitions:
    return definitions("R4")


@pytest.mark.parametrize(
    ("release", "version", "count"), [("R4", "4.0.1", 146), ("R4B", "4.3.0", 141), ("R5", "5.0.0", 158)]
)
def test_every_resource_of_a_release_is_there(release: Release, version: str, count: int) -> None:
    found = definitions(release)
    assert found.version == version
    assert len(found.resources) == count
    assert not found.resources & {"Resource", "DomainResource", "Quantity"}
    assert {"Observation", "Quantity", "string", "Resource"} <= found.types


def test_an_unknown_release_is_refused() -> None:
    with pytest.raises(ValueError, match="R4, R4B, R5"):
        definitions("R3")


@pytest.mark.parametrize("release", RELEASES)
def test_every_reachable_element_resolves(release: Release) -> None:
    found = definitions(release)
    todo, seen = sorted(found.types), set[str]()
    while todo:
        key = todo.pop()
        if key in seen:
            continue
        seen.add(key)
        for name, child in found.children(key).items():
            assert child.name == name
            assert child.type in found.types
            assert child.primitive == (child.type in found.primitives)
            assert child.max is None or child.max >= max(child.min, 1)
            todo.append(child.children_path)
    assert {"Observation.component", "Timing.repeat", "SimpleQuantity"} <= seen


def test_inherited_elements_come_with_a_resource(r4: Definitions) -> None:
    children = r4.children("Observation")
    assert list(children)[:4] == ["id", "meta", "implicitRules", "language"]
    assert {"text", "contained", "extension", "modifierExtension"} <= set(children)
    assert children["id"].type == "id"
    assert "text" not in r4.children("Bundle"), "a Bundle is no DomainResource"


def test_nested_groups_inherit_what_their_kind_has(r4: Definitions) -> None:
    assert {"id", "extension", "modifierExtension", "code", "valueString"} <= set(r4.children("Observation.component"))
    assert "modifierExtension" not in r4.children("Timing.repeat"), "Timing.repeat is an Element"


def test_choices_are_listed_by_their_json_names(r4: Definitions) -> None:
    found = r4.children("MedicationAdministration")["effectiveDateTime"]
    assert (found.type, found.choice, found.min, found.choice_min) == ("dateTime", "effective[x]", 0, 1)
    assert found.path == "MedicationAdministration.effective[x]"
    assert r4.required("MedicationAdministration") == {"status", "medication[x]", "subject", "effective[x]"}


@pytest.mark.parametrize(
    ("path", "type_name", "maximum", "targets"),
    [
        ("Observation.subject", "Reference", 1, ("Device", "Group", "Location", "Patient")),
        ("Observation.focus", "Reference", None, ()),
        ("Observation.code.coding", "Coding", None, ()),
        ("Observation.code.coding.system", "uri", 1, ()),
        ("Observation.component.referenceRange.low", "Quantity", 1, ()),
        ("Bundle.entry.resource", "Resource", 1, ()),
        ("Narrative.div", "xhtml", 1, ()),
        ("Extension.url", "uri", 1, ()),
    ],
)
def test_an_element_is_found_by_its_path(
    r4: Definitions, path: str, type_name: str, maximum: int | None, targets: tuple[str, ...]
) -> None:
    found = r4.element(path)
    assert (found.type, found.max, found.targets) == (type_name, maximum, targets)
    assert found.is_list == (maximum is None)


def test_a_simple_quantity_has_no_comparator(r4: Definitions) -> None:
    low = r4.element("Observation.referenceRange.low")
    assert "comparator" not in r4.children(low.children_path)
    assert "comparator" in r4.children("Observation.valueQuantity")


def test_a_primitive_has_the_content_of_its_companion(r4: Definitions) -> None:
    assert set(r4.children("Observation.status")) == set(r4.children("string")) == {"id", "extension"}


def test_reused_content_is_found_where_it_is_defined() -> None:
    assert (
        definitions("R5").element("Observation.component.referenceRange").children_path == "Observation.referenceRange"
    )


@pytest.mark.parametrize(
    "path", ["Obervation", "Observation.vlaue", "Observation.component.nothing", "", "Observation.value[x]"]
)
def test_what_does_not_exist_is_refused(r4: Definitions, path: str) -> None:
    with pytest.raises(LookupError):
        r4.children(path)
    with pytest.raises(LookupError):
        r4.element(path)


def test_releases_differ_where_the_standard_does() -> None:
    r4, r5 = definitions("R4"), definitions("R5")
    assert "individual" in r4.children("ResearchSubject")
    assert "subject" in r5.children("ResearchSubject")
    assert "occurenceDateTime" in r5.children("MedicationAdministration"), "spelt so in the standard"
    assert "Medication" in r5.element("MedicationAdministration.medication").targets


def test_codes_of_required_bindings_are_enumerated(r4: Definitions) -> None:
    binding = r4.element("Observation.status").binding
    assert binding == Binding("required", "http://hl7.org/fhir/ValueSet/observation-status")
    assert r4.codes(binding.value_set) == {
        "registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"
    }  # fmt: skip
    assert r4.code_systems(binding.value_set) == {"http://hl7.org/fhir/observation-status"}


def test_adverse_event_severity_is_bound_in_r4(r4: Definitions) -> None:
    binding = r4.element("AdverseEvent.severity").binding
    assert binding is not None
    assert binding.strength == "required"
    assert r4.values(binding.value_set) == {
        "http://terminology.hl7.org/CodeSystem/adverse-event-severity": {"mild", "moderate", "severe"}
    }


def test_systems_that_left_the_core_package_are_enumerated() -> None:
    codes = definitions("R5").codes("http://hl7.org/fhir/ValueSet/condition-clinical")
    assert codes is not None
    assert {"active", "resolved", "unknown"} <= codes


@pytest.mark.parametrize(
    "name", ["http://hl7.org/fhir/ValueSet/mimetypes", "http://hl7.org/fhir/ValueSet/ucum-units", "no"]
)
def test_open_value_sets_have_no_codes(r4: Definitions, name: str) -> None:
    assert r4.codes(name) is None
    assert r4.code_systems(name) is None
    assert r4.values(name) is None


@pytest.mark.parametrize(
    ("type_name", "good", "bad"),
    [
        ("id", ["a", "A-1.b", "x" * 64], ["", "x" * 65, "a_b", "a b"]),
        ("code", ["final", "entered in error"], [" final", "final ", ""]),
        ("date", ["2024", "2024-02", "2024-02-29"], ["24", "2024-13", "2024-2-1", "2024-02-29T10:00:00Z"]),
        ("dateTime", ["2024", "2024-02-29T10:00:00Z", "2024-02-29T10:00:00.5+02:00"], ["2024-02-29T10:00:00"]),
        ("dateTime", ["2024-02", "2024-02-29T10:00:00-14:00"], ["2024-02-29T10:00Z", "2024-02-29T24:00:00Z"]),
        ("instant", ["2024-02-29T10:00:00Z"], ["2024-02-29"]),
        ("time", ["10:00:00"], ["10:00", "24:00:00"]),
        ("decimal", ["0", "-5.50", "1e-3"], ["05", ".5", "5.", "+1"]),
        ("integer", ["0", "-7", "12"], ["1.0", "01"]),
        ("positiveInt", ["1"], ["0", "-1"]),
        ("unsignedInt", ["0", "7"], ["-1"]),
        ("boolean", ["true", "false"], ["True", "1"]),
        ("base64Binary", ["YWJj", "YWJjZA==", "YW Jj\nZA=="], ["", "Y", "YW*j", "YW==Jj"]),
        ("oid", ["urn:oid:1.2.3"], ["1.2.3"]),
        ("uuid", ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"], ["c757873d-ec9a-4326-a141-556f43239520"]),
        ("uri", ["http://a/b", "urn:x"], ["", "a b"]),
        ("string", ["a", "µg\n\t x", "\u00a0"], ["", "a\x00b", "\x0b"]),
        ("xhtml", ['<div xmlns="http://www.w3.org/1999/xhtml">x</div>'], ["x", "<p>x</p>"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("release", RELEASES)
def test_patterns_tell_right_from_wrong(release: Release, type_name: str, good: list[str], bad: list[str]) -> None:
    pattern = re.compile(definitions(release).primitive_regex(type_name), re.ASCII)
    assert [text for text in good if not pattern.fullmatch(text)] == []
    assert [text for text in bad if pattern.fullmatch(text)] == []


def test_patterns_are_of_primitives_only(r4: Definitions) -> None:
    with pytest.raises(LookupError):
        r4.primitive_regex("Quantity")


def test_close_names_are_suggested(r4: Definitions) -> None:
    assert "valueQuantity" in r4.suggest("valueQuantitiy", "Observation")
    assert r4.suggest("AdverseEvnt") == ["AdverseEvent"]
    assert r4.suggest("zzzz", "Observation") == []


def test_published_extensions_are_known(r4: Definitions) -> None:
    found = r4.extensions["http://hl7.org/fhir/StructureDefinition/patient-citizenship"]
    assert (found.contexts, found.types, found.parts) == (("Patient",), (), ("code", "period"))
    birth = definitions("R5").extensions["http://hl7.org/fhir/StructureDefinition/patient-birthTime"]
    assert birth.types == ("dateTime",)
