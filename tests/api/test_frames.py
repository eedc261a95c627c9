"""Columns of pandas, polars and pyarrow become SDTM text by one rule; what cannot is refused by its name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fhirspace.api.frames import as_text
from fhirspace.errors import InputError, UsageError

DAY, NOON = dt.date(2024, 1, 2), dt.datetime(2024, 1, 2, 12, 30)
MIDNIGHT = dt.datetime(2024, 1, 2)
UTC = dt.UTC


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pd.Series(["a", None, " b"]), ["a", None, " b"]),
        (pd.Series([1, 2, 3]), ["1", "2", "3"]),
        (pd.Series([1.0, None, 5.50]), ["1", None, "5.5"]),
        (pd.Series([0.1], dtype="float32"), ["0.1"]),
        (pd.Series([1, None], dtype="Int64"), ["1", None]),
        (pd.Series([True, None], dtype="boolean"), ["true", None]),
        (pd.Series([Decimal("5.50")]), ["5.50"]),
        (pd.Series(pd.to_datetime(["2024-01-02", None])), ["2024-01-02", None]),
        (pd.Series([MIDNIGHT, NOON]), ["2024-01-02T00:00:00", "2024-01-02T12:30:00"]),
        (pd.Series(pd.to_datetime(["2024-01-02"], utc=True)), ["2024-01-02T00:00:00Z"]),
        (pd.Series([DAY, None]), ["2024-01-02", None]),
        (pd.Series(["x", "y", None], dtype="category"), ["x", "y", None]),
        (pd.Series([10.0, 20.5, None], dtype="category"), ["10", "20.5", None]),
        (pd.Series(pd.to_datetime(["2024-01-02", None])).astype("category"), ["2024-01-02", None]),
        (pl.Series([1, None]), ["1", None]),
        (pl.Series([1.5, float("nan"), None]), ["1.5", None, None]),
        (pl.Series(["x", None], dtype=pl.Categorical), ["x", None]),
        (pl.Series(["x", None], dtype=pl.Enum(["x", "y"])), ["x", None]),
        (pl.Series([DAY]), ["2024-01-02"]),
        (pl.Series([NOON]), ["2024-01-02T12:30:00"]),
        (pl.Series([MIDNIGHT]), ["2024-01-02T00:00:00"]),
        (pl.Series([dt.time(8, 5)]), ["08:05:00"]),
        (pl.Series([None, None]), [None, None]),
        (pa.array([DAY]).cast(pa.date64()), ["2024-01-02"]),
        (pa.array([MIDNIGHT]), ["2024-01-02T00:00:00"]),
        (pa.array([7, 7, None]).dictionary_encode(), ["7", "7", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array(["v"], pa.string_view()), ["v"]),
        (pa.array([], pa.float64()), []),
    ],
)
def test_a_column_becomes_text(column, texts):
    kind = {"pandas": pd.DataFrame, "polars": pl.DataFrame}.get(type(column).__module__.partition(".")[0], pa.table)
    table = as_text("XX", kind({"X": column}))
    assert (table.schema, table.column("X").to_pylist()) == (pa.schema([("X", pa.string())]), texts)


@pytest.mark.parametrize(
    ("table", "code", "column"),
    [
        (pd.DataFrame({"A": ["x"], "SECRET": [float("inf")]}), "FS123", "SECRET"),
        (pl.DataFrame({"A": [-float("inf")]}), "FS123", "A"),
        (pd.DataFrame({"A": pd.Series([1.0, float("inf")], dtype="category")}), "FS123", "A"),
        (pd.DataFrame({"A": ["x"], "B": [b"Jane Doe"]}), "FS122", "B"),
        (pd.DataFrame({"A": ["x", "y"], "B": ["Jane Doe", 1]}), "FS122", "B"),
        (pd.DataFrame({"A": [{"name": "Jane Doe"}]}), "FS122", "A"),
        (pd.DataFrame({"A": [object()]}), "FS122", "A"),
        (pl.DataFrame({"A": [["Jane Doe"]]}), "FS122", "A"),
        (pl.DataFrame({"A": [dt.timedelta(days=1)]}), "FS122", "A"),
        (pa.table({"A": pa.array([2**62], pa.timestamp("s"))}), "FS122", "A"),
        (pd.DataFrame({"A": [1]}, index=pd.Index(["Jane Doe"], name="A")), "FS107", "A"),
    ],
)
def test_what_has_no_text_is_refused_by_the_name_of_its_column(table, code, column):
    with pytest.raises(InputError) as caught:
        as_text("XX", table)
    place = caught.value.problem.place
    assert (caught.value.code, place.file, place.column) == (code, "XX", column)
    assert "Jane" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        (None, {"A": ["1", "2"]}),
        (pd.Index(["p", "q"]), {"A": ["1", "2"]}),
        (pd.Index(["p", "q"], name="K"), {"A": ["1", "2"], "K": ["p", "q"]}),
        (pd.RangeIndex(5, 9, 2, name="K"), {"A": ["1", "2"], "K": ["5", "7"]}),
        (pd.MultiIndex.from_tuples([("p", 1), ("q", 2)], names=["K", None]), {"A": ["1", "2"], "K": ["p", "q"]}),
    ],
)
def test_an_index_with_a_name_is_a_column(index, columns):
    assert as_text("XX", pd.DataFrame({"A": [1, 2]}, index=index)).to_pydict() == columns


@pytest.mark.parametrize("table", [None, 7, "dm.csv", [[1]], {"A": [1]}, pl.LazyFrame({"A": [1]})])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(UsageError, match="pandas"):
        as_text("XX", table)
