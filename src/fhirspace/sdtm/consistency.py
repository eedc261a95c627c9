"""Whether the cells of a record agree with each other, and records with each other: a table of rules, and links.

Each rule looks at some columns and is asked once for each distinct combination of their cells. In the names of
columns ``--`` is the domain's prefix. A partial date is an interval: a rule fails only where every day in it does.

Source: SDTMIG 3.4, sections 4.4 (timing), 4.5 (findings), 5.2 (DM), 6.2 (events) and 8.2 (RELREC).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from math import isclose
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.dates import at_most, day_of
from fhirspace.sdtm.layout import plain_key
from fhirspace.standards import sdtm, terminology
from fhirspace.standards.countries import ALPHA_3
from fhirspace.standards.iso8601 import days
from fhirspace.standards.units import canonical_number

_CLOCK: Final = re.compile(r"[^/]+T\d[^/]*")
_UNSCHEDULED: Final = re.compile(r"(?i)un(scheduled|sched|planned)")


class Rule(NamedTuple):
    """A rule about some columns: it is asked where the first is filled; `wrong` gets their cells.

    `column` is the index of the column that is reported, `expected` says what would be right there. Without `klass` it
    holds for all datasets, else for those of this general class.
    """

    code: str
    names: tuple[str, ...]
    wrong: Callable[..., bool]
    column: int
    expected: str
    klass: str = ""


class Conflict(NamedTuple):
    """Something that does not agree: the code, the column that is reported, what was expected there, the rows."""

    code: str
    column: str
    expected: str
    rows: list[int]


def _reversed(end: str, start: str | None) -> bool:
    """Whether a date is before the one it follows, whatever days the two mean."""
    first, last = days(start or ""), days(end)
    if first is None or last is None:
        return False
    if last[1] < first[0]:
        return True
    whole = day_of(start or "") == day_of(end) is not None
    return whole and all(_CLOCK.fullmatch(each) for each in (start or "", end)) and not at_most(start or "", end)


def _negative(cell: str) -> bool:
    number = canonical_number(cell)
    return number is not None and Decimal(number) < 0


def _zero(cell: str) -> bool:
    number = canonical_number(cell)
    return number is not None and Decimal(number) == 0


def _other_number(numeric: str, text: str | None) -> bool:
    """Whether a standard result in letters is another number than the one beside it, which SAS may hold in binary."""
    one, other = canonical_number(numeric), canonical_number(text or "")
    return one is not None and other is not None and not isclose(Decimal(one), Decimal(other))


RULES: Final = (
    *(
        Rule("FS754", (end, start), _reversed, 0, f"a date that is not before {start}", klass)
        for start, end, klass in (
            ("--STDTC", "--ENDTC", ""),
            ("--DTC", "--ENDTC", "Findings"),  # elsewhere --DTC is the date of collection
            ("RFSTDTC", "RFENDTC", ""),
            ("RFXSTDTC", "RFXENDTC", ""),
            ("RFCSTDTC", "RFCENDTC", ""),
            ("RFICDTC", "RFPENDTC", ""),
        )
    ),
    *(Rule("FS755", (name,), _negative, 0, "zero or more") for name in ("AGE", "--DOSE", "--DOSTOT")),
    Rule("FS756", ("COUNTRY",), lambda cell: cell not in ALPHA_3, 0, "a code of three letters of ISO 3166-1"),
    *(
        Rule("FS757", (name,), _zero, 0, "1 for the day of RFSTDTC, -1 for the day before it")
        for name in ("--DY", "--STDY", "--ENDY", "VISITDY")
    ),
    Rule("FS759", ("--STAT", "--ORRES"), lambda stat, result: stat == "NOT DONE" and bool(result), 1, "no result"),
    Rule("FS760", ("--STRESN", "--STRESC"), _other_number, 0, "the number in --STRESC"),
    Rule("FS761", ("DTHDTC", "DTHFL"), lambda _, flag: flag != "Y", 1, "Y, since there is a date of death"),
    Rule("FS761", ("DTHFL", "DTHDTC"), lambda flag, at: flag == "Y" and not at, 1, "a date of death, since DTHFL is Y"),
    Rule("FS762", ("--OUT", "--SDTH"), lambda out, death: out == "FATAL" and death != "Y", 1, "Y, as --OUT is FATAL"),
    Rule("FS762", ("--SDTH", "--OUT"), lambda death, out: death == "Y" and out != "FATAL", 1, "FATAL, as --SDTH is Y"),
)
PAIRS: Final = (("VISITNUM", "VISIT"), ("--TESTCD", "--TEST"), ("ARMCD", "ARM"), ("ACTARMCD", "ACTARM"))
"""Columns of which each cell of one belongs to one cell of the other."""
_VERSIONS: Final = frozenset({"TI"})
"""Datasets in which the text of a test changes with the version of the protocol."""


def conflicts(table: pa.Table, name: str) -> Iterator[Conflict]:
    """What does not agree in a dataset that the guide knows.

    Args:
        table: its rows; name: its name.
    """
    klass = sdtm.domain(name).klass
    for rule in RULES:
        if klass.startswith(rule.klass):
            yield from _broken(table, name, _spelt(rule, name[:2]))
    yield from _tests(table, name)
    for pair in PAIRS if name not in _VERSIONS else ():
        yield from _unpaired(table, tuple(each.replace("--", name[:2]) for each in pair))


def _spelt(rule: Rule, prefix: str) -> Rule:
    names = tuple(each.replace("--", prefix) for each in rule.names)
    return rule._replace(names=names, expected=rule.expected.replace("--", prefix))


def _broken(table: pa.Table, name: str, rule: Rule) -> Iterator[Conflict]:
    if sdtm.variable(name, rule.names[0]) is None or not columns.filled(table, rule.names[0]):
        return
    rows = pc.indices_nonzero(columns.text(table, rule.names[0]).is_valid())
    some = table.select([each for each in rule.names if each in table.column_names])
    groups = columns.Groups(some.take(rows), rule.names)
    bad = [rule.wrong(*cells) for cells in groups.cells]
    if any(bad):
        yield Conflict(rule.code, rule.names[rule.column], rule.expected, rows.filter(groups.flags(bad)).to_pylist())


def _tests(table: pa.Table, name: str) -> Iterator[Conflict]:
    """The names of tests that are not those of their codes in controlled terminology."""
    for variable in sdtm.domain(name).variables:
        code, test = variable.name, variable.name.removesuffix("CD")
        if code.endswith(("TESTCD", "PARMCD")) and all(columns.filled(table, each) for each in (code, test)):
            names: dict[str, set[str]] = {}
            for codelist in filter(terminology.known, variable.codelists):
                for key, value in terminology.decode(codelist).items():
                    names.setdefault(key, set()).add(value)
            rule = Rule("FS758", (code, test), _not_in(names), 1, f"the name that terminology gives to {code}")
            yield from _broken(table, name, rule)


def _not_in(names: Mapping[str, set[str]]) -> Callable[[str, str | None], bool]:
    return lambda code, test: bool(test) and code in names and test not in names[code]


def _unpaired(table: pa.Table, pair: tuple[str, ...]) -> Iterator[Conflict]:
    """The first row of each cell that belongs to another than the cell beside it."""
    if not all(columns.filled(table, each) for each in pair):
        return
    groups = columns.Groups(table, pair)
    firsts = {
        ((canonical_number(one) or one) if pair[0] == "VISITNUM" else one, other): row
        for row, (one, other) in reversed(list(zip(groups.first_rows(), groups.cells, strict=True)))
        if one and other
    }
    found = sorted((row, cells) for cells, row in firsts.items())
    for this, that in ((0, 1), (1, 0)):
        partner: dict[str, str] = {}
        rows = [row for row, cells in found if partner.setdefault(cells[this], cells[that]) != cells[that]]
        if pair[that] == "VISITNUM":  # an unscheduled visit gets its number by its date
            unscheduled = [row for row, cells in found if _UNSCHEDULED.match(cells[this])]
            rows = sorted(set(rows) - set(unscheduled))
        if rows:
            yield Conflict("FS763", pair[that], f"one {pair[that]} for each {pair[this]}", rows)


def dangling(relations: pa.Table, tables: Mapping[str, pa.Table]) -> Iterator[Conflict]:
    """The rows of RELREC whose record does not exist; without IDVARVAL, those whose dataset lacks the variable.

    Rows about datasets that are not among `tables` are not judged.
    """
    names = ("RDOMAIN", "IDVAR", "USUBJID", "IDVARVAL")
    rows = list(zip(*(columns.text(relations, name).to_pylist() for name in names), strict=True))
    known: dict[tuple[str, str], set[tuple[str | None, ...]]] = {}
    lost: list[int] = []
    for row, (domain, idvar, subject, value) in enumerate(rows):
        if domain in tables and idvar is not None:
            table = tables[domain]
            if (domain, idvar) not in known:
                cells = columns.Groups(table, ("USUBJID", idvar)).cells if idvar in table.column_names else []
                known[domain, idvar] = {plain_key(each) for each in cells if each[1] is not None}
            there = known[domain, idvar]
            if not there or (value is not None and plain_key((subject, value)) not in there):
                lost.append(row)
    if lost:
        yield Conflict("FS764", "IDVARVAL", "a record of RDOMAIN with this USUBJID, IDVAR and IDVARVAL", lost)
