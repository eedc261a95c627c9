"""The compiled form of a source mapping: what a record of an EDC form makes, and how its rows are read back.

A `SourceForm` has documents, one for each dataset that its records make rows of; a `Document` has lines, each making at
most one row a record; a `Line` has a `Cell` for each variable. A cell is a list of options: the first whose slots have
values is written, and the first whose template fits the text is read. The same tree is used in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property, lru_cache
from typing import NamedTuple

from fhirspace.standards.units import canonical_number
from fhirspace.template.slots import Cond, Leaf, Slot
from fhirspace.template.values import divided

Given = tuple[tuple[str, str], ...]
"""Form cells that must have exactly these texts (``""``: empty).

They are read back from what is written because of them.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """One way to fill a variable: a template, and what must be true of the record."""

    leaf: Leaf
    when: Cond | None = None
    given: Given = ()


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """The content of a variable. `kind` is how its text is stored: ``Num``, ``DTC`` (ISO 8601) or ``Char``.

    Cells are compared by identity: lines with the same cell use the same computed values.
    """

    options: tuple[Option, ...]
    kind: str = "Char"

    @property
    def constant(self) -> str | None:
        """The text of a cell that is the same in every row, None for all others."""
        first = self.options[0]
        return first.leaf.constant if len(self.options) == 1 and first.when is None and not first.given else None

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots of all options."""
        return tuple(slot for option in self.options for slot in option.leaf.slots)

    @property
    def default(self) -> tuple[str, str] | None:
        """The form column and cell that an empty variable means: its code list gives the cell the code ``""``."""
        leaf = self.options[0].leaf
        if len(leaf.parts) == 1 and leaf.slots:
            slot = leaf.slots[0]
            cell = slot.codec.back("") if slot.codec.outputs and "" in slot.codec.outputs else None
            return None if cell is None else (slot.column, cell)
        return None

    def columns(self) -> Iterator[str]:
        """The form columns that the cell uses."""
        for option in self.options:
            yield from (slot.column for slot in option.leaf.slots)
            yield from (name for name, _ in option.given)
            yield from option.when.columns() if option.when else ()

    def readable_columns(self) -> Iterator[tuple[str, int]]:
        """The form columns that can be read back from the cell, each with its rank (0: verbatim)."""
        for option in self.options:
            yield from ((slot.column, slot.codec.rank) for slot in option.leaf.slots if slot.readable)
            yield from ((name, 1) for name, _ in option.given)

    def known_texts(self) -> frozenset[str] | None:
        """All texts that the cell can have, None where they are not known; it may be empty as well."""
        found: set[str] = set()
        for option in self.options:
            constant = option.leaf.constant
            outputs = option.leaf.slots[0].codec.outputs if len(option.leaf.parts) == 1 and option.leaf.slots else None
            if constant is None and (outputs is None or option.leaf.slots[0].codec.open):
                return None
            found |= {constant} if constant is not None else outputs or set()
        return frozenset(self.fitting(text) or "" for text in found if text)

    def fitting(self, text: str) -> str | None:
        """A text as the variable stores it: no blanks at its end (SAS drops them), no redundant zeros."""
        if self.kind == "Num":
            return canonical_number(text)
        return text.rstrip(" ") or None


def reader(cell: Cell) -> Callable[[str], dict[str, str]]:
    """Reads a variable's text: the form cells, or nothing if no option could have written the text."""
    readers = [_option_reader(option) for option in cell.options]

    def read(text: str) -> dict[str, str]:
        return next((found for each in readers if (found := each(text)) is not None), {})

    return read


def _option_reader(option: Option) -> Callable[[str], dict[str, str] | None]:
    leaf, given = option.leaf, {name: text for name, text in option.given if text}
    if len(leaf.parts) == 1 and leaf.slots:
        column, back = leaf.slots[0].column, leaf.slots[0].codec.back

        def single(text: str) -> dict[str, str] | None:
            cell = back(text)
            return None if cell is None else {**given, column: cell}

        return single

    backs = [(slot.column, slot.codec.back) for slot in leaf.slots]

    def several(text: str) -> dict[str, str] | None:
        texts = divided(leaf, text)
        if texts is None:
            return None
        found = dict(given)
        for (column, back), part in zip(backs, texts, strict=True):
            cell = back(part)
            if cell is None:
                return None
            found[column] = cell
        return found

    return several


@dataclass(frozen=True, slots=True)
class Line:
    """One row that a record may make.

    Attributes:
        cells: the variables and their content, in order.
        own: the variables of which one must have a value for the line to be written; None if the line needs none.
        when, given: conditions; a line with one is written whenever it is true.
        line: where it is written, for messages.
    """

    cells: tuple[tuple[str, Cell], ...]
    own: tuple[str, ...] | None
    line: int
    when: Cond | None = None
    given: Given = ()

    def columns(self) -> Iterator[str]:
        """The form columns that the line uses."""
        for _, cell in self.cells:
            yield from cell.columns()
        yield from (name for name, _ in self.given)
        yield from self.when.columns() if self.when else ()


