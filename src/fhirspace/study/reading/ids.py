"""Ids and identifiers compared with the rows that they name.

An id is a keyed hash of cells. Who has the key can make it again, which shows also whether the ids of an input were
made with it; without it ids are compared with each other. The identifier of a row without a key is a digest of its
cells, which needs no key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Final, TypeAlias

import pyarrow as pa

from fhirspace.errors import UsageError
from fhirspace.idkey import IdKey
from fhirspace.mapping.cells import implied
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping
from fhirspace.mapping.read.witness import IS, is_hidden
from fhirspace.sdtm import columns
from fhirspace.sdtm.derive import basis
from fhirspace.sdtm.zones import LOCAL
from fhirspace.study.helper_columns import CELLS, RECORD, record_digest, record_texts
from fhirspace.tables.text import has
from fhirspace.template.codec import Codec
from fhirspace.template.codecs import codec, hashed_id

IDENTIFYING: Final = (f"@{RECORD}", f"@{CELLS}")
"""The hidden columns with the id and the identifier of a row without a key."""
_ID: Final = "@id:"
_SPARE: Final = 16
"""How many equal rows, beyond those that were read, may have been before a row without a key when it was written."""

Wrong = tuple[str, pa.Table, str, pa.Array]
"""A dataset, its table, the hidden column of an id, and the rows that would get another one."""


def misnamed(several: Sequence[tuple[str, pa.Table]], library: Library) -> Iterator[Wrong]:
    """The ids and identifiers that rows would not get.

    Args:
        several: datasets with their hidden columns; library: the mappings by which they were read.
    """
    key = _key(several, library)
    pairs = [_pairs(table) for _, table in several]
    right, owner = _agreed(pairs)
    for (domain, table), found_pairs in zip(several, pairs, strict=True):
        yield from ((domain, table, *found) for found in _records(library.mappings[domain], table, key))
        for (name, column), groups in found_pairs.items() if key or right or owner else ():
            made = _codec(name, column, key)
            wrong = [
                bool(cell and text)
                and (
                    right.get((name, str(cell)), text) != text
                    or owner.get((name, str(text)), cell) != cell
                    or (made is not None and made.out(str(cell)) != text)
                )
                for cell, text in groups.cells
            ]
            if any(wrong):
                yield domain, table, name, groups.flags(wrong)


def _codec(name: str, column: str, key: IdKey | None) -> Codec | None:
    """The codec that made the ids of a hidden column, if its key is known."""
    return codec(name[1 : -len(column) - 1], key=key, column=column) if key else None


def _key(several: Iterable[tuple[str, pa.Table]], library: Library) -> IdKey | None:
    """The key of this run, None where there is none or another one made the ids of the input."""
    with suppress(UsageError):  # a key that cannot be used does not keep anybody from reading
        if not library.has_key:
            return None
        hashed = cache(hashed_id(library.key))
        found: dict[tuple[str, str], list[pa.Table]] = {}
        for _, table in several:
            for name, column in _ids_of(table):
                cell, given = (table[each][0].as_py() if table.num_rows else None for each in (column, name))
                if cell and hashed(cell) == given:  # most often the first row tells
                    return library.key
                found.setdefault((name, column), []).append(table)
        for (name, column), tables in found.items():
            ids = _distinct(tables, name)
            if any(hashed(cell) in ids for cell in _distinct(tables, column)):
                return library.key
    return None


def _distinct(tables: Sequence[pa.Table], name: str) -> set[str]:
    """The cells that some tables have in a column."""
    return set(columns.distinct(pa.chunked_array([chunk for table in tables for chunk in table[name].chunks])))


def _ids_of(table: pa.Table) -> Iterator[tuple[str, str]]:
    """The hidden columns of ids, with the columns of which they are hashes."""
    for name in table.column_names:
        if name.startswith(_ID) and has(table, name.removeprefix(_ID)):
            yield name, name.removeprefix(_ID)
    if all(has(table, name) for name in IDENTIFYING):
        yield IDENTIFYING


# -- ids compared with each other


_Pairs: TypeAlias = dict[tuple[str, str], columns.Groups]
"""The cells and ids of a table, by the hidden column of the ids and the column of the cells."""


def _pairs(table: pa.Table) -> _Pairs:
    return {(name, column): columns.Groups(table, [column, name]) for name, column in _id_columns(table)}


def _agreed(
    several: Iterable[_Pairs],
) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], str]]:
    """By column and cell the id that most say, by column and id the cell that most have; only where they differ."""
    texts: dict[tuple[str, str], Counter[str]] = {}
    cells: dict[tuple[str, str], Counter[str]] = {}
    for each in several:
        for (name, _), groups in each.items():
            for count, (cell, text) in zip(groups.sizes(), groups.cells, strict=True):
                if cell and text:
                    texts.setdefault((name, cell), Counter())[text] += count
                    cells.setdefault((name, text), Counter())[cell] += count
    right = {what: _most(some) for what, some in texts.items() if len(some) > 1}
    owner = {what: _most(some) for what, some in cells.items() if len(some) > 1}
    return right, owner


def _most(texts: Counter[str]) -> str:
    """The text that most have, "" where none has."""
    (first, most), (_, next_most), *_ = texts.most_common(2)
    return first if most > next_most else ""


def _id_columns(table: pa.Table) -> Iterator[tuple[str, str]]:
    """The hidden columns of ids with the columns that they are made of; the subject's are screened before."""
    for name in table.column_names:
        column = name.partition(":")[2]
        if is_hidden(name) and not name.startswith(("@_", IS)) and column != "USUBJID" and has(table, column):
            yield name, column


# -- rows without a key


def _records(mapping: Mapping, table: pa.Table, key: IdKey | None) -> Iterator[tuple[str, pa.Array]]:
    """The rows without a key whose identifier is not the digest of their cells, or whose id is not its hash.

    Their ids do not name the subject, so that the Patient to which they refer is compared, too.
    """
    record, cells = IDENTIFYING
    if not has(table, cells):
        return
    stated = columns.text(table, cells).to_pylist()
    fits = _fitting(mapping, table, stated)
    yield cells, pa.array([text is not None and not fine for text, fine in zip(stated, fits, strict=True)])
    if key is None or not has(table, record):
        return
    hashed = hashed_id(key)
    named = columns.text(table, record).to_pylist()
    ours = [bool(text) and hashed(str(text)) == each for each, text in zip(named, stated, strict=True)]
    yield (
        record,
        pa.array([bool(each and text) and not own for each, text, own in zip(named, stated, ours, strict=True)]),
    )
    patients = columns.text(table, f"{_ID}USUBJID").to_pylist(), columns.text(table, "USUBJID").to_pylist()
    several = zip(ours, *patients, strict=True)
    yield (
        f"{_ID}USUBJID",
        pa.array([bool(own and each and cell) and hashed(cell) != each for own, each, cell in several]),
    )


def _fitting(mapping: Mapping, table: pa.Table, stated: Sequence[str | None]) -> list[bool]:
    """Whether identifiers are digests of their rows, of the first of equal ones or not, with implied cells or not."""
    plain = table.drop_columns([name for name in (basis.DIGEST, LOCAL) if has(table, name)])
    left = [name for name in implied(mapping) if has(plain, name)]
    fits = [False] * table.num_rows
    for some in (plain, plain.drop_columns(left)) if left else (plain,):
        texts = record_texts(some)
        times = Counter(texts)
        for row, text in enumerate(texts):
            places = range(times[text] + _SPARE)
            fits[row] = fits[row] or any(record_digest(text, place) == stated[row] for place in places)
    return fits
