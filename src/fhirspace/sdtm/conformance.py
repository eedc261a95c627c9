"""Conformance of tabulations to SDTMIG 3.4: what a reviewer's validator would find first.

Each check runs on distinct values and names the rows with a bad one. Errors name every row, so that the caller
can quarantine it; notes name the first row of each distinct value. Codes: FS720 and following.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place, Problem
from fhirspace.foreign import counted
from fhirspace.sdtm import columns, versions
from fhirspace.sdtm.ct import kept
from fhirspace.sdtm.ct.kept import Terms
from fhirspace.sdtm.dates import lacks_zone
from fhirspace.sdtm.layout import orphans
from fhirspace.sdtm.longtext.rules import MAX_BYTES, part_label
from fhirspace.sdtm.rules.checks import conflicts
from fhirspace.standards import iso8601, sdtm
from fhirspace.standards.units import canonical_number
from fhirspace.tables.text import FILE, has

MAX_LABEL = 40
MOST_DIGITS = 9
_LONGEST_NUMBER = 100
# A record without these cannot be identified, or has no topic; other required variables may be filled later.
_NAMING = frozenset({"Identifier", "Topic"})
_OF_INSTRUMENTS = frozenset({"Topic", "Synonym Qualifier", "Result Qualifier"})
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,7}")
_PANELS = ("SCAT", "REFID")
"""What may tell records of findings apart beyond the natural key: the panel and the sample."""
_ONE_RECORD = {"SV": ("USUBJID", "VISITNUM")}
"""By dataset without --SEQ, the columns of which one record is expected, where the natural key has more."""


class Finding(NamedTuple):
    """A problem and the row of the table (from 0) it is about; None where it is about the table or a column.

    An error about a table or column is one of each of its rows.
    """

    problem: Problem
    row: int | None


def check(
    tables: Mapping[str, pa.Table],
    *,
    filled: Mapping[str, Collection[str]] | None = None,
    terminology: str = "",
) -> Iterator[Finding]:
    """Check tabulations, dataset by dataset in the order of their names.

    For datasets that the guide does not know only names, lengths and subjects are checked.

    Args:
        tables: all rows of some subjects, and the datasets about no subject.
        filled: by dataset of the study, the columns that are filled in any row; of these tables if it is not given.
        terminology: the version of controlled terminology that the study names; that of TS, if it is not given.
    """
    filled = columns.filled_columns(tables) if filled is None else filled
    dm = tables.get("DM", pa.table({}))
    if "DM" not in filled and any("USUBJID" in table.column_names for table in tables.values()):
        yield Finding(Problem("FS738", Place("DM"), "the dataset DM, with a row for each subject", "DM"), None)
    terminology = terminology or versions.terminology(None, tables.get("TS"))
    terms = kept.chosen(terminology)
    contradictions = conflicts({name: table for name, table in tables.items() if sdtm.known(name)}, terminology)
    for name in sorted(tables):
        table = tables[name]
        if not table.num_rows:
            continue
        yield from _check_names(table, name)
        yield from _check_lengths(table, name)
        if "DM" in filled and name != "DM":
            yield from _check_belonging(table, name, dm)
        if sdtm.known(name):
            yield from _check_known(table, name, filled.get(name, ()), _not_needed(name, filled), terms)
        if name.startswith("SUPP"):
            yield from _check_qualifiers(table, name, tables)
        for found in contradictions.get(name, ()):
            yield from _findings(
                found.code, table, name, found.rows, column=found.column, expected="", detail=found.detail
            )
    yield from _check_splits(tables)


def _not_needed(name: str, filled: Mapping[str, Collection[str]]) -> set[str]:
    """USUBJID of supplemental qualifiers whose parent dataset has none: of devices, of associated persons."""
    parent = filled.get(name.removeprefix("SUPP"))
    return {"USUBJID"} if name.startswith("SUPP") and parent is not None and "USUBJID" not in parent else set()


def _check_known(
    table: pa.Table, name: str, filled: Collection[str], not_needed: Collection[str], terms: Terms
) -> Iterator[Finding]:
    spec = sdtm.domain(name)
    yield from _check_required(table, spec, filled, not_needed)
    yield from _check_domain_code(table, spec)
    for column in table.column_names:
        variable = sdtm.variable(name, column)
        if variable is None:
            if column[0] not in "@_" and part_label(name, column) is None:
                yield Finding(Problem("FS732", _head(table, name, column), "a variable of the dataset", name), None)
        else:
            yield from _check_variable(table, name, variable)
            yield from _check_terms(table, name, variable, terms)
    yield from _check_keys(table, spec)


def _head(table: pa.Table, name: str, column: str) -> Place:
    """The place of a column: in the header of the dataset's own file, where it came from one."""
    files = table[FILE].unique().to_pylist() if has(table, FILE) else []
    own = len(files) == 1 and files[0].rpartition(".")[0].upper() == name
    return Place(files[0], 1, column) if own else Place(name, None, column)


