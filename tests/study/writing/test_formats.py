"""The same datasets in each format: equal cells after reading, and equal descriptions where the format has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fhirspace.cli import main
from fhirspace.sdtm.define.document import reading
from fhirspace.study.convert import convert
from fhirspace.tables import description, formats as files, xpt
from fhirspace.tables.compare import compare
from fhirspace.tables.datasetjson.opening import FORMATS
from fhirspace.tables.text import data_columns
from tests import small_study
from tests.support.dataset_json import faults

ALL = ("xpt", "csv", "parquet", *FORMATS)
VS = """STUDYID,DOMAIN,USUBJID,VSSEQ,VSTESTCD,VSTEST,VSORRES,VSORRESU,VSSTRESC,VSSTRESN,VSSTRESU,VISITNUM,VSDTC,VSDY
TINY,VS,TINY-1,1,WEIGHT,Weight,70.50,kg,70.5,70.5,kg,1,2024-05-01,1
TINY,VS,TINY-1,2,WEIGHT,Weight,071,kg,71,71,kg,2,2024-05,
TINY,VS,TINY-1,3,HEIGHT,Height,"1 ""m"" \\ é","","",,,3.01,,-5
TINY,VS,TINY-2,1,WEIGHT,Weight,.94,kg,.94,.94,kg,1,2024-05-01T13:45:10,12
"""
TYPED: list[xpt.Variable] = [
    ("STUDYID", "Study", "Char", 12), ("DOMAIN", "Domain", "Char", 2), ("USUBJID", "Subject", "Char", 20),
    ("AESEQ", "Sequence", "Num", 8), ("AETERM", "Term", "Char", 200), ("AESTDTC", "Start", "Char", 19),
    ("AEDUR", "Duration", "Char", 8), ("AESTDY", "Day", "Num", 8), ("AEEMPTY", "Nothing", "Char", 5),
]  # fmt: skip


def found(folder: Path, form: str) -> dict[str, tuple[pa.Table, description.Description]]:
    """The datasets of one format, as they are read."""
    tables = {}
    for path in sorted(folder.glob(f"*.{FORMATS.get(form, form)}")):
        table = files.load(files.scan(path)[path.stem], empty=True).table
        tables[path.stem] = (table, description.of(table))
    return tables


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some datasets in all formats at once."""
    home = tmp_path_factory.mktemp("formats")
    small_study.write(home / "in", VS=VS)
    ae = small_study.table(
        "STUDYID,DOMAIN,USUBJID,AESEQ,AETERM,AESTDTC,AEDUR,AESTDY,AEEMPTY\n"
        "TINY,AE,TINY-2,1,Fall,2024-03-01T10:20,PT1H,3,\nTINY,AE,TINY-1,1,Rash,2024-02,,,\n"
    )
    (home / "in" / "ae.csv").unlink()
    forms = {"AESTDY": ("8.", ""), "AESEQ": ("BEST12.", "")}
    xpt.write(ae, home / "in" / "ae.xpt", name="AE", label="Harm", variables=TYPED, formats=forms)
    convert(home / "in", to="sdtm", out=home / "out", formats=ALL, define=True, derive=False)
    return home / "out" / "sdtm"


@pytest.mark.parametrize("form", ALL[1:])
def test_cells_are_equal(form: str, written: Path):
    expected, others = found(written, "xpt"), found(written, form)
    assert others.keys() == expected.keys() == {"ae", "dm", "vs"}
    for name, (table, _) in expected.items():
        other = others[name][0]
        assert data_columns(other) == data_columns(table)
        numbers = {column.name for column in expected[name][1].columns if column.type == "Num"}
        assert compare(table.drop_columns([*numbers]), other.drop_columns([*numbers]), ()) == []
        for column in numbers:
            pairs = zip(table[column].to_pylist(), other[column].to_pylist(), strict=True)
            assert all(mine == yours or float(mine) == float(yours) for mine, yours in pairs), column


