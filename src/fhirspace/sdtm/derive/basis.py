"""What derived variables rest on, and digests of it: FHIR says of a row whether its basis is as it was written.

A digest is 24 hexadecimal digits, 8 a group: a checksum (CRC-32) of the cells that the group's variables are derived
from. It tells an edit from none; it is no protection against somebody who means to deceive.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
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


def names(group: Group, domain: str) -> tuple[list[str], list[str]]:
    """The basis and the derived variables of a group in a domain."""
    spelt = [[each.replace("--", domain[:2]) for each in some] for some in (group.basis, group.derived)]
    return spelt[0], [name for name in spelt[1] if name not in _NAMED.get(domain, ())]


def digests(table: pa.Table, domain: str) -> pa.Array:
    """The digest of each row; null where no derived variable is filled."""
    wanted = pa.repeat(pa.scalar(False), table.num_rows)
    hashes = []
    for group in GROUPS:
        basis, derived = names(group, domain)
        for name in derived:
            if has(table, name):
                wanted = pc.or_(wanted, pc.is_valid(columns.text(table, name)))
        hashes.append(_hashes(table, basis))
    if not pc.any(wanted).as_py():
        return pa.nulls(table.num_rows, pa.string())
    made = pa.array([f"{a:08x}{b:08x}{c:08x}" for a, b, c in zip(*hashes, strict=True)], pa.string())
    return pc.if_else(wanted, made, pa.scalar(None, pa.string()))


def half(group: int, digest: pa.Array) -> pa.Array:
    """The part of digests that belongs to a group; zeros where the basis is empty, in empty columns or in none."""
    part = pc.utf8_slice_codeunits(digest, 8 * group, 8 * group + 8)
    empty = zlib.crc32(_GLUE.encode() * (len(GROUPS[group].basis) - 1))
    return pc.if_else(pc.equal(part, f"{empty:08x}"), "0" * 8, part)


def _hashes(table: pa.Table, basis: list[str]) -> Iterable[int]:
    """A checksum of the joined cells of each row."""
    there = [pc.fill_null(columns.text(table, name), "") if has(table, name) else "" for name in basis]
    if all(isinstance(each, str) for each in there):
        return repeat(0, table.num_rows)
    joined = pc.binary_join_element_wise(*there, _GLUE)
    return map(zlib.crc32, joined.cast(pa.binary()).to_pylist())
