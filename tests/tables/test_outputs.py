import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from fhirspace import __version__, atomic
from fhirspace.errors import FhirspaceError, InputError, Place, Problem, UsageError
from fhirspace.tables import csv
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.proof import Earlier

PROBLEMS = [
    Problem("FS109", Place("b.csv", 3), "2 fields, and there are 1", "B"),
    Problem("FS111", Place("a.csv", 10, "X"), "text that is no formula", "A"),
    Problem("FS106", Place("a.csv", 9, "X"), "text without control characters", "A"),
]


def put(folder, relative, content=b"x"):
    with folder.open(relative) as stream:
        stream.write(content)


def run(root, files=("fhir/Patient.ndjson",), problems=()):
    with OutputFolder(root, versions={"sdtmig": "3.4"}) as folder:
        for relative in files:
            put(folder, relative)
        folder.quarantine("A", ["X", "Y"], [["1", None], ["=1", "a,b", "more"]])
        folder.count("A", rows_in=2, rows_out=1, quarantined=1)
        folder.count("A", rows_in=3, rows_out=2, quarantined=1, derived=4)
        folder.report(problems)


def contents(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def tree(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_the_manifest_names_every_file(tmp_path):
    run(tmp_path / "new" / "out", problems=PROBLEMS)
    root = tmp_path / "new" / "out"
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["versions"] == {"fhirspace": __version__, "sdtmig": "3.4"}
    assert manifest["tables"] == {"A": {"rows_in": 5, "rows_out": 3, "quarantined": 2, "derived": 4}}
    assert set(manifest["files"]) | {"manifest.json"} == tree(root)
    for relative, told in manifest["files"].items():
        content = (root / relative).read_bytes()
        assert told == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


@pytest.mark.parametrize("time", [1 << 62, -(1 << 62), float("nan"), float("inf")])
def test_the_time_of_what_was_replaced_may_be_no_time(time):
    earlier = Earlier.of(time, ["fhir/Patient.ndjson", "problems.ndjson", "quarantine/AE.csv"])
    assert earlier is not None
    assert earlier.as_dict() == {"written": None, "files": 2, "folders": {"fhir": 1, "quarantine": 1}}
    assert str(earlier) == "the earlier result of an unknown time (fhir: 1 file, quarantine: 1 file)"


def test_a_list_of_problems_alone_is_no_result(tmp_path):
    assert Earlier.of(0, ["problems.ndjson", "unread.ndjson"]) is None


def test_problems_are_sorted(tmp_path):
    run(tmp_path, problems=PROBLEMS)
    lines = (tmp_path / "problems.ndjson").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        PROBLEMS[2].as_dict(),
        PROBLEMS[1].as_dict(),
        PROBLEMS[0].as_dict(),
    ]


def test_same_input_same_bytes(tmp_path):
    for name in ("one", "two"):
        run(tmp_path / name, problems=PROBLEMS if name == "one" else PROBLEMS[::-1])
    for relative in tree(tmp_path / "one"):
        assert (tmp_path / "one" / relative).read_bytes() == (tmp_path / "two" / relative).read_bytes()


def test_quarantine_is_private_and_safe_to_open(tmp_path):
    old = os.umask(0o022)
    try:
        run(tmp_path)
    finally:
        os.umask(old)
    path = tmp_path / "quarantine" / "A.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes() == b'X,Y\n1,\n\'=1,"a,b",more\n'


def test_rejected_rows_go_to_quarantine_as_they_came(tmp_path):
    (tmp_path / "t.csv").write_text('A,B\n1\n2,"x\n')
    with pytest.raises(InputError, match="FS103"), OutputFolder(tmp_path / "o"):
        csv.read(_write(tmp_path / "u.csv", "A\n"))
    _, rejected = csv.read(tmp_path / "t.csv")
    with OutputFolder(tmp_path / "o") as folder:
        folder.quarantine("t", rejected.columns, (row.fields for row in rejected.rows))
        folder.count("t", rows_in=2, rows_out=0, quarantined=2)
    assert (tmp_path / "o/quarantine/t.csv").read_bytes() == b'A,B\n1\n2,"""x\n"\n'


def _write(path, content):
    path.write_text(content)
    return path


def test_no_quarantined_row_no_file(tmp_path):
    with OutputFolder(tmp_path) as folder:
        folder.quarantine("A", ["X"], [])
    assert tree(tmp_path) == {"manifest.json", "problems.ndjson"}


def test_a_quarantined_row_without_a_cell_is_a_line(tmp_path):
    with OutputFolder(tmp_path) as folder:
        folder.quarantine("A", ["X"], [[None]])
    assert (tmp_path / "quarantine/A.csv").read_bytes() == b'X\n""\n'


@pytest.mark.parametrize(
    ("rows_in", "rows_out", "quarantined"), [(3, 1, 1), (1, 1, 1), (2, 2, 0)], ids=["lost", "doubled", "not counted"]
)
def test_rows_that_do_not_balance_fail_the_run(rows_in, rows_out, quarantined, tmp_path):
    with pytest.raises(FhirspaceError, match="FS142"), OutputFolder(tmp_path) as folder:
        folder.quarantine("A", ["X"], [["1"]])
        folder.count("A", rows_in=rows_in, rows_out=rows_out, quarantined=quarantined)
    assert not (tmp_path / "manifest.json").exists()


def test_an_exception_leaves_nothing_half_written(tmp_path):
    with pytest.raises(RuntimeError), OutputFolder(tmp_path) as folder:
        put(folder, "fhir/Whole.ndjson")
        with folder.open("fhir/Half.ndjson") as stream:
            stream.write(b"half")
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_exception_keeps_the_run_before_whole(tmp_path):
    run(tmp_path, ["fhir/Patient.ndjson"])
    before = contents(tmp_path)
    with pytest.raises(RuntimeError), OutputFolder(tmp_path) as folder:
        put(folder, "fhir/Observation.ndjson")
        with folder.open("fhir/Patient.ndjson") as stream:
            stream.write(b"half")
            raise RuntimeError
    assert contents(tmp_path) == before


def test_a_failed_run_leaves_no_folder_that_it_made(tmp_path):
    with pytest.raises(RuntimeError), OutputFolder(tmp_path / "new"):
        raise RuntimeError
    assert not (tmp_path / "new").exists()


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / "fhir").mkdir()
    (tmp_path / "fhir" / ".Patient.ndjson.fhirspace-part").write_text("half")
    run(tmp_path, ["fhir/Patient.ndjson"])
    assert "fhir/.Patient.ndjson.fhirspace-part" not in tree(tmp_path)


