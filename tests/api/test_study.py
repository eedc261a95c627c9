"""A study in memory: the same output as of the command line, no file left behind, and faults by name."""

from __future__ import annotations

import gc
import io
import stat
import tempfile
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fhirspace
from fhirspace import Study
from fhirspace.errors import FhirspaceError, UsageError
from fhirspace.study.demo.run import sample
from fhirspace.tables import csv
from fhirspace.tables.text import without_reserved
from tests import small_study

FORMS = ["demographics", "adverse_events", "study", "sites", "visits"]
TEXTS = {"DM": small_study.DM, "AE": small_study.AE}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder of temporary files, which must be empty at the end of each test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def tables(kind: str, texts: dict[str, str] = TEXTS) -> dict[str, object]:
    if kind == "arrow":
        return {name: small_study.table(text).select(text.split("\n", 1)[0].split(",")) for name, text in texts.items()}
    if kind == "duckdb":
        return {name: duckdb.from_arrow(table) for name, table in tables("arrow", texts).items()}
    read = {"pandas": pd.read_csv, "polars": pl.read_csv}[kind]
    return {name: read(io.StringIO(text)) for name, text in texts.items()}


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "duckdb"])
def test_tables_become_what_their_files_become(kind, tmp_path):
    source = small_study.write(tmp_path / "in")
    fhirspace.convert(source, to="fhir", out=tmp_path / "by_files", id_key="demo")
    with Study(tables(kind), id_key="demo").to_fhir() as made:
        done = made.write(tmp_path / "by_tables")
        assert [each["resourceType"] for each in made.resources("Patient")] == ["Patient", "Patient"]
        assert list(made.resources("Immunization")) == []
    assert done.exit_code == made.exit_code == 0
    assert written(tmp_path / "by_tables" / "fhir") == written(tmp_path / "by_files" / "fhir")


def test_fhir_comes_back_as_tables(tmp_path):
    Study(tables("pandas"), id_key="demo").write(tmp_path / "out", to="fhir")
    made = Study.open(tmp_path / "out").to_sdtm()
    assert list(made) == ["AE", "DM"]
    expected = without_reserved(csv.read(small_study.write(tmp_path / "in") / "ae.csv")[0])
    assert made["AE"].select(expected.column_names).to_pydict() == expected.to_pydict()
    assert Study(made, id_key="demo").to_fhir().types == Study.open(tmp_path / "in", id_key="demo").to_fhir().types
    assert {path.suffix for path in made.write(tmp_path / "xpt").out.joinpath("sdtm").iterdir()} == {".xpt"}


@pytest.mark.slow
def test_forms_become_datasets_and_records():
    forms = {name: pl.read_csv(sample() / "records" / f"{name}.csv", infer_schema=False) for name in FORMS}
    made = Study(forms, source="space").to_sdtm()
    assert "DM" in made
    assert made["DM"].num_rows == forms[FORMS[0]].height
    back = Study(made, source="space").to_records()
    assert set(FORMS) <= set(back)


def test_problems_and_quarantined_rows_are_tables():
    ae = small_study.AE + "TINY,AE,,4,Lost,Lost,MILD,N,2024-03-01\n"
    study = Study(tables("pandas", TEXTS | {"AE": ae}), id_key="demo")
    assert (study.problems.num_rows, study.quarantined) == (0, {})
    made = study.to_fhir()
    assert made.exit_code == 3
    assert made.counts["AE"] == {"in": 4, "out": 3, "quarantined": 1}
    assert study.quarantined["AE"].column("AETERM").to_pylist() == ["Lost"]
    errors = [row for row in study.problems.to_pylist() if row["level"] == "error"]
    assert {(row["table"], row["file"], row["row"], row["column"]) for row in errors} == {
        ("AE", "AE.parquet", 5, "USUBJID")
    }
    assert study.problems.schema == made.problems.schema


def test_strict_quarantines_rows_with_an_error():
    ae = small_study.AE + "TINY,AE,TINY-9,1,Lost,Lost,MILD,N,2024-03-01\n"  # a subject that is not in DM
    texts = tables("pandas", TEXTS | {"AE": ae})
    assert Study(texts, id_key="demo").to_fhir().exit_code == 1
    assert Study(texts, id_key="demo", strict=True).to_fhir().exit_code == 3


@pytest.mark.slow
def test_validate_gives_a_table():
    study = Study(tables("polars", TEXTS | {"AE": small_study.AE.replace("MILD", "MILDEST")}))
    assert "AESEV" in study.validate().column("column").to_pylist()
    assert study.to_fhir.__doc__
    assert Study(tables("polars"), id_key="demo").to_fhir("R5").validate().num_rows == 0


@pytest.mark.parametrize("fhir", ["R4", "R4B", "R5"])
def test_models_are_objects_of_fhir_resources(fhir):
    pytest.importorskip("fhir.resources")
    made = Study(tables("polars"), id_key="demo").to_fhir(fhir)
    assert [each.get_resource_type() for each in made.models("Patient")] == ["Patient", "Patient"]