def _rows_where(flags: pa.Array) -> list[int]:
    rows: list[int] = pc.indices_nonzero(pc.fill_null(flags, False)).to_pylist()
    return rows


def _findings(
    code: str, table: pa.Table, name: str, rows: list[int], *, column: str, expected: str, detail: str = ""
) -> Iterator[Finding]:
    for row, place in zip(rows, columns.places(table, name, rows, column), strict=True):
        yield Finding(Problem(code, place, expected, name, detail), row)


def _bad_cells(
    code: str,
    table: pa.Table,
    name: str,
    column: str,
    good: Callable[[str], bool],
    *,
    expected: str,
    once: bool = False,
) -> Iterator[Finding]:
    """Findings for the cells that a test of distinct values refuses: every row, or the first of each value."""
    encoded = columns.text(table, column).dictionary_encode()
    refused = [not good(value) for value in encoded.dictionary.to_pylist()]
    if not any(refused):
        return
    rows = _rows_where(pa.array(refused, pa.bool_()).take(encoded.indices))
    if once:
        codes = encoded.indices.to_pylist()
        rows = list({codes[row]: row for row in reversed(rows)}.values())[::-1]
    yield from _findings(code, table, name, rows, column=column, expected=expected)


def _check_names(table: pa.Table, name: str) -> Iterator[Finding]:
    for column in table.column_names:
        if column[0] not in "@_" and not _NAME.fullmatch(column):
            expected = "at most 8 capitals, digits or underscores, no digit first"
            yield Finding(Problem("FS740", _head(table, name, column), expected, name), None)


def _check_lengths(table: pa.Table, name: str) -> Iterator[Finding]:
    for column in table.column_names:
        if column[0] not in "@_":
            rows = _rows_where(pc.greater(pc.binary_length(columns.text(table, column)), MAX_BYTES))
            longer = counted(len(rows), "text is longer", "texts are longer")
            expected = f"at most {MAX_BYTES} bytes of UTF-8 in a transport file"
            yield from _findings("FS722", table, name, rows[:1], column=column, expected=expected, detail=longer)


def _check_belonging(table: pa.Table, name: str, dm: pa.Table) -> Iterator[Finding]:
    """The rows whose subject DM lacks, and those whose study is not that of their subject, or of any."""
    names = [column for column in ("USUBJID", "STUDYID") if column in table.column_names]
    own, known = ([columns.text(each, column) for column in names] for each in (table, dm))
    if "USUBJID" in names:
        there = pc.is_in(own[0], value_set=known[0])
        lost = pc.and_(own[0].is_valid(), pc.invert(there))
        yield from _findings("FS727", table, name, _rows_where(lost), column="USUBJID", expected="a subject of DM")
    else:
        there = pa.repeat(pa.scalar(True), table.num_rows)
    if "STUDYID" in names:
        cells, right = (pc.binary_join_element_wise(*each, "\x1f") for each in (own, known))
        wrong = pc.and_(there, pc.and_(cells.is_valid(), pc.invert(pc.is_in(cells, value_set=right))))
        yield from _findings("FS766", table, name, _rows_where(wrong), column="STUDYID", expected="the study in DM")


def _check_required(
    table: pa.Table, spec: sdtm.Domain, filled: Collection[str], not_needed: Collection[str]
) -> Iterator[Finding]:
    for variable in spec.variables:
        if variable.core != "Req" or variable.name in not_needed:
            continue
        if variable.name not in filled:
            place = _head(table, spec.name, variable.name)
            code = _code(spec, variable, "FS721", "FS737")
            wanted = "a value in each record" if has(table, variable.name) else f"a column {variable.name}"
            yield Finding(Problem(code, place, wanted, spec.name), None)
        else:
            rows = _rows_where(columns.text(table, variable.name).is_null())
            yield from _findings(
                _code(spec, variable, "FS720", "FS736"),
                table,
                spec.name,
                rows,
                column=variable.name,
                expected="a value",
            )


def _code(spec: sdtm.Domain, variable: sdtm.Variable, naming: str, other: str) -> str:
    """The code for a variable without a value: an identifier or topic, one that only numbers records, or another."""
    if variable.name in {f"{spec.name[:2]}SEQ", *_ONE_RECORD.get(spec.name, ())[1:]}:
        return "FS765"
    return naming if variable.role in _NAMING else other


