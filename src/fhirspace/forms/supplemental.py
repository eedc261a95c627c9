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
"""Longest label of a supplemental qualifier in bytes (SDTMIG 3.4, section 8.4)."""

CONTROLS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
"""Characters that no text of a tabulation may have."""

_DECLARED = "\0supplemental"
_NAMES = "Column name of "


def hashed_name(form: str, column: str) -> str:
    """The name of a column that no mapping knows: three letters and a hash of five, the same in every run."""
    letters = re.sub(r"[^A-Z0-9]", "", column.upper().encode("ascii", "ignore").decode())[:3]
    start = letters if letters[:1].isalpha() else f"X{letters}"[:3]
    digest = hashlib.blake2b(f"{form}\0{column}".encode(), digest_size=8).digest()
    return (start + base64.b32encode(digest).decode())[: len(start) + 5]


def plain_name(column: str) -> str | None:
    """The column's own name in capitals where that is a legal name of a variable."""
    return column.upper() if re.fullmatch(r"[a-z][a-z0-9]{0,7}|[A-Z][A-Z0-9]{0,7}", column) else None


def variable_of(form: FormMapping, dataset: str, column: str) -> str:
    """The variable of a dataset that carries the cells of a column of a form."""
    return form.autos[dataset].get(column) or hashed_name(form.form, column)


def label_of(column: str, variable: str) -> str:
    """The label of a column's variable: the column's name, or as much of it as fits with the variable behind it."""
    if names_itself(column):
        return column
    plain = "".join(letter for letter in column if letter.isascii() and letter.isprintable())
    return f"{plain[: LABEL - 1 - len(variable)].rstrip()}~{variable}"


def names_itself(column: str) -> bool:
    """Whether a column's name is a legal label, so that the label gives the name back."""
    fits = len(column.encode()) <= LABEL and column == column.strip()
    return fits and column.isprintable() and named_by(column) is None


def name_variable(form: str, column: str) -> str:
    """The variable that has the name of an unmapped column beside its cells, where the label has a part of it only."""
    return hashed_name(form, f"\0{column}")


def name_label(variable: str) -> str:
    """The label of the variable that has the name of the column of another variable."""
    return _NAMES + variable


def named_by(label: str) -> str | None:
    """The inverse of `name_label`, None for any other label."""
    return label.removeprefix(_NAMES) if label.startswith(_NAMES) else None


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
            # Of no column: a cell carried there could not be distinguished from what the mapping writes.
            own = {name: (_DECLARED, name) for name, _ in (*document.supplemental, *document.comments)}
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
