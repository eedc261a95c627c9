"""ViewDefinitions of SQL on FHIR as views: the rows that they make, and what is refused when they are loaded."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from fhirspace.errors import InputError, MappingError
from fhirspace.fhir.files import find
from fhirspace.limits import VARIABLE
from fhirspace.tables.text import data_columns
from fhirspace.views.flatten import Flattened, flatten
from fhirspace.views.notation.library import view_set
from fhirspace.views.subjects import enrolment
from tests.views.ehr import patient, write

ANNA = {
    "name": [
        {"use": "official", "family": "Ek", "given": ["Anna", "Maria"]},
        {"use": "old", "family": "Berg", "given": ["Anna"]},
    ],
    "active": True,
    "birthDate": "1980-02",
    "contact": [
        {
            "name": {"family": "Ek"},
            "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "a@example.com"}],
        },
        {"name": {"family": "Dal"}},
    ],
    "link": [{"other": {"reference": "Patient/p1"}, "type": "seealso"}],
    "extension": [{"url": "http://example.com/a", "extension": [{"url": "b", "valueString": "x"}]}],
    "multipleBirthInteger": 2,
}


def column(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "path": path, **more}


def definition(*selects: dict[str, Any], where: str = "", **more: Any) -> dict[str, Any]:
    found = {"resourceType": "ViewDefinition", "name": "t", "resource": "Patient", "status": "active", **more}
    return {**found, "select": list(selects), **({"where": [{"path": where}]} if where else {})}


def made(folder: Path, given: dict[str, Any], *resources: dict[str, Any]) -> Flattened:
    views = folder / "views"
    views.mkdir()
    (views / "t.json").write_text(json.dumps(given))
    write(folder / "in", resources or ({**patient("p1"), **ANNA}, patient("p2")))
    return flatten(find([folder / "in"]).files, view_set(str(views)))


def rows(found: Flattened) -> list[tuple[str | None, ...]]:
    table = found.records["t"]
    names = data_columns(table)
    return [tuple(row[name] for name in names) for row in table.select(names).to_pylist()]


ID = column("id", "getResourceKey()")
NAMES = {"forEach": "name", "column": [column("family", "family"), column("at", "%rowIndex")]}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name.family.first()", "Ek"),
        ("name[1].family", "Berg"),
        ("name.where(use = 'old').given.join(' ')", "Anna"),
        ("name.given.join('/')", "Anna/Maria/Anna"),
        ("active", "true"),
        ("active.not()", "false"),
        ("birthDate.lowBoundary()", "1980-02-01"),
        ("link.other.getReferenceKey(Patient)", "p1"),
        ("link.other.getReferenceKey(Observation)", None),
        ("extension('http://example.com/a').extension('b').value.ofType(string)", "x"),
        ("multipleBirth.ofType(integer) + 1", "3"),
        ("(multipleBirth.ofType(integer) * 3) / 4", "1.5"),
        ("multipleBirth.ofType(integer) / 0", None),
        ("%use & '-' & id", "official-p1"),
        ("iif(name.exists(family = 'Ek'), 'yes', 'no')", "yes"),
        ("Patient.name.family.last()", "Berg"),
        ("%resource.gender", "female"),
        ("name.exists()", "true"),
    ],
)
def test_a_column_has_the_value_of_its_path(tmp_path: Path, path: str, value: str | None) -> None:
    given = definition({"column": [column("value", path)]}, constant=[{"name": "use", "valueString": "official"}])
    assert rows(made(tmp_path, given, {**patient("p1"), **ANNA})) == [(value,)]


@pytest.mark.parametrize(
    ("selects", "expected"),
    [
        ([{"column": [ID]}, NAMES], [("p1", "Berg", "1"), ("p1", "Ek", "0")]),
        (
            [{"column": [ID]}, {"forEachOrNull": "name", "column": [column("family", "family")]}],
            [("p1", "Berg"), ("p1", "Ek"), ("p2", None)],
        ),
        (
            [
                {
                    "forEach": "contact",
                    "column": [column("who", "name.family")],
                    "select": [{"forEach": "telecom", "column": [column("value", "value")]}],
                }
            ],
            [("Ek", "1"), ("Ek", "a@example.com")],
        ),
        (
            [
                {"column": [ID]},
                {
                    "unionAll": [
                        {"forEach": "name", "column": [column("family", "family")]},
                        {"forEach": "contact", "column": [column("family", "name.family")]},
                    ]
                },
            ],
            [("p1", "Berg"), ("p1", "Dal"), ("p1", "Ek"), ("p1", "Ek")],
        ),
        (
            [
                {"forEach": "name", "column": [column("family", "family")]},
                {"forEach": "contact.telecom", "column": [column("system", "system")]},
            ],
            [("Berg", "email"), ("Berg", "phone"), ("Ek", "email"), ("Ek", "phone")],
        ),
        (
            [{"column": [ID, column("given", "name.given", collection=True)]}],
            [("p1", '["Anna", "Maria", "Anna"]'), ("p2", "[]")],
        ),
    ],
)
def test_selects_are_combined(tmp_path: Path, selects: list[dict[str, Any]], expected: list[Any]) -> None:
    assert rows(made(tmp_path, definition(*selects))) == expected


def test_what_is_repeated_is_found_at_every_depth(tmp_path: Path) -> None:
    answers = {"linkId": "2", "answer": [{"valueString": "x", "item": [{"linkId": "2.1"}]}]}
    found = {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed"}
    found["item"] = [{"linkId": "1", "item": [answers]}]  # type: ignore[assignment]
    repeat = {"repeat": ["item", "answer.item"], "column": [column("link", "linkId"), column("at", "%rowIndex")]}
    given = definition(repeat, resource="QuestionnaireResponse")
    assert rows(made(tmp_path, given, found)) == [("1", "0"), ("2", "1"), ("2.1", "2")]


def test_where_leaves_resources_unclaimed(tmp_path: Path) -> None:
    found = made(tmp_path, definition({"column": [ID]}, where="active and name.family.exists()"))
    assert rows(found) == [("p1",)]
    assert (found.taken["Patient"], found.unclaimed["Patient"]) == (1, 1)


def test_several_values_are_an_error_of_the_resource(tmp_path: Path) -> None:
    found = made(tmp_path, definition({"column": [ID, column("family", "name.family")]}))
    assert rows(found) == [("p2", None)]
    assert [(each.code, each.place.row, each.place.column) for each in found.problems] == [("FS460", 1, "t.family")]


@pytest.mark.parametrize("path", ["name.family.first() < 3", "name.family.upper() = 'EK'", "name.family and true"])
def test_a_path_that_cannot_be_evaluated_is_an_error_of_the_resource(tmp_path: Path, path: str) -> None:
    found = made(tmp_path, definition({"column": [ID, column("odd", path)]}))
    assert [row[0] for row in rows(found)] == ["p2"]
    assert [(each.code, each.place.row) for each in found.problems] == [("FS466", 1)]


def test_records_that_say_not_so_are_left_as_by_all_views(tmp_path: Path) -> None:
    observation = {"resourceType": "Observation", "id": "o", "status": "entered-in-error", "code": {"text": "x"}}
    given = definition({"column": [ID]}, resource="Observation")
    found = made(tmp_path, given, observation, {**observation, "id": "o2", "status": "final"})
    assert rows(found) == [("o2",)]
    assert found.left["Observation", "status is entered-in-error"] == 1


def test_elements_that_no_column_reads_are_counted(tmp_path: Path) -> None:
    found = made(tmp_path, definition({"column": [ID, column("active", "active")]}), patient("p1", active=True))
    assert dict(found.unmapped) == {"Patient.gender": 1, "Patient.birthDate": 1}


def test_with_an_enrolment_table_records_begin_with_the_subject(tmp_path: Path) -> None:
    (tmp_path / "enrolment.csv").write_text("patient,STUDYID,SUBJID\np1,S,001\n")
    (tmp_path / "t.json").write_text(json.dumps(definition({"column": [column("patient", "birthDate")]})))
    write(tmp_path / "in", [patient("p1"), patient("p2")])
    views = view_set(str(tmp_path / "t.json"))
    found = flatten(find([tmp_path / "in"]).files, views, "R4", enrolment(tmp_path / "enrolment.csv"))
    assert rows(found) == [("1980-02-03", "S", "S-001", "001")]  # the column of the definition wins


def test_rows_of_one_resource_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "view-rows=3")
    loops = [{"forEach": "name", "column": [column(f"c{at}", "family")]} for at in range(2)]
    found = made(tmp_path, definition(*loops), {**patient("p1"), **ANNA})
    assert [each.code for each in found.problems] == ["FS467"]


@pytest.mark.parametrize(
    ("given", "where", "expected"),
    [
        ({"resource": "Patient"}, "select", "a select with a column"),
        (definition({"column": [ID]}, resource="Patiend"), "resource", "Patient"),
        (definition({"column": [ID]}, resourceType="Patient"), "resourceType", "a ViewDefinition"),
        (definition({"column": [column("a", "nmae.family")]}), "select[0].column[0].path", "name"),
        (definition({"column": [column("a", "multipleBirthInteger")]}), "path", "multipleBirth.ofType(integer)"),
        (definition({"column": [column("a", "name")]}), "path", "a path to a primitive value"),
        (definition({"column": [column("a", "birthDate.year")]}), "path", "nothing after a value of the type date"),
        (definition({"column": [column("a", "name.where(use = %u).family")]}), "path", "a constant"),
        (definition({"column": [column("a", "link.other.resolve().id")]}), "path", "no resolve(), which is not"),
        (definition({"column": [column("a", "name.first(")]}), "path", "FHIRPath"),
        (definition({"column": [column("a", "name.family.soundex()")]}), "path", "soundex() is not implemented"),
        (definition({"forEach": "name", "repeat": ["name"], "column": [ID]}), "select[0]", "one of forEach"),
        (definition({"forAll": "name", "column": [ID]}), "select[0].forAll", "one of column"),
        (definition({"column": [{**ID, "types": "id"}]}), "column[0].types", "one of name"),
        (definition({"column": [ID, ID]}), "select", "each name of a column once"),
        (definition({"column": [ID]}, where="name.family"), "where[0].path", "true or false"),
        (definition({"column": [ID]}, constant=[{"name": "x"}]), "constant[0]", "a name and one value"),
        (
            definition({"unionAll": [{"column": [ID]}, {"column": [column("b", "id")]}]}),
            "unionAll",
            "the same columns, in the same order",
        ),
    ],
)
def test_a_wrong_definition_is_refused_with_its_place(
    tmp_path: Path, given: dict[str, Any], where: str, expected: str
) -> None:
    (tmp_path / "t.json").write_text(json.dumps(given))
    with pytest.raises(MappingError) as caught:
        view_set(str(tmp_path))
    problem = caught.value.problem
    assert problem.code == "FS376"
    assert where in str(problem.place.column)
    assert expected in problem.expected


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (definition({"column": [column("a", "id")]}, resource=["Patient"]), "resource"),
        (definition({"column": [column("a", "'\\ud83d'")]}), "select[0].column[0].path"),
    ],
)
def test_a_broken_definition_is_refused_with_its_place(tmp_path: Path, given: dict[str, Any], place: str) -> None:
    """A type that is a list, and half a letter."""
    with pytest.raises(MappingError, match=f"FS376 t.json:{re.escape(place)}: "):
        made(tmp_path, given)


def test_a_letter_in_two_halves_is_one(tmp_path: Path) -> None:
    assert rows(made(tmp_path, definition({"column": [column("a", "'\\ud83d\\ude00'")]})))[0] == ("\U0001f600",)


def test_columns_have_a_bound_and_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of columns were compared with one another, for minutes."""
    many = definition({"column": [column(f"c{number}", "id") for number in range(3000)]})
    assert len(rows(made(tmp_path, many))[0]) == 3000
    monkeypatch.setenv(VARIABLE, "columns=2999")
    with pytest.raises(InputError, match="FS160"):
        view_set(str(tmp_path / "views"))


def test_a_pipe_among_views_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.json")
    with pytest.raises(MappingError, match=r"FS376 t\.json: .*ordinary file"):
        view_set(str(tmp_path))