def test_a_rerun_replaces_its_files_and_removes_stale_ones(tmp_path):
    run(tmp_path, ["fhir/Patient.ndjson", "sdtm/dm.xpt"])
    (tmp_path / "fhir" / "mine.txt").write_text("not ours")
    with OutputFolder(tmp_path) as folder:
        put(folder, "fhir/Observation.ndjson")
    kept = {"fhir/Observation.ndjson", "fhir/mine.txt", "manifest.json", "problems.ndjson"}
    assert tree(tmp_path) == kept
    assert not (tmp_path / "sdtm").exists()


def test_stale_files_are_known_after_a_failed_run(tmp_path):
    run(tmp_path, ["fhir/Old.ndjson"])
    with pytest.raises(RuntimeError), OutputFolder(tmp_path):
        raise RuntimeError
    assert (tmp_path / "manifest.json").exists()
    with OutputFolder(tmp_path):
        pass
    assert tree(tmp_path) == {"manifest.json", "problems.ndjson"}


def test_files_that_the_run_keeps_are_in_its_manifest_too(tmp_path):
    run(tmp_path, ["fhir/Patient.ndjson", "fhir/Group.ndjson"])
    with OutputFolder(tmp_path, keeps=lambda name: name == "fhir/Group.ndjson") as folder:
        put(folder, "fhir/Observation.ndjson")
    wanted = {"fhir/Observation.ndjson", "fhir/Group.ndjson", "problems.ndjson"}
    assert set(json.loads((tmp_path / "manifest.json").read_text())["files"]) == wanted
    assert tree(tmp_path) == {*wanted, "manifest.json"}


