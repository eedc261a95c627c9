"""Conversions each way: what is written is what other programs read, and what came in comes out again."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fhirspace.engines import processes
from fhirspace.errors import InputError, UsageError
from fhirspace.standards import sdtm
from fhirspace.study import dataset as tabulation, to_fhir
from fhirspace.study.convert import convert
from fhirspace.study.demo.run import sample
from fhirspace.tables import csv, xpt
from fhirspace.tables.compare import compare
from fhirspace.tables.text import data_columns
from tests import small_study
from tests.study.space_study import Space


def datasets(folder: Path) -> dict[str, Any]:
    return {path.stem.upper(): xpt.read(path)[0] for path in sorted((folder / "sdtm").glob("*.xpt"))}


def same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    for name, table in left.items():
        assert compare(table, right[name], ()) == [], name


# -- the formats of SDTM, as other programs read them


@pytest.mark.slow
def test_pyreadstat_reads_transport_files_with_types_and_labels(space: Space) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    for path in sorted((space.sdtm().out / "sdtm").glob("*.xpt")):
        frame, told = pyreadstat.read_xport(path)
        name = path.stem.upper()
        table = xpt.read(path)[0]
        known = {each.name: each for each in sdtm.standard_variables(name)}
        assert told.table_name == name
        assert told.file_label == sdtm.domain(name).label
        assert list(frame.columns) == data_columns(table)
        assert len(frame) == table.num_rows == space.sdtm().tables[name]["out"]
        for column, label in zip(told.column_names, told.column_labels, strict=True):
            kind = known[column].type if column in known else "Char"
            assert label == (known[column].label if column in known else column)
            assert (told.readstat_variable_types[column] == "double") is (kind == "Num")
            if kind == "Char":
                assert frame[column].tolist() == pc.fill_null(table[column].cast("string"), "").to_pylist(), column


@pytest.mark.slow
def test_pandas_reads_parquet_and_csv_as_the_same_text(space: Space) -> None:
    pandas = pytest.importorskip("pandas")
    for path in sorted((space.sdtm().out / "sdtm").glob("*.parquet")):
        schema = pq.read_schema(path)
        assert all(
            str(field.type) in ("string", "dictionary<values=string, indices=int32, ordered=0>") for field in schema
        )
        left = pandas.read_parquet(path).astype(object)
        right = pandas.read_csv(path.with_suffix(".csv"), dtype=str, keep_default_na=False, na_values=[""])
        assert list(left.columns) == list(right.columns)
        left, right = left.where(left.notna(), None), right.astype(object).where(right.notna(), None)
        assert left.to_dict("list") == right.to_dict("list"), path.name


@pytest.mark.slow
def test_each_format_read_again_is_the_same_study(three: Space, tmp_path: Path) -> None:
    folder = three.sdtm().out / "sdtm"
    for form in ("xpt", "parquet", "csv"):
        done = convert(sorted(folder.glob(f"*.{form}")), to="fhir", out=tmp_path / form)
        assert done.exit_code == 0
    digests = {form: _digests(tmp_path / form, "fhir/") for form in ("xpt", "parquet", "csv")}
    assert digests["parquet"] == digests["csv"] == digests["xpt"]


def _digests(folder: Path, prefix: str = "") -> dict[str, str]:
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    return {name: told["sha256"] for name, told in files.items() if name.startswith(prefix)}


# -- each way


@pytest.mark.slow
def test_records_and_their_datasets_make_the_same_resources(three: Space, tmp_path: Path) -> None:
    done = convert(three.sdtm().out, to="fhir", out=tmp_path)
    assert done.exit_code == 0
    made = _digests(tmp_path, "fhir/")
    assert made.pop("fhir/Library.ndjson")  # what the files say of their datasets
    assert made == _digests(three.fhir().out, "fhir/")


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_resources_become_the_datasets_that_they_were_made_of(
    release: Any, space: Space, three: Space, tmp_path: Path
) -> None:
    space = space if release == "R4" else three
    done = convert(space.fhir(release).out, to="sdtm", out=tmp_path, fhir=release)
    assert (done.exit_code, done.unread) == (0, 0)
    assert done.resources == sum(
        path.read_bytes().count(b"\n") for path in (space.fhir(release).out / "fhir").iterdir()
    )
    same(datasets(space.sdtm().out), datasets(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sdtm", "fhir"])
def test_records_come_back_cell_by_cell(way: str, space: Space, tmp_path: Path) -> None:
    start = space.sdtm().out if way == "sdtm" else space.fhir().out
    done = convert(start, to="records", out=tmp_path, source="space")
    assert done.exit_code == 0
    for path in sorted(space.records.glob("*.csv")):
        left, right = (csv.read(each)[0] for each in (path, tmp_path / "records" / path.name))
        assert sorted(data_columns(left)) == sorted(data_columns(right))
        assert compare(left, right, ()) == [], path.name


@pytest.mark.slow
def test_an_own_source_folder_can_be_named(three: Space, tmp_path: Path) -> None:
    from fhirspace.template.folders import shipped

    folder = shipped() / "sources" / "space"
    done = convert(three.records, to="sdtm", out=tmp_path, source=str(folder), formats=("csv",))
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "sdtm").iterdir()) == sorted(
        path.name for path in (three.sdtm().out / "sdtm").glob("*.csv")
    )


def test_what_no_mapping_reads_is_kept_and_counted(tmp_path: Path) -> None:
    convert(small_study.write(tmp_path / "in"), to="fhir", out=tmp_path / "fhir")
    file = tmp_path / "fhir" / "fhir" / "AdverseEvent.ndjson"
    first, *rest = file.read_text("utf-8").splitlines()
    extra = json.loads(first) | {"location": {"display": "SECRET"}}
    foreign = {"resourceType": "AdverseEvent", "id": "x", "actuality": "actual", "subject": {"display": "x"}}
    file.write_text("\n".join([json.dumps(extra), *rest, json.dumps(foreign)]) + "\n", "utf-8")
    done = convert(tmp_path / "fhir", to="sdtm", out=tmp_path / "back", formats=("csv",))
    assert done.exit_code != 0
    assert done.unread == 1
    assert "1 place of FHIR content is" in done.summary()
    listed = [json.loads(line) for line in (tmp_path / "back" / "unread.ndjson").read_text().splitlines()]
    assert [(each["file"], each["line"]) for each in listed] == [("AdverseEvent.ndjson", 1)]
    assert listed[0]["path"].startswith("AdverseEvent.location")
    kept = (tmp_path / "back" / "unread" / "AdverseEvent.ndjson").read_text().splitlines()
    assert [json.loads(line)["id"] for line in kept] == [extra["id"], "x"]
    assert (tmp_path / "back" / "unread" / "AdverseEvent.ndjson").stat().st_mode & 0o077 == 0
    assert {problem.code for problem in done.problems} >= {"FS440"}
    ae = csv.read(tmp_path / "back" / "sdtm" / "ae.csv")[0]
    assert compare(ae, csv.read(tmp_path / "in" / "ae.csv")[0], ("USUBJID", "AESEQ")) == []


def test_datasets_without_their_parent_go_to_quarantine_whole(tmp_path: Path) -> None:
    supp = "STUDYID,RDOMAIN,USUBJID,IDVAR,IDVARVAL,QNAM,QLABEL,QVAL,QORIG\nTINY,CM,TINY-1,CMSEQ,1,A,B,c,CRF\n"
    done = convert(small_study.write(tmp_path / "in", SUPPCM=supp), to="fhir", out=tmp_path / "out")
    assert done.exit_code == 3
    assert done.tables["SUPPCM"] == {"in": 1, "out": 0, "quarantined": 1}
    assert [problem.code for problem in done.problems if problem.table == "SUPPCM"].count("FS735") == 1


@pytest.mark.parametrize(
    ("given", "to", "more", "code"),
    [
        ("sdtm", "records", {}, "FS614"),
        ("sdtm", "records", {"source": "nowhere"}, "FS612"),
        ("odd", "sdtm", {}, "FS612"),
        ("mixed", "fhir", {}, "FS610"),
        ("none", "fhir", {}, "FS101"),
    ],
)
def test_what_cannot_run_is_refused_and_nothing_is_promised(
    given: str, to: Any, more: dict[str, Any], code: str, tmp_path: Path
) -> None:
    if given == "sdtm":
        small_study.write(tmp_path / "sdtm")
    elif given == "odd":
        small_study.write(tmp_path / "odd").joinpath("ae.csv").unlink()
        (tmp_path / "odd" / "dm.csv").rename(tmp_path / "odd" / "nobody_knows_this_form.csv")
    elif given == "mixed":
        small_study.write(tmp_path / "mixed").joinpath("form_1.csv").write_text("a,b\n1,2\n")
    with pytest.raises((UsageError, InputError)) as caught:
        convert(tmp_path / given, to=to, out=tmp_path / "out", **more)
    assert caught.value.code == code
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_input_in_the_format_that_is_asked_for_is_refused_with_the_other_formats(tmp_path: Path) -> None:
    convert(small_study.write(tmp_path / "in"), to="fhir", out=tmp_path / "made")
    with pytest.raises(UsageError) as caught:
        convert(tmp_path / "made" / "fhir", to="fhir", out=tmp_path / "out")
    said = str(caught.value)
    assert said.startswith("FS613 --to fhir: The input is already in the format that `--to` names.")
    assert "Expected `--to sdtm` or `--to records`." in said
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_datasets_can_be_written_in_another_format(tmp_path: Path) -> None:
    small_study.write(tmp_path / "in")
    convert(tmp_path / "in", to="sdtm", out=tmp_path / "out", formats=("parquet",))
    convert(tmp_path / "out", to="sdtm", out=tmp_path / "again", formats=("csv",))
    for name, keys in (("ae", ("USUBJID", "AESEQ")), ("dm", ("USUBJID",))):
        before, after = (csv.read(tmp_path / folder / f"{name}.csv")[0] for folder in ("in", "again/sdtm"))
        assert compare(after, before, keys) == []


# -- several processes


@pytest.fixture
def many_batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Batches of 400 rows; the list tells which datasets went through how many processes."""
    monkeypatch.setattr(tabulation, "BATCH", 400)
    monkeypatch.setattr(to_fhir, "BATCH", 400)
    told: list[tuple[str, int]] = []
    run = processes.run

    def spy(job: Any, batches: Any, sinks: Any, workers: int) -> Any:
        told.append((getattr(job, "job", job).domain, workers))
        return run(job, batches, sinks, workers)

    monkeypatch.setattr(processes, "run", spy)
    return told


