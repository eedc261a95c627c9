import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fhirspace.errors import InputError
from fhirspace.tables import description, parquet, text
from fhirspace.tables.compare import compare
from fhirspace.tables.description import Column, Description
from fhirspace.tables.parquet import files

UTC = dt.UTC
MOMENT = dt.datetime(2024, 1, 2, 3, 4, 5)
TYPED = {
    "integer": (pa.array([7, -1]), ["7", "-1"]),
    "double": (pa.array([1.0, 5.5, 1e-7, None, float("nan")]), ["1", "5.5", "0.0000001", None, None]),
    "infinite": (pa.array([float("inf"), float("-inf")], pa.float32()), ["inf", "-inf"]),
    "single": (pa.array([0.1, 2.0], pa.float32()), ["0.1", "2"]),
    "half": (pa.array([0.5], pa.float64()).cast(pa.float16()), ["0.5"]),
    "decimal": (pa.array([Decimal("5.50"), None]), ["5.50", None]),
    "small decimal": (pa.array([Decimal("0.00000001")]), ["0.00000001"]),
    "date": (pa.array([dt.date(2024, 1, 2)]), ["2024-01-02"]),
    "date64": (pa.array([dt.date(2024, 1, 2)], pa.date64()), ["2024-01-02"]),
    "timestamp": (pa.array([MOMENT]), ["2024-01-02T03:04:05"]),
    "fraction": (pa.array([MOMENT.replace(microsecond=500_000)]), ["2024-01-02T03:04:05.5"]),
    "UTC": (pa.array([MOMENT.replace(tzinfo=UTC)], pa.timestamp("ms", "UTC")), ["2024-01-02T03:04:05Z"]),
    "offset": (pa.array([MOMENT.replace(tzinfo=UTC)], pa.timestamp("us", "+01:00")), ["2024-01-02T04:04:05+01:00"]),
    "time": (pa.array([dt.time(1, 2, 3), dt.time(1, 2, 3, 40)]), ["01:02:03", "01:02:03.00004"]),
    "truth": (pa.array([True, False, None]), ["true", "false", None]),
    "nothing": (pa.nulls(1), [None]),
    "blank": (pa.array(["", "  ", " x"]), [None, None, " x"]),
    "large text": (pa.array(["x"], pa.large_string()), ["x"]),
    "dictionary": (pa.array(["x", "", "x"]).dictionary_encode(), ["x", None, "x"]),
    "small dictionary": (pa.array(["x"]).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())), ["x"]),
    "large dictionary": (pa.array(["x"], pa.large_string()).dictionary_encode(), ["x"]),
    "dictionary of numbers": (pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array([7.0, 8.5])), ["8.5", "7"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPED)
def test_every_type_has_one_text(name, tmp_path):
    array, expected = TYPED[name]
    pq.write_table(pa.table({"A": array}), tmp_path / "t.parquet")
    column = parquet.read(tmp_path / "t.parquet").column("A")
    assert column.to_pylist() == expected
    assert column.type in (text.TEXT, text.DICTIONARY)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[1]]),
        pa.array([{"a": 1}]),
        pa.array([b"x"]),
        pa.array([1], pa.duration("s")),
        pa.DictionaryArray.from_arrays([0], pa.array([b"x"])),
    ],
)
def test_types_without_text_are_refused(array, tmp_path):
    pq.write_table(pa.table({"A": array}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"FS122 t.parquet:A"):
        parquet.read(tmp_path / "t.parquet")


CELLS = st.none() | st.text(max_size=5).filter(lambda cell: cell.strip(" "))


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1))
def test_written_tables_read_back_and_encoding_is_blind(rows, tmp_path):
    made = text.from_columns({"A": [r[0] for r in rows], "B c": [r[1] for r in rows]}, file="t.parquet")
    coded = pa.table({n: text.encode(made.column(n)) for n in ("A", "B c")})
    parquet.write(made, tmp_path / "t.parquet")
    parquet.write(pa.concat_tables([coded.slice(0, 1), coded.slice(1)]), tmp_path / "u.parquet")
    again = parquet.read(tmp_path / "t.parquet")
    assert compare(made, again, []) == []
    assert again.select(["@file", "@row"]).to_pylist() == made.select(["@file", "@row"]).to_pylist()
    assert (tmp_path / "t.parquet").read_bytes() == (tmp_path / "u.parquet").read_bytes()


def test_batches_are_small_and_alike_and_dictionaries_where_values_repeat(tmp_path):
    count = 2 * files.ROW_GROUP + 10
    made = text.from_columns({"A": ["x", "y"] * (count // 2), "B": [f"value {i}" for i in range(count)]}, file="t")
    parquet.write(made, tmp_path / "t.parquet", metadata={"study": "S", "by": "us"})
    assert pq.read_schema(tmp_path / "t.parquet").metadata == {b"by": b"us", b"study": b"S"}
    batches = list(parquet.batches(tmp_path / "t.parquet", size=50_000))
    # Row groups are cut into like pieces: nothing small is left over.
    assert [batch.num_rows for batch in batches] == [43_691, 43_691, 43_690] * 2 + [10]
    assert {batch.schema.field("A").type for batch in batches} == {text.DICTIONARY}
    assert {batch.schema.field("B").type for batch in batches} == {text.TEXT}
    rows = [row for batch in batches for row in batch.column("@row").to_pylist()]
    assert rows == list(range(2, count + 2))


def test_helper_columns_are_not_written(tmp_path):
    parquet.write(text.from_columns({"A": ["x"], "_B": ["y"]}, file="t"), tmp_path / "t.parquet")
    assert pq.read_schema(tmp_path / "t.parquet").names == ["A"]


def test_a_column_of_several_overflowing_chunks_stays_one(monkeypatch):
    parts = pa.chunked_array([["a"], ["b"]])
    assert files._combined(parts).to_pylist() == ["a", "b"]
    assert files._combined(pa.chunked_array([], pa.string())).to_pylist() == []


def damaged(path):
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 100 + content[104:])


BAD = {
    "missing": (lambda path: path.unlink(), "FS101"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-5]), "FS121"),
    "another format": (lambda path: path.write_text("A,B\n1,2\n"), "FS121"),
    "damaged inside": (damaged, "FS121"),
    "no row": (lambda path: pq.write_table(pa.table({"A": pa.array([], pa.string())}), path), "FS103"),
    "reserved": (lambda path: pq.write_table(pa.table({"_A": ["x"]}), path), "FS116"),
    "twice": (lambda path: pq.write_table(pa.table([["x"], ["y"]], names=["A", "A"]), path), "FS107"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write(pa.table({"A": [str(i) for i in range(1000)]}), path)
    BAD[name][0](path)
    with pytest.raises(InputError, match=BAD[name][1]):
        parquet.read(path)


def test_the_description_of_a_dataset_is_in_the_file(tmp_path):
    columns = (Column("A", "A label", "Char", 7, "$7."), Column("N", "A number", "Num", 8, "8.2", "F8."))
    about = Description("DD", "A dataset", columns)
    for rows in (["x", None], []):
        table = text.from_columns({"A": rows, "N": rows and ["1", "2"]}, file="t.parquet")
        parquet.write(table, tmp_path / "t.parquet", about=about)
        again = parquet.read(tmp_path / "t.parquet", empty=True)
        assert description.of(again) == about
        assert again.to_pylist() == table.to_pylist()
        assert description.of(pq.read_schema(tmp_path / "t.parquet")) == about
