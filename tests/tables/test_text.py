from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from fhirspace.errors import Place
from fhirspace.tables import text
from fhirspace.tables.compare import Difference, compare

CELLS = st.none() | st.text(alphabet="ab \t0", max_size=3)


def table(**columns):
    return text.from_columns(columns, file="t.csv")


def test_provenance_counts_the_header_as_row_one():
    made = table(A=["x", " ", ""])
    assert made.to_pylist() == [
        {"A": "x", "@file": "t.csv", "@row": 2},
        {"A": None, "@file": "t.csv", "@row": 3},
        {"A": None, "@file": "t.csv", "@row": 4},
    ]
    assert made.schema.field("@file").type == text.DICTIONARY


def test_rows_can_be_given():
    made = text.from_columns({"A": ["x", "y"]}, file="t.csv", rows=[7, 9])
    assert text.place(made, 1, "A") == Place("t.csv", 9, "A")


def test_a_table_without_columns_counts_its_rows():
    assert text.from_columns({}, file="t.csv", rows=[2]).num_rows == 1


def test_place_of_a_table_without_provenance():
    assert text.place(pa.table({"A": ["x"]}), 0) == Place("", 2)


def test_with_provenance_replaces_what_was_there():
    again = text.with_provenance(table(A=["x"]), "u.csv", 10)
    assert again.to_pylist() == [{"A": "x", "@file": "u.csv", "@row": 10}]


def test_reserved_columns_hold_no_data():
    made = table(A=["x"], _B=["y"])
    assert text.data_columns(made) == ["A"]
    assert text.without_reserved(made).schema.names == ["A"]


@given(st.lists(CELLS))
def test_blank_to_null_is_the_same_for_text_and_dictionaries(cells):
    expected = [cell if cell and cell.strip(" ") else None for cell in cells]
    plain = pa.array(cells, pa.string())
    assert text.blank_to_null(plain).to_pylist() == expected
    assert text.blank_to_null(text.encode(plain)).to_pylist() == expected
    assert text.blank_to_null(pa.chunked_array([plain, plain])).to_pylist() == expected * 2


@given(st.lists(CELLS))
def test_decode_undoes_encode(cells):
    array = pa.chunked_array([cells[:2], cells[2:]], pa.string())
    coded = text.encode(array)
    assert coded.type == text.DICTIONARY
    assert text.decode(coded).to_pylist() == cells
    assert text.encode(coded).to_pylist() == cells


def test_encode_narrows_other_dictionaries():
    array = pa.array(["a", "b"]).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
    assert text.encode(array).type == text.DICTIONARY
    assert text.decode(pa.array(["a"])).to_pylist() == ["a"]


def test_repeats_needs_many_rows_and_few_values():
    assert text.repeats(pa.chunked_array([["a", "b"] * 500]))
    assert not text.repeats(pa.chunked_array([["a", "b"]]))
    assert not text.repeats(pa.chunked_array([[str(i) for i in range(1000)]]))


def test_as_rows_gives_filled_cells_only():
    made = table(A=["x", None], B=["", "y"], _C=["d", "d"])
    assert list(text.as_rows(made)) == [{"A": "x"}, {"B": "y"}]
    assert list(text.as_rows(made, ["_C"])) == [{"_C": "d"}] * 2
    assert list(text.as_rows(made, [])) == [{}, {}]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1.0, "1"),
        (5.5, "5.5"),
        (-0.0, "0"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (0.1, "0.1"),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_number_text(number, expected):
    assert text.number_text(number) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_number_text_reads_back(number):
    assert float(text.number_text(number) or "nan") == number


DIFFERENCES = {
    "equal in another order": (table(K=["1", "2"], A=["x", "y"]), table(K=["2", "1"], A=["y", "x"]), []),
    "an absent column is an empty one": (table(K=["1"], A=[None]), table(K=["1"], B=[""]), []),
    "a cell": (table(K=["1", "2"], A=["x", "y"]), table(K=["2", "1"], A=["y", "z"]), [("cell", "A", 2, 3)]),
    "a cell that went": (table(K=["1"], A=["x"]), table(K=["1"], A=[None]), [("cell", "A", 2, 2)]),
    "a column": (table(K=["1"], A=["x"]), table(K=["1"], B=["x"]), [("only left", "A"), ("only right", "B")]),
    "a row": (table(K=["1", "2"]), table(K=["1"]), [("only left", None, 3, None)]),
    "another row": (table(K=["1"]), table(K=["2"]), [("only left", None, 2, None), ("only right", None, None, 2)]),
    "the likest of two rows with one key": (
        table(K=["1", "1", "1"], A=["a", "b", "c"], B=["a", "b", "c"]),
        table(K=["1", "1", "1"], A=["c", "b", "a"], B=["c", "x", "a"]),
        [("cell", "B", 3, 3)],
    ),
    "a doubled row": (table(K=["1", "1"]), table(K=["1"]), [("only left", None, 3, None)]),
    "no shared column": (table(A=["x"]), table(B=[None, None]), [("only left", "A"), ("only right", None)]),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_compare(name):
    left, right, expected = cast("tuple[Any, Any, list[Any]]", DIFFERENCES[name])
    found = compare(left, right, ["K"])
    shown = [(d.kind, d.column, d.left_row, d.right_row) for d in found]
    assert [told[: len(want)] for told, want in zip(shown, expected, strict=True)] == expected


def test_compare_never_shows_a_value():
    found = compare(table(K=["CANARY1"], A=["CANARY2"]), table(K=["CANARY1"], A=["CANARY3"]), ["K"])
    assert found == [Difference("cell", found[0].key, "A", 2, 2)]
    assert "CANARY" not in repr(found)


ROWS = st.lists(st.tuples(*[st.none() | st.sampled_from("ab")] * 3), max_size=6)


@pytest.mark.slow
@given(ROWS, st.randoms(use_true_random=False))
def test_compare_is_blind_to_order(rows, random):
    mixed = random.sample(rows, len(rows))
    one, other = (
        table(K=[r[0] for r in side], A=[r[1] for r in side], B=[r[2] for r in side]) for side in (rows, mixed)
    )
    assert compare(one, other, ["K"]) == []
    assert compare(one, other, []) == []


@given(ROWS, ROWS)
def test_compare_finds_every_difference(left, right):
    one, other = (
        table(K=[r[0] for r in side], A=[r[1] for r in side], B=[r[2] for r in side]) for side in (left, right)
    )
    assert (compare(one, other, ["K"]) == []) == (sorted(left, key=repr) == sorted(right, key=repr))
