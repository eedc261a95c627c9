"""Where the define.xml of an input is, and what is done with one that cannot be read."""

import json
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.sdtm.define.document import reading
from fhirspace.study.convert import convert
from fhirspace.study.define.find import beside
from fhirspace.study.validate import validate
from tests.study.define import packages


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], None),
        (["ae.csv", "define.txt", "other.xml"], None),
        (["Define.XML"], "Define.XML"),
        (["defineV21.xml", "define-2-1.xml"], "define-2-1.xml"),
        (["define-2-1.xml", "define.xml"], "define.xml"),
    ],
)
def test_by_its_name(names, expected, tmp_path: Path):
    for name in names:
        (tmp_path / name).write_text("")
    found = beside([tmp_path])
    assert (found.name if found else None) == expected
    found = beside([tmp_path / name for name in names])
    assert (found.name if found else None) == expected


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Datasets with their define.xml, and a sponsor's label in it."""
    return packages.package(tmp_path, **{"Reported Term for the Adverse Event": "Our Own Label"})


@pytest.mark.parametrize("wanted", [None, True, False])
def test_that_of_the_input_is_used_unless_none_is_wanted(wanted, package: Path, tmp_path: Path):
    convert(package, to="sdtm", out=tmp_path / "out", define=wanted)
    path = tmp_path / "out" / "sdtm" / "define.xml"
    assert path.exists() == (wanted is not False)
    if wanted is not False:
        define = reading.read(path)
        assert "Our Own Label" in {item.label for item in define.items.values()}
        assert {group.leaf.href for group in define.groups.values() if group.leaf} >= {"ae.xpt", "dm.xpt"}


def test_it_can_be_named_among_the_files(package: Path, tmp_path: Path):
    convert(sorted(package.iterdir()), to="sdtm", out=tmp_path / "out")
    assert (tmp_path / "out" / "sdtm" / "define.xml").exists()


def test_one_that_cannot_be_read_stops_nothing(package: Path, tmp_path: Path):
    (package / "define.xml").write_text("<html/>")
    done = convert(package, to="sdtm", out=tmp_path / "out")
    assert done.exit_code == 3
    assert [problem.code for problem in done.problems if problem.place.file == "define.xml"] == ["FS770"]
    assert (tmp_path / "out" / "sdtm" / "ae.xpt").exists()
    assert "FS770" in {problem.code for problem in validate([package])}


def test_validate_compares_it_with_the_datasets(package: Path, capsys):
    assert not [each for each in validate([package]) if each.code.startswith("FS77")]
    text = (package / "ae.csv").read_text("utf-8")
    (package / "ae.csv").write_text(text.replace("AETERM", "AEOWN", 1), "utf-8")
    main(["validate", str(package), "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {"FS773": "AETERM", "FS774": "AEOWN"}.items() <= {each["code"]: each["column"] for each in found}.items()
