"""Texts longer than 200 bytes on all ways: records, datasets in each format, FHIR, and back."""
# ruff: noqa: F401, F811 - fixtures that are imported

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from fhirspace.study.convert import Conversion, convert
from fhirspace.study.roundtrip import roundtrip
from fhirspace.study.validate import validate
from fhirspace.tables import compare, formats
from tests import small_study
from tests.study.bad.bad_runs import CANARY, Run, cell, datasets, go, mappings_once, records, table, write

WORDS = " ".join(f"wörd{number}" for number in range(100))
TEXTS = [
    "x" * 200,
    WORDS,
    "é" * 101,
    f"{'y' * 199}\U0001f9ea, and more",
    f"{'a b' * 66}   {'z' * 300}",
    f"{WORDS} " * 8 + "end",
]
"""Comments of adverse events: exactly 200 bytes, words, letters of many bytes at the cut, blanks, thousands."""


@pytest.fixture(scope="module")
def export(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The forms with long comments and a long term."""
    folder = tmp_path_factory.mktemp("long") / "export"
    folder.mkdir()
    for path in records.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    header, first, *_ = table(folder / "adverse_events.csv")
    rows = [dict(zip(header, first, strict=True)) for _ in TEXTS]
    for number, (row, text) in enumerate(zip(rows, TEXTS, strict=True), 1):
        row |= {"ae_no": str(number), "ae_term": f"Event {number}", "comment": text}
    rows[1]["ae_term"] = f"{WORDS}!"
    write(folder / "adverse_events.csv", [header, *(list(row.values()) for row in rows)])
    return folder


def told(done: Conversion) -> set[tuple[str, str]]:
    return {(problem.code, problem.table) for problem in done.problems if problem.code in {"FS135", "FS722"}} | {
        (problem.code, problem.table) for problem in done.problems if problem.code >= "FS750"
    }


@pytest.fixture(scope="module")
def made(export: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Conversion]:
    """The datasets of the export in each format, and in all in one run."""
    out = tmp_path_factory.mktemp("long")
    kinds = {form: (form,) for form in ("xpt", "csv", "parquet")} | {"all": ("csv", "parquet", "xpt")}
    return {name: convert(export, to="sdtm", out=out / name, formats=kinds[name]) for name in kinds}


def qualifiers(done: Conversion, form: str) -> list[str]:
    loaded = formats.load(formats.scan(done.out / "sdtm" / f"suppae.{form}")["suppae"]).table
    return [name for name in loaded["QNAM"].to_pylist() if name[-1].isdigit()]


@pytest.mark.slow
def test_a_transport_file_has_the_parts_and_the_others_the_whole_text(made: dict[str, Conversion]) -> None:
    assert {name: done.exit_code for name, done in made.items()} == dict.fromkeys(made, 0)
    assert (
        told(made["xpt"]) == told(made["all"]) == {("FS722", "AE"), ("FS722", "CO"), ("FS750", "AE"), ("FS750", "CO")}
    )
    assert told(made["csv"]) == told(made["parquet"]) == {("FS722", "AE"), ("FS722", "CO")}
    assert {"AETERM1", "AETERM2"} <= set(qualifiers(made["xpt"], "xpt"))
    assert qualifiers(made["csv"], "csv") == qualifiers(made["parquet"], "parquet") == []


@pytest.mark.slow
def test_the_formats_of_one_run_hold_the_same(made: dict[str, Conversion]) -> None:
    found = [qualifiers(made["all"], form) for form in ("csv", "parquet", "xpt")]
    assert found == [found[0]] * 3
    assert found[0] == qualifiers(made["xpt"], "xpt")


def test_the_books_tell_of_the_rows_that_were_added(made: dict[str, Conversion]) -> None:
    counts = json.loads((made["xpt"].out / "manifest.json").read_text("utf-8"))["tables"]["SUPPAE"]
    rows = formats.load(formats.scan(made["xpt"].out / "sdtm" / "suppae.xpt")["suppae"]).table.num_rows
    assert qualifiers(made["xpt"], "xpt") == ["AETERM1", "AETERM2", "AETERM3"]
    assert counts["derived"] == 3
    assert counts["rows_out"] == counts["rows_in"] == rows - counts["derived"]


@pytest.mark.parametrize("name", ["xpt", "parquet", "all"])
def test_records_come_back_out_of_the_datasets(
    name: str, export: Path, made: dict[str, Conversion], tmp_path: Path
) -> None:
    back = convert(made[name].out, to="records", out=tmp_path / "back", source="space")
    assert (("FS751", "AE") in told(back)) == (name in {"xpt", "all"})
    assert back.exit_code <= 1
    forms = {path.stem: path for path in export.glob("*.csv")}
    for form, path in forms.items():
        left, right = (
            formats.load(formats.scan(each)[form]).table for each in (path, back.out / "records" / f"{form}.csv")
        )
        assert compare.compare(left, right, []) == [], form


@pytest.fixture(scope="module")
def by_files(made: dict[str, Conversion], tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    """FHIR out of the transport files."""
    return convert(made["xpt"].out, to="fhir", out=tmp_path_factory.mktemp("long") / "fhir")


@pytest.mark.slow
def test_fhir_holds_the_whole_text_whatever_the_datasets_were(
    export: Path, by_files: Conversion, tmp_path: Path
) -> None:
    direct = convert(export, to="fhir", out=tmp_path / "direct")
    files = sorted(path.name for path in (direct.out / "fhir").iterdir())
    assert sorted(path.name for path in (by_files.out / "fhir").iterdir()) == files
    for name in files:
        assert (direct.out / "fhir" / name).read_bytes() == (by_files.out / "fhir" / name).read_bytes(), name
    assert f"{WORDS}!" in (direct.out / "fhir" / "AdverseEvent.ndjson").read_text("utf-8")


def test_datasets_come_back_out_of_fhir_byte_for_byte(
    made: dict[str, Conversion], by_files: Conversion, tmp_path: Path
) -> None:
    again = convert(by_files.out, to="sdtm", out=tmp_path / "again")
    for name in ("ae", "suppae", "dm", "vs"):
        assert (again.out / "sdtm" / f"{name}.xpt").read_bytes() == (
            made["xpt"].out / "sdtm" / f"{name}.xpt"
        ).read_bytes()


@pytest.mark.slow
def test_the_proof_is_exact(made: dict[str, Conversion]) -> None:
    assert roundtrip(made["xpt"].out / "sdtm").exit_code == 0


def test_the_parts_are_valid_datasets(made: dict[str, Conversion]) -> None:
    codes = {problem.code for problem in validate([made["xpt"].out]) if problem.level != "note"}
    assert codes == {problem.code for problem in validate([made["csv"].out]) if problem.level != "note"}
    assert "FS722" not in {problem.code for problem in validate([made["xpt"].out])}


@pytest.mark.slow
@pytest.mark.parametrize(("column", "text"), [("ae_no", "x" * 201), ("comment", f"a{' ' * 300}b")])
def test_what_cannot_be_cut_is_held_where_a_transport_file_is_written(
    column: str, text: str, records: Path, go: Run
) -> None:
    fault = cell("adverse_events", 3, **{column: text.replace("x", CANARY)})
    outcome = go(records, (fault,), "--to", "sdtm", "--format", "csv", "xpt")
    assert outcome.exit_code == 3
    assert outcome.quarantined() == {"adverse_events": 1}
    assert outcome.places() == {("FS135", "adverse_events.csv", 3, column)}


def test_blanks_at_the_end_are_told(tmp_path: Path) -> None:
    ae = small_study.AE.replace("Rash,Rash", "Rash  ,Rash")
    fhir = convert(small_study.write(tmp_path / "in", AE=ae), to="fhir", out=tmp_path / "fhir")
    assert ("FS752", "AE") in told(convert(fhir.out, to="sdtm", out=tmp_path / "xpt"))
    assert ("FS752", "AE") not in told(convert(fhir.out, to="sdtm", out=tmp_path / "csv", formats=("csv",)))


TS = f"STUDYID,DOMAIN,TSSEQ,TSPARMCD,TSPARM,TSVAL\nTINY,TS,1,TITLE,Trial Title,{WORDS}\nTINY,TS,1,PHASE,Trial Phase,x\n"


def test_a_long_trial_summary_goes_there_and_back(tmp_path: Path) -> None:
    fhir = convert(small_study.write(tmp_path / "in", TS=TS), to="fhir", out=tmp_path / "fhir")
    made = convert(fhir.out, to="sdtm", out=tmp_path / "made")
    assert ("FS750", "TS") in told(made)
    assert not any(problem.code == "FS732" for problem in validate([made.out]))
    again = convert(made.out, to="fhir", out=tmp_path / "again")
    name = "ResearchStudy.ndjson"
    assert (again.out / "fhir" / name).read_bytes() == (fhir.out / "fhir" / name).read_bytes()


def test_a_qualifier_of_that_name_stays_what_it_is(tmp_path: Path) -> None:
    ae = small_study.AE.replace("Rash,Rash", f"{WORDS},Rash")
    supp = (
        "STUDYID,RDOMAIN,USUBJID,IDVAR,IDVARVAL,QNAM,QLABEL,QVAL,QORIG\nTINY,AE,TINY-1,AESEQ,2,AETERM1,Own,mine,CRF\n"
    )
    source = small_study.write(tmp_path / "in", AE=ae, SUPPAE=supp)
    fhir = convert(source, to="fhir", out=tmp_path / "fhir")
    made = convert(fhir.out, to="sdtm", out=tmp_path / "made")
    assert made.exit_code == 0
    back = convert(made.out, to="fhir", out=tmp_path / "again")
    assert (back.out / "fhir" / "AdverseEvent.ndjson").read_bytes() == (
        fhir.out / "fhir" / "AdverseEvent.ndjson"
    ).read_bytes()
    assert back.tables["SUPPAE"] == {"in": 1, "out": 1, "quarantined": 0}