def test_a_second_file_of_a_name_gets_a_number(tmp_path):
    """Broken files of two folders may have one name: neither is lost in quarantine."""
    with OutputFolder(tmp_path) as folder:
        for content in (b"one", b"two", b"three"):
            put(folder, "quarantine/a.csv", content)
    found = {path.name: path.read_bytes() for path in (tmp_path / "quarantine").iterdir()}
    assert found == {"a.csv": b"one", "a-2.csv": b"two", "a-3.csv": b"three"}


@pytest.mark.parametrize("listed", [{"files": {"../precious.txt": {}}}, {"files": ["x"]}, {"other": 1}, [], "text"])
def test_a_manifest_of_others_harms_nothing(listed, tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    root = tmp_path / "out"
    root.mkdir()
    (root / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(UsageError, match="FS145"), OutputFolder(root):
        pass
    assert (tmp_path / "precious.txt").read_text() == "keep"
    assert tree(root) == {"manifest.json"}
    assert json.loads((root / "manifest.json").read_text()) == listed


@pytest.mark.parametrize(
    "relative",
    [
        "../x",
        "/x",
        "a/../../x",
        "",
        ".",
        "a\\b",
        "a\0b",
        "fhir/x",
        "fhir",
        "x",
        ".x",
        "fhir/..",
        "fhir/a/b",
        "fhir//x",
        "fhir/a\\b",
    ],
)
def test_paths_that_leave_the_folder(relative, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fhir").symlink_to(tmp_path)
    with OutputFolder(tmp_path / "out") as folder, pytest.raises(InputError, match="FS141"):
        put(folder, relative)
    assert tree(tmp_path) == {"out/manifest.json", "out/problems.ndjson"}


def test_a_link_at_the_end_is_neither_replaced_nor_followed(tmp_path):
    (tmp_path / "outside.txt").write_text("keep")
    (tmp_path / "out" / "fhir").mkdir(parents=True)
    (tmp_path / "out" / "fhir" / "Patient.ndjson").symlink_to(tmp_path / "outside.txt")
    with pytest.raises(UsageError, match="FS144"):
        run(tmp_path / "out", ["fhir/Patient.ndjson"])
    assert (tmp_path / "outside.txt").read_text() == "keep"
    assert tree(tmp_path / "out") == {"fhir/Patient.ndjson"}


def test_a_staged_path_is_for_writers_that_want_a_path(tmp_path):
    with OutputFolder(tmp_path) as folder, folder.stage("sdtm/t.csv") as path:
        path.write_text("A\n")
    assert (tmp_path / "sdtm/t.csv").read_text() == "A\n"


def test_a_root_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="FS143"), OutputFolder(tmp_path / "out"):
        pass


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "fhir").write_text("")
    with pytest.raises(InputError, match="FS143"), OutputFolder(tmp_path) as folder:
        put(folder, "fhir/Patient.ndjson")


def test_systems_that_cannot_open_a_folder(tmp_path, monkeypatch):
    calls = []

    def refuse(path, *_, **__):
        calls.append(("open", path))
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        patch.setattr(os, "fsync", lambda descriptor: calls.append(("fsync", descriptor)))
        patch.setattr(os, "close", lambda descriptor: calls.append(("close", descriptor)))
        atomic.synchronise(Path(tmp_path))
    assert calls == [("open", tmp_path)], "it is tried, and given up without touching any other descriptor"


def test_systems_that_cannot_synchronise_a_folder_and_disks_that_fail(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(code, "no")

    monkeypatch.setattr(os, "fsync", refuse)
    code = errno.EINVAL
    atomic.synchronise(Path(tmp_path))
    code = errno.EIO
    with pytest.raises(OSError, match="no"):
        atomic.synchronise(Path(tmp_path))
