"""Rows whose key is not their own: fast and slow paths agree on them, and what is written comes back (decision 0023)."""

from __future__ import annotations

from functools import cache

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fhirspace.json import parse
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping
from fhirspace.mapping.read.extract import ORDINAL, extract
from fhirspace.mapping.read.reader import Collector, Reader
from fhirspace.mapping.write.kernel import Kernel
from fhirspace.mapping.write.render import render
from fhirspace.standards.fhir import Release
from fhirspace.study.repeats import identity, ordinals
from fhirspace.template.slots import REPEAT
from tests.mapping.generate import CLEAN, Cells, rows
from tests.support.shipped import roots

RELEASES: tuple[Release, ...] = ("R4", "R5")


@cache
def library(release: Release) -> Library:
    found = Library(release)
    found.complete()
    return found


WITHOUT_KEY = {"RELSPEC"}
"""Their records have a digest of all cells, and equal ones have digests of their own."""
CASES = [
    pytest.param(release, name, marks=[] if name in {"AE", "DM", "LB"} else [pytest.mark.slow])
    for release in RELEASES
    for name in (roots(classes=False) if release == "R4" else ("AE", "DM", "LB"))
    if name not in WITHOUT_KEY
]


def table_of(some: list[Cells]) -> pa.Table:
    names = dict.fromkeys(name for cells in some for name in cells)
    return pa.table({name: pa.array([cells.get(name) for cells in some], pa.string()) for name in names})


def lines_of(mapping: Mapping, table: pa.Table) -> list[list[bytes]]:
    made = Kernel(mapping).run(table)
    assert made.faults == []
    return [made.lines(block).to_pybytes().splitlines() for block in range(len(mapping.blocks))]


def test_records_without_a_key_are_no_repeats() -> None:
    assert [
        name for name in roots(classes=False) if any(slot.derived for slot in identity(library("R4").mappings[name]))
    ] == sorted(WITHOUT_KEY)


@pytest.mark.parametrize(("release", "name"), CASES)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_rows_of_one_key_are_written_alike_and_read_back(release: Release, name: str, data: st.DataObject) -> None:
    lib = library(release)
    mapping = lib.mappings[name]
    drawn = [data.draw(rows(mapping, lib, CLEAN)) for _ in range(2)]
    first, *_ = (row.cells | row.helpers for row in drawn)
    key = {each: first[each] for each in (*mapping.key, "STUDYID", "USUBJID")}
    some = [row.cells | row.helpers | key for row in (*drawn, drawn[0])]
    if len(identity(mapping)) > 1:
        some += [{each: cell for each, cell in cells.items() if each != mapping.key[-1]} for cells in some[:2]]
    table = table_of(some)
    numbers = ordinals(table, mapping)
    assert numbers is not None
    assert sorted(numbers.to_pylist(), key=str) == sorted(
        [None, "2", "3", *(["1", "2"] if len(some) > 3 else [])], key=str
    )
    table = table.append_column(REPEAT, numbers)
    lines = lines_of(mapping, table)
    slow = [render(mapping, {each: cell for each, cell in row.items() if cell}) for row in table.to_pylist()]
    for index, block in enumerate(mapping.blocks):
        if not block.once:
            assert lines[index] == [made[index][1].encode() for made in slow]
            assert len({parse(line)["id"] for line in lines[index]}) == len(some)
            assert [extract(mapping, block, parse(line), lib.mappings).unmapped for line in lines[index]] == [[]] * len(
                some
            )
    reader, collector = Reader(lib), Collector(lib)
    for index in reversed(range(len(mapping.blocks))):
        for batch in reader.read(enumerate(lines[index], 1), f"{index}.ndjson"):
            assert batch.unmapped == []
            collector.add(batch)
    back = collector.tables()[name]
    wanted = [{each: cell for each, cell in cells.items() if each[0] != "_"} for cells in some]
    assert ORDINAL not in back.column_names
    got = [{each: cell for each, cell in row.items() if cell and each[0] not in "@"} for row in back.to_pylist()]
    assert sorted(got, key=repr_of) == sorted(wanted, key=repr_of)


def repr_of(cells: Cells) -> str:
    return repr(sorted(cells.items()))


def test_ordinals_do_not_depend_on_the_order_of_rows() -> None:
    mapping = library("R4").mappings["AE"]
    some = [
        {"STUDYID": "S", "USUBJID": "S-1", "AESEQ": number, "AETERM": term}
        for number, term in (("1", "Rash"), ("1.0", "Itch"), ("2", "Cold"), ("1", "Fever"), ("x", "Odd"), ("", "Cough"))
    ]
    some = [{name: cell for name, cell in cells.items() if cell} for cells in some]
    found = ordinals(table_of(some), mapping)
    assert found is not None and found.to_pylist() == ["2", "3", None, None, "1", "2"]
    again = ordinals(table_of(some[::-1]), mapping)
    assert again is not None and again.to_pylist() == found.to_pylist()[::-1]


def test_keys_that_are_apart_have_no_ordinals() -> None:
    mapping = library("R4").mappings["AE"]
    some = [{"STUDYID": "S", "USUBJID": subject, "AESEQ": "1"} for subject in ("S-1", "S-2")]
    assert ordinals(table_of(some), mapping) is None
    assert ordinals(table_of([{"STUDYID": "S", "AESEQ": "1"}] * 2), mapping) is None
