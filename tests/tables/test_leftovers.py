"""What a folder holds besides the files that are read: named as not read, passed over with a note, or ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fhirspace.tables.leftovers import COMPANIONS, finding, leftovers

NOTE, NOT_READ, OURS = "FS181", "FS180", ""
NAMES = {
    "lb.xlsx": NOT_READ,
    "LB.XLS": NOT_READ,
    "cm.sas7bdat": NOT_READ,
    "vs.xml": NOT_READ,
    "definition.json": NOT_READ,
    "eg.csv.bz2": NOT_READ,
    "ae": NOT_READ,
    "study.db": NOT_READ,
    "readme-data.dat": NOT_READ,
    "define.xml": NOTE,
    "Define-2-1.XML": NOTE,
    "README": NOTE,
    "protocol.pdf": NOTE,
    "notes.txt": NOTE,
    "SHA256SUMS": NOTE,
    ".DS_Store": NOTE,
    "~$lb.xlsx": NOTE,
    "problems.ndjson": NOTE,
    "manifest.json": OURS,
    "journal.db": OURS,
    "x.db-wal": OURS,
    "audit.log": OURS,
    ".fhirspace.lock": OURS,
}


def codes(folder: Path) -> dict[str, str]:
    return {path.name: finding(path).code for path in leftovers(folder, ())}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_by_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x")
    assert codes(tmp_path).get(name, OURS) == NAMES[name]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\tb\n1\t2\n", NOT_READ),
        ("\n a;b\n 1;2\n", NOT_READ),
        ("a,b,c\n1,2,3\n", NOT_READ),
        ("Dear all,\nthe data, as agreed\n", NOTE),
        ("a\tb\n", NOTE),
        ("", NOTE),
    ],
)
def test_a_text_that_looks_like_a_table_is_not_passed_over(text: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert codes(tmp_path) == {"a.txt": code}


def test_a_database_of_ours_is_known_by_its_head(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"SQLite format 3\0" + bytes(52) + b"fhsJ")
    (tmp_path / "theirs.db").write_bytes(b"SQLite format 3\0" + bytes(56))
    (tmp_path / "new.db").write_bytes(b"")
    assert codes(tmp_path) == {"theirs.db": NOT_READ}


def test_folders_are_named_with_their_files(tmp_path: Path) -> None:
    (tmp_path / "site" / "deep").mkdir(parents=True)
    (tmp_path / "site" / "deep" / "ae.csv").write_text("x")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    (problem,) = map(finding, leftovers(tmp_path, ()))
    assert (problem.code, problem.place.file, problem.detail) == (NOT_READ, "site", "a folder with 1 file in it")


@pytest.mark.parametrize(("manifest", "expected"), [(True, {}), (False, {"quarantine": NOT_READ})])
def test_folders_of_a_run_are_ours_beside_its_manifest(
    manifest: bool, expected: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / "ae.csv").write_text("x")
    if manifest:
        (tmp_path / "manifest.json").write_text("{}")
    assert codes(tmp_path) == expected


def test_links_and_pipes_are_named_and_not_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("a\tb\n1\t2\n")
    home = tmp_path / "in"
    home.mkdir()
    (home / "a.txt").symlink_to(outside)
    (home / "gone.dat").symlink_to(home / "nothing")
    (home / "up").symlink_to(tmp_path)
    os.mkfifo(home / "pipe.dat")
    assert codes(home) == {"a.txt": NOTE, "gone.dat": NOT_READ, "pipe.dat": NOT_READ, "up": NOT_READ}


def test_what_is_taken_is_no_leftover(tmp_path: Path) -> None:
    (tmp_path / "dm.csv").write_text("x")
    assert list(leftovers(tmp_path, {tmp_path / "dm.csv"})) == []


def test_the_page_for_data_managers_lists_what_is_passed_over() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data-manager.md").read_text("utf-8")
    missing = [name for each in COMPANIONS for name in each.names if f"`{name}`" not in page]
    assert not missing
