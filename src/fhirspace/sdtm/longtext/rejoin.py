"""The parts of long texts joined again to the whole text (rules: `fhirspace.sdtm.longtext.rules`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import pyarrow as pa

from fhirspace.errors import Problem
from fhirspace.foreign import counted
from fhirspace.sdtm import columns
from fhirspace.sdtm.layout import link
from fhirspace.sdtm.longtext.rules import MOST, WIDE, continued, divisible, label, part_label, part_name, parts
from fhirspace.standards import sdtm
from fhirspace.tables.text import data_columns

_Part = TypeVar("_Part")
_DESCRIPTION = ("QLABEL", "QORIG", "QEVAL")
_Owner = tuple[str | None, ...]
"""The parent of a qualifier and its description: subject, IDVAR, IDVARVAL, label, origin, evaluator."""
_Groups = dict[_Owner, dict[int, int]]
"""Further parts by their owner: number -> row."""


@dataclass(slots=True)
class Joined:
    """Tabulations with whole texts.

    Attributes:
        tables: the tabulations; a supplemental qualifier dataset of which no row is left is not among them.
        joins: what was joined: dataset, column, its rows.
        removed: the number of rows that became part of a text, by supplemental qualifier dataset.
    """

    tables: dict[str, pa.Table]
    joins: list[tuple[str, str, list[int]]] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)

    def problems(self) -> Iterator[Problem]:
        """A note (FS751) for each column of which a text was joined, at the first one."""
        for name, column, rows in self.joins:
            (place,) = columns.places(self.tables[name], name, rows[:1], column)
            yield Problem("FS751", place, table=name, detail=f"{counted(len(rows), 'text was', 'texts were')} joined")


class _Qualifier(NamedTuple):
    """A row of a supplemental qualifier dataset: its parent and description, its name and its text."""

    owner: _Owner
    name: str | None
    text: str | None


_Head = tuple[int, str | None]
"""The row of a first part, and its text."""


@dataclass(slots=True)
class _Rows:
    """The rows of a supplemental qualifier dataset, and which of them became a part of a text."""

    rows: list[_Qualifier]
    removed: set[int] = field(default_factory=set)
    named: dict[str, list[int]] = field(default_factory=dict)
    """By name, the rows that have it."""

    def __post_init__(self) -> None:
        for at, row in enumerate(self.rows):
            self.named.setdefault(row.name or "", []).append(at)

    def with_name(self, name: str) -> Iterator[int]:
        """The rows with a name that are not removed."""
        return (at for at in self.named.get(name, ()) if at not in self.removed)

    def groups(self, numbers: Mapping[str, int]) -> _Groups:
        """The rows with some names by their owner and number; an owner that has a name twice is left out."""
        groups: _Groups = {}
        twice = set()
        for name, number in numbers.items():
            for at in self.with_name(name):
                owner = self.rows[at].owner
                group = groups.setdefault(owner, {})
                twice |= {owner} if number in group else set()
                group[number] = at
        return {owner: group for owner, group in groups.items() if owner not in twice}

    def join(self, groups: _Groups, heads: Mapping[_Owner, _Head]) -> dict[int, str]:
        """The whole texts that can be joined, by the row of their first part; the rows of the others are removed."""
        texts: dict[int, str] = {}
        for owner, (head, text) in heads.items():
            further = _run(groups.get(owner, {}))
            whole = _whole([text, *(self.rows[at].text for at in further)])
            if whole is not None:
                texts[head] = whole
                self.removed.update(further)
        return texts


def join(tables: Mapping[str, pa.Table]) -> Joined:
    """Join the long texts of a study's tabulations which were cut as `divide` cuts them; all else stays as it is."""
    made = Joined(dict(tables))
    for name in sorted(tables):
        if name in WIDE:
            _narrow(made, name)
        elif name.startswith("SUPP"):
            _take_back(made, name)
    return made


def _whole(texts: list[str | None]) -> str | None:
    """The text of which these are the parts; None where it would be cut otherwise."""
    given = [text for text in texts if text is not None]
    text = "".join(given)
    return text if len(given) == len(texts) > 1 and parts(text) == given else None


def _run(found: Mapping[int, _Part]) -> list[_Part]:
    """Numbered parts in order; none where a number between them is missing."""
    numbers = sorted(found)
    return [found[number] for number in numbers] if numbers and numbers[-1] - numbers[0] < len(numbers) else []


def _narrow(made: Joined, name: str) -> None:
    """Variables of a dataset that are the further parts of another."""
    table, column = made.tables[name], WIDE[name]
    further = {int(each.removeprefix(column)): each for each in table.column_names if part_label(name, each)}
    if column not in table.column_names or not further:
        return
    cells = {each: columns.text(table, each).to_pylist() for each in (column, *further.values())}
    rows = []
    for row in range(table.num_rows):
        found = {number: each for number, each in further.items() if cells[each][row] is not None}
        whole = _whole([cells[each][row] for each in (column, *_run(found))])
        if whole is not None:
            rows.append(row)
            cells[column][row] = whole
            for each in found.values():
                cells[each][row] = None
    if rows:
        for each, texts in cells.items():
            table = columns.put(table, each, pa.array(texts, pa.string()))
        made.joins.append((name, column, rows))
    if continued(name, table):  # the parts are made anew when a transport file is written
        made.tables[name] = table.drop_columns([each for each in further.values() if not columns.filled(table, each)])


