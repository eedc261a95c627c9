"""What derived variables rest on, and digests of it: FHIR says of a row whether its basis is as it was written.

A digest is 24 hexadecimal digits, 8 a group: a checksum (CRC-32) of the cells that the group's variables are derived
from. It tells an edit from none; it is no protection against somebody who means to deceive.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.tables.text import has

DIGEST: Final = "row-digest"
"""The name under which a digest is carried: no SAS name, so that no variable has it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Variables that rest on the same cells; ``--`` stands for the domain's prefix.

    `subject`: the cells of DM on which they rest in other datasets, of which DM's digest says whether they changed.
    """

    basis: tuple[str, ...]
    derived: tuple[str, ...]
    subject: tuple[str, ...] = ()


GROUPS: Final = (
    Group(
        ("--TESTCD", "--ORRES", "--ORRESU", "--ORNRLO", "--ORNRHI", "--STAT", "--SPEC"),
        ("--STRESC", "--STRESN", "--STRESU", "--STNRLO", "--STNRHI", "--NRIND", "--LOBXFL", "--BLFL"),
        ("RFXSTDTC",),
    ),
    Group(
        ("--DTC", "--STDTC", "--ENDTC", "RFSTDTC", "BRTHDTC"),
        ("--DY", "--STDY", "--ENDY", "EPOCH", "TAETORD", "--LOBXFL", "--BLFL", "AGE"),
    ),
    Group(("VISITNUM", "VISIT"), ("VISITDY",)),
)
_NAMED: Final = {"SE": {"EPOCH", "TAETORD"}, "SV": {"VISITDY"}, "TV": {"VISITDY"}, "TA": {"EPOCH", "TAETORD"}}
"""Datasets in which some of these variables are not derived but say what the row is."""
_GLUE: Final = "\x1f"
NO_CELLS: Final = "0" * 8
"""The part of a digest for a group of which no cell is filled."""


@lru_cache(maxsize=1024)
def names(group: Group, domain: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The basis and the derived variables of a group in a domain."""
    own = (*group.basis, *group.subject) if domain == "DM" else group.basis
    spelt = [tuple(each.replace("--", domain[:2]) for each in some) for some in (own, group.derived)]
    return spelt[0], tuple(name for name in spelt[1] if name not in _NAMED.get(domain, ()))


def derived(table: pa.Table, domain: str) -> list[list[str]]:
    """By group the derived variables of which a table has a filled cell."""
    there = set(table.schema.names)
    return [
        [name for name in names(group, domain)[1] if name in there and columns.filled(table, name)] for group in GROUPS
    ]


def digests(tables: Mapping[str, pa.Table | pa.RecordBatch]) -> dict[str, pa.Array]:
    """By dataset the digest of each row; null where no derived variable is filled.

    Made of many datasets at once: some calls for each of them would cost more than their rows.
    """
    filled = {domain: set().union(*derived(table, domain)) for domain, table in tables.items()}
    made = {domain: pa.nulls(table.num_rows, pa.string()) for domain, table in tables.items()}
    concerned = {domain: tables[domain] for domain, some in filled.items() if some}
    others = {domain: table for domain, table in concerned.items() if domain != "DM"}
    for alike in ({domain: table for domain, table in concerned.items() if domain not in others}, others):
        start, whole = 0, _digests(alike)
        for domain, table in alike.items():
            made[domain] = _where_filled(table, filled[domain], whole.slice(start, table.num_rows))
            start += table.num_rows
    return made


def _where_filled(table: pa.Table | pa.RecordBatch, derived: Collection[str], digest: pa.Array) -> pa.Array:
    """The digests of rows in which one of the derived variables is filled."""
    if not all(table[name].null_count for name in derived):
        return digest
    rows = reduce(pc.or_, (pc.is_valid(columns.text(table, name)) for name in derived))
    return pc.if_else(rows, digest, pa.scalar(None, pa.string()))


def half(group: int, digest: pa.Array) -> pa.Array:
    """The part of digests that belongs to a group; zeros where the basis is empty, in empty columns or in none."""
    part = pc.utf8_slice_codeunits(digest, 8 * group, 8 * group + 8)
    basis, subject = GROUPS[group].basis, GROUPS[group].subject
    empty = {zlib.crc32(_GLUE.encode() * (len(some) - 1)) for some in (basis, (*basis, *subject))}
    return pc.if_else(pc.is_in(part, value_set=pa.array(f"{each:08x}" for each in empty)), NO_CELLS, part)


def _digests(tables: Mapping[str, pa.Table | pa.RecordBatch]) -> pa.Array:
    """The digests of all rows of some datasets, one after the other: of DM, which has more columns, or of others."""
    if not tables:
        return pa.nulls(0, pa.string())
    return pc.binary_join_element_wise(*(_sums(tables, group) for group in GROUPS), "")


def _sums(tables: Mapping[str, pa.Table | pa.RecordBatch], group: Group) -> pa.Array:
    """The checksum of each row's joined cells; zeros in a dataset that has none of their columns."""
    spelt = [names(group, domain)[0] for domain in tables]
    cells = [columns.together(zip(tables.values(), some, strict=True)) for some in zip(*spelt, strict=True)]
    joined = pc.binary_join_element_wise(*cells, _GLUE, null_handling="replace", null_replacement="")
    encoded = joined.dictionary_encode().chunks
    sums = _checksums(encoded[0].dictionary) if encoded else pa.nulls(0, pa.string())  # all have the same
    taken = sums.take(pa.chunked_array([each.indices for each in encoded], pa.int32()))
    start, found = 0, list[pa.Array]()
    for table, some in zip(tables.values(), spelt, strict=True):
        there = any(has(table, name) for name in some)
        found += taken.slice(start, table.num_rows).chunks if there else [pa.repeat(NO_CELLS, table.num_rows)]
        start += table.num_rows
    return pa.concat_arrays(found) if found else pa.nulls(0, pa.string())


def _checksums(texts: pa.Array) -> pa.Array:
    """The checksum of each text in 8 digits."""
    sums = np.fromiter(map(zlib.crc32, texts.cast(pa.binary()).to_pylist()), ">u4", len(texts))
    digits = sums.tobytes().hex().encode()
    ends = np.arange(0, len(digits) + 1, 8, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(digits)])
