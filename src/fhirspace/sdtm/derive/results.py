"""Standard results of findings: --STRESC, --STRESN, --STRESU, the standard ranges, and --NRIND.

Source: SDTMIG 3.4, sections 6.3.1 (original and standardised results) and 4.5.1. A result keeps its spelling: ``5.50``
in the standard unit is ``5.50``; `fhirspace.standards.units` defines how a converted one is spelled.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.methods import method
from fhirspace.sdtm.derive.work import Work
from fhirspace.standards.numbers import has_comma, is_number
from fhirspace.standards.units import canonical, canonical_number, convert, standard_unit

_COMPARED = re.compile(r"(<=|>=|<|>)\s*(?=[\d.+-])")


class _Result(NamedTuple):
    text: str | None = None
    number: str | None = None
    unit: str | None = None
    stuck: bool = False


def derive_results(work: Work) -> None:
    """Fill the standard results of every findings dataset that has --TESTCD and --ORRES.

    The trio is derived where all of it is empty; where --STRESC came in, only --STRESN is (from it). Results NOT DONE
    stay empty. A result that cannot be converted to its test's unit keeps its own, with a note (FS710).
    """
    for name, spec in work.general():
        names = set(work.tables[name].column_names)
        if spec.klass.startswith("Findings") and {spec.prefix + "TESTCD", spec.prefix + "ORRES"} <= names:
            _derive_trio(work, name, spec.prefix)
            _derive_ranges(work, name, spec.prefix)
            _derive_indicator(work, name, spec.prefix)


def _unit_for(work: Work, domain: str, testcd: str | None, specimen: str | None, own: str | None) -> str | None:
    """The unit that the study names for a test, else its `own` that came in, else that of the system of units."""
    if testcd is None:
        return None
    named = work.study.units.get(domain, {}).get(testcd)
    return named or own or standard_unit(domain, testcd, specimen, work.study.unit_system)


def _derive_trio(work: Work, name: str, prefix: str) -> None:
    parts = ("TESTCD", "SPEC", "ORRES", "ORRESU", "STAT", "STRESC", "STRESN", "STRESU")
    groups = columns.Groups(work.tables[name], [prefix + part for part in parts])
    own, scores = _units_given(groups), _Scores(work, name, groups)
    results = [scores.of(cells) or _standardise(work, prefix, cells, own) for cells in groups.cells]
    _compare_trio(work, name, prefix, groups)
    _note_stuck(work, name, prefix, groups, results)
    commas = groups.flags(bool(cells[2]) and cells[4] is None and has_comma(cells[2] or "") for cells in groups.cells)
    rows = pc.indices_nonzero(commas).to_pylist()
    work.note("FS718", name, rows, prefix + "ORRES", "a number with a point and no thousands mark")
    for part, values in (
        ("STRESC", [result.text for result in results]),
        ("STRESN", [result.number for result in results]),
        ("STRESU", [result.unit for result in results]),
    ):
        work.fill(name, prefix + part, groups.spread(values), method("--" + part, prefix))


def _note_stuck(work: Work, name: str, prefix: str, groups: columns.Groups, results: list[_Result]) -> None:
    """One note for each test and unit that could not be converted, at its first row."""
    if not any(result.stuck for result in results):
        return
    first: dict[tuple[str | None, str | None], int] = {}
    for row, cells, result in zip(groups.first_rows(), groups.cells, results, strict=True):
        if result.stuck:
            test = (cells[0], cells[3])
            first[test] = min(row, first.get(test, row))
    expected = "a unit that converts to the standard unit of the test"
    work.note("FS710", name, sorted(first.values()), prefix + "ORRESU", expected)


class _Scores:
    """The scores of answers of instruments: those of the study, else those that other records of the test came with."""

    def __init__(self, work: Work, name: str, groups: columns.Groups) -> None:
        """Args: the work and the dataset; `groups` has the distinct cells of its results."""
        self._named, self._dataset = work.study.scores, name
        found: dict[tuple[str | None, str], set[str]] = {}
        for testcd, _, answer, unit, status, text, _, standard in groups.cells:
            if answer and text and _plain(text) and _plain(answer) is None and not (unit or status or standard):
                found.setdefault((testcd, answer), set()).add(text)
        self._given = {answer: min(texts) for answer, texts in found.items() if len(texts) == 1}

    def of(self, cells: columns.Cells) -> _Result | None:
        """The score of a result without unit; None where it came standardised, or where no score is known."""
        testcd, _, answer, unit, status, *standardised = cells
        if answer is None or unit or status or any(standardised):
            return None
        places = (testcd or "", self._dataset, self._dataset[:2])
        named = next((self._named[each][answer] for each in places if answer in self._named.get(each, ())), None)
        score = named or self._given.get((testcd, answer))
        return None if score is None else _Result(score, _plain(score))


_Units = dict[tuple[str | None, str | None], str]


def _units_given(groups: columns.Groups) -> _Units:
    """(Test, specimen) -> the standard unit that its results came with, where it is one: others get the same."""
    found: dict[tuple[str | None, str | None], set[str]] = {}
    for testcd, specimen, *_, standard in groups.cells:
        if standard:
            found.setdefault((testcd, specimen), set()).add(canonical(standard))
    return {test: min(units) for test, units in found.items() if len(units) == 1}


def _compare_trio(work: Work, name: str, prefix: str, groups: columns.Groups) -> None:
    """Compare standard results that came in with the original ones in their unit, and units with those of the study."""
    if not work.comparing:
        return
    declared = work.study.units.get(prefix, {})
    results = [_again(cells) for cells in groups.cells]
    work.compare(name, prefix + "STRESU", groups.spread(declared.get(cells[0] or "") for cells in groups.cells))
    for part in ("STRESC", "STRESN"):
        work.compare(name, prefix + part, groups.spread(results))


def _again(cells: columns.Cells) -> str | None:
    """The number of an original result in the standard unit that came with it; None where there is none."""
    testcd, _, result, unit, status, text, number, standard = cells
    if result is None or status is not None or (number is None and _plain(text or "") is None):
        return None
    if unit is None or standard is None:
        return _plain(result) if unit == standard else None
    return _plain(convert(result, unit, standard, testcd=testcd) or "")


def _standardise(work: Work, domain: str, cells: columns.Cells, own: _Units) -> _Result:
    testcd, specimen, result, unit, status, text, number, standard = cells
    if text is not None:
        return _Result(None, _number(text, standard or unit) if number is None else None)
    if result is None or status is not None or number is not None or standard is not None:
        return _Result()
    if unit is None:
        return _Result(result, _number(result, unit))
    plain = canonical(unit)
    wanted = _unit_for(work, domain, testcd, specimen, own.get((testcd, specimen))) or plain
    converted = convert(result, unit, wanted, testcd=testcd)
    if converted is not None:
        return _Result(converted, _plain(converted), wanted)
    numeric = _plain(_COMPARED.sub("", result)) is not None
    # Folding 10^3/uL to 10^9/L keeps the number; a text result keeps its unit as it was given.
    return _Result(result, _plain(result), plain if numeric else unit, stuck=numeric)


def _plain(text: str) -> str | None:
    """The text where it is a number; else None."""
    return text.strip() if is_number(text) else None


def _number(text: str, unit: str | None) -> str | None:
    """The text where it is a number; ``+1`` without a unit is a grade."""
    return None if unit is None and text.lstrip().startswith("+") else _plain(text)


def _derive_ranges(work: Work, name: str, prefix: str) -> None:
    for part in ("NRLO", "NRHI"):
        source, target = f"{prefix}OR{part}", f"{prefix}ST{part}"
        if not columns.filled(work.tables[name], source):
            continue
        groups = columns.Groups(
            work.tables[name], [prefix + "TESTCD", source, prefix + "ORRESU", prefix + "STRESU", prefix + "STAT"]
        )
        odd = groups.flags(cells[1] is not None and _plain(cells[1]) is None for cells in groups.cells)
        work.note(
            "FS719", name, pc.indices_nonzero(odd).to_pylist(), source, "a number with a point and no sign before it"
        )
        values = groups.spread(_limit(*cells) for cells in groups.cells)
        work.fill(name, target, values, method("--ST" + part, prefix))


def _limit(
    testcd: str | None, limit: str | None, unit: str | None, wanted: str | None, status: str | None
) -> str | None:
    if limit is None or status is not None or _plain(limit) is None:
        return None
    if unit is None or wanted is None:
        return _plain(limit) if unit == wanted else None
    return convert(limit, unit, wanted, testcd=testcd)


def _derive_indicator(work: Work, name: str, prefix: str) -> None:
    target = prefix + "NRIND"
    groups = columns.Groups(work.tables[name], [prefix + part for part in ("ORRES", "ORNRLO", "ORNRHI", "STAT")])
    turned = groups.flags(_turned(*map(_decimal, cells[1:3])) for cells in groups.cells)
    rows = pc.indices_nonzero(turned).to_pylist()
    work.note("FS719", name, rows, f"{prefix}ORNRLO", f"a limit that is not above {prefix}ORNRHI")
    values = groups.spread(_indicator(*cells) for cells in groups.cells)
    work.fill(name, target, values, method("--NRIND", prefix))


def _turned(least: Decimal | None, most: Decimal | None) -> bool:
    """Whether the limits of a range are the wrong way round: which one was meant is not known."""
    return least is not None and most is not None and least > most


def _indicator(result: str | None, low: str | None, high: str | None, status: str | None) -> str | None:
    value, least, most = (_decimal(cell) for cell in (result, low, high))
    if value is None or status is not None or (least is None and most is None) or _turned(least, most):
        return None
    if (low is not None and least is None) or (high is not None and most is None):
        return None
    if least is not None and value < least:
        return "LOW"
    return "HIGH" if most is not None and value > most else "NORMAL"


def _decimal(cell: str | None) -> Decimal | None:
    number = canonical_number(cell) if cell is not None else None
    return Decimal(number) if number is not None else None


def result_columns(table: pa.Table, prefix: str) -> list[str]:
    """The columns of a findings table with a result: --STRESC or --ORRES."""
    return [name for name in (prefix + "STRESC", prefix + "ORRES") if name in table.column_names]
