"""Dataset-JSON as text tables, of whatever kind the file is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.errors import InputError
from fhirspace.limits import VARIABLE
from fhirspace.tables import description
from fhirspace.tables.datasetjson import document
from fhirspace.tables.datasetjson.reading import names, read
from fhirspace.tables.description import Column
from tests.tables.datasetjson.files import WAYS, column, dataset, lines, write

CELLS: list[tuple[str, Any, str | None]] = [
    # the type of a column, a value in JSON, and its text; None where it is missing
    *[("string", value, value) for value in ("x", "5.50", " a", 'é\n"\\', "null")],
    *[("string", value, None) for value in ("", "   ", None)],
    *[(kind, "2024-05", "2024-05") for kind in ("date", "datetime", "time", "URI")],
    ("date", "", None),
    ("integer", 7, "7"),
    ("integer", -0.5, "-0.5"),
    ("integer", 12345678901234567890123, "12345678901234567890123"),
    *[(kind, None, None) for kind in ("integer", "float", "double", "decimal", "boolean")],
    ("float", 5, "5"),
    ("double", 1e-7, "0.0000001"),
    ("decimal", "5.50", "5.50"),
    ("decimal", ".94", ".94"),
    ("decimal", "1,234,567.80", "1234567.80"),
    ("decimal", 3, "3"),
    ("boolean", True, "true"),
    ("boolean", False, "false"),
]


@pytest.mark.parametrize("way", WAYS)
def test_every_type_has_one_text(way: str, tmp_path: Path):
    columns = [column(f"C{at}", kind) for at, (kind, _, _) in enumerate(CELLS)]
    found = read(write(tmp_path, way, dataset(columns, [[value for _, value, _ in CELLS]] * 2)))
    assert [found.table[name][1].as_py() for name in found.rejected.columns] == [text for _, _, text in CELLS]
    assert found.table["@row"].to_pylist() == [2, 3] and not len(found.rejected) and not found.problems


@pytest.mark.parametrize("way", ["json", "ndjson"])
@pytest.mark.parametrize("spelt", ["5.50", "0.10", "-0.0", "100000000000000000.5"])
def test_numbers_keep_their_spelling(way: str, spelt: str, tmp_path: Path):
    path = write(tmp_path, way, dataset([column("A", "float")], [[987654321]]))
    path.write_text(path.read_text().replace("987654321", spelt))
    assert read(path).table["A"].to_pylist() == [spelt]


@pytest.mark.parametrize("way", WAYS)
def test_the_description(way: str, tmp_path: Path):
    columns = [
        column("A", length=12, keySequence=1),
        column("N", "integer"),
        column("D", "date"),
        column("T", "date", targetDataType="integer", displayFormat="DATE9."),
        column("F", "float", displayFormat="8.2"),
    ]
    path = write(tmp_path, way, dataset(columns, [["x", 1, "2024-05-01", "2024-05-02", 1.5]]))
    found = read(path)
    about = description.of(found.table)
    assert (about.name, about.label) == ("AE", "Adverse Events")
    assert about.columns == (
        Column("A", "The A", "Char", 12),
        Column("N", "The N", "Num"),
        Column("D", "The D", "Char", 10),
        Column("T", "The T", "Char", 10),
        Column("F", "The F", "Num", None, "8.2"),
    )
    assert [(each.code, each.place.column) for each in found.problems] == [("FS158", "T")]
    assert names(path) == ["A", "N", "D", "T", "F"]


@pytest.mark.parametrize("way", WAYS)
def test_bad_rows_are_rejected_and_the_others_read(way: str, tmp_path: Path):
    rows: list[Any] = [
        ["a", 1],
        ["b"],
        ["c", 2, 3],
        ["d", "4"],
        [5, 5],
        ["f", [6]],
        ["g", {}],
        {"A": "h"},
        "i",
        ["j", 9],
    ]
    found = read(write(tmp_path, way, dataset([column("A"), column("N", "integer")], rows)))
    assert found.table["A"].to_pylist() == ["a", "j"] and found.table["@row"].to_pylist() == [2, 11]
    assert [row.row for row in found.rejected.rows] == list(range(3, 11))
    assert {problem.code for problem in found.rejected.problems} == {"FS167"}
    assert [problem.place.column for problem in found.rejected.problems][:5] == [None, None, "N", "A", "N"]


def test_a_broken_line_is_rejected_alone(tmp_path: Path):
    path = tmp_path / "ae.ndjson"
    good = lines(dataset([column("A")], [["x"], ["y"]]))
    path.write_bytes(good.replace(b'"records": 2', b'"records": 6') + b'["z"\n["q"],["r"]\n["\\ud800"]\n[NaN]\n\n')
    found = read(path)
    assert found.table["A"].to_pylist() == ["x", "y"]
    assert [problem.code for problem in found.rejected.problems] == ["FS401"] * 4


def test_members_in_any_order(tmp_path: Path):
    data = dataset([column("A")], [["x"], ["]"], ['["']])
    orders = ["rows first", "rows in the middle"], [["rows", *data], [*list(data)[:3], "rows", *data]]
    for name, order in zip(*orders, strict=True):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({key: data[key] for key in order}, indent=1))
        assert read(path).table["A"].to_pylist() == ["x", "]", '["'], name


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_pieces_of_any_size_give_the_same(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [[f'a"[{at}]é', at, None] for at in range(40)]
    path = write(tmp_path, "json", dataset([column("A"), column("N", "integer"), column("B")], rows))
    whole = read(path).table
    monkeypatch.setattr(document, "_CHUNK", chunk)
    monkeypatch.setattr(document, "_SMALL", 3)
    assert read(path).table.equals(whole)


@pytest.mark.parametrize("way", WAYS)
def test_no_rows(way: str, tmp_path: Path):
    nothing: list[Any] = [[], None]
    for rows in nothing:
        path = write(tmp_path, way, dataset([column("A")], [], {"rows": rows}))
        assert read(path, empty=True).table.column_names == ["A", "@file", "@row"]
        with pytest.raises(InputError, match="FS103"):
            read(path)


HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "another version": ({"datasetJSONVersion": "1.0.0"}, "FS165"),
    "no version": ({"datasetJSONVersion": 1.1}, "FS165"),
    "no name": ({"name": None}, "FS165"),
    "no columns": ({"columns": None}, "FS165"),
    "columns are no objects": ({"columns": ["A"]}, "FS165"),
    "not a single column": ({"columns": [], "rows": [[]]}, "FS108"),
    "no count": ({"records": "1"}, "FS165"),
    "half a row": ({"records": 1.5}, "FS165"),
    "fewer than no row": ({"records": -1}, "FS165"),
    "more rows than there are": ({"records": 2}, "FS166"),
    "fewer rows than there are": ({"records": 0}, "FS166"),
    "an unknown type": ({"columns": [column("A", "text")]}, "FS165"),
    "an unknown target": ({"columns": [column("A", "date", targetDataType="float")]}, "FS165"),
    "a type that is none": ({"columns": [{**column("A"), "dataType": []}]}, "FS165"),
    "no length": ({"columns": [column("A", length=0)]}, "FS165"),
    "a huge length": ({"columns": [column("A", length=10**30)]}, "FS165"),
    "a column without name": ({"columns": [column(" ")]}, "FS108"),
    "a name of control characters": ({"columns": [column("A\x00")]}, "FS108"),
    "a reserved name": ({"columns": [column("@row")]}, "FS116"),
    "a name twice": ({"columns": [column("A"), column("A")], "rows": [["x", "x"]]}, "FS107"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", HEADERS)
def test_wrong_headers_are_refused(name: str, way: str, tmp_path: Path):
    more, code = HEADERS[name]
    with pytest.raises(InputError, match=code):
        read(write(tmp_path, way, dataset([column("A")], [["x"]], more)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bound", ["columns", "rows", "cell-bytes", "record-bytes", "bad-rows", "line-bytes"])
def test_bounds(bound: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(document, "_CHUNK", 8)
    monkeypatch.setenv(VARIABLE, f"{bound}=1")
    rows = [["x" * 11, "yy"], ["y", "z"], ["z"], ["z"]]
    with pytest.raises(InputError, match=rf"FS160 .*--limit {bound}=N"):
        read(write(tmp_path, way, dataset([column("A"), column("B")], rows)))