def _check_domain_code(table: pa.Table, spec: sdtm.Domain) -> Iterator[Finding]:
    if "DOMAIN" in table.column_names and "DOMAIN" in spec.names:
        code = spec.prefix or spec.name[:2]
        yield from _bad_cells("FS734", table, spec.name, "DOMAIN", code.__eq__, expected=code)


def _check_variable(table: pa.Table, name: str, variable: sdtm.Variable) -> Iterator[Finding]:
    column = variable.name
    if variable.type == "Num":
        whole = column.endswith(("SEQ", "CD")) or column == "TAETORD"
        expected = "a whole number of at most nine digits" if whole else "a decimal number"
        yield from _bad_cells("FS730", table, name, column, _whole if whole else _number, expected=expected)
    if "datetime" in variable.format or column.endswith("DTC"):
        yield from _bad_cells(
            "FS728", table, name, column, iso8601.valid, expected="an ISO 8601 date, as far as it is known"
        )
        yield from _check_zones(table, name, column)
    elif column.endswith("EVLINT"):
        expected = "an ISO 8601 duration or interval, such as -P2W or 2017-01/2017-06"
        yield from _bad_cells("FS728", table, name, column, _duration_or_interval, expected=expected)
    elif "duration" in variable.format:
        expected = "an ISO 8601 duration, such as P2W"
        yield from _bad_cells("FS728", table, name, column, iso8601.valid_duration, expected=expected)
    if column.endswith("TESTCD") or column == "QNAM":
        expected = "at most 8 capitals, digits or underscores, no digit first"
        yield from _bad_cells("FS731", table, name, column, lambda c: _NAME.fullmatch(c) is not None, expected=expected)
    elif (column.endswith("TEST") and column != "IETEST") or column == "QLABEL":
        short = f"at most {MAX_LABEL} bytes"
        yield from _bad_cells("FS733", table, name, column, lambda c: len(c.encode()) <= MAX_LABEL, expected=short)


def _number(cell: str) -> bool:
    return canonical_number(cell) is not None


def _whole(cell: str) -> bool:
    """Whether a cell is a number that the `integer` codec of mappings takes: sequence numbers and MedDRA codes."""
    plain = canonical_number(cell) if len(cell) <= _LONGEST_NUMBER else None
    return plain is not None and "." not in plain and len(plain.lstrip("-")) <= MOST_DIGITS


def _duration_or_interval(cell: str) -> bool:
    return iso8601.valid_duration(cell) or ("/" in cell and iso8601.valid(cell))


def local_times(tables: Mapping[str, pa.Table]) -> Iterator[Finding]:
    """The findings of `check` about times without an offset (FS729) alone: of tables whose zone is declared."""
    for name in sorted(tables):
        for variable in sdtm.domain(name).variables if sdtm.known(name) else ():
            if "datetime" in variable.format or variable.name.endswith("DTC"):
                yield from _check_zones(tables[name], name, variable.name)


def _check_zones(table: pa.Table, name: str, column: str) -> Iterator[Finding]:
    encoded = columns.text(table, column).dictionary_encode()
    bare = [lacks_zone(value) for value in encoded.dictionary.to_pylist()]
    if any(bare):
        rows = _rows_where(pa.array(bare, pa.bool_()).take(encoded.indices))
        without = f"{counted(len(rows), 'cell has', 'cells have')} none"
        expected = "an offset where a time is to become FHIR"
        yield from _findings("FS729", table, name, rows[:1], column=column, expected=expected, detail=without)


def _check_terms(table: pa.Table, name: str, variable: sdtm.Variable, terms: Terms) -> Iterator[Finding]:
    lists = [terms.codelist(code) for code in variable.codelists if terms.known(code)]
    if not lists or len(lists) != len(variable.codelists):
        return
    asked = sdtm.beside_codelist(name, variable.name)
    values = asked.union(*(codelist.terms for codelist in lists))
    open_list = any(codelist.extensible for codelist in lists)
    # The codelist of a character result applies to its words, not to numbers.
    result = variable.name.endswith("STRESC")

    def good(cell: str) -> bool:
        return cell in values or (result and canonical_number(cell.lstrip("<>= ")) is not None)

    table = _without_instruments(table, name, variable, terms)
    expected = "a term of " + " or ".join(f"{item.submission_value} ({item.code})" for item in lists)
    code = "FS724" if open_list else "FS723"
    yield from _bad_cells(code, table, name, variable.name, good, expected=expected, once=open_list)


def _without_instruments(table: pa.Table, name: str, variable: sdtm.Variable, terms: Terms) -> pa.Table:
    """The table without the variable's cells in records of instruments, which have codelists of their own."""
    instruments = sdtm.instruments(name)
    if instruments is None or variable.role not in _OF_INSTRUMENTS or not terms.known(instruments[1]):
        return table
    categories = pa.array(sorted(terms.codelist(instruments[1]).terms))
    own = pc.is_in(columns.text(table, instruments[0]), value_set=categories)
    cells = columns.text(table, variable.name)
    return columns.put(table, variable.name, pc.if_else(own, pa.scalar(None, pa.string()), cells))