@pytest.mark.parametrize("form", ["parquet", *FORMATS])
def test_descriptions_are_equal(form: str, written: Path):
    expected, others = found(written, "xpt"), found(written, form)
    for name, (_, about) in expected.items():
        other = others[name][1]
        assert (other.name, other.label) == (about.name, about.label)
        for mine, yours in zip(about.columns, other.columns, strict=True):
            length = yours.length if yours.type == "Char" else 8  # a number has no length in bytes there
            assert (mine.name, mine.label, mine.type, mine.format) == (
                yours.name,
                yours.label,
                yours.type,
                yours.format,
            )
            assert mine.length == length or ((length is None and "DTC" in mine.name) or "DUR" in mine.name), mine.name


def test_each_kind_of_json_says_the_same(written: Path):
    for path in written.glob("*.json"):
        whole = json.loads(path.read_bytes())
        head, *rows = map(json.loads, path.with_suffix(".ndjson").read_bytes().splitlines())
        assert whole == {**head, "rows": rows} and len(rows) == whole["records"]


@pytest.mark.parametrize("name", ["ae", "dm", "vs"])
def test_it_is_what_the_specification_asks(name: str, written: Path):
    assert faults(json.loads((written / f"{name}.json").read_bytes())) == []


WRONG: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "an instant": (("datasetJSONCreationDateTime",), "2024"),
    "the version": (("datasetJSONVersion",), "1.0.0"),
    "the count": (("records",), 7),
    "a type": (("columns", 0, "dataType"), "text"),
    "a target": (("columns", 0, "targetDataType"), "decimal"),
    "a key": (("columns", 0, "keySequence"), 0),
    "a length": (("columns", 0, "length"), "8"),
    "an unknown member": (("extra",), 1),
    "a number as text": (("rows", 0, 3), "1"),
    "a short row": (("rows", 0), ["TINY"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_checks_see_what_is_wrong(name: str, written: Path):
    data = json.loads((written / "ae.json").read_bytes())
    (*path, last), value = WRONG[name]
    place = data
    for part in path:
        place = place[part]
    place[last] = value
    assert faults(data)


@pytest.mark.parametrize("name", ["ae", "dm", "vs"])
def test_the_oids_are_those_of_the_define_xml(name: str, written: Path):
    data: dict[str, Any] = json.loads((written / f"{name}.json").read_bytes())
    define = reading.read(written / "define.xml")
    group = define.groups[data["itemGroupOID"]]
    assert (group.name, define.study_oid, define.version_oid) == (
        data["name"],
        data["studyOID"],
        data["metaDataVersionOID"],
    )
    for column, (ref, item) in zip(data["columns"], define.variables(group), strict=True):
        assert (item.oid, item.name, item.label) == (column["itemOID"], column["name"], column["label"])
        assert ref.key == column.get("keySequence")
    assert data["metaDataRef"] == "define.xml"


def test_types_and_missing_values(written: Path):
    data = json.loads((written / "vs.json").read_bytes())
    types = {column["name"]: column["dataType"] for column in data["columns"]}
    wanted = {"VSSEQ": "integer", "VSORRES": "string", "VISITNUM": "float", "VSSTRESN": "decimal", "VSDY": "integer"}
    assert types | wanted == types
    rows = [dict(zip(types, row, strict=True)) for row in data["rows"]]
    assert [row["VSSTRESN"] for row in rows] == ["70.5", "71", None, ".94"]
    assert [row["VSDY"] for row in rows] == [1, None, -5, 12] and [row["VSDTC"] for row in rows][2] == ""
    assert rows[2]["VSORRES"] == '1 "m" \\ é'
    decimal = next(column for column in data["columns"] if column["name"] == "VSSTRESN")
    assert decimal["targetDataType"] == "decimal"


@pytest.mark.parametrize("form", FORMATS)
def test_every_command_reads_it(form: str, written: Path, tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in (written / f"{name}.{FORMATS[form]}" for name in ("ae", "dm")):
        (folder / path.name).write_bytes(path.read_bytes())
    assert main(["roundtrip", str(folder)]) == 0
    assert main(["validate", str(folder), "--rules"]) == 1
    assert (
        main(
            ["convert", str(folder), "--to", "sdtm", "--no-derive", "--format", form, "--out", str(tmp_path / "again")]
        )
        == 1
    )
    assert not (tmp_path / "again" / "sdtm" / "define.xml").exists()
    for name in ("ae", "dm"):
        before, after = found(folder, form)[name], found(tmp_path / "again" / "sdtm", form)[name]
        assert compare(before[0], after[0], ()) == [] and before[1] == after[1]
