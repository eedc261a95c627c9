"""SAS datasets as text tables. No program here writes any: what the library gives is made up, but for damaged files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyreadstat
import pytest

from fhirspace.cli import main
from fhirspace.errors import InputError
from fhirspace.limits import VARIABLE
from fhirspace.tables import description, formats, sas7bdat
from fhirspace.tables.description import Column

COLUMNS: dict[str, tuple[str, str | None, int, list[Any]]] = {
    # by name: the kind, the format, the bytes, the cells
    "USUBJID": ("string", "$12", 12, ["S-1", "S-2  ", ""]),
    "AGE": ("double", "BEST12", 8, [70.0, 70.5, "A"]),
    "N": ("double", None, 3, [1e-7, None, float("nan")]),
    "DT": ("double", "DATE9", 8, [0.0, 1e9, None]),
}


def found(cells: dict[str, list[Any]] | None, rows: int = 3) -> tuple[dict[str, list[Any]], SimpleNamespace]:
    about = SimpleNamespace(
        number_rows=rows,
        column_names=list(COLUMNS),
        original_variable_types={name: each[1] for name, each in COLUMNS.items()},
        readstat_variable_types={name: each[0] for name, each in COLUMNS.items()},
        variable_storage_width={name: each[2] for name, each in COLUMNS.items()},
        column_names_to_labels={name: None if name == "N" else f"The {name}" for name in COLUMNS},
        table_name="DM",
        file_label="Demographics",
    )
    return cells or {name: each[3] for name, each in COLUMNS.items()}, about


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pyreadstat, "read_sas7bdat", lambda *_, **__: found(None))
    (tmp_path / "dm.sas7bdat").write_bytes(sas7bdat._MAGIC + bytes(1000))
    return tmp_path / "dm.sas7bdat"


def test_cells_and_description(path: Path):
    loaded = formats.load(formats.scan(path.parent)["dm"])
    cells = {name: loaded.table[name].to_pylist() for name in COLUMNS}
    assert cells == {
        "USUBJID": ["S-1", "S-2", None],
        "AGE": ["70", "70.5", None],
        "N": ["0.0000001", None, None],
        "DT": ["1960-01-01", "1000000000", None],
    }
    assert [(each.code, str(each.place)) for each in loaded.problems] == [
        ("FS130", "dm.sas7bdat:4:AGE"),
        ("FS158", "dm.sas7bdat:DT"),
        ("FS159", "dm.sas7bdat:3:DT"),
    ]
    about = description.of(loaded.table)
    assert (about.name, about.label) == ("DM", "Demographics")
    assert about.columns == (
        Column("USUBJID", "The USUBJID", "Char", 12, "$12."),
        Column("AGE", "The AGE", "Num", 8, "BEST12."),
        Column("N", "", "Num", 3, ""),
        Column("DT", "The DT", "Char"),
    )


@pytest.mark.parametrize("bound", ["rows", "columns"])
def test_bounds(bound: str, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, f"{bound}=2")
    with pytest.raises(InputError, match=rf"FS160 .*--limit {bound}=N"):
        sas7bdat.read(path)


def test_rows_out_of_proportion(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pyreadstat, "read_sas7bdat", lambda *_, **__: found(None, 5_000_000))
    with pytest.raises(InputError, match=r"FS160 .*--limit expansion=N"):
        sas7bdat.read(path)


def test_no_rows(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pyreadstat, "read_sas7bdat", lambda *_, **__: found({name: [] for name in COLUMNS}, 0))
    with pytest.raises(InputError, match="FS103"):
        sas7bdat.read(path)
    assert sas7bdat.read(path, empty=True)[0].num_rows == 0


@pytest.mark.parametrize(
    "rest", [b"", bytes(100), bytes(200_000), b"\xff" * 200_000], ids=["cut", "short", "zeros", "ones"]
)
def test_damaged_files(rest: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "dm.sas7bdat").write_bytes(sas7bdat._MAGIC + rest)
    with pytest.raises(InputError, match="FS168"):
        sas7bdat.read(tmp_path / "dm.sas7bdat")
    assert main(["validate", str(tmp_path)]) == 2
    assert "FS168" in capsys.readouterr().err


def test_without_the_extra_it_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match="FS153"):
        formats.scan(path.parent)
