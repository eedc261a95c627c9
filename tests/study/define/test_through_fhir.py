"""A define.xml travels with its datasets: through FHIR as a Library, and into the labels of files that have none."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.sdtm.define.document import reading
from fhirspace.standards.fhir import Release
from fhirspace.study.convert import convert
from fhirspace.study.define import resource as defined
from fhirspace.study.roundtrip import roundtrip
from fhirspace.tables import xpt
from tests.study.define import packages


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CSV datasets with a define.xml that has a sponsor's label, length and remark."""
    changed = {"Reported Term for the Adverse Event": "Our Own Label", "Made by fhirspace": "Made by us"}
    return packages.package(tmp_path_factory.mktemp("package"), **changed)


def libraries(folder: Path) -> list[dict[str, Any]]:
    path = folder / "fhir" / "Library.ndjson"
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []
    return [each for each in found if each["identifier"][0]["system"] == defined.SYSTEM]


@pytest.mark.parametrize("release", ["R4", "R4B", "R5"])
def test_it_comes_back_from_fhir(release: Release, package: Path, tmp_path: Path):
    convert(package, to="fhir", out=tmp_path / "fhir", fhir=release)
    assert len(libraries(tmp_path / "fhir")) == 1
    convert(tmp_path / "fhir", to="sdtm", out=tmp_path / "out", fhir=release)
    before, after = (reading.read(folder / "define.xml") for folder in (package, tmp_path / "out" / "sdtm"))
    for part in ("items", "value_lists", "wheres", "codelists", "methods", "comments", "standards"):
        assert getattr(after, part) == getattr(before, part), part
    assert {group.leaf.href for group in after.groups.values() if group.leaf} >= {"ae.xpt", "dm.xpt"}


def test_without_one_there_is_no_resource(package: Path, tmp_path: Path):
    files = [path for path in package.iterdir() if path.suffix == ".csv"]
    convert(files, to="fhir", out=tmp_path / "fhir")
    assert libraries(tmp_path / "fhir") == []


def test_files_without_labels_get_those_of_the_define(package: Path, tmp_path: Path):
    convert(package, to="sdtm", out=tmp_path / "out")
    table, _ = xpt.read(tmp_path / "out" / "sdtm" / "ae.xpt")
    assert (table.schema.field("AETERM").metadata or {})[b"label"] == b"Our Own Label"


@pytest.mark.parametrize("change", ["content", "status", "encoding"])
def test_a_changed_one_is_reported_and_not_used(change, package: Path, tmp_path: Path):
    convert(package, to="fhir", out=tmp_path / "fhir")
    (library,) = libraries(tmp_path / "fhir")
    if change == "status":
        library["status"] = "retired"
    else:
        library["content"][0]["data"] = "*" if change == "encoding" else base64.b64encode(b"<html/>").decode()
    folder = tmp_path / "edited"
    folder.mkdir()
    for path in (tmp_path / "fhir" / "fhir").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "Library.ndjson").write_text(json.dumps(library) + "\n", "utf-8")
    done = convert(folder, to="sdtm", out=tmp_path / "out")
    assert "FS449" in {each.code for each in done.problems}
    assert not (tmp_path / "out" / "sdtm" / "define.xml").exists()


def test_one_that_is_too_large_stays_out(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(defined, "_LONGEST", 100)
    done = convert(package, to="fhir", out=tmp_path / "fhir")
    assert "FS451" in {each.code for each in done.problems}
    assert libraries(tmp_path / "fhir") == []


@pytest.mark.slow
def test_the_proof_is_exact_with_one(package: Path, tmp_path: Path):
    convert(package, to="fhir", out=tmp_path / "fhir")
    assert roundtrip(package).differences == 0
    assert roundtrip(tmp_path / "fhir").differences == 0
