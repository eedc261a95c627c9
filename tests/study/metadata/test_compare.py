"""A round trip compares also what the files say of their datasets beside the cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from fhirspace.cli import main
from fhirspace.study.metadata.compare import compare
from fhirspace.study.reading.from_fhir import FromFhir
from fhirspace.tables import xpt
from fhirspace.tables.description import Column, Description
from tests import small_study

TABLE = small_study.table("STUDYID,DOMAIN,USUBJID,AESEQ,AETERM\nS,AE,S-1,1,Rash\nS,AE,S-1,2,Fall\n")
GIVEN = Description(
    "AE",
    "Harm",
    (
        Column("STUDYID", "Study", "Char", 12, "", ""),
        Column("DOMAIN", "Domain", "Char", 2, "", ""),
        Column("USUBJID", "Subject", "Char", 20, "$20.", ""),
        Column("AESEQ", "Sequence", "Num", 3, "8.", "8."),
        Column("AETERM", "Term", "Char", 200, "", "$CHAR9."),
    ),
)


def changed(name: str, **more: object) -> Description:
    columns = tuple(replace(each, **more) if each.name == name else each for each in GIVEN.columns)  # type: ignore[arg-type]
    return replace(GIVEN, columns=columns)


CHANGES: dict[str, tuple[Description, pa.Table, list[tuple[str, str | None]]]] = {
    "nothing": (GIVEN, TABLE, []),
    "label of the dataset": (replace(GIVEN, label="Events"), TABLE, [("dataset label", None)]),
    "label": (changed("AETERM", label="Other"), TABLE, [("label", "AETERM")]),
    "type": (changed("AESEQ", type="Char"), TABLE, [("type", "AESEQ")]),
    "length": (changed("AETERM", length=100), TABLE, [("length", "AETERM")]),
    "length of a number": (changed("AESEQ", length=8), TABLE, [("length", "AESEQ")]),
    "format": (changed("USUBJID", format=""), TABLE, [("format", "USUBJID")]),
    "informat": (changed("AESEQ", informat=""), TABLE, [("informat", "AESEQ")]),
    "order of columns": (
        GIVEN,
        TABLE.select(["DOMAIN", "STUDYID", *TABLE.column_names[2:]]),
        [("column order", None)],
    ),
    "order of rows": (GIVEN, TABLE.take([1, 0]), [("row order", None)]),
    "a column without values": (
        GIVEN,
        TABLE.append_column("AELLT", pa.nulls(2, pa.string())),
        [("column order", None)],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_difference_has_a_name(name: str):
    about, after, expected = CHANGES[name]
    found = compare("AE", GIVEN, TABLE, after, about)
    assert [(each.kind, each.column) for each in found.differences] == expected and not found.declared


def test_what_a_file_does_not_say_is_not_compared():
    plain = Description("AE", "", tuple(Column(each.name) for each in GIVEN.columns))
    assert compare("AE", plain, TABLE, TABLE, GIVEN) == ([], [])


def test_labels_of_a_file_without_types_are_compared():
    labelled = Description("AE", "Harm", tuple(Column(each.name, each.label) for each in GIVEN.columns))
    assert compare("AE", labelled, TABLE, TABLE, labelled) == ([], [])
    differences = compare("AE", labelled, TABLE, TABLE, Description()).differences
    assert [each.kind for each in differences] == ["dataset label"] + ["label"] * len(GIVEN.columns)


def test_reasons_are_declared():
    unlabelled, short = changed("AETERM", label=""), changed("AETERM", length=2)
    assert compare("AE", unlabelled, TABLE, TABLE, unlabelled).declared == ["AE.AETERM: a label, as the file has none"]
    found = compare("AE", short, TABLE, TABLE, short)
    assert not found.differences and [text.partition(",")[0] for text in found.declared] == ["AE.AETERM: the length"]
    assert "order of rows" in compare("AE", GIVEN, TABLE, TABLE, GIVEN, ordered=False).declared[0]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    small_study.write(tmp_path / "in")
    (tmp_path / "in" / "ae.csv").unlink()
    variables: list[xpt.Variable] = [
        (each.name, each.label, each.type or "Char", each.length) for each in GIVEN.columns
    ]
    forms = {each.name: (each.format, each.informat) for each in GIVEN.columns}
    rows = small_study.table("STUDYID,DOMAIN,USUBJID,AESEQ,AETERM\nTINY,AE,TINY-2,1,Rash\nTINY,AE,TINY-1,1,Fall\n")
    xpt.write(rows, tmp_path / "in" / "ae.xpt", name="AE", label="Harm", variables=variables, formats=forms)
    return tmp_path / "in"


@pytest.mark.slow
def test_a_round_trip_of_a_file_with_metadata_is_exact(study: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["roundtrip", str(study)]) == 0
    assert "exact: every cell came back" in capsys.readouterr().out


def test_what_is_lost_is_printed(study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(FromFhir, "descriptions", lambda *_: {})
    assert main(["roundtrip", str(study)]) == 1
    printed = capsys.readouterr().out
    for text in ("AE: dataset label differs", "AE.AETERM: label differs", "AE.AESEQ: length differs", "NOT exact"):
        assert text in printed
