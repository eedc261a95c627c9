"""What is checked of source mappings when they are loaded: that rows can be recognised and their records read back.

Two lines of a dataset must differ by a constant, each line must give its record's key back, forms that make a row
together must not write the same variable, and what a closed CDISC codelist governs must be one of its terms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from fhirspace.errors import MappingError, Place
from fhirspace.forms.model import Cell, Document, FormMapping, Line
from fhirspace.standards import sdtm, terminology
from fhirspace.template.slots import Slot

# Variables that derivations fill: an empty one proves nothing.
_DERIVED = re.compile(
    r"VISIT(NUM|DY)?|EPOCH|TAETORD|RF\w+|AGEU?|DTHFL|DTHDTC|ACTARM(CD)?|DOMAIN|"
    r"..(SEQ|DY|STDY|ENDY|STRESC|STRESN|STRESU|LOBXFL|NRIND|STNRLO|STNRHI)"
)


class _Known(NamedTuple):
    form: FormMapping
    at: int
    document: Document
    line: Line
    cells: dict[str, Cell]

    @property
    def place(self) -> Place:
        return Place(self.document.file, self.line.line, self.document.dataset)


def check(forms: Iterable[FormMapping]) -> dict[tuple[str, int], tuple[str, ...]]:
    """Checks all forms of a source against each other.

    Returns:
        By form and place of a line, the variables that must be empty in its rows: they alone distinguish it from
        another line.

    Raises:
        MappingError: FS355 (key), FS356 (lines alike), FS357 (rows made together), FS359 (codelist).
    """
    known = [
        _Known(form, at, document, line, dict(line.cells))
        for form in forms
        for at, (document, line) in enumerate(form.lines)
    ]
    for each in known:
        _check_key(each)
        _check_terms(each)
    absent: dict[tuple[str, int], dict[str, None]] = {}
    for first, second in combinations(known, 2):
        if first.document.dataset == second.document.dataset:
            for owner, variable in _distinguished(first, second):
                absent.setdefault((owner.form.form, owner.at), {})[variable] = None
    return {key: tuple(names) for key, names in absent.items()}


def _check_key(each: _Known) -> None:
    cells = each.cells
    for name in each.document.one_per:
        if name not in cells:
            raise MappingError("FS357", each.place, f"{name} under `rows:`, because `one per:` names it")
    where = {name: cells[name] for name in each.document.one_per} or cells
    readable = {name for cell in where.values() for name, _ in cell.readable_columns()}
    given = (*each.document.given, *each.line.given)
    readable |= {name for name, text in given if text or name in each.form.optional}
    missing = [name for name in each.form.key if name not in readable]
    if missing:
        raise MappingError("FS355", each.place, f"a variable with a slot such as <{missing[0]}>")


def _check_terms(each: _Known) -> None:
    for name, cell in each.line.cells:
        values = _closed(each.document.dataset, name)
        for text in _texts(cell) if values is not None else ():
            if values is not None and text not in values:
                hint = "one of " + ", ".join(sorted(values)[:12]) if len(values) < 40 else "a term of its codelist"
                raise MappingError("FS359", Place(each.document.file, each.line.line, name), hint)


def _texts(cell: Cell) -> Iterator[str]:
    for option in cell.options:
        if option.leaf.constant is not None:
            yield option.leaf.constant
        elif len(option.leaf.parts) == 1:
            yield from sorted(text for text in option.leaf.slots[0].codec.outputs or () if text)


def _closed(dataset: str, name: str) -> frozenset[str] | None:
    """The terms that a variable may have, None where it has no codelist or one that may grow."""
    variable = sdtm.variable(dataset, name)
    codes = variable.codelists if variable is not None else ()
    lists = [terminology.codelist(code) for code in codes if terminology.known(code)]
    if not lists or len(lists) < len(codes) or any(each.extensible for each in lists):
        return None
    return sdtm.beside_codelist(dataset, name).union(*(each.terms for each in lists))


def _distinguished(first: _Known, second: _Known) -> list[tuple[_Known, str]]:
    """Nothing if two lines differ anyway; else the line and the variable that must be empty to distinguish them."""
    if first.document.one_per and second.document.one_per:
        _check_together(first, second)
        return []
    one, two = first.cells, second.cells
    if any(_differ(one[name], two[name]) for name in one.keys() & two.keys()):
        return []
    for having, lacking in ((first, second), (second, first)):
        for name, cell in having.line.cells:
            if (
                cell.constant is not None
                and name not in lacking.cells
                and not lacking.document.one_per
                and not _DERIVED.fullmatch(name)
            ):
                return [(lacking, name)]
    hint = f"a constant that tells its rows from those of {second.document.file}, line {second.line.line}"
    raise MappingError("FS356", first.place, hint)


def _differ(one: Cell, two: Cell) -> bool:
    """Whether a variable can never have one text in rows of both."""
    if one.constant is None and two.constant is None:
        return False
    texts, others = one.known_texts(), two.known_texts()
    return texts is not None and others is not None and not texts & others


def _check_together(first: _Known, second: _Known) -> None:
    place = second.place
    if first.form.form == second.form.form:
        raise MappingError("FS357", place, "one line of a form for rows that are made `one per` its subject")
    if first.document.one_per != second.document.one_per:
        raise MappingError("FS357", place, "the same `one per:` in all forms: " + ", ".join(first.document.one_per))
    one, two = first.cells, second.cells
    for name in one.keys() & two.keys():
        if _shape(one[name], first.form.key) != _shape(two[name], second.form.key):
            hint = f"{name} in one of the forms only: {first.document.file} writes it too"
            raise MappingError("FS357", place, hint)


def _shape(cell: Cell, key: tuple[str, ...]) -> object:
    """What a cell writes, the names of columns left out; unlike any other where it holds more than the record's key."""
    if set(cell.columns()) - set(key) or len(cell.options) > 1:
        return object()
    return tuple(part.codec.name if isinstance(part, Slot) else ("", part) for part in cell.options[0].leaf.parts)
