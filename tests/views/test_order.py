"""The order of records."""

from __future__ import annotations

import random

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fhirspace.tables.text import TEXT
from fhirspace.views.order import distinct, places

TEXTS = [None, "", "a", "a\x00", "a\x01", "b", "ab", "ä", "aaaaaaa", "aaaaaaaa", "aaaaaaaab", "a" * 30, "a" * 29 + "b"]


@pytest.mark.parametrize("seed", range(12))
def test_the_order_is_that_of_arrow(seed: int) -> None:
    chosen = random.Random(seed)
    count = chosen.choice([0, 1, 2, 30, 400])
    columns = [pa.array(chosen.choices(TEXTS, k=count), TEXT) for _ in range(chosen.choice([1, 2, 3]))]
    names = [str(at) for at in range(len(columns))]
    wanted = pc.sort_indices(pa.table(columns, names), sort_keys=[(name, "ascending") for name in names])
    given = [chosen.choice([column, column.dictionary_encode()]) for column in columns]
    assert places(given).to_pylist() == wanted.to_pylist()
    cut = [pa.concat_arrays([column, column]).slice(count) for column in columns]
    assert places(cut).to_pylist() == wanted.to_pylist()


@pytest.mark.parametrize("seed", range(12))
def test_texts_that_come_twice_are_found(seed: int) -> None:
    chosen = random.Random(seed)
    texts = [f"{number}-{chosen.choice(['a', 'long enough'])}" for number in range(60)]
    cells = pa.array([*texts, None, None], TEXT)
    for column in (cells, cells.slice(7), cells.dictionary_encode()):
        assert distinct(column)
        assert not distinct(pa.concat_arrays([column, column.slice(chosen.randrange(40), 1)]))
