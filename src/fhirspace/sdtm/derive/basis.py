"""What derived variables rest on, and digests of it: FHIR says of a row whether its basis is as it was written.

A digest is 24 hexadecimal digits, 8 a group: a checksum (CRC-32) of the cells that the group's variables are derived
from. It tells an edit from none; it is no protection against somebody who means to deceive.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.tables.text import has

DIGEST: Final = "row-digest"
"""The name under which a digest is carried: no SAS name, so that no variable has it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Variables that rest on the same cells; ``--`` stands for the domain's prefix."""

    basis: tuple[str, ...]
    derived: tuple[str, ...]


GROUPS: Final = (
    Group(
        ("--TESTCD", "--ORRES", "--ORRESU", "--ORNRLO", "--ORNRHI", "--STAT", "--SPEC"),
        ("--STRESC", "--STRESN", "--STRESU", "--STNRLO", "--STNRHI", "--NRIND", "--LOBXFL", "--BLFL"),
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


@lru_cache(maxsize=1024)
def names(group: Group, domain: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The basis and the derived variables of a group in a domain."""
    spelt = [tuple(each.replace("--", domain[:2]) for each in some) for some in (group.basis, group.derived)]
    return spelt[0], tuple(name for name in spelt[1] if name not in _NAMED.get(domain, ()))


def digests(table: pa.Table, domain: str) -> pa.Array:
    """The digest of each row; null where no derived variable is filled."""
    derived = (name for group in GROUPS for name in names(group, domain)[1])
    filled = [columns.text(table, name) for name in derived if columns.filled(table, name)]
    if not filled:
        return pa.nulls(table.num_rows, pa.string())
    sums = [_sums(table, names(group, domain)[0]) for group in GROUPS]
    made = pc.binary_join_element_wise(pa.repeat(pa.scalar("", pa.string()), table.num_rows), *sums, "")
    if any(not each.null_count for each in filled):
        return made
    return pc.if_else(pc.is_valid(pc.coalesce(*filled)), made, pa.scalar(None, pa.string()))


def half(group: int, digest: pa.Array) -> pa.Array:
    """The part of digests that belongs to a group; zeros where the basis is empty, in empty columns or in none."""
    part = pc.utf8_slice_codeunits(digest, 8 * group, 8 * group + 8)
    empty = zlib.crc32(_GLUE.encode() * (len(GROUPS[group].basis) - 1))
    return pc.if_else(pc.equal(part, f"{empty:08x}"), "0" * 8, part)


def _sums(table: pa.Table, basis: tuple[str, ...]) -> pa.Array | str:
    """The checksum of the joined cells of each row in 8 digits, made once for equal ones."""
    there = [columns.text(table, name) if has(table, name) else "" for name in basis]
    if all(isinstance(each, str) for each in there):
        return "0" * 8
    joined = pc.binary_join_element_wise(*there, _GLUE, null_handling="replace", null_replacement="")
    return columns.by_distinct(joined, lambda cells: f"{zlib.crc32(cells.encode()):08x}", pa.string())
