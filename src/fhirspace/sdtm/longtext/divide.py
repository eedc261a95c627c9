"""Tabulations with their long texts cut, as a transport file needs them (rules: `fhirspace.sdtm.longtext.rules`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.foreign import counted
from fhirspace.sdtm import columns, layout as shape
from fhirspace.sdtm.longtext.rules import MAX_BYTES, WIDE, divisible, free_names, is_long, label, parts
from fhirspace.standards import sdtm
from fhirspace.tables.text import data_columns


@dataclass(slots=True)
class Divided:
    """Tabulations with long texts cut.

    Attributes:
        heads: the tables, row by row as they were, with first parts in place of long texts (TS and CO: with all parts).
        more: the rows with the further parts, by supplemental qualifier dataset.
        cuts: what was cut: dataset, column, its rows, and the names of the further parts.
    """

    heads: dict[str, pa.Table]
    more: dict[str, pa.Table] = field(default_factory=dict)
    cuts: list[tuple[str, str, list[int], list[str]]] = field(default_factory=list)

    def whole(self) -> dict[str, pa.Table]:
        """The tabulations as they are to be written."""
        made = dict(self.heads)
        for name, rows in self.more.items():
            both = pa.concat_tables([made[name], rows], promote_options="permissive") if name in made else rows
            made[name] = shape.tabulate(both, name)
        return dict(sorted(made.items()))

    def problems(self) -> Iterator[Problem]:
        """A note (FS750) for each column of which a text was cut, at the first one."""
        for name, column, rows, names in self.cuts:
            (place,) = columns.places(self.heads[name], name, rows[:1], column)
            longer = counted(len(rows), "longer text goes", "longer texts go")
            detail = f"{longer} on in {names[0]} to {names[-1]}"
            yield Problem("FS750", place, table=name, detail=detail)


def long_rows(table: pa.Table, column: str) -> list[int]:
    """The rows of a table whose text does not fit into a cell of a transport file."""
    cells = columns.text(table, column)
    if (pc.max(pc.binary_length(cells)).as_py() or 0) <= MAX_BYTES:
        return []
    rows: list[int] = pc.indices_nonzero(
        pc.fill_null(pc.greater(pc.binary_length(cells), MAX_BYTES), False)
    ).to_pylist()
    return rows


def taken_names(tables: Mapping[str, pa.Table]) -> dict[str, frozenset[str]]:
    """By dataset (a SUPP-- counts as its parent), the names of variables and qualifiers that it has or may have."""
    families: dict[str, set[str]] = {}
    for name, table in tables.items():
        taken = families.setdefault(name.removeprefix("SUPP"), set())
        taken |= set(data_columns(table))
        taken |= {variable.name for variable in sdtm.standard_variables(name)} if sdtm.known(name) else set()
        taken |= set(columns.text(table, "QNAM").unique().to_pylist()) if name.startswith("SUPP") else set()
    return {family: frozenset(taken) for family, taken in families.items()}


def divide(tables: Mapping[str, pa.Table], taken: Mapping[str, Collection[str]] | None = None) -> Divided:
    """Cut the long texts of tabulations; one that cannot be cut, or whose parts find no name, stays long.

    Args:
        tables: all rows of some subjects, and the datasets about no subject.
        taken: `taken_names` of the study; of these tables if it is not given.
    """
    made = Divided(dict(tables))
    families = {name: set(names) for name, names in (taken_names(tables) if taken is None else taken).items()}
    for name in sorted(tables):
        cut = _qualifiers if name.startswith("SUPP") else _variables
        cut(made, name, families.setdefault(name.removeprefix("SUPP"), set()))
    return made


def _variables(made: Divided, name: str, taken: set[str]) -> None:
    further: dict[str, pa.Array] = {}
    labels: dict[str, str] = {}
    for column in data_columns(made.heads[name]):
        if not divisible(name, column) or not (rows := long_rows(made.heads[name], column)):
            continue
        first, *rest = _parts(columns.text(made.heads[name], column))
        names = free_names(column, len(rest), taken)
        if len(names) == len(rest):
            made.heads[name] = columns.put(made.heads[name], column, first)
            further |= zip(names, rest, strict=True)
            labels |= dict.fromkeys(names, label(name, column))
            taken.update(names)
            made.cuts += [(name, column, rows, names)] if names else []
    if name in WIDE:
        made.heads[name] = _beside(made.heads[name], WIDE[name], further)
    elif further:
        made.more[f"SUPP{name}"] = _supplementals(made.heads[name], name, further, labels)


def _beside(table: pa.Table, column: str, further: Mapping[str, pa.Array]) -> pa.Table:
    """The table with columns added right after one."""
    for at, (name, cells) in enumerate(further.items(), 1):
        table = table.add_column(table.column_names.index(column) + at, name, cells)
    return table


def _supplementals(
    table: pa.Table, name: str, further: Mapping[str, pa.Array], labels: Mapping[str, str]
) -> pa.Table | None:
    standard = {variable.name for variable in sdtm.standard_variables(name)}
    plain = table.select([column for column in table.column_names if column in standard or column[0] == "@"])
    for column, cells in further.items():
        plain = plain.append_column(column, cells)
    return shape.split_supplementals(plain, name, labels)[1]


def _qualifiers(made: Divided, name: str, taken: set[str]) -> None:
    """Rows with a long QVAL: further rows, whose QNAM is made of the row's own."""
    table = made.heads[name]
    rows = long_rows(table, "QVAL")
    qnames = columns.text(table, "QNAM").to_pylist()
    values = columns.text(table, "QVAL").to_pylist()
    more = [made.more[name]] if name in made.more else []
    for qname in dict.fromkeys(qnames[row] for row in rows):
        mine = [row for row in rows if qnames[row] == qname]
        first, *rest = _parts(pa.array([values[row] for row in mine], pa.string()))
        names = free_names(qname or "", len(rest), taken)
        if len(names) == len(rest):
            taken.update(names)
            for row, text in zip(mine, first.to_pylist(), strict=True):
                values[row] = text
            more += [_renamed(table, mine, each, cells) for each, cells in zip(names, rest, strict=True)]
            made.cuts += [(name, "QVAL", mine, names)] if names else []
    if rows:
        made.heads[name] = columns.put(table, "QVAL", pa.array(values, pa.string()))
    if more:
        made.more[name] = pa.concat_tables(more, promote_options="permissive")


def _renamed(table: pa.Table, rows: list[int], qname: str, cells: pa.Array) -> pa.Table:
    """Copies of some rows with another QNAM and QVAL, as far as their QVAL is filled."""
    copied = columns.put(table.take(pa.array(rows, pa.int64())), "QVAL", cells)
    copied = columns.put(copied, "QNAM", pa.repeat(pa.scalar(qname, pa.string()), len(rows)))
    return copied.filter(cells.is_valid())


def _parts(cells: pa.Array) -> list[pa.Array]:
    """The first parts of the cells, their second ones, and so on; blanks at the end of a long text are left out."""
    encoded = cells.dictionary_encode()
    cut = [(parts(cell.rstrip(" ")) or [cell]) if is_long(cell) else [cell] for cell in encoded.dictionary.to_pylist()]
    most = max(map(len, cut), default=1)
    turned = ([some[at] if at < len(some) else None for some in cut] for at in range(most))
    return [pa.array(row, pa.string()).take(encoded.indices) for row in turned]
