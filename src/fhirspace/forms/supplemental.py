"""Automatic supplemental variables: their names, and how a cell is spelt in one.

A cell that has no other place in the rows of a record, or does not come back from them unchanged, is carried in a
variable of the record's first row. Its label is the name of the form's column.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import MappingError, Place
from fhirspace.forms.model import FormMapping
from fhirspace.standards import sdtm
from fhirspace.tables.text import TEXT

EMPTY = "\\\\"
"""How an empty cell is spelt where an empty variable would be read as something else."""

LABEL = 40
"""Longest label of a supplemental qualifier (SDTMIG 3.4, section 8.4)."""


def hashed_name(form: str, column: str) -> str:
    """The name of a column that no mapping knows: three letters and a hash of five, the same in every run."""
    letters = re.sub(r"[^A-Z0-9]", "", column.upper().encode("ascii", "ignore").decode())[:3]
    start = letters if letters[:1].isalpha() else f"X{letters}"[:3]
    digest = hashlib.blake2b(f"{form}\0{column}".encode(), digest_size=8).digest()
    return (start + base64.b32encode(digest).decode())[: len(start) + 5]


def plain_name(column: str) -> str | None:
    """The column's own name in capitals where that is a legal name of a variable."""
    return column.upper() if re.fullmatch(r"[a-z][a-z0-9]{0,7}|[A-Z][A-Z0-9]{0,7}", column) else None


def with_autos(forms: Iterable[FormMapping]) -> list[FormMapping]:
    """The forms with a name for each of their columns in each dataset that they make.

    Columns of one name have the same variable, whatever their form, but where several forms make one row.

    Raises:
        MappingError: FS361, two columns come to one name.
    """
    forms = list(forms)
    merged = {document.dataset for form in forms for document in form.documents if document.one_per}
    taken: dict[str, dict[str, tuple[str, str]]] = {}
    for form in forms:
        for document in form.documents:
            own = {name: ("", name) for name, _ in document.supplemental}
            taken.setdefault(document.dataset, {}).update(own)
    return [
        replace(form, autos={name: _names(form, name, taken[name], merged) for name in taken if _makes(form, name)})
        for form in forms
    ]


def _makes(form: FormMapping, dataset: str) -> bool:
    return any(document.dataset == dataset for document in form.documents)


def _names(form: FormMapping, dataset: str, taken: dict[str, tuple[str, str]], merged: set[str]) -> dict[str, str]:
    standard = {variable.name for variable in sdtm.standard_variables(dataset)}
    names: dict[str, str] = {}
    for column in form.columns:
        owner = (form.form if dataset in merged else "", column)
        plain = plain_name(column)
        usable = plain is not None and plain not in standard and taken.get(plain, owner) == owner
        name = plain if plain is not None and usable else hashed_name(owner[0], column)
        if taken.setdefault(name, owner) != owner:
            raise MappingError("FS361", Place(form.file, None, column), "another name for the column in the EDC")
        names[column] = name
    return names


def spelt(cells: pa.Array) -> pa.Array:
    """Cells as an automatic variable holds them: between backslashes where blanks at the end or a backslash need it."""
    risky = pc.or_(pc.ends_with(cells, " "), pc.starts_with(cells, "\\"))
    wrapped = pc.binary_join_element_wise(pa.scalar("\\"), cells, pa.scalar("\\"), pa.scalar(""))
    return pc.if_else(pc.fill_null(risky, False), wrapped, cells)


def unspelt(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The cells that an automatic variable holds, and where there is one (it may be an empty cell)."""
    encoded = texts.dictionary_encode()
    cells = [text[1:-1] or None if text.startswith("\\") else text for text in encoded.dictionary.to_pylist()]
    return pa.array(cells, TEXT).take(encoded.indices), texts.is_valid()