def test_numbers_in_resources_keep_their_digits():
    vs = "STUDYID,DOMAIN,USUBJID,VSSEQ,VSTESTCD,VSTEST,VSORRES,VSORRESU,VSSTRESC,VSSTRESN,VSSTRESU,VSDTC\n"
    vs += "TINY,VS,TINY-1,1,TEMP,Temperature,36.50,C,36.50,36.50,C,2024-01-03\n"
    made = Study(tables("arrow", TEXTS | {"VS": vs}), id_key="demo").to_fhir()
    values = [each["valueQuantity"]["value"] for each in made.resources("Observation")]
    assert [str(value) for value in values] == ["36.50"]
    assert isinstance(values[0], Decimal)


@pytest.mark.slow
def test_the_folder_is_private_and_goes_with_its_object(temporary):
    study = Study(tables("arrow"), id_key="demo")
    made = study.to_fhir()
    folders = list(temporary.iterdir())
    assert len(folders) == 2
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    patients = made.resources("Patient")
    del made, study, folders
    gc.collect()
    assert len(list(patients)) == 2  # the iterator keeps the folder
    del patients
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_a_failed_conversion_leaves_no_folder(temporary):
    with Study(tables("arrow")) as study, pytest.raises(UsageError):
        study.to_records()  # no source says of which forms
    with pytest.raises(FhirspaceError):
        Study(tables("arrow") | {"CM": pa.table({"_X": ["a"]})})
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_a_closed_result_says_so():
    made = Study(tables("arrow"), id_key="demo").to_fhir()
    made.close()
    for use in (lambda: made.types, lambda: made.resources("Patient"), made.validate):
        with pytest.raises(UsageError) as caught:
            use()
        assert caught.value.code == "FS642"
    assert repr(made).startswith("<Resources, closed")


@pytest.mark.parametrize(
    "given",
    [None, {}, [], "dm.csv", {"": pa.table({"A": ["1"]})}, {7: pa.table({"A": ["1"]})}]
    + [{name: pa.table({"A": ["1"]})} for name in ("../DM", "a/b", "a\0b", ".DM", "CON", "\x1b[2J")]
    + [{"DM": pa.table({"A": ["1"]}), "dm": pa.table({"A": ["1"]})}, {"DM": "dm.csv"}],
)
def test_what_are_no_tables_by_name_is_refused(given, temporary):
    with pytest.raises(UsageError) as caught:
        Study(given)
    assert (caught.value.code, caught.value.problem.place.file) == ("FS641", "tables")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "code"), [(["A", "A"], "FS107"), (["_A"], "FS116"), (["@row"], "FS116"), ([], "FS108")]
)
def test_names_of_columns_that_no_file_may_have_are_refused(names, code):
    with pytest.raises(FhirspaceError) as caught:
        Study({"DM": pa.Table.from_arrays([pa.array(["1"])] * len(names), names=names)})
    assert caught.value.code == code


def test_a_query_of_duckdb_is_a_table():
    query = "SELECT *, 5.50::DECIMAL(5,2) AS AENUM, DATE '2024-01-02' AS AEDAY, NULL AS AENULL FROM ae ORDER BY AETERM"
    with duckdb.connect() as connection:
        connection.register("ae", tables("arrow")["AE"])
        study = Study({"AE": connection.sql(query), "DM": tables("duckdb")["DM"]}, id_key="demo")
    made = study.to_fhir()
    assert [each["event"]["text"] for each in made.resources("AdverseEvent")] == ["Fall", "Headache", "Rash"]
    assert {"AENUM", "AEDAY"} <= set(study.problems["column"].to_pylist())


@pytest.mark.slow
def test_where_a_variable_is_written_in_another_release():
    assert Study(tables("arrow")).where("AESEV", fhir="R5") != []


@pytest.mark.slow
def test_where_a_variable_is_written():
    study = Study(tables("arrow"))
    assert study.where("AESEV") == ["AdverseEvent.severity.coding.code"]
    assert len(study.where("USUBJID")) > 1
    for wrong in ("aesev", "NOSUCH", "", 7):
        with pytest.raises(UsageError, match="variable"):
            study.where(wrong)  # type: ignore[arg-type]


def test_wrong_choices_are_refused_by_name():
    study = Study(tables("arrow"), id_key="demo")
    made = study.to_fhir()
    for use, name in (
        (lambda: study.to_fhir("r4"), "fhir"),  # type: ignore[arg-type]
        (lambda: study.to_fhir(engine="spark"), "engine"),  # type: ignore[arg-type]
        (lambda: study.write("out", to="FHIR"), "to"),  # type: ignore[arg-type]
        (lambda: made.write(7), "out"),  # type: ignore[arg-type]
        (lambda: made.resources("Person\n"), "type"),
        (lambda: made.resources(["Patient"]), "type"),  # type: ignore[arg-type]
        (lambda: study.validate(full="no"), "full"),  # type: ignore[arg-type]
        (lambda: Study.open(7), "paths"),  # type: ignore[arg-type]
        (lambda: Study.open("in", follow_links="no"), "follow_links"),  # type: ignore[arg-type]
        (lambda: Study({"DM": pa.table({"A": ["1"]})}, source=""), "source"),
        (lambda: Study({"DM": pa.table({"A": ["1"]})}, mappings=7), "mappings"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError) as caught:
            use()
        assert (caught.value.code[:4], caught.value.problem.place.file) == ("FS64", name)


def test_reprs_are_short():
    study = Study(tables("arrow"), id_key="demo")
    assert repr(study) == "<Study: DM, AE>"
    assert repr(study.to_fhir()).startswith("<Resources R4: AdverseEvent, ")
    assert repr(Study.open("some/export")) == "<Study: export>"
