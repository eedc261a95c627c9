"""Tables of other libraries as text tables: whatever has the Arrow PyCapsule interface (pandas, polars, pyarrow ...).

The rule by which a column becomes SDTM text:

- text stays as it is; categories are replaced by what they name; a missing value, NaN and a text of blanks are empty;
- a number is written in the shortest exact way (``5.50`` as a float is ``5.5``; a decimal keeps its digits);
- dates and times are written in ISO 8601. A column of dates never gets a time of day; as pandas has no type for dates,
  a column of timestamps without a time zone that comes from pandas holds dates if every value is midnight;
- an index of pandas is a column if it has a name, and is left out if it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fhirspace import json
from fhirspace.errors import InputError, Place, UsageError
from fhirspace.foreign import file_name
from fhirspace.tables import parquet
from fhirspace.tables.text import TEXT

_TABLES = "a dict of tables by name, such as {'DM': df}, each of pandas (2.2 or later), polars, pyarrow or duckdb"
_PANDAS = b"pandas"
_FITTING = "text, numbers, dates, times or truth values, one kind in a column"
_FAULTS = (pa.ArrowException, TypeError, ValueError, OverflowError)
"""What pyarrow and the other libraries raise for a table that Arrow cannot hold; the texts may quote values."""


def write(tables: Any, folder: Path) -> list[Path]:
    """Write tables as Parquet files of text columns, named after them.

    Args:
        tables: by name; each has the Arrow PyCapsule interface. folder: exists, and holds none of the files.

    Raises:
        UsageError: FS641, it is no such dict, or a name cannot be a file's. InputError: FS107, FS108, FS116 names of
            columns; FS122 a column has no text form, FS123 an infinite number; FS160 more than a bound allows.
    """
    if not isinstance(tables, Mapping) or not tables:
        raise UsageError("FS641", "tables", _TABLES)
    _check_names(list(tables))
    paths = []
    for name, data in tables.items():
        path = folder / f"{name}.parquet"
        pq.write_table(as_text(name, data), path, compression="zstd")
        parquet.names(path)  # raises InputError for names of columns that no file may have
        paths.append(path)
    return paths


def as_text(name: str, data: Any) -> pa.Table:
    """A table as text columns, by the rule of this module. Raises UsageError and InputError as `write`."""
    if not (hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")):
        raise UsageError("FS641", "tables", _TABLES)
    try:
        table = pa.table(data)
    except _FAULTS:
        raise InputError("FS122", Place(name, None, _unfit(data)), _FITTING) from None
    pandas = _PANDAS in (table.schema.metadata or {})
    table = _with_index(name, table) if pandas else table
    columns = [
        _column(Place(name, None, field.name), table.column(at), dates=pandas) for at, field in enumerate(table.schema)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema([pa.field(each, TEXT) for each in table.schema.names]))


def _check_names(names: list[Any]) -> None:
    texts = [each for each in names if isinstance(each, str) and each and file_name(each) == each]
    if len(texts) != len(names) or len({each.lower() for each in texts}) != len(texts):
        raise UsageError("FS641", "tables", "names of datasets or forms, each once, in letters, digits, - and _")


def _unfit(data: Any) -> str | None:
    """The first column of a pandas table that Arrow cannot hold; None where it cannot be found."""
    for column in getattr(data, "columns", ()):
        try:
            pa.table(data[[column]])
        except _FAULTS:
            return str(column)
        except Exception:
            return None
    return None


def _with_index(name: str, table: pa.Table) -> pa.Table:
    """The table of pandas with the levels of its index that have a name, and without the others."""
    about: dict[str, Any] = {}
    with suppress(json.JsonError):
        about = json.decode(table.schema.metadata[_PANDAS])
    named = {each["field_name"]: each["name"] for each in about.get("columns", ())}
    for level in about.get("index_columns", ()):
        if isinstance(level, dict):  # a range: pandas gives its bounds instead of a column
            if level.get("name") is not None:
                numbers = pa.array(range(level["start"], level["stop"], level["step"]), pa.int64())
                table = table.append_column(str(level["name"]), numbers)
        elif level != named.get(level):
            if named.get(level) is not None:  # a column has the name of the index, too
                raise InputError("FS107", Place(name, 1, str(named[level])), "one column of each name")
            table = table.drop_columns([level])
    return table


def _column(place: Place, column: pa.ChunkedArray, *, dates: bool) -> pa.ChunkedArray:
    plain = [_decoded(chunk) for chunk in column.chunks]
    kind = plain[0].type if plain else getattr(column.type, "value_type", column.type)
    convert = parquet.converter(kind)
    if convert is None:
        raise InputError("FS122", place, _FITTING)
    if pa.types.is_floating(kind) and any(pc.any(pc.is_inf(chunk)).as_py() for chunk in plain):
        raise InputError("FS123", place, "finite numbers")
    if dates and pa.types.is_timestamp(kind) and kind.tz is None and all(map(_midnight, plain)):
        convert = _as_dates
    try:
        return pa.chunked_array([_checked(convert, chunk, place) for chunk in plain], TEXT)
    except (*_FAULTS, pa.ArrowNotImplementedError):
        raise InputError("FS122", place, _FITTING) from None


def _decoded(array: pa.Array) -> pa.Array:
    """The values of an array of categories, and any other array as it is."""
    if not pa.types.is_dictionary(array.type):
        return array
    values = array.dictionary
    if pa.types.is_string_view(values.type):  # polars: pyarrow cannot take from it
        values = values.cast(TEXT)
    return pc.take(values, array.indices)


def _midnight(array: pa.Array) -> bool:
    return bool(pc.all(pc.equal(array, pc.floor_temporal(array, unit="day"))).as_py() in (True, None))


def _as_dates(array: pa.Array) -> pa.Array:
    return array.cast(pa.date32()).cast(TEXT)


def _checked(convert: Callable[[pa.Array], pa.Array], array: pa.Array, place: Place) -> pa.Array:
    """The texts of an array. Raises InputError for dates that do not exist, which Arrow writes in brackets."""
    text = convert(array)
    if pa.types.is_temporal(array.type) and pc.any(pc.starts_with(text, "<")).as_py():
        raise InputError("FS122", place, "dates and times that exist")
    return text
