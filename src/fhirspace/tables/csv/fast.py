"""The fast path of reading CSV: whole blocks of well-formed records by pyarrow, and a proof that they are well-formed.

Each function answers None when a block is odd in any way; the caller then reads the block by `csv_scan`, which knows
the exact place of each fault. So a single bad row costs one block and not the speed of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from fhirspace.limits import limit
from fhirspace.tables.text import blank_to_null

_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\r") + b"\x7f"
_C1 = tuple(b"\xc2" + bytes([byte]) for byte in range(0x80, 0xA0))
_BOM = b"\xef\xbb\xbf"


def cut(block: bytes, delimiter: str, final: bool) -> tuple[bytes, bool] | None:
    """The whole records at the start of a block, and whether there are line breaks inside cells.

    None when a quote is where RFC 4180 allows none, when a line is empty (pyarrow would take it for a record), or when
    there is no whole record.
    """
    if b'"' not in block:
        end = len(block) if final else block.rfind(b"\n") + 1
        return (block[:end], False) if end and not _has_empty_line(block) else None
    return _cut_quoted(block, delimiter, final)


def _has_empty_line(block: bytes) -> bool:
    return block.startswith((b"\n", b"\r")) or _has_double_break(block)


def _has_double_break(block: bytes) -> bool:
    return b"\n\n" in block or (b"\r" in block and (b"\n\r" in block or b"\r\r" in block))


def _cut_quoted(block: bytes, delimiter: str, final: bool) -> tuple[bytes, bool] | None:
    parts = block.split(b'"')  # outside, inside, outside ...; an empty one outside is a doubled quote
    if not final:
        _drop_unended(parts)
    if len(parts) % 2 == 0 or (not parts[0] and len(parts) == 1) or not _well_quoted(parts, delimiter):
        return None
    if _has_empty_line(parts[0]) or any(map(_has_double_break, set(parts[2::2]))):
        return None
    length = sum(map(len, parts)) + len(parts) - 1
    inside = b"".join(parts[1::2])
    return block[:length], b"\n" in inside or b"\r" in inside


def _drop_unended(parts: list[bytes]) -> None:
    """Cuts the parts after the last line break outside of quotes."""
    if len(parts) % 2 == 0:
        parts.pop()
    while len(parts) > 1 and b"\n" not in parts[-1]:
        del parts[-2:]
    parts[-1] = parts[-1][: parts[-1].rfind(b"\n") + 1]


def _well_quoted(parts: Sequence[bytes], delimiter: str) -> bool:
    ends = delimiter.encode() + b"\r\n"
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return True
    if (first and first[-1] not in ends) or (last and last[0] not in ends):
        return False
    return all(not part or (part[0] in ends and part[-1] in ends) for part in set(parts[2:-1:2]))


def parse(block: bytes, types: Mapping[str, Any], delimiter: str, line_breaks: bool) -> pa.Table | None:
    """A block of whole records as a table of text, or None when anything about it is odd.

    Args:
        block: whole records, without the header.
        types: the name and the type (string or dictionary) of each column.
        delimiter: one ASCII character.
        line_breaks: whether there are line breaks inside cells.
    """
    # A line of a one-column file that is empty is no record; pyarrow could not tell it from an empty cell.
    if len(types) < 2 or block.startswith(_BOM) or _holds_control(block):
        return None
    try:
        table = _read(block, types, delimiter, line_breaks)
    except pa.ArrowInvalid:
        return None
    if _too_long(table) or (_may_hold_formula(block, line_breaks) and _holds_formula(table)):
        return None
    return pa.table({name: blank_to_null(table.column(name)) for name in types})


def _holds_control(block: bytes) -> bool:
    if len(block.translate(None, _CONTROLS)) != len(block):
        return True
    return b"\xc2" in block and any(sign in block for sign in _C1)


def _read(block: bytes, types: Mapping[str, Any], delimiter: str, line_breaks: bool) -> pa.Table:
    return arrow_csv.read_csv(
        pa.BufferReader(block),
        read_options=arrow_csv.ReadOptions(column_names=list(types), block_size=len(block) + 1, use_threads=True),
        parse_options=arrow_csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=line_breaks, ignore_empty_lines=False, escape_char=False
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict(types), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True
        ),
    )


def _chunks(table: pa.Table) -> list[pa.Array]:
    """The distinct values of each dictionary column, the cells of each other column."""
    chunks = [chunk for column in table.columns for chunk in column.chunks]
    return [chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk for chunk in chunks]


def _too_long(table: pa.Table) -> bool:
    most = limit("cell-bytes")
    return any((pc.max(pc.binary_length(chunk)).as_py() or 0) > most for chunk in _chunks(table))


def _may_hold_formula(block: bytes, line_breaks: bool) -> bool:
    return line_breaks or any(sign in block for sign in (b"=", b"@", b"\t", b"(", b"|", b"!"))


def _holds_formula(table: pa.Table) -> bool:
    return any(formulas(chunk) is not None for chunk in _chunks(table))


def formulas(array: pa.Array) -> pa.Array | None:
    """For each cell of a string array whether a spreadsheet would run it; None when it would run none."""
    first = pc.binary_slice(array.cast(pa.binary()), 0, 1)
    risky = pc.is_in(first, value_set=pa.array([b"=", b"@", b"\t", b"\r", b"+", b"-"], pa.binary()))
    if not pc.any(risky).as_py():
        return None
    found = pc.and_(risky, pc.match_substring_regex(array, r"(?s)\A(?:[=@\t\r]|[+-].*[(|!])"))
    return found if pc.any(found).as_py() else None
