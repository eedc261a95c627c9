"""What a Dataset-JSON file says before its rows: the attributes of the dataset and those of its variables.

Source: CDISC Dataset-JSON 1.1, "Top-level Metadata Attributes", "Column Metadata".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhirspace.errors import InputError, Place
from fhirspace.json import Number
from fhirspace.limits import limit, too_much
from fhirspace.tables.csv.scan import CONTROL
from fhirspace.tables.description import Column, Description
from fhirspace.tables.text import is_reserved

NUMBERS: Final = frozenset({"integer", "float", "double", "decimal"})
DATES: Final = frozenset({"date", "datetime", "time"})
TYPES: Final = ("string", "integer", "decimal", "float", "double", "boolean", "datetime", "date", "time", "URI")
"""The data types of a variable."""
DATE: Final = 10
"""The characters of a date, whose variable need not say its length."""
VERSION: Final = "1.1.0"
"""The version that is written; every 1.1 is read."""
_VERSION: Final = re.compile(r"1\.1(\.(0|[1-9][0-9]*))?")
_TARGETS: Final = ("", "integer", "decimal")
_REQUIRED: Final = ("datasetJSONCreationDateTime", "datasetJSONVersion", "itemGroupOID", "name", "label")
_LONGEST: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable: `type` is one of `TYPES`, `target` the type that a receiver makes of it, "" for the same.

    `length` counts characters, `key` is its place in the key of the dataset; None where the file does not say them.
    """

    oid: str
    name: str
    label: str
    type: str = "string"
    target: str = ""
    length: int | None = None
    format: str = ""
    key: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Its attributes in the order of the specification; what is not known is left out."""
        known = {
            "itemOID": self.oid,
            "name": self.name,
            "label": self.label,
            "dataType": self.type,
            "targetDataType": self.target or None,
            "length": self.length,
            "displayFormat": self.format or None,
            "keySequence": self.key,
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Header:
    """A dataset: its name, label, variables and number of rows, and the OIDs by which a define.xml knows it.

    `created` is the instant at which the file was made, `system` the name and version of what made it.
    """

    oid: str
    name: str
    label: str
    variables: tuple[Variable, ...]
    records: int
    created: str
    file_oid: str = ""
    originator: str = ""
    system: tuple[str, str] | None = None
    study_oid: str = ""
    version_oid: str = ""
    reference: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Its attributes in the order of the specification; what is not known is left out."""
        known = {
            "datasetJSONCreationDateTime": self.created,
            "datasetJSONVersion": VERSION,
            "fileOID": self.file_oid or None,
            "originator": self.originator or None,
            "sourceSystem": dict(zip(("name", "version"), self.system, strict=True)) if self.system else None,
            "studyOID": self.study_oid or None,
            "metaDataVersionOID": self.version_oid or None,
            "metaDataRef": self.reference or None,
            "itemGroupOID": self.oid,
            "records": self.records,
            "name": self.name,
            "label": self.label,
            "columns": [variable.as_dict() for variable in self.variables],
        }
        return {name: value for name, value in known.items() if value is not None}

    @property
    def description(self) -> Description:
        """The same as a `Description`."""
        return Description(self.name, self.label, tuple(map(_column, self.variables)))


def _column(variable: Variable) -> Column:
    """A variable for transport: numbers are Num, everything else is Char. Numbers have no length in bytes."""
    if variable.type in NUMBERS:
        return Column(variable.name, variable.label, "Num", None, variable.format)
    length = variable.length or (DATE if variable.type == "date" else None)
    return Column(variable.name, variable.label, "Char", length, "" if variable.target else variable.format)


def header_of(members: Mapping[str, Any], file: str) -> Header:
    """The header that the members of a JSON object are, as `fhirspace.json.parse` gives them.

    Raises:
        InputError: FS165 (an attribute is missing or is none), FS107, FS108, FS116 (names of columns), FS160.
    """
    for name in _REQUIRED:
        _text(members, name, file)
    if not _VERSION.fullmatch(_text(members, "datasetJSONVersion", file)):
        raise _odd(file, "Dataset-JSON of version 1.1")
    system = members.get("sourceSystem")
    if isinstance(system, dict):
        system = (_text(system, "name", file), _text(system, "version", file))
    return Header(
        _text(members, "itemGroupOID", file),
        _text(members, "name", file),
        _text(members, "label", file),
        tuple(_variables(members.get("columns"), file)),
        _count(members, "records", file),
        _text(members, "datasetJSONCreationDateTime", file),
        _text(members, "fileOID", file, ""),
        _text(members, "originator", file, ""),
        system,
        _text(members, "studyOID", file, ""),
        _text(members, "metaDataVersionOID", file, ""),
        _text(members, "metaDataRef", file, ""),
    )


def _variables(columns: Any, file: str) -> Iterator[Variable]:
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        raise _odd(file, "an array of objects as columns")
    if not columns:
        raise InputError("FS108", Place(file, 1), "at least one column")
    if len(columns) > limit("columns"):
        raise too_much("columns", Place(file, 1))
    seen: set[str] = set()
    for number, column in enumerate(columns, 1):
        made = _variable(column, file, f"column {number}")
        if made.name in seen:
            raise InputError("FS107", Place(file, 1, f"column {number}"), "one column of each name")
        seen.add(made.name)
        yield made


def _variable(column: Mapping[str, Any], file: str, at: str) -> Variable:
    name = _text(column, "name", file, at=at)
    if not name.strip() or CONTROL.search(name):
        raise InputError("FS108", Place(file, 1, at), "a name")
    if is_reserved(name):
        raise InputError("FS116", Place(file, 1, at), "a name that starts with a letter")
    kind = _text(column, "dataType", file, at=at)
    if kind not in TYPES:
        raise _odd(file, f"a dataType that is one of {', '.join(TYPES)}", at)
    target = _text(column, "targetDataType", file, "", at)
    if target not in _TARGETS:
        raise _odd(file, "a targetDataType that is integer or decimal", at)
    return Variable(
        _text(column, "itemOID", file, at=at),
        name,
        _text(column, "label", file, at=at),
        kind,
        target,
        _whole(column, "length", file, at),
        _text(column, "displayFormat", file, "", at),
        _whole(column, "keySequence", file, at),
    )


def _text(members: Mapping[str, Any], name: str, file: str, otherwise: str | None = None, at: str | None = None) -> str:
    """A text attribute; `otherwise` where it is absent."""
    value = members.get(name, otherwise)
    if not isinstance(value, str) or isinstance(value, Number):
        raise _odd(file, f"a text as {name}", at)
    return value


def _whole(members: Mapping[str, Any], name: str, file: str, at: str) -> int | None:
    return _count(members, name, file, at, least=1) if name in members else None


def _count(members: Mapping[str, Any], name: str, file: str, at: str | None = None, *, least: int = 0) -> int:
    value = members.get(name)
    digits = isinstance(value, Number) and value.isascii() and value.isdigit() and len(value) < 12
    if not digits or not least <= int(str(value)) < _LONGEST:
        raise _odd(file, f"a whole number of at least {least} as {name}", at)
    return int(str(value))


def _odd(file: str, expected: str, at: str | None = None) -> InputError:
    return InputError("FS165", Place(file, 1, at), expected)
