"""Terminologies of users: CSV of licensed systems, CodeSystems, ValueSets; and systems that nobody knows, counted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import fhirspace
from fhirspace.cli import main
from fhirspace.errors import FhirspaceError, UsageError
from fhirspace.study.validate import validate
from tests.fhir.validation.test_packages import BASE, GOOD, PROFILE, SYSTEM, VALUES, folder

SNOMED, LOINC, MEDDRA = "http://snomed.info/sct", "http://loinc.org", "https://www.meddra.org"
ELEMENTS: Any = PROFILE["differential"]
BINDING = ELEMENTS["element"][2]
"""The code, with a binding to `VALUES`."""
CSV = f"system,code,display\n{SNOMED},271649006,Systolic\n{SNOMED},6736007,\n{MEDDRA},10019211,Headache\n"


def observation(*codings: tuple[str, str], **more: Any) -> dict[str, Any]:
    coded = [{"system": system, "code": code} for system, code in codings]
    return {"resourceType": "Observation", "status": "final", "code": {"coding": coded}, **more}


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def found(tmp_path: Path, *resources: dict[str, Any], **how: Any) -> list[tuple[str, str, str]]:
    lines = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in resources)
    problems = validate([written(tmp_path / "in" / "Observation.ndjson", lines)], **how)
    return [
        (each.code, str(each.place).removeprefix("Observation.ndjson:"), each.detail)
        for each in problems
        if each.code != "FS435"
    ]


CODES: list[tuple[str, dict[str, Any], list[tuple[str, str, str]]]] = [
    ("known", observation((SNOMED, "6736007"), (MEDDRA, "10019211")), []),
    (
        "unknown under an example binding",
        observation((SNOMED, "1")),
        [("FS426", "1:Observation.code.coding[0].code", "")],
    ),
    (
        "unknown under no binding",
        observation(extension=[{"url": f"{BASE}/x", "valueCoding": {"system": MEDDRA, "code": "1"}}]),
        [("FS426", "1:Observation.extension[0].valueCoding.code", "")],
    ),
    (
        "unknown unit",
        observation(valueQuantity={"value": 1, "system": SNOMED, "code": "mg"}),
        [("FS426", "1:Observation.valueQuantity.code", "")],
    ),
    ("of a system that is not given", observation((LOINC, "8480-6")), [("FS439", LOINC, "1 different code")]),
]


@pytest.mark.parametrize(("resource", "expected"), [each[1:] for each in CODES], ids=[each[0] for each in CODES])
def test_a_csv_has_all_codes_of_its_systems(tmp_path: Path, resource: dict[str, Any], expected: list[Any]) -> None:
    resource["code"].setdefault("text", "x")
    resource["code"] = {name: value for name, value in resource["code"].items() if value}
    assert found(tmp_path, resource, terminology=[written(tmp_path / "own.csv", CSV)]) == expected


def test_systems_that_nobody_knows_are_counted_once(tmp_path: Path) -> None:
    given = [observation((LOINC, f"{n % 3}"), (SNOMED, "6736007"), ("urn:ietf:bcp:47", "de")) for n in range(50)]
    given += [observation(("John's codes", "1"))]
    notes = [("FS439", LOINC, "3 different codes"), ("FS439", SNOMED, "1 different code")]
    assert [each for each in found(tmp_path, *given, full=True) if each[0] == "FS439"] == [
        ("FS439", "a system without an address", "1 different code"),
        *notes,
    ]
    assert found(tmp_path, *given[:50]) == [], "nobody asked"
    assert [each for each in found(tmp_path, *given[:50], full=True) if each[0] == "FS439"] == notes, "each run anew"


def test_units_of_another_system_are_not_judged_by_ucum(tmp_path: Path) -> None:
    ucum, own = "http://unitsofmeasure.org", "http://example.org/units"
    measured = [{"value": 1, "system": system, "code": "beats per minute"} for system in (ucum, own)]
    assert found(tmp_path, *(observation((own, "1"), valueQuantity=each) for each in measured)) == [
        ("FS415", "1:Observation.valueQuantity.code", "")
    ]


TESTS = {"resourceType": "ValueSet", "url": f"{BASE}/ValueSet/tests", "compose": {"include": [{"system": SNOMED}]}}


def test_value_sets_of_profiles_are_expanded_by_them(tmp_path: Path) -> None:
    """A profile asks for all of SNOMED CT, which the CSV has."""
    package = folder(tmp_path / "profiles", **{"d.json": TESTS})
    own = written(tmp_path / "own.csv", CSV)
    right, wrong = ({**GOOD, "code": {"coding": [{"system": system, "code": code}]}} for system, code in (
        (SNOMED, "6736007"), (SYSTEM["url"], "A1")))  # fmt: skip
    assert found(tmp_path, right, wrong, profile=[package]) == [("FS433", "2:Observation.code", "")]
    assert found(tmp_path, right, wrong, profile=[package], terminology=[own]) == [("FS433", "2:Observation.code", "")]
    both = {**GOOD, "code": {"coding": [{"system": SNOMED, "code": "0"}]}}
    assert [each[0] for each in found(tmp_path, both, profile=[package])] == []
    assert [each[0] for each in found(tmp_path, both, profile=[package], terminology=[own])] == ["FS426", "FS433"]


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in resources]}


KINDS: dict[str, dict[str, str]] = {
    "files": {"a.json": json.dumps(SYSTEM), "b.JSON": json.dumps(VALUES), "c.csv": CSV, "readme.txt": "x"},
    "a Bundle": {"a.json": json.dumps(bundle(SYSTEM, VALUES)), "c.csv": CSV},
    "a package": {"package/a.json": json.dumps(SYSTEM), "package/b.json": json.dumps(VALUES)},
}


@pytest.mark.parametrize("files", KINDS.values(), ids=KINDS)
def test_a_folder(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        written(tmp_path / "own" / name, text)
    profile = written(tmp_path / "profiles" / "p.json", json.dumps({**PROFILE, "differential": {"element": [BINDING]}}))
    unknown = {**GOOD, "code": {"coding": [{"system": SYSTEM["url"], "code": "Z"}]}}
    outside = {**GOOD, "code": {"coding": [{"system": SYSTEM["url"], "code": "B"}]}}
    problems = found(tmp_path, unknown, outside, profile=[profile.parent], terminology=[tmp_path / "own"])
    assert [each[:2] for each in problems] == [
        ("FS426", "1:Observation.code.coding[0].code"),
        ("FS433", "1:Observation.code"),
        ("FS433", "2:Observation.code"),
    ]


BROKEN: list[tuple[str, str, str]] = [
    ("x.csv", "code,display\n1,x\n", "FS645"),
    ("x.csv", f"system,code\n{SNOMED},\n", "FS645"),
    ("x.csv", f"system,code\n,{SNOMED}\n", "FS645"),
    ("x.csv", f'system,code\n{SNOMED},"1\n', "FS"),
    ("x.csv", "", "FS"),
    ("x.csv", "system,code\n", "FS"),
    ("x.json", "{", "FS645"),
    ("x.json", "[]", "FS645"),
    ("x.json", '{"resourceType":"Patient"}', "FS645"),
    ("x.json", '{"resourceType":"Bundle","entry":{"resource":1}}', "FS645"),
    ("x.json", '{"resourceType":"Bundle","entry":[1,{"resource":[]},{"resource":{"resourceType":[]}}]}', "FS645"),
    ("x.json", '{"resourceType":"CodeSystem","url":"http://x","concept":[1]}', "FS645"),
    ("x.json", '{"resourceType":"ValueSet","url":"http://x","compose":{"include":[{"filter":[{}]}]}}', "FS645"),
    ("x.tgz", "no archive", "FS645"),
    ("folder/x.txt", "nothing", "FS645"),
]


@pytest.mark.parametrize(("name", "text", "code"), BROKEN)
def test_what_is_no_terminology(tmp_path: Path, name: str, text: str, code: str) -> None:
    path = written(tmp_path / "own" / name, text)
    given = path.parent if "/" in name else path
    with pytest.raises(FhirspaceError) as caught:
        found(tmp_path, observation((SNOMED, "1")), terminology=[given])
    assert caught.value.code.startswith(code)
    assert caught.value.exit_code == 2


def test_a_faulty_terminology_is_named_as_one(tmp_path: Path) -> None:
    path = written(tmp_path / "own" / "x.json", '{"resourceType":"CodeSystem","url":"http://x","concept":[1]}')
    with pytest.raises(UsageError, match=r"FS645 x\.json: There is no terminology .* a CodeSystem as FHIR defines it"):
        found(tmp_path, observation((SNOMED, "1")), terminology=[path])


ODD: list[tuple[dict[str, Any], list[str]]] = [
    ({"expansion": []}, []),
    ({"expansion": {"contains": [1, {"contains": 2}, {"system": 1, "code": []}], "parameter": [1], "total": "x"}}, []),
    (
        {"compose": {"include": [{"system": SNOMED, "filter": [{"property": "x", "op": "regex", "value": "("}]}]}},
        ["FS433"],  # whatever it has of SNOMED CT, a code of another system is outside
    ),
]


@pytest.mark.parametrize(("odd", "expected"), ODD)
def test_odd_value_sets_are_judged_by_as_far_as_they_are_known(
    tmp_path: Path, odd: dict[str, Any], expected: list[str]
) -> None:
    content = {"resourceType": "ValueSet", "url": f"{BASE}/ValueSet/tests", **odd}
    own = written(tmp_path / "own.json", json.dumps(content))
    only = {**PROFILE, "differential": {"element": [BINDING]}}
    package = written(tmp_path / "profiles" / "p.json", json.dumps(only)).parent
    codes = [each[0] for each in found(tmp_path, GOOD, profile=[package], terminology=[own])]
    assert [code for code in codes if code != "FS439"] == expected


def test_on_the_command_line_and_in_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = written(tmp_path / "own.csv", CSV)
    lines = json.dumps(observation((SNOMED, "1"), (LOINC, "2")))
    file = written(tmp_path / "in" / "Observation.ndjson", lines)
    assert main(["validate", str(file), "--terminology", str(own)]) == 1
    out = capsys.readouterr().out
    assert (
        f"FS426 Observation.ndjson:1:Observation.code.coding[0].code: The code system has no such code. Expected a code of {SNOMED}."
        in out
    )
    assert f"note: FS439 {LOINC}: The codes of this system were not checked" in out

    def listed(given: str | Iterable[str]) -> list[str]:
        return [each.code for each in fhirspace.validate(file, terminology=given)]

    assert listed(str(own)) == listed([str(own)]) == ["FS426", "FS439"]
