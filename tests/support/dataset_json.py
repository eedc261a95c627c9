"""What Dataset-JSON 1.1 asks of a file, as checks of our own: names, their order, types, patterns, rows.

Source: CDISC Dataset-JSON 1.1, "Top-level Metadata Attributes", "Column Metadata", "Supported Column Data Type
Combinations".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

INSTANT = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
    r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)?"
)
VERSION = re.compile(r"1\.1(\.(0|[1-9]\d*))?")
Check = Callable[[Any], bool]


def text(value: Any) -> bool:
    return isinstance(value, str)


def oid(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def instant(value: Any) -> bool:
    return isinstance(value, str) and INSTANT.fullmatch(value) is not None


def count(value: Any) -> bool:
    return type(value) is int and value >= 0


def positive(value: Any) -> bool:
    return type(value) is int and value >= 1


def system(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["name", "version"] and all(map(text, value.values()))


TOP: dict[str, tuple[bool, Check]] = {
    # in the order of the specification: whether it is required, and what it is
    "datasetJSONCreationDateTime": (True, instant),
    "datasetJSONVersion": (True, lambda value: text(value) and VERSION.fullmatch(value) is not None),
    "fileOID": (False, oid),
    "dbLastModifiedDateTime": (False, instant),
    "originator": (False, text),
    "sourceSystem": (False, system),
    "studyOID": (False, oid),
    "metaDataVersionOID": (False, oid),
    "metaDataRef": (False, text),
    "itemGroupOID": (True, oid),
    "records": (True, count),
    "name": (True, oid),
    "label": (True, text),
    "columns": (True, lambda value: isinstance(value, list)),
    "rows": (False, lambda value: isinstance(value, list)),
}
CELLS: dict[str, tuple[Check, set[str | None]]] = {
    # by data type: what a value is in JSON, and the target types that go with it
    "string": (text, {None}),
    "integer": (lambda value: type(value) is int, {None}),
    "decimal": (text, {"decimal"}),
    "float": (lambda value: type(value) in (int, float), {None}),
    "double": (lambda value: type(value) in (int, float), {None}),
    "boolean": (lambda value: type(value) is bool, {None}),
    "datetime": (text, {None, "integer"}),
    "date": (text, {None, "integer"}),
    "time": (text, {None, "integer"}),
    "URI": (text, {None}),
}
COLUMN: dict[str, tuple[bool, Check]] = {
    "itemOID": (True, oid),
    "name": (True, oid),
    "label": (True, text),
    "dataType": (True, lambda value: value in CELLS),
    "targetDataType": (False, lambda value: value in ("integer", "decimal")),
    "length": (False, positive),
    "displayFormat": (False, text),
    "keySequence": (False, positive),
}


def faults(data: Any) -> list[str]:
    """What is wrong in a dataset, as JSON reads it."""
    found = list(_object("dataset", data, TOP))
    if found:
        return found
    columns, rows = data["columns"], data.get("rows", [])
    for column in columns:
        found += _object(f"column {column.get('name')}", column, COLUMN)
    if found:
        return found
    for column in columns:
        if column.get("targetDataType") not in CELLS[column["dataType"]][1]:
            found.append(f"{column['name']}: {column['dataType']} does not become {column.get('targetDataType')}")
    if len({column["name"] for column in columns}) < len(columns) or len({c["itemOID"] for c in columns}) < len(
        columns
    ):
        found.append("a name or an OID twice")
    keys = sorted(column["keySequence"] for column in columns if "keySequence" in column)
    if keys != list(range(1, len(keys) + 1)):
        found.append(f"the keys are {keys}")
    if len(rows) != data["records"]:
        found.append(f"{data['records']} records, {len(rows)} rows")
    return found + list(_rows(columns, rows))


def _object(what: str, value: Any, members: dict[str, tuple[bool, Check]]) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{what}: no object"
        return
    if list(value) != [name for name in members if name in value]:
        yield f"{what}: unknown members, or another order: {list(value)}"
    for name, (required, check) in members.items():
        if name in value and not check(value[name]):
            yield f"{what}: {name} is {value[name]!r}"
        elif required and name not in value:
            yield f"{what}: no {name}"


def _rows(columns: list[Any], rows: list[Any]) -> Iterator[str]:
    checks = [CELLS[column["dataType"]][0] for column in columns]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != len(columns):
            yield f"row {number}: not {len(columns)} values"
            continue
        for column, check, value in zip(columns, checks, row, strict=True):
            if value is not None and not check(value):
                yield f"row {number}, {column['name']}: {value!r} is no {column['dataType']}"
