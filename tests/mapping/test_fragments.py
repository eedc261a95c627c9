"""What mapping files share: the prefix --, fragments, several choices, contained resources, order of dates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.errors import MappingError
from fhirspace.mapping.cells import with_forms
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping
from fhirspace.mapping.write.render import BadRow, render
from fhirspace.template.codecs import codec
from fhirspace.template.dates import upto

_HEAD = """
domain: ZZ
key: [STUDYID, USUBJID, ZZSEQ]
carried: [$many, ZZX]
let:
  many: [--A, $rest]
  rest: [--B]
  marks: [{url: "https://x.org/a", valueString: <--A>}, $more]
  more: [{url: "https://x.org/b", valueString: <--B>}]
  choice: [{valueInteger: <--RES integer>}]
forms: {--ORRES: {range: <low decimal>-<high decimal>, other: <text>}}
Observation:
  id: <USUBJID id>-ZZ-<--SEQ integer>
  meta: $meta
  identifier: {system: $fs/ZZ, value: <USUBJID>|<--SEQ integer>}
  one of status: [{when: --STAT, status: cancelled}, {status: final}]
  one of value: $choice
  code: {coding: {system: "https://x.org/t", code: <--TESTCD>}, text: <USUBJID>}
  subject: $patient
  extension: [$marks, <carried>]
"""


def made(folder: Path, text: str) -> Mapping:
    (folder / "domains").mkdir(exist_ok=True)
    (folder / "domains" / "zz.yaml").write_text(text, "utf-8")
    return Library("R4", [folder]).mappings["ZZ"]


def row(mapping: Mapping, **cells: str) -> Any:
    keys = {"STUDYID": "S", "DOMAIN": "ZZ", "USUBJID": "S-1", "ZZSEQ": "1"}
    [(_, text)] = render(mapping, keys | cells)
    return json.loads(text)


def test_two_hyphens_are_the_prefix_and_fragments_stand_in_their_place(tmp_path: Path) -> None:
    mapping = made(tmp_path, _HEAD)
    assert mapping.carried == ("ZZA", "ZZB", "ZZX")
    assert mapping.forms.keys() == {"ZZORRES"}
    resource = row(mapping, ZZA="one", ZZB="two")
    assert [each["valueString"] for each in resource["extension"]] == ["one", "two"]


def test_an_object_has_several_choices(tmp_path: Path) -> None:
    mapping = made(tmp_path, _HEAD)
    assert row(mapping, ZZRES="3") | {"status": "final", "valueInteger": 3} == row(mapping, ZZRES="3")
    assert row(mapping, ZZSTAT="NOT DONE")["status"] == "cancelled"


def test_a_choice_that_a_release_has_nothing_of_is_left_out(tmp_path: Path) -> None:
    mapping = made(tmp_path, _HEAD.replace("{valueInteger: <--RES integer>}", "{-|valueInteger: <--RES integer>}"))
    assert [name for name, _ in mapping.blocks[0].root.fields].count("") == 1


@pytest.mark.parametrize(
    ("condition", "always", "sound"),
    [("--SPEC", True, True), ("--OTHER", True, False), ("--SPEC", False, False)],
)
def test_a_contained_resource_and_its_reference_stand_together(
    tmp_path: Path, condition: str, always: bool, sound: bool
) -> None:
    inner = "{when: --SPEC, resourceType: Specimen, id: s, type: {text: <--SPEC>}}"
    item = f"{{always: {inner}}}" if always else inner
    text = f"{_HEAD}  contained: [{item}]\n  specimen: {{when: {condition}, reference: '#s'}}\n"
    if sound:
        resource = row(made(tmp_path, text), ZZSPEC="BLOOD")
        assert resource["contained"][0]["type"] == {"text": "BLOOD"}
        assert resource["specimen"] == {"reference": "#s"}
        return
    with pytest.raises(MappingError) as error:
        made(tmp_path, text)
    assert error.value.code == "FS347"


def test_a_row_without_a_legal_id_is_wrong(tmp_path: Path) -> None:
    mapping = made(tmp_path, _HEAD)
    with pytest.raises(BadRow) as bad:
        render(mapping, {"STUDYID": "S", "DOMAIN": "ZZ", "USUBJID": "S-1"})
    assert [(fault.code, fault.column) for fault in bad.value.faults] == [("FS210", "ZZSEQ")]


@pytest.mark.parametrize(
    ("cell", "form"), [("5-10", "range"), ("5-5.0", "range"), ("2017-10", "other"), ("x", "other")]
)
def test_a_range_is_in_order(tmp_path: Path, cell: str, form: str) -> None:
    assert f"ZZORRES.{form}" in with_forms(made(tmp_path, _HEAD), {"ZZORRES": cell})


@pytest.mark.parametrize("cell", ["A B", "a  b", " a", "a\xa0", "a\tb", "\u2003a"])
def test_a_code_has_single_spaces_only(tmp_path: Path, cell: str) -> None:
    assert ("coding" in row(made(tmp_path, _HEAD), ZZTESTCD=cell)["code"]) is (cell == "A B")


@pytest.mark.parametrize(
    ("start", "end", "fits"),
    [
        ("2017-06-14", "2017-06-14", True),
        ("2017-06-14", "2017-06-13", False),
        ("2017", "2017-06-14", False),
        ("2017-06-14", "2017-06", False),
        (None, "2017", True),
        ("--06-14", "2017-06", True),
        ("2017-06-14", "--06-15", False),
        ("2017-06-14T10:00+02:00", "2017-06-14T08:30Z", True),
        ("2017-06-14T10:00+02:00", "2017-06-14T07:30Z", False),
        ("2017-06-14T10:00", "2017-06-14T09:00", True),
        ("2017-06-14T10:00Z", "2017-06-14", False),
    ],
)
def test_the_ends_of_a_period(start: str | None, end: str, fits: bool) -> None:
    assert upto(start, end) is fits


def test_a_part_of_an_id_is_hashed_unless_it_is_the_number_of_a_site() -> None:
    made, of_subjects = codec("fhirid", column="SITEID"), codec("fhirid", column="SUBJID")
    assert made is not None
    assert of_subjects is not None
    for cell in ("01", "1012", "DE-07", "USA12"):
        assert made.out(cell) == cell
        assert of_subjects.out(cell) != cell
    for cell in ("Site 7", "é", "x" * 17, "a_b", "MILLER", "01-A.2", "00412345"):
        hashed = made.out(cell)
        assert hashed is not None
        assert hashed.isalnum()
        assert len(hashed) == 16
