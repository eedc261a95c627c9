"""CDISC's sample package: its own define.xml comes back with the datasets, and a new one is valid and agrees."""

from dataclasses import replace
from pathlib import Path

import pytest

from fhirspace.sdtm.define.document import reading
from fhirspace.study.convert import convert
from fhirspace.study.validate import validate
from tests.support.define_schema import faults


@pytest.mark.slow
def test_its_own_comes_back(msg20: Path, tmp_path: Path):
    convert(msg20, to="sdtm", out=tmp_path / "out", formats=("parquet",))
    before, path = reading.read(msg20 / "define.xml"), tmp_path / "out" / "sdtm" / "define.xml"
    assert faults(path.read_bytes()) == []
    after = reading.read(path)
    assert after.standards == before.standards and after.leaves == before.leaves
    for oid, group in after.groups.items():
        given = before.groups[oid]
        assert replace(group, leaf=given.leaf) == given
        assert group.no_data or (group.leaf and (path.parent / group.leaf.href).is_file())
    for part in ("items", "value_lists", "wheres", "codelists", "methods", "comments"):
        for oid, each in getattr(after, part).items():
            assert each == getattr(before, part)[oid], oid
    lost = {group.name for oid, group in before.groups.items() if oid not in after.groups}
    assert "FT" in lost  # described without a file
    assert after.groups.keys() == {oid for oid, group in before.groups.items() if group.name not in lost}


@pytest.mark.slow
def test_a_new_one_is_valid_and_agrees(msg20: Path, tmp_path: Path):
    plain = tmp_path / "plain"
    plain.mkdir()
    for path in msg20.glob("*.xpt"):
        (plain / path.name).symlink_to(path)
    convert(plain, to="sdtm", out=tmp_path / "out", define=True, follow_links=True)
    define = tmp_path / "out" / "sdtm" / "define.xml"
    assert faults(define.read_bytes()) == []
    found = {(each.code, each.table, each.place.column) for each in validate([define.parent])}
    assert {each for each in found if each[0].startswith(("FS77", "FS78"))} == set()