def _take_back(made: Joined, name: str) -> None:
    """Supplemental qualifiers that are the further parts of a variable, or of another qualifier."""
    supp, parent = made.tables[name], made.tables.get(name[4:])
    qnames = [each for each in columns.text(supp, "QNAM").unique().to_pylist() if each]
    owned = [each for each in data_columns(parent) if divisible(name[4:], each)] if parent is not None else []
    variables, own = list(_candidates(owned, qnames)), _outermost_first(_candidates(qnames, qnames))
    if not variables and not own:
        return
    rows = _Rows(_read(supp))
    for column, numbers in variables:
        _into_variable(made, name[4:], column, numbers, rows)
    heads = dict[int, str]()
    for qname, numbers in own:
        heads |= _into_qualifier(qname, numbers, rows)
    if rows.removed:
        _drop(made, name, rows.removed, heads)


def _into_variable(made: Joined, name: str, column: str, numbers: Mapping[str, int], rows: _Rows) -> None:
    groups = rows.groups(numbers)
    texts = rows.join(groups, _parent_heads(made.tables[name], name, column, groups))
    if texts:
        made.tables[name] = _with_texts(made.tables[name], column, texts)
        made.joins.append((name, column, sorted(texts)))


def _into_qualifier(qname: str, numbers: Mapping[str, int], rows: _Rows) -> dict[int, str]:
    own = ((rows.rows[at].owner, (at, rows.rows[at].text)) for at in rows.with_name(qname))
    texts = rows.join(rows.groups(numbers), _heads(own))
    for row, text in texts.items():
        rows.rows[row] = rows.rows[row]._replace(text=text)  # too long now to be a part itself
    return texts


def _drop(made: Joined, name: str, removed: set[int], heads: Mapping[int, str]) -> None:
    """Leaves out the rows that became a part of a text, and puts the texts of the others in."""
    table = _with_texts(made.tables.pop(name), "QVAL", heads)
    kept = [row for row in range(table.num_rows) if row not in removed]
    made.removed[name] = len(removed)
    if kept:
        made.tables[name] = table.take(pa.array(kept, pa.int64()))
    if heads:
        made.joins.append((name, "QVAL", [at for at, row in enumerate(kept) if row in heads]))


def _read(supp: pa.Table) -> list[_Qualifier]:
    owner = (columns.text(supp, each).to_pylist() for each in ("USUBJID", "IDVAR", "IDVARVAL", *_DESCRIPTION))
    names, texts = (columns.text(supp, each).to_pylist() for each in ("QNAM", "QVAL"))
    return [_Qualifier(*row) for row in zip(zip(*owner, strict=True), names, texts, strict=True)]


def _outermost_first(candidates: Iterable[tuple[str, dict[str, int]]]) -> list[tuple[str, dict[str, int]]]:
    """Qualifiers that may be a part of another one come last: LONGNAM1 is rather a part of LONGNAMA than the start."""
    found = list(candidates)
    inner = {name for _, names in found for name in names}
    return sorted(found, key=lambda each: each[0] in inner)


def _candidates(roots: Iterable[str], qnames: Iterable[str]) -> Iterator[tuple[str, dict[str, int]]]:
    """Columns or qualifiers, each with the names (and numbers) of its further parts that there are."""
    known = set(qnames)
    for root in roots:
        names = {part_name(root, number): number for number in range(1, MOST + 1)}
        found = {name: number for name, number in names.items() if name in known and name != root}
        if found:
            yield root, found


def _parent_heads(parent: pa.Table, name: str, column: str, groups: _Groups) -> dict[_Owner, _Head]:
    """The first parts in a column of the parent, by the owner that its qualifiers would name."""
    idvar, description = link(sdtm.domain(name)), (label(name, column), "CRF", None)
    subjects, keys = (columns.text(parent, each or "").to_pylist() for each in ("USUBJID", idvar))
    owners = ((subject, idvar, key, *description) for subject, key in zip(subjects, keys, strict=True))
    texts = columns.text(parent, column).to_pylist()
    return _heads(
        (owner, (row, text)) for row, (owner, text) in enumerate(zip(owners, texts, strict=True)) if owner in groups
    )


def _heads(found: Iterable[tuple[_Owner, _Head]]) -> dict[_Owner, _Head]:
    """First parts by owner; none for an owner with two: it is unknown which one has further parts."""
    heads: dict[_Owner, _Head] = {}
    twice = set()
    for owner, head in found:
        if owner in heads:
            twice.add(owner)
        heads[owner] = head
    return {owner: head for owner, head in heads.items() if owner not in twice}


def _with_texts(table: pa.Table, column: str, texts: Mapping[int, str]) -> pa.Table:
    cells = columns.text(table, column).to_pylist()
    for row, text in texts.items():
        cells[row] = text
    return columns.put(table, column, pa.array(cells, pa.string()))