@dataclass(frozen=True, slots=True)
class Document:
    """What a form makes of one dataset.

    Attributes:
        dataset: its name; file, line: where it is written, for messages.
        lines: the rows that a record may make.
        when, given: conditions that all its lines need.
        one_per: the variables that say which rows of several forms are one row; empty: each row is separate.
        supplemental: the variables that are not standard, with their labels.
        comments: those whose text is a comment (CO), each with its reference.
        related: those of `supplemental` that name a record of another dataset (RELREC), with its variable of this name.
    """

    dataset: str
    file: str
    line: int
    lines: tuple[Line, ...]
    when: Cond | None = None
    given: Given = ()
    one_per: tuple[str, ...] = ()
    supplemental: tuple[tuple[str, str], ...] = ()
    comments: tuple[tuple[str, str], ...] = ()
    related: tuple[tuple[str, str], ...] = ()

    def columns(self) -> Iterator[str]:
        """The form columns that the document uses."""
        for line in self.lines:
            yield from line.columns()
        yield from (name for name, _ in self.given)
        yield from self.when.columns() if self.when else ()


class Source(NamedTuple):
    """Where a form column can be read: the place of the line, the variable and its cell, best order first.

    `text` is the cell that an empty variable means, or, without a variable, the cell that the conditions of the line
    require.
    """

    order: tuple[int, int]
    line: int
    column: str
    variable: str = ""
    cell: Cell | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """What a form says of cells, records and columns that it does not convert.

    Attributes:
        drop: names of columns, or patterns of them, that are left out; a pattern spares the columns of the mapping.
        own_drop: those of them that the form itself gives, and not the whole source.
        skip: a record for which this is true is left out.
        missing: texts that mean an empty cell.
        carry_unmapped: columns that no mapping names travel to FHIR, too.
        zone: the time zone (IANA) in which the form has its times; empty: that of the study.
    """

    drop: tuple[str, ...] = ()
    own_drop: tuple[str, ...] = ()
    skip: Cond | None = None
    missing: frozenset[str] = frozenset()
    carry_unmapped: bool = False
    zone: str = ""


_TICK = re.compile(r"\w+___\w+", re.ASCII)
"""The column of one choice of a field of tick boxes: the field, three underscores, the code of the choice."""


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    """``phone_*``: an asterisk is any text, a question mark any character; brackets are themselves.

    The expression of `fnmatch` does not go back, so that no pattern takes long on any name.
    """
    return re.compile(translate(text.replace("[", "[[]")))


@dataclass(frozen=True)
class FormMapping:
    """All that is known of one form.

    Attributes:
        form: its name (the stem of its file); file: the mapping file, for messages.
        key: the columns that identify a record; optional: those of them that may be empty.
        documents: what its records make.
        needs: column -> the column that must be filled where it is.
        carried: columns under ``columns:``, which are carried in automatic supplemental variables on purpose.
        autos: dataset -> form column -> the supplemental variable that carries cells without another place.
        declared: what is not converted.
    """

    form: str
    file: str
    key: tuple[str, ...]
    optional: frozenset[str]
    documents: tuple[Document, ...]
    needs: tuple[tuple[str, str], ...] = ()
    carried: tuple[str, ...] = ()
    autos: dict[str, dict[str, str]] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All form columns that the mapping knows and converts: those that are `named`, and those of ``skip when:``."""
        skip = self.declared.skip
        known = dict.fromkeys(self.named) | dict.fromkeys(skip.columns() if skip else ())
        return tuple(name for name in known if not self.drops(name))

    def drops(self, column: str) -> bool:
        """Whether a column is left out."""
        patterns = map(_pattern, self.declared.drop)
        return column not in self._used and any(pattern.fullmatch(column) for pattern in patterns)

    @cached_property
    def _used(self) -> frozenset[str]:
        return frozenset(self.named)

    @cached_property
    def named(self) -> tuple[str, ...]:
        """All form columns that the documents name: those that are `read`, and those of ``columns:``."""
        return tuple(dict.fromkeys((*self.read, *self.carried)))

    @cached_property
    def read(self) -> tuple[str, ...]:
        """All form columns that a document uses: the key first, then in the order of their first mention."""
        found = dict.fromkeys(self.key)
        for document in self.documents:
            found.update(dict.fromkeys(document.columns()))
        for pair in self.needs:
            found.update(dict.fromkeys(pair))
        return tuple(found)

    @cached_property
    def ticks(self) -> dict[str, str]:
        """The tick boxes of REDCap that the mapping reads (``race___1``), each with its cell if nobody ticked it.

        An export has this cell in every record, also of a form that nobody filled and in rows of other instruments: it
        says nothing there, so a box comes back as not ticked where no row says otherwise.
        """
        slots = (slot for _, line in self.lines for _, cell in line.cells for slot in cell.slots)
        boxes = (slot for slot in slots if slot.codec.name.startswith("checkbox") and _TICK.fullmatch(slot.column))
        return {slot.column: cell for slot in boxes if (cell := slot.codec.back("N"))}

    @cached_property
    def lines(self) -> tuple[tuple[Document, Line], ...]:
        """All lines with their documents, in order."""
        return tuple((document, line) for document in self.documents for line in document.lines)

    @cached_property
    def sources(self) -> dict[str, list[Source]]:
        """By column, all places where it can be read: verbatim, by a table, by conditions, by being empty."""
        found: dict[str, list[Source]] = {name: [] for name in self.columns}
        for at, (document, line) in enumerate(self.lines):
            for name, cell in line.cells:
                for column, rank in dict(cell.readable_columns()).items():
                    found[column].append(Source((rank, at), at, column, name, cell))
                if cell.default is not None:
                    column, text = cell.default
                    found[column].append(Source((9, at), at, column, name, cell, text))
            for name, text in (*document.given, *line.given):
                if text:
                    found[name].append(Source((5, at), at, name, text=text))
        return {name: sorted(places, key=lambda source: source.order) for name, places in found.items()}
