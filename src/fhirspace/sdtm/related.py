"""The record that a finding about another record (FA) is about, where the datasets say so with certainty.

===========================  ==========================================================================================
given by                    what is certain
===========================  ==========================================================================================
RELREC, record by record     the relationship has one record beside those of the dataset
RELREC, dataset by dataset   one record of the subject has the same cell (FALNKID or FALNKGRP as AELNKID)
the name of a split (FAAE)   one record of the subject there has the same --LNKID, else FAOBJ as its term or treatment
===========================  ==========================================================================================

What comes first in the table wins. Two answers of one kind are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.columns import Groups, by_distinct, text
from fhirspace.standards.units import canonical_number

Read: TypeAlias = Callable[[str, Sequence[str]], pa.Table | None]
"""Some columns of a dataset of the study, None where it has no such dataset."""
_GLUE: Final = "\x1f"
_LINKING: Final = ("SEQ", "LNKID", "LNKGRP", "GRPID", "REFID", "SPID")
"""Variables, without their prefix, that RELREC relates records by."""
_TERMS: Final = ("TERM", "TRT")
_RELATION: Final = ["RDOMAIN", "USUBJID", "IDVAR", "IDVARVAL", "RELID"]


class Link(NamedTuple):
    """A link from rows to records of another dataset: subject and cell of a column, and the --SEQ of the record.

    `rank` is the place in the table above: a link of a lower one wins.
    """

    rank: int
    column: str
    target: str
    keys: pa.Array
    numbers: pa.Array

    def find(self, table: pa.Table) -> pa.Array:
        """Dataset and --SEQ as one text for each row, null where there is none."""
        at = pc.index_in(_keys(table, self.column), value_set=self.keys)
        return pc.binary_join_element_wise(self.target, self.numbers.take(at), " ", null_handling="emit_null")


def links(dataset: str, code: str, targets: Iterable[str], read: Read) -> tuple[Link, ...]:
    """The links from a dataset to the records that its rows are about.

    Args:
        dataset: its name, of a split that of the split; code: its domain.
        targets: the datasets of the study whose records may be found; read: all its datasets.
    """
    records = {target: _Records(target, read) for target in targets}
    found: list[Link] = []
    relations = read("RELREC", _RELATION)
    if relations is not None and records:
        found += _by_record(code, records, relations)
        found += _by_dataset(code, records, relations)
    if split := records.get(dataset.removeprefix(code)):
        found += [
            *split.links(1, f"{code}LNKID", "LNKID"),
            *(link for term in _TERMS for link in split.links(2, f"{code}OBJ", term)),
        ]
    return tuple(found)


def about(linked: Sequence[Link], table: pa.Table, target: str) -> pa.Array:
    """The --SEQ of the record of a dataset that each row is about, null where it is about none of that dataset."""
    taken = pa.nulls(table.num_rows, pa.string())
    for rank in sorted({each.rank for each in linked}):
        found = pa.nulls(table.num_rows, pa.string())
        for each in linked:
            if each.rank == rank:
                other = each.find(table)
                differs = pc.fill_null(pc.not_equal(found, other), False)
                found = pc.if_else(differs, "", pc.coalesce(found, other))
        taken = pc.coalesce(taken, found)
    mine = pc.starts_with(taken, f"{target} ")
    return pc.if_else(mine, pc.utf8_slice_codeunits(taken, len(target) + 1), pa.scalar(None, pa.string()))


class _Records:
    """The records of one dataset, each found by a cell that no other record of its subject has."""

    def __init__(self, target: str, read: Read) -> None:
        self.target, self._read = target, read
        self._known: dict[str, tuple[pa.Array, pa.Array]] = {}

    def by(self, suffix: str) -> tuple[pa.Array, pa.Array]:
        """Keys (subject and cell) and the --SEQ of their records."""
        if suffix not in self._known:
            column, number = f"{self.target}{suffix}", f"{self.target}SEQ"
            table = self._read(self.target, list(dict.fromkeys(["USUBJID", number, column])))
            keys, numbers = (_keys(table, column), text(table, number)) if table is not None else (_NONE, _NONE)
            if suffix != "SEQ":  # a record whose number is not its own has no id that is certain
                alone = pc.is_in(_keys(table, number), value_set=self.by("SEQ")[0])
                numbers = pc.if_else(alone, numbers, pa.scalar(None, pa.string()))
            self._known[suffix] = _alone(keys, numbers)
        return self._known[suffix]

    def links(self, rank: int, column: str, suffix: str) -> Iterator[Link]:
        """From cells of a column to the records that have the same."""
        keys, numbers = self.by(suffix)
        if len(keys):
            yield Link(rank, column, self.target, keys, numbers)


_NONE: Final = pa.array([], pa.string())


def _by_dataset(code: str, records: dict[str, _Records], relations: pa.Table) -> Iterator[Link]:
    """Relationships without subjects: both datasets have the same cell in two columns."""
    whole = relations.filter(pc.is_null(text(relations, "USUBJID")))
    names = [text(whole, name).to_pylist() for name in ("RDOMAIN", "IDVAR", "RELID")]
    ends = {(relation, domain, name) for domain, name, relation in zip(*names, strict=True) if domain and name}
    others: dict[str, list[tuple[str, str]]] = {}
    for relation, domain, name in sorted(ends, key=str):
        if domain in records and name.removeprefix(domain) in _LINKING:
            others.setdefault(relation, []).append((domain, name.removeprefix(domain)))
    for relation, domain, name in sorted(ends, key=str):
        if domain == code and name.removeprefix(code) in _LINKING:
            for target, suffix in others.get(relation, ()):
                yield from records[target].links(0, name, suffix)


def _by_record(code: str, records: dict[str, _Records], relations: pa.Table) -> Iterator[Link]:
    """Relationships of one subject: those with one record beside the rows of the dataset."""
    single = relations.filter(pc.is_valid(text(relations, "USUBJID")))
    mine = pc.fill_null(pc.equal(text(single, "RDOMAIN"), code), False)
    beside, own = single.filter(pc.invert(mine)), single.filter(mine)
    relation = _keys(beside, "RELID")
    for target, suffix in _ends(beside):
        if target in records:
            keys, numbers = records[target].by(suffix)
            chosen = _at_end(beside, target, suffix)
            yield from _to_own(code, own, target, *_alone(relation, numbers.take(pc.index_in(chosen, value_set=keys))))


def _to_own(code: str, own: pa.Table, target: str, relation: pa.Array, numbers: pa.Array) -> Iterator[Link]:
    number = numbers.take(pc.index_in(_keys(own, "RELID"), value_set=relation))
    for _, suffix in _ends(own):
        keys, found = _alone(_at_end(own, code, suffix), number)
        if len(keys):
            yield Link(0, code + suffix, target, keys, found)


def _ends(relations: pa.Table) -> list[tuple[str, str]]:
    """The domains of some relationships and the variables, without their prefix, by which these name records."""
    groups = Groups(relations, ["RDOMAIN", "IDVAR"]).cells
    pairs = [(domain, (name or "").removeprefix(domain)) for domain, name in groups if domain]
    return sorted(pair for pair in pairs if pair[1] in _LINKING)


def _at_end(relations: pa.Table, domain: str, suffix: str) -> pa.Array:
    """Subject and IDVARVAL of the relationships at one of `_ends`, as `_keys` has them; of others null."""
    here = pc.and_(pc.equal(text(relations, "RDOMAIN"), domain), pc.equal(text(relations, "IDVAR"), domain + suffix))
    cells = pc.if_else(pc.fill_null(here, False), text(relations, "IDVARVAL"), pa.scalar(None, pa.string()))
    return _keys(pa.table({"USUBJID": text(relations, "USUBJID"), suffix: cells}), suffix)


def _keys(table: pa.Table | pa.RecordBatch, column: str) -> pa.Array:
    """Subject and cell as one text, null where one is empty; numbers in their shortest spelling, terms in capitals."""
    cells = text(table, column)
    if column.endswith("SEQ"):
        cells = by_distinct(cells, lambda cell: canonical_number(cell) or cell, pa.string())
    elif column.endswith(("OBJ", *_TERMS)):
        cells = pc.utf8_upper(cells)
    return pc.binary_join_element_wise(text(table, "USUBJID"), cells, _GLUE, null_handling="emit_null")


def _alone(keys: pa.Array, numbers: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The keys that occur once, with their numbers where these are known."""
    counts = pc.value_counts(keys.drop_null())
    once = counts.field("values").filter(pc.equal(counts.field("counts"), 1))
    chosen = pc.and_(pc.is_in(keys, value_set=once), pc.and_(pc.is_valid(numbers), pc.is_valid(keys)))
    return keys.filter(chosen), numbers.filter(chosen)
