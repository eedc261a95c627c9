"""SAS transport files of version 8, as another program writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat
import pytest

from fhirspace.errors import InputError
from fhirspace.tables import description, xpt
from fhirspace.tables.description import Column
from fhirspace.tables.formats import load, scan

LABEL = "A label that is longer than the forty bytes which version 5 has for it"
FRAME = {"A_LONG_NAME_OF_32_CHARACTERS_XXX": ["x", "yy", ""], "N": [1.5, -2.0, None], "DT": ["2024-05", "", ""]}
FORM = b"\x00\x01\x00\x20\x00\x00\x00\x09\x00\x07" + b"A_LONG_NAME_OF_32_CHARACTERS_XXX" + b"$LONGFMT." + b"$OTHER."


def write(path: Path, frame: dict[str, Any] | None = None, label: str = LABEL) -> Path:
    data = pd.DataFrame(FRAME if frame is None else frame)
    labels = [label, *(["plain"] * (len(data.columns) - 1))]
    pyreadstat.write_xport(
        data, path, table_name="A_DATASET_NAME", file_label="Its label", column_labels=labels, file_format_version=8
    )
    return path


@pytest.mark.parametrize("label", [LABEL, "short"])
def test_it_is_read(label: str, tmp_path: Path):
    loaded = load(scan(write(tmp_path / "t.xpt", label=label))["t"])
    assert [loaded.table[name].to_pylist() for name in FRAME] == [
        ["x", "yy", None],
        ["1.5", "-2", None],
        ["2024-05", None, None],
    ]
    about = description.of(loaded.table)
    assert (about.name, about.label) == ("A_DATASET_NAME", "Its label")
    assert [(each.name, each.label, each.type) for each in about.columns] == [
        (name, label if at == 0 else "plain", "Num" if name == "N" else "Char") for at, name in enumerate(FRAME)
    ]


def test_long_formats(tmp_path: Path):
    path = write(tmp_path / "t.xpt", label="short")
    content = path.read_bytes()
    at = content.index(b"HEADER RECORD*******OBSV8")
    header = b"HEADER RECORD*******LABELV9 HEADER RECORD!!!!!!!1".ljust(80)
    path.write_bytes(content[:at] + header + FORM.ljust(80) + content[at:])
    first = description.of(xpt.read(path)[0]).columns[0]
    assert first == Column(first.name, "short", "Char", 2, "$LONGFMT.", "$OTHER.")


def test_rows_of_blanks_at_the_end_are_rows(tmp_path: Path):
    found, _ = xpt.read(write(tmp_path / "t.xpt", {"A_LONG_NAME": ["x", "", ""]}))
    assert found["A_LONG_NAME"].to_pylist() == ["x", None, None]


def change(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old, new, 1)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "more rows than there are": change(b"!!!!!!!              3", b"!!!!!!!         999999"),
    "fewer rows than there are": change(b"!!!!!!!              3", b"!!!!!!!              1"),
    "a label beyond the file": change(b"\x00\x01\x00\x20\x00", b"\x00\x01\xff\xff\xff"),
    "more labels than variables": change(b"LABELV8 HEADER RECORD!!!!!!!1 ", b"LABELV8 HEADER RECORD!!!!!!!9 "),
    "no number of labels": change(b"LABELV8 HEADER RECORD!!!!!!!1 ", b"LABELV8 HEADER RECORD!!!!!!!? "),
    "labels of another kind": change(b"LABELV8", b"LABELV9"),
    "records of version 5": change(b"MEMBV8 ", b"MEMBER "),
    "cut in the labels": lambda content: content[: content.index(b"LABELV8") + 100],
    "cut in the rows": lambda content: content[:-80],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files(name: str, tmp_path: Path):
    path = write(tmp_path / "t.xpt", {**FRAME, "DT": ["2024-05" * 12, "", ""]})
    damaged = DAMAGE[name](path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"FS104|FS131"):
        xpt.read(path)