def _check_keys(table: pa.Table, spec: sdtm.Domain) -> Iterator[Finding]:
    sequence = next((v for v in spec.names if v.endswith("SEQ") and v in table.column_names), None)
    owner = ["USUBJID"] if "USUBJID" in spec.names else ["TSPARMCD"] if spec.name == "TS" else []
    if sequence:
        rows = _repeated(table, [*owner, sequence], columns.text(table, sequence).is_valid())
        yield from _findings(
            "FS726", table, spec.name, rows, column=sequence, expected="a number of its own within the subject"
        )
    keys = [key for key in spec.keys if key in table.column_names]
    # A dataset that lacks even the topic of its key cannot be judged.
    if keys and (keys != [key for key in keys if key in {"STUDYID", "USUBJID"}] or spec.name == "DM"):
        # Without a sequence number two rows of one key cannot be distinguished.
        alone = not any(name.endswith("SEQ") for name in spec.names)
        code = "FS739" if alone and keys == list(spec.keys) else "FS725"
        column = keys[-1]
        if spec.klass == "Findings":
            keys += [name for part in _PANELS if has(table, name := f"{spec.prefix}{part}") and name not in keys]
        expected = "records apart in " + ", ".join(keys)
        rows = _repeated(table, keys, None)
        if only := _ONE_RECORD.get(spec.name):
            code, expected = "FS739", "records apart in " + ", ".join(only)
            column, rows = only[-1], _repeated(table, only, columns.text(table, only[-1]).is_valid())
        yield from _findings(code, table, spec.name, rows, column=column, expected=expected)


def _check_splits(tables: Mapping[str, pa.Table]) -> Iterator[Finding]:
    """Sequence numbers of a subject that two datasets of a split domain have, such as FAAE and FACM."""
    splits: dict[str, list[str]] = {}
    for name in sorted(tables):
        sequence = f"{name[:2]}SEQ"
        if sdtm.known(name) and {"USUBJID", sequence} <= {*tables[name].column_names}:
            splits.setdefault(sequence, []).append(name)
    for sequence, names in splits.items():
        taken: set[tuple[str | None, ...]] = set()
        for name in names if len(names) > 1 else ():
            groups = columns.Groups(_plain_numbers(tables[name], ["USUBJID", sequence]), ["USUBJID", sequence])
            again = [cells in taken and None not in cells for cells in groups.cells]
            taken.update(groups.cells)
            rows = _rows_where(groups.flags(again)) if any(again) else []
            expected = "a number of its own within the subject, in all datasets of the domain"
            yield from _findings("FS726", tables[name], name, rows, column=sequence, expected=expected)


def _repeated(table: pa.Table, names: Sequence[str], valid: pa.Array | None) -> list[int]:
    """The rows whose cells are equal to those of an earlier row."""
    groups = columns.Groups(_plain_numbers(table, names), names)
    if groups.count == table.num_rows:
        return []
    firsts = pa.array(groups.first_rows(), pa.int64())
    again = pc.invert(pc.is_in(pa.array(range(table.num_rows), pa.int64()), value_set=firsts))
    return _rows_where(again if valid is None else pc.and_(again, valid))


def _plain_numbers(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Some columns of a table; in those that number records, spellings of one number (1, 1.0) are one cell."""

    def cells(name: str) -> pa.Array:
        own = columns.text(table, name)
        if not name.endswith("SEQ") and name not in {"VISITNUM", "IDVARVAL"}:
            return own
        plain = columns.by_distinct(own, lambda cell: canonical_number(cell) or cell, pa.string())
        numbered = pc.ends_with(columns.text(table, "IDVAR"), "SEQ") if name == "IDVARVAL" else True
        return pc.if_else(numbered, plain, own)

    return pa.table({name: cells(name) for name in names})


def _check_qualifiers(table: pa.Table, name: str, tables: Mapping[str, pa.Table]) -> Iterator[Finding]:
    parent = tables.get(name[4:])
    if parent is None and not sdtm.known(name[4:]):  # FHIR carries it as a whole
        return
    rows = list(range(table.num_rows)) if parent is None else orphans(parent, table, name[4:])
    yield from _bad_cells("FS734", table, name, "RDOMAIN", {name[4:], name[4:6]}.__contains__, expected=name[4:6])
    expected = f"a record of {name[4:]} with this subject, IDVAR and IDVARVAL"
    yield from _findings("FS735", table, name, rows, column="IDVARVAL", expected=expected)
