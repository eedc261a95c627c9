"""Annotations of records in datasets of their own: supplemental qualifiers, comments (CO), relationships (RELREC).

While rows are derived, all of it is in columns beside the records; here it is taken apart, and put together again.

Source: SDTMIG 3.4, sections 5.1 (CO), 8.2 (RELREC), 8.4 (SUPP--).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.sdtm import columns, layout
from fhirspace.sdtm.columns import text
from fhirspace.sdtm.derive.design import StudyDesign
from fhirspace.sdtm.derive.order import derive_sequences
from fhirspace.sdtm.derive.work import Derived, Work
from fhirspace.standards import sdtm
from fhirspace.standards.units import canonical_number
from fhirspace.tables.text import has

Texts: TypeAlias = Mapping[str, Mapping[str, str]]
"""By dataset and variable, a text."""
Tables: TypeAlias = Mapping[str, pa.Table]
_TEXT: Final = pa.string()
_GLUE: Final = "\x1f"


class Annotations(NamedTuple):
    """What becomes of variables that are not standard.

    Attributes:
        labels: their labels as supplemental qualifiers.
        comments: those whose text is a comment, with its COREF.
        related: those that name a related record, with the variable of its dataset that has this name (AESPID).
        origin: QORIG of supplemental qualifiers.
    """

    labels: Texts
    comments: Texts
    related: Texts
    origin: str


class Apart(NamedTuple):
    """The datasets in their final form, cells that name no record, and how COSEQ was derived."""

    tables: dict[str, pa.Table]
    problems: list[Problem]
    derived: list[Derived]


def take_apart(tables: Tables, annotations: Annotations) -> Apart:
    """The datasets with the annotations of their records in datasets of their own.

    Args:
        tables: with --SEQ; annotations: what becomes of variables that are not standard.

    A cell that names a related record becomes a supplemental qualifier where not just one record has this name (FS266).
    """
    left, problems = dict(tables), list[Problem]()
    relations = [tables["RELREC"]] if "RELREC" in tables else []
    for dataset, variable, target in _each(annotations.related, tables):
        left[dataset], pairs, lost = _related(left, dataset, variable, target)
        relations += [pairs] if pairs.num_rows else []
        expected = f"the {target} of one record of {target[:2]} of the subject"
        places = columns.places(left[dataset], dataset, lost, variable)
        problems += [Problem("FS266", place, expected, dataset) for place in places]
    comments = [tables["CO"]] if "CO" in tables else []
    for dataset in dict.fromkeys(dataset for dataset, _, _ in _each(annotations.comments, tables)):
        left[dataset], rows = _comments(left[dataset], dataset, annotations.comments[dataset])
        comments += [rows] if rows is not None else []
    derived = list[Derived]()
    if comments:
        left["CO"], derived = _numbered(pa.concat_tables(comments, promote_options="default"))
    if relations:
        left["RELREC"] = pa.concat_tables(relations, promote_options="default")
    return Apart(_final(left, annotations), problems, derived)


def _each(annotations: Texts, tables: Tables) -> Iterator[tuple[str, str, str]]:
    """Datasets, variables and texts, of variables that a table has."""
    for dataset, names in annotations.items():
        for variable, other in names.items():
            if dataset in tables and has(tables[dataset], variable):
                yield dataset, variable, other


def _final(tables: Tables, annotations: Annotations) -> dict[str, pa.Table]:
    made: dict[str, pa.Table] = {}
    for name, table in tables.items():
        parent, supplemental = layout.split_supplementals(
            table, name, annotations.labels.get(name, {}), origin=annotations.origin
        )
        made[name] = layout.tabulate(parent, name)
        if supplemental is not None:
            made[f"SUPP{name}"] = layout.tabulate(supplemental, f"SUPP{name}")
    return made


def _comments(table: pa.Table, dataset: str, references: Mapping[str, str]) -> tuple[pa.Table, pa.Table | None]:
    """The table without its comments, and rows of CO."""
    names = [name for name in references if has(table, name)]
    shared = ("STUDYID", "USUBJID", layout.link(sdtm.domain(dataset)) or "", "@file", "@row")
    beside = table.select([*dict.fromkeys(key for key in shared if has(table, key)), *names])
    rows = layout.split_supplementals(beside, dataset, references)[1]
    if rows is None:
        return table.drop_columns(names), None
    rows = rows.drop_columns(["QNAM", "QORIG", "QEVAL"]).rename_columns({"QLABEL": "COREF", "QVAL": "COVAL"})
    return table.drop_columns(names), rows.append_column("DOMAIN", pa.repeat(pa.scalar("CO"), rows.num_rows))


def _numbered(comments: pa.Table) -> tuple[pa.Table, list[Derived]]:
    """Comments with COSEQ; numbers that are there stay."""
    work = Work({"CO": comments}, StudyDesign(), {}, ())
    derive_sequences(work)
    return work.tables["CO"], list(work.derived.values())


def _related(tables: Tables, dataset: str, variable: str, target: str) -> tuple[pa.Table, pa.Table, list[int]]:
    """The dataset without cells that name one record, two rows of RELREC for each of them, and where others are."""
    table, (own, their) = tables[dataset], _sequences(dataset, target)
    numbers = _sought(tables.get(target[:2]), target, their, _key(table, variable))
    numbers = pc.if_else(pc.is_valid(text(table, own)), numbers, pa.scalar(None, _TEXT))
    if target[:2] == dataset[:2]:  # a record is not related to itself
        numbers = pc.if_else(pc.equal(numbers, text(table, own)), pa.scalar(None, _TEXT), numbers)
    rows = table.filter(pc.is_valid(numbers))
    relation = _relation(dataset, variable, text(rows, own))
    ends = ((dataset[:2], own, text(rows, own)), (target[:2], their, numbers.drop_null()))
    pairs = pa.concat_tables([_end(rows, relation, *end) for end in ends])
    lost = pc.and_(pc.is_valid(text(table, variable)), pc.is_null(numbers))
    rest = pc.if_else(lost, text(table, variable), pa.scalar(None, _TEXT))
    return columns.put(table, variable, rest), pairs, pc.indices_nonzero(lost).to_pylist()


def _relation(dataset: str, variable: str, numbers: pa.Array) -> pa.Array:
    """RELID, such as CMAENO7: no other variable of any dataset has the same one for a record of the subject."""
    name = variable if variable.startswith(dataset[:2]) else f"{dataset[:2]}.{variable}"
    return pc.binary_join_element_wise(f"{name}-" if name[-1].isdigit() else name, numbers, "")


def _end(rows: pa.Table, relation: pa.Array, domain: str, idvar: str, numbers: pa.Array) -> pa.Table:
    cells = {name: text(rows, name) for name in ("STUDYID", "USUBJID")}
    cells |= {name: pa.repeat(pa.scalar(word), rows.num_rows) for name, word in (("RDOMAIN", domain), ("IDVAR", idvar))}
    cells |= {"IDVARVAL": numbers, "RELID": relation}
    return pa.table(cells | {name: rows[name] for name in ("@file", "@row") if has(rows, name)})


def put_together(tables: Tables, annotations: Annotations) -> tuple[dict[str, pa.Table], dict[str, dict[str, str]]]:
    """The inverse of `take_apart`, and by dataset and variable the labels of supplemental qualifiers.

    Other comments and relationships are left in CO and RELREC.
    """
    joined: dict[str, pa.Table] = {}
    labels: dict[str, dict[str, str]] = {}
    for name, table in tables.items():
        if name.startswith("SUPP"):
            continue
        other = tables.get(f"SUPP{name}")
        joined[name] = table if other is None else layout.join_supplementals(table, other)
        if other is not None:
            pairs = zip(text(other, "QNAM").to_pylist(), text(other, "QLABEL").to_pylist(), strict=True)
            labels[name] = {variable: label for variable, label in pairs if variable and label}
    for dataset in annotations.comments if "CO" in joined else ():
        if dataset in joined:
            joined[dataset], joined["CO"] = _commented(
                joined[dataset], joined["CO"], dataset, annotations.comments[dataset]
            )
    for dataset, names in annotations.related.items() if "RELREC" in joined else ():
        for variable, target in names.items() if dataset in joined else ():
            joined |= _relating(joined, dataset, variable, target)
    return joined, labels


def _commented(
    table: pa.Table, comments: pa.Table, dataset: str, references: Mapping[str, str]
) -> tuple[pa.Table, pa.Table]:
    """The table with its comments as columns, and the comments that are none of them."""
    variables = {reference: variable for variable, reference in references.items()}
    names = columns.by_distinct(text(comments, "COREF"), variables.get, _TEXT)
    idvar = layout.link(sdtm.domain(dataset))
    named = pc.equal(text(comments, "IDVAR"), idvar) if idvar else pc.is_null(text(comments, "IDVAR"))
    fits = pc.and_(
        pc.equal(text(comments, "RDOMAIN"), dataset[:2]), pc.and_(pc.fill_null(named, False), names.is_valid())
    )
    rows = pc.indices_nonzero(pc.and_(pc.fill_null(fits, False), pc.is_valid(text(comments, "COVAL"))))
    found = pa.table({name: text(comments, name) for name in ("USUBJID", "IDVAR", "IDVARVAL")})
    found = found.append_column("QNAM", names).append_column("QVAL", text(comments, "COVAL")).take(rows)
    lost = set(layout.orphans(table, found, dataset))
    seen: dict[tuple[str | None, ...], int] = {}
    keys = zip(*(text(found, name).to_pylist() for name in ("USUBJID", "IDVARVAL", "QNAM")), strict=True)
    for at, key in enumerate(keys):
        if at not in lost:
            seen.setdefault(key, at)  # of two comments at one place of a form the first has room there
    used = pa.array(sorted(seen.values()), pa.int64())
    rest = pc.invert(
        pc.is_in(pa.array(range(comments.num_rows), pa.int64()), value_set=rows.take(used).cast(pa.int64()))
    )
    return layout.join_supplementals(table, found.take(used)), comments.filter(rest)


def _relating(tables: Tables, dataset: str, variable: str, target: str) -> dict[str, pa.Table]:
    """The dataset with the names of related records in a column, and RELREC without their relationships."""
    table, relations = tables[dataset], tables["RELREC"]
    own, their = _sequences(dataset, target)
    mine, other = _at(relations, dataset[:2], own), _at(relations, target[:2], their)
    made = _relation(dataset, variable, text(relations, "IDVARVAL"))
    mine = pc.and_(mine, pc.fill_null(pc.equal(text(relations, "RELID"), made), False))
    other = pc.and_(other, pc.invert(mine))
    relation = _key(relations, "RELID")
    numbers = _by_key(relation.filter(other), text(relations, "IDVARVAL").filter(other), relation.filter(mine))
    ends = pa.table({"USUBJID": text(relations, "USUBJID").filter(mine), their: numbers})
    names = _sought(tables.get(target[:2]), their, target, _key(ends, their))
    subjects = pa.table({"USUBJID": ends["USUBJID"], own: text(relations, "IDVARVAL").filter(mine)})
    cells = _by_key(_key(subjects, own), names, _key(table, own))
    used = _relations_of(relation.filter(mine), names, _key(table, own), _key(subjects, own))
    rest = pc.invert(pc.and_(pc.or_(mine, other), pc.is_in(relation, value_set=used)))
    put = columns.put(table, variable, pc.coalesce(cells, text(table, variable)))
    return {dataset: put, "RELREC": relations.filter(rest)}


def _relations_of(relation: pa.Array, names: pa.Array, records: pa.Array, ends: pa.Array) -> pa.Array:
    """The relationships whose both ends are records that are there."""
    return relation.filter(pc.and_(pc.is_valid(names), pc.is_in(ends, value_set=records)))


def _at(relations: pa.Table, domain: str, idvar: str) -> pa.Array:
    here = pc.and_(pc.equal(text(relations, "RDOMAIN"), domain), pc.equal(text(relations, "IDVAR"), idvar))
    return pc.and_(pc.fill_null(here, False), pc.is_valid(text(relations, "USUBJID")))


def _sequences(dataset: str, target: str) -> tuple[str, str]:
    return f"{dataset[:2]}SEQ", f"{target[:2]}SEQ"


def _sought(table: pa.Table | None, column: str, wanted: str, keys: pa.Array) -> pa.Array:
    """The cells of another column of the only record that has the key's subject and cell; null where none has."""
    if table is None:
        return pa.nulls(len(keys), _TEXT)
    return _by_key(_key(table, column), text(table, wanted), keys)


def _by_key(known: pa.Array, cells: pa.Array, keys: pa.Array) -> pa.Array:
    """For each key the cell of the only one that is known; null where there is none or there are several."""
    counts = pc.value_counts(known.drop_null())
    once = counts.field("values").filter(pc.equal(counts.field("counts"), 1))
    alone = pc.if_else(pc.is_in(keys, value_set=once), keys, pa.scalar(None, _TEXT))
    at = pc.index_in(alone, value_set=known.fill_null(""))
    return cells.take(pc.if_else(pc.is_valid(alone), at, pa.scalar(None, pa.int32())))


def _key(table: pa.Table, column: str) -> pa.Array:
    """Subject and cell as one text, null where one is empty; --SEQ in the shortest spelling."""
    cells = text(table, column)
    if column.endswith("SEQ"):
        cells = columns.by_distinct(cells, lambda cell: canonical_number(cell) or cell, _TEXT)
    return pc.binary_join_element_wise(text(table, "USUBJID"), cells, _GLUE, null_handling="emit_null")
