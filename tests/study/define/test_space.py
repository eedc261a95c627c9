"""The define.xml of the SPACE sample: valid, the same in every run, and shown by the standard stylesheet."""

import pytest

from fhirspace.sdtm.define.document import reading
from fhirspace.study.convert import convert
from fhirspace.study.validate import validate
from tests.study.space_study import Space
from tests.support.define_schema import faults, stylesheet


@pytest.fixture(scope="module")
def path(space: Space):
    return space.sdtm().out / "sdtm" / "define.xml"


@pytest.mark.slow
def test_it_is_valid(path):
    assert faults(path.read_bytes()) == []


@pytest.mark.slow
def test_every_dataset_and_every_variable_is_defined(path, space: Space):
    define = reading.read(path)
    files = {file.stem.upper() for file in path.parent.glob("*.xpt")}
    assert {group.name for group in define.groups.values()} == files
    for group in define.groups.values():
        assert group.leaf and (path.parent / group.leaf.href).is_file()
        for ref, item in define.variables(group):
            assert item.label
            assert item.origins or item.values
            assert ref.no_data or [each.type for each in item.origins] != ["Not Available"], f"{group.name}.{item.name}"


def test_a_collected_variable_names_form_and_field(path):
    define = reading.read(path)
    weight = define.items["IT.VS.VSORRES.WEIGHT"]
    assert [each.text for each in weight.origins] == ["Form vitals: weight"]
    assert define.items["IT.SUPPAE.QVAL.AESTOP"].origins[0].text == "Form adverse_events: led_to_withdrawal"
    assert "adverse_events" in define.items["IT.CO.COVAL"].origins[0].text


@pytest.mark.slow
def test_it_is_the_same_in_every_run(path, space: Space, tmp_path):
    convert(space.records, to="sdtm", out=tmp_path / "again", define=True)
    assert (tmp_path / "again" / "sdtm" / "define.xml").read_bytes() == path.read_bytes()


def test_there_is_none_unless_it_is_asked_for(space: Space, tmp_path):
    convert(space.records / "demographics.csv", to="sdtm", out=tmp_path / "out", source="space")
    assert not (tmp_path / "out" / "sdtm" / "define.xml").exists()


@pytest.mark.slow
def test_the_standard_stylesheet_shows_it(path):
    etree = pytest.importorskip("lxml.etree")
    page = etree.XSLT(etree.parse(stylesheet()))(etree.parse(path))
    shown = " ".join(page.getroot().itertext())
    for text in ("Vital Signs", "Form vitals: weight", "Algorithm to derive AESTDY", "CDISC/NCI SDTM 2025-03-28"):
        assert text in shown


@pytest.mark.slow
def test_validate_finds_no_difference(path):
    assert not [each for each in validate([path.parent]) if each.code.startswith(("FS77", "FS78"))]
