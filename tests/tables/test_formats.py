import pyarrow as pa
import pytest

from fhirspace.errors import InputError
from fhirspace.tables import csv, formats, parquet, text, xpt

TABLE = text.from_columns({"A": ["x"]}, file="t")


@pytest.fixture
def folder(tmp_path):
    csv.write(TABLE, tmp_path / "c.csv")
    parquet.write(TABLE, tmp_path / "p.parquet")
    xpt.write(TABLE, tmp_path / "x.xpt", name="X", label="", variables=[("A", "", "Char", None)])
    (tmp_path / "notes.txt").write_text("A\nx\n")
    (tmp_path / "problems.ndjson").write_text("")
    (tmp_path / ".hidden.csv").write_text("A\nx\n")
    (tmp_path / "sub.csv").mkdir()
    return tmp_path


def test_a_folder_is_read_by_name(folder):
    loaded = {name: formats.load(found) for name, found in formats.scan(folder).items()}
    assert list(loaded) == ["c", "p", "x"]
    for item in loaded.values():
        assert item.table.column("A").to_pylist() == ["x"]
        assert not len(item.rejected)
        assert item.problems == []


def test_one_file_is_a_folder_of_one(folder):
    assert list(formats.scan(folder / "notes.txt")) == ["notes"]


CONTENT = {
    "a.csv": (b"A\nx\n", "csv"),
    "a.TSV": (b"A\nx\n", "csv"),
    "a.dat": (b"PAR1....", "parquet"),
    "wrong.csv": (xpt.MAGICS[0], "xpt"),
    "a.ndjson": (b'{"a":1}\n', "ndjson"),
    "a.jsonl": (b'{"a":1}\n', "ndjson"),
    "a.json": (b"\xef\xbb\xbf [1]", "json"),
    "a.xml": (b"<?xml?>", "xml"),
}


@pytest.mark.parametrize("name", CONTENT)
def test_recognise(name, tmp_path):
    content, expected = CONTENT[name]
    (tmp_path / name).write_bytes(content)
    assert formats.recognise(tmp_path / name) == expected


BAD = {
    "none.csv": (None, "FS101"),
    "empty.csv": (b"", "FS102"),
    "a.docx": (b"??", "FS151"),
    "a.json": (b"A\nx\n", "FS151"),
    "a.xml": (b"A\nx\n", "FS151"),
    "a.parquet": (b"A\nx\n", "FS151"),
    "dm.csv": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "FS114"),
    "vs.csv": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "FS114"),
    "ae.csv": (bytes(range(256)) * 20, "FS114"),
    "lb.csv": ("A,B\n1,2\n".encode("utf-16"), "FS105"),
    "zipped.csv": (b"PK\x03\x04", "FS154"),
    "a.csv.gz": (b"\x1f\x8b", "FS154"),
}


@pytest.mark.parametrize("name", BAD)
def test_not_recognised(name, tmp_path):
    content, code = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=code):
        formats.recognise(tmp_path / name)


def test_an_archive_in_a_folder_is_not_passed_over(folder):
    (folder / "more.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="FS154"):
        formats.scan(folder)


def test_links_stay_inside(folder, tmp_path_factory):
    (folder / "inside.csv").symlink_to(folder / "c.csv")
    assert "inside" in formats.scan(folder)
    outside = tmp_path_factory.mktemp("outside") / "o.csv"
    outside.write_text("A\nx\n")
    (folder / "o.csv").symlink_to(outside)
    with pytest.raises(InputError, match=r"FS152 o\.csv"):
        formats.scan(folder)


def test_two_files_of_one_table(folder):
    parquet.write(pa.table({"A": ["x"]}), folder / "C.parquet")
    with pytest.raises(InputError, match="FS155"):
        formats.scan(folder)


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match="FS153"):
        formats.scan(tmp_path)
    with pytest.raises(InputError, match="FS101"):
        formats.scan(tmp_path / "none")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="FS153"):
        formats.scan(tmp_path / "a.json")


def test_the_catalogue_explains_every_code_of_the_package():
    import re
    from pathlib import Path

    from fhirspace import api, errors, limits, study, tables
    from fhirspace.errors import catalogue

    rooms = (Path(room.__file__ or "").parent for room in (tables, study, api))
    files = [*(path for room in rooms for path in room.rglob("*.py")), Path(limits.__file__), Path(errors.__file__)]
    source = "".join(path.read_text() for path in files)
    raised = set(re.findall(r"\"(FS1\d\d)\"", source))
    assert raised == {code for code in catalogue() if code.startswith("FS1")}