@pytest.mark.slow
def test_any_number_of_workers_writes_the_same_bytes(
    space: Space, tmp_path: Path, many_batches: list[tuple[str, int]]
) -> None:
    files = [space.sdtm().out / "sdtm" / f"{name}.parquet" for name in ("dm", "ts", "sv", "lb", "vs")]
    bad = tmp_path / "vs.csv"
    lines = (space.sdtm().out / "sdtm" / "vs.csv").read_text("utf-8").splitlines()
    for row in (3, 700, 1200):
        lines[row] = re.sub(r"\b20(\d\d-\d\d-\d\d)", r"2O\1", lines[row])
    bad.write_text("\n".join(lines) + "\n", "utf-8")
    for workers in (1, 3):
        convert([*files[:-1], bad], to="fhir", out=tmp_path / str(workers), workers=workers, strict=True)
    assert many_batches == [("LB", 3), ("VS", 3)]
    assert _digests(tmp_path / "1") == _digests(tmp_path / "3")
    assert json.loads((tmp_path / "3" / "manifest.json").read_bytes())["tables"]["VS"]["quarantined"] > 0


@pytest.mark.slow
def test_compressed_resources_are_the_same_for_any_number_of_workers_and_are_read_as_they_are(
    space: Space, tmp_path: Path, many_batches: list[tuple[str, int]]
) -> None:
    files = [space.sdtm().out / "sdtm" / f"{name}.parquet" for name in ("dm", "ts", "sv", "vs")]
    convert(files, to="fhir", out=tmp_path / "plain")
    for workers in (1, 2):
        convert(files, to="fhir", out=tmp_path / str(workers), workers=workers, gzip=True)
    assert many_batches == [("VS", 2)]
    assert _digests(tmp_path / "1") == _digests(tmp_path / "2")
    plain = {path.name: path.read_bytes() for path in (tmp_path / "plain" / "fhir").iterdir()}
    packed = {path.name: path.read_bytes() for path in (tmp_path / "1" / "fhir").iterdir()}
    assert {name.removesuffix(".gz"): gzip.decompress(data) for name, data in packed.items()} == plain
    assert all(name.endswith(".ndjson.gz") for name in packed)
    for name in ("plain", "1"):
        convert(tmp_path / name, to="sdtm", out=tmp_path / f"{name}-back")
    assert _digests(tmp_path / "plain-back", "sdtm/") == _digests(tmp_path / "1-back", "sdtm/") != {}


