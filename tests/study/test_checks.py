"""Validation of files: what is looked over, and extensions checked by StructureDefinitions of a folder."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pyarrow import parquet

from fhirspace.errors import InputError, UsageError
from fhirspace.fhir.validation.check import Checker, judged
from fhirspace.fhir.validation.profiles import extension_definition
from fhirspace.fhir.validation.structures import packages
from fhirspace.fhir.validation.structures.registry import Registry
from fhirspace.standards.fhir import definitions
from fhirspace.study.convert import convert
from fhirspace.study.validate import validate
from fhirspace.tables import xpt
from fhirspace.tables.text import data_columns
from fhirspace.template.folders import shipped
from tests import small_study
from tests.study.space_study import Space


def codes(*paths: Path, **more: Any) -> list[tuple[str, str]]:
    """All findings but notes."""
    return [(problem.code, str(problem.place)) for problem in validate(paths, **more) if problem.level != "note"]


@pytest.mark.slow
def test_the_sample_is_valid_in_both_forms_and_fits_our_own_profiles(space: Space) -> None:
    assert codes(space.sdtm().out, space.fhir().out, profile=shipped() / "profiles") == []


@pytest.mark.slow
def test_in_another_release_it_is_as_well(three: Space) -> None:
    assert codes(three.fhir("R5").out, fhir="R5", profile=shipped() / "profiles") == []


def test_an_output_folder_with_both_forms_has_both_looked_over(tmp_path: Path) -> None:
    convert(small_study.write(tmp_path / "in"), to="fhir", out=tmp_path / "out")
    small_study.write(tmp_path / "out" / "sdtm", AE=small_study.AE.replace("MILD", "QUITE"))
    (tmp_path / "out" / "fhir" / "Patient.ndjson").write_text('{"resourceType":"Patient","id":"_"}\n')
    found = codes(tmp_path / "out")
    assert any(place == "ae.csv:2:AESEV" for _, place in found)
    assert any(place.startswith("Patient.ndjson:1") for _, place in found)


def test_rows_that_cannot_be_read_are_findings(tmp_path: Path) -> None:
    small_study.write(tmp_path, AE=small_study.AE + "TINY,AE\n")
    assert any(place.startswith("ae.csv:5") for _, place in codes(tmp_path))


def test_records_are_nothing_to_validate(space: Space) -> None:
    with pytest.raises(UsageError, match="FS615"):
        codes(space.records)
    with pytest.raises(InputError, match="FS101"):
        codes(space.records / "none.csv")


# -- profiles


URL = "https://fhirspace.org/StructureDefinition/x"


def checked(value: Any, *items: dict[str, Any], many: bool = False) -> list[tuple[str, str]]:
    """What the definition of an extension with these values or parts finds in a patient with these extensions."""
    definition = extension_definition("x", "Patient.contact", value, "X.", many=many)
    made = [{"url": URL, **item} for item in items]
    patient = {"resourceType": "Patient", "contact": [{"name": {"text": "a"}, "extension": made}]}
    with TemporaryDirectory() as folder:
        Path(folder, "x.json").write_text(json.dumps(definition), "utf-8")
        known = Registry.of("R4", packages.load(Path(folder)))
    found = judged(patient, Checker(definitions("R4"), known, full=False))
    start = "Patient.contact[0].extension"
    return [(path.removeprefix(start), told) for path, code, told in found if code == "FS423"]


def part(url: str, **value: Any) -> dict[str, Any]:
    return {"url": url, **value}


PARTS = {"a": "string", "b": ["code", "decimal"]}


@pytest.mark.parametrize(
    ("value", "items", "expected"),
    [
        ("string", [{"valueString": "x"}], []),
        ("string", [{"valueInteger": 1}], [("[0].valueInteger", "x: string")]),
        ("string", [{}], [("[0].value[x]", "x: value[x], which it requires")]),
        ("string", [{"_valueString": {"id": "a"}}], []),
        (
            "string",
            [{"valueString": "x", "extension": [part("y", valueCode="z")]}],
            [("[0].extension", "x: no extension")],
        ),
        (["string", "dateTime"], [{"valueDateTime": "2024"}], []),
        (["string", "dateTime"], [{"valueDate": "2024"}], [("[0].valueDate", "x: string or dateTime")]),
        ("string", [{"valueString": "x"}, {"valueString": "y"}], [("[1]", "this extension once")]),
        (PARTS, [{"extension": [part("a", valueString="x"), part("b", valueDecimal=1.5)]}], []),
        (PARTS, [{"extension": [part("a", valueCode="x")]}], [("[0].extension[0].valueCode", "x: string")]),
        (PARTS, [{"extension": [part("c", valueCode="x")]}], [("[0].extension[0]", "x: one of a, b")]),
        (
            PARTS,
            [{"extension": [part("a", valueString="x")] * 2}],
            [("[0].extension", "x: extension:a at most 1 times")],
        ),
        (PARTS, [{"valueString": "x"}], [("[0].value[x]", "x: no value[x]")]),
    ],
)
def test_extensions_are_checked_by_their_definition(
    value: Any, items: list[dict[str, Any]], expected: list[tuple[str, str]]
) -> None:
    assert checked(value, *items) == expected


def test_an_extension_that_may_repeat_may(tmp_path: Path) -> None:
    assert checked("string", {"valueString": "x"}, {"valueString": "y"}, many=True) == []


def test_other_extensions_pass() -> None:
    assert checked("string", {"url": "http://example.org/y", "valueCode": "x"}) == []


def test_findings_of_a_profile_have_a_place_and_no_value(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "x.json").write_text(json.dumps(extension_definition("x", "Patient", "string", "X.")))
    (folder / "other.json").write_text('{"resourceType":"ValueSet"}')
    file = tmp_path / "Patient.ndjson"
    file.write_text(json.dumps({"resourceType": "Patient", "extension": [{"url": URL, "valueCode": "SECRET"}]}) + "\n")
    (problem,) = validate([file], profile=folder)
    assert (problem.code, str(problem.place)) == ("FS423", "Patient.ndjson:1:Patient.extension[0].valueCode")
    assert "SECRET" not in str(problem)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{}",
        "[]",
        "{",
        '{"resourceType":"StructureDefinition","type":"Extension"}',
        '{"resourceType":"StructureDefinition","type":"Extension","url":"u","differential":{"element":[{}]}}',
    ],
)
def test_a_folder_without_definitions_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(UsageError, match="FS617"):
        packages.load(tmp_path)


def test_a_definition_that_cannot_be_opened_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(InputError, match="FS101"):
        packages.load(tmp_path)


def test_a_control_character_is_found_before_a_conversion_quarantines_its_row(tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in")
    (source / "ae.csv").unlink()
    odd = small_study.table(small_study.AE.replace("Rash,Rash", "Ra\x01sh,Rash"))
    parquet.write_table(odd.select(data_columns(odd)), source / "ae.parquet")
    assert ("FS106", "ae.parquet:3:AETERM") in codes(source)
    assert convert(source, to="sdtm", out=tmp_path / "out").tables["AE"]["quarantined"] == 1


def test_datasets_of_one_transport_file_are_told_apart(tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in")
    parts = []
    for name in ("ae", "dm"):
        table = small_study.table((source / f"{name}.csv").read_text("utf-8"))
        variables: list[xpt.Variable] = [(column, column, "Char", None) for column in data_columns(table)]
        xpt.write(table, source / "all.xpt", name=name.upper(), label=name, variables=variables)
        parts.append((source / "all.xpt").read_bytes())
        (source / f"{name}.csv").unlink()
    (source / "all.xpt").write_bytes(parts[0] + parts[1][240:])
    assert {code for code, _ in codes(source)} == {"FS164"}  # AESEQ is text
