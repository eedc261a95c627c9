"""Carried cells beside elements: what is proved without writing the cell is what writing it shows."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from fhirspace.mapping.read.rows import ELEMENT
from fhirspace.study.reading import carried
from fhirspace.study.reading.carried import Comparison, fits_alone, is_its_day, leaves_of
from tests.mapping.generate import LEGAL, Row, rows
from tests.mapping.test_laws import library

TWO = st.integers(0, 99).map("{:02d}".format)
YEARS = st.one_of(st.integers(0, 9999).map("{:04d}".format), st.sampled_from(["2017", "-", "201", "20177", "२०१७"]))
PARTS = st.one_of(TWO, st.sampled_from(["-", "2", "02", "29", "30", "31", "", "٣١"]))
DAYS = st.builds("{}-{}-{}".format, YEARS, PARTS, PARTS)
TIMES = st.one_of(
    st.builds("T{}:{}".format, PARTS, PARTS),
    st.builds("T{}:{}:{}".format, PARTS, PARTS, PARTS),
    st.sampled_from(
        ["", "T", "T10", "T-:10", "T10:20Z", "T10:20+02:00", "T24:00", "T23:59:60", "T10:20:30.5", "t10:20"]
    ),
)
CELLS = st.builds("{}{}{}".format, DAYS, TIMES, st.sampled_from(["", "", "", "\n", " ", "/2017-05-31", "/P1D"]))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """A cell, and mostly the beginning of it."""
    cell = draw(CELLS)
    return cell, draw(
        st.one_of(st.just(cell[:10]), st.just(cell[:10]), st.integers(0, 12).map(lambda n: cell[:n]), DAYS)
    )


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(pairs(), min_size=1, max_size=40))
def test_what_is_proved_at_once_is_what_writing_the_cell_gives(some: list[tuple[str, str]]) -> None:
    mapping = library("R4").mappings["LB"]
    leaves = leaves_of(mapping, "LBDTC")
    cells, stated = zip(*some, strict=True)
    quick = is_its_day(pa.array(cells), pa.array(stated)).to_pylist()
    for proved, cell, text in zip(quick, cells, stated, strict=True):
        assert not proved or fits_alone(mapping, leaves, "LBDTC", cell, text), (cell, text)


@pytest.mark.parametrize(
    ("cell", "stated", "proved"),
    [
        ("2017-05-31T11:50", "2017-05-31", True),
        ("2016-02-29T11:50:59", "2016-02-29", True),
        ("2017-02-29T11:50", "2017-02-29", False),
        ("2017-05-31T24:00", "2017-05-31", False),
        ("2017-05-31T11:50", "2017-05-30", False),
        ("2017-05-31T11:50", "", False),
        (None, "2017-05-31", False),
    ],
)
def test_local_times_beside_their_day(cell: str | None, stated: str, proved: bool) -> None:
    assert is_its_day(pa.array([cell], pa.string()), pa.array([stated])).to_pylist() == [proved]


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["AE", "LB", "SV"])
def test_the_part_that_holds_a_column_is_read_as_the_whole(domain: str) -> None:
    mapping = library("R4").mappings[domain]

    @settings(max_examples=4, deadline=None, derandomize=True, database=None)
    @given(rows(mapping, library("R4"), LEGAL))
    def law(row: Row) -> None:
        for name in row.cells:
            part = carried._part(mapping, name)
            several = carried._helpers(part.conditions, row.cells)
            whole = {carried._back(mapping, row.cells | helpers).get(name, "") for helpers in several}
            assert part.written(name, row.cells) == whole, name

    law()


def test_rows_that_differ_elsewhere_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visit that is in no SV is carried: whether it fits does not depend on the number of the sample."""
    count = 30
    table = pa.table(
        {
            "LBTESTCD": ["ALT"] * count,
            "LBREFID": [f"R{number}" for number in range(count)],
            "VISIT": ["WEEK 1"] * count,
            f"{ELEMENT}VISIT": [""] * count,
        }
    )
    written: list[object] = []
    whole = carried._back
    monkeypatch.setattr(carried, "_back", lambda *given: written.append(given) or whole(*given))
    assert Comparison(library("R4").mappings["LB"]).stale(table, "VISIT") is None
    assert 1 <= len(written) <= 2
