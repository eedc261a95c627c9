"""Rows grouped by their cells: few rows by Python, many by Arrow, with the same result."""

from __future__ import annotations

from unittest.mock import patch

import pyarrow as pa
from hypothesis import given, settings, strategies as st

from fhirspace.sdtm import columns

CELLS = st.sampled_from([None, "", "a", "b", "c"])


@settings(max_examples=25)
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=20))
def test_few_rows_are_grouped_as_many(rows: list[tuple[str | None, ...]]) -> None:
    arrays = [pa.array([row[at] for row in rows], pa.string()) for at in range(3)]
    for some in (arrays, [*arrays[:2], arrays[0], arrays[1].is_valid()]):
        every = list(zip(*(array.to_pylist() for array in some), strict=True))
        distinct = list(dict.fromkeys(every))
        for few in (columns.FEW, 0):
            with patch.object(columns, "FEW", few):
                groups = columns.Groups.of(some, len(rows))
            assert groups.cells == distinct
            assert groups.codes.to_pylist() == [distinct.index(cells) for cells in every]
            assert groups.sizes() == [every.count(cells) for cells in distinct]
            assert groups.first_rows() == [every.index(cells) for cells in distinct]
