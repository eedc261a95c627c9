import base64
import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from fhirspace.sdtm.derive.order import sort_order
from fhirspace.sdtm.layout import sort_keys
from fhirspace.study.metadata.order import NATURAL, Order, in_order, order_of

ROW = st.tuples(st.sampled_from(["S1", "S2"]), st.sampled_from(["1", "2", "10"]), st.sampled_from(["a", "b", None]))


def made(rows):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table(
        {
            name: pa.array(cells, pa.string())
            for name, cells in zip(["USUBJID", "AESEQ", "AETERM"], columns, strict=True)
        }
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_rows_in_any_order_come_back_in_that_of_the_input(rows, random):
    order = order_of(made(rows), "AE")
    mixed = list(rows)
    random.shuffle(mixed)
    if order == NATURAL:
        again = made(mixed).take(sort_order(made(mixed), "AE", sort_keys("AE")))
    else:
        again = in_order(made(mixed), "AE", order)
    assert again is not None and again.to_pylist() == made(rows).to_pylist()


def test_rows_in_the_order_of_their_keys_need_nothing():
    assert order_of(made([("S1", "2", "a"), ("S1", "10", "b"), ("S2", "1", "a")]), "AE") == NATURAL
    assert order_of(made([]), "AE") == NATURAL


def test_a_number_has_one_order_in_any_spelling():
    order = order_of(made([("S2", "1.0", "a"), ("S1", "2", "b")]), "AE")
    assert in_order(made([("S1", "2", "b"), ("S2", "1", "a")]), "AE", order) is not None


def test_a_dataset_that_the_guide_does_not_know_has_an_order_too():
    table = pa.table({"A": ["b", "a"]})
    again = in_order(table.take([1, 0]), "NONE", order_of(table, "NONE"))
    assert again is not None and again.to_pylist() == table.to_pylist()


@pytest.mark.parametrize(
    "rows",
    [
        [("S2", "1", "a")],
        [("S2", "1", "a"), ("S1", "2", "b"), ("S1", "3", "b")],
        [("S2", "2", "a"), ("S1", "2", "b")],
    ],
    ids=["one gone", "one more", "another key"],
)
def test_an_order_of_other_rows_is_not_used(rows):
    order = order_of(made([("S2", "1", "a"), ("S1", "2", "b")]), "AE")
    assert in_order(made(rows), "AE", order) is None


def packed(*ranks):
    return base64.b64encode(zlib.compress(np.diff(ranks, prepend=0).astype("<i4").tobytes())).decode()


@pytest.mark.parametrize(
    "ranks",
    ["", "?", "AAAA", packed(0, 0), packed(1, 2), packed(-1, 0), packed(0), packed(1, 0, 2), packed(*range(5000))],
)
def test_an_order_that_is_none_is_not_used(ranks):
    table = made([("S2", "1", "a"), ("S1", "2", "b")])
    assert in_order(table, "AE", Order(ranks, order_of(table, "AE").keys)) is None