def test_a_fault_while_booking_ends_the_workers_and_leaves_no_manifest(
    space: Space, tmp_path: Path, many_batches: list[tuple[str, int]]
) -> None:
    import multiprocessing

    def progress(name: str, done: int, total: int) -> None:
        if name == "LB" and done:
            raise KeyboardInterrupt

    files = [space.sdtm().out / "sdtm" / f"{name}.parquet" for name in ("dm", "lb")]
    with pytest.raises(KeyboardInterrupt):
        convert(files, to="fhir", out=tmp_path, workers=2, progress=progress)
    assert many_batches == [("LB", 2)]
    assert multiprocessing.active_children() == []
    assert not (tmp_path / "manifest.json").exists()
    assert not list((tmp_path / "fhir").glob("*Observation*"))


def test_the_sample_says_that_it_is_synthetic_in_every_resource(three: Space) -> None:
    for release in ("R4", "R5"):
        for path in (three.fhir(release).out / "fhir").iterdir():
            for line in path.read_text("utf-8").splitlines():
                assert {label["code"] for label in json.loads(line)["meta"]["security"]} == {"HTEST"}, path.name
    assert (sample() / "README.md").is_file()


def test_differences_hold_no_formula(tmp_path: Path) -> None:
    ae = {"STUDYID": "T", "DOMAIN": "AE", "USUBJID": "T-1", "AESEQ": "1", "AETERM": "x", "AESTDTC": "2024-01-05"}
    dm = {"STUDYID": "T", "DOMAIN": "DM", "USUBJID": "T-1", "SUBJID": "1", "RFSTDTC": "2024-01-01"}
    (tmp_path / "in").mkdir()
    for name, row in (("dm", dm), ("ae", ae | {"AESTDY": "=1+1", "AEENDTC": "2024-01-06", "AEENDY": "7"})):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "in" / f"{name}.parquet")
    convert(tmp_path / "in", to="sdtm", formats=["parquet"], out=tmp_path / "out")
    lines = (tmp_path / "out" / "differences" / "ae.csv").read_text("utf-8").splitlines()
    assert sorted(lines[1:]) == ["ae.parquet,2,AEENDY,7,6", "ae.parquet,2,AESTDY,'=1+1,5"]
