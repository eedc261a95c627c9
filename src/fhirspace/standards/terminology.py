"""CDISC controlled terminology for SDTM: codelists, their terms, C-codes and synonyms, one codelist opened at a time.

Source: NCI Enterprise Vocabulary Services, SDTM terminology 2025-03-28. Instruments (questionnaires and the like) are
left out: a study that uses one names its own codelist.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from fhirspace.errors import UsageError


class Term(NamedTuple):
    """One term: submission value, NCIt C-code, NCI preferred term, other spellings."""

    value: str
    code: str
    preferred: str
    synonyms: tuple[str, ...]


class Loinc(NamedTuple):
    """One LOINC code of a test code; orresu holds the units it is reported in, split by ";"."""

    domain: str
    testcd: str
    spec: str
    method: str
    loc: str
    fast: str
    orresu: str
    stresu: str
    loinc: str


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    submission_value: str
    name: str
    extensible: bool
    offset: int
    length: int


class _Index(msgspec.Struct, frozen=True):
    version: str
    codelists: dict[str, _Entry]


class Codelist:
    """One codelist: code (NCIt), name, submission_value, extensible; its terms are parsed when first asked for."""

    def __init__(self, code: str, entry: _Entry) -> None:
        self.code = code
        self.name = entry.name
        self.submission_value = entry.submission_value
        self.extensible = entry.extensible
        self._place = (entry.offset, entry.length)

    @cached_property
    def terms(self) -> Mapping[str, Term]:
        """The terms by submission value, in the order of the package."""
        with files("fhirspace.standards").joinpath("data", "ct.jsonl").open("rb") as stream:
            stream.seek(self._place[0])
            rows = msgspec.json.decode(stream.read(self._place[1]), type=list[tuple[str, ...]])
        return {row[0]: Term(row[0], row[1], row[2], row[3:]) for row in rows}

    @cached_property
    def by_code(self) -> Mapping[str, Term]:
        """The terms by NCIt C-code."""
        return {term.code: term for term in self.terms.values()}

    @cached_property
    def _spellings(self) -> Mapping[str, str]:
        """Other spellings in capitals -> submission value, where only one term claims the spelling."""
        claims: dict[str, set[str]] = {}
        for term in self.terms.values():
            for spelling in (term.value, term.preferred, *term.synonyms):
                claims.setdefault(spelling.upper(), set()).add(term.value)
        return {spelling: min(values) for spelling, values in claims.items() if len(values) == 1}

    def find(self, text: str) -> Term | None:
        """The term of a submission value, or else of a synonym or preferred term whatever its case; None without."""
        found = self.terms.get(text)
        if found is None:
            value = self._spellings.get(text.strip().upper())
            found = None if value is None else self.terms[value]
        return found

    def __repr__(self) -> str:
        return f"Codelist({self.code} {self.submission_value})"


@cache
def _index() -> _Index:
    content = files("fhirspace.standards").joinpath("data", "ct-index.json").read_bytes()
    return msgspec.json.decode(content, type=_Index)


@cache
def _codes() -> dict[str, str]:
    """C-codes by C-code, submission value and name (of the codelist)."""
    found: dict[str, str] = {}
    for code, entry in _index().codelists.items():
        for key in (code, entry.submission_value, entry.name):
            found.setdefault(key, code)
    return found


def version() -> str:
    """The date of the terminology package, as in ``2025-03-28``."""
    return _index().version


def codelists() -> tuple[str, ...]:
    """The C-codes of all packaged codelists."""
    return tuple(_index().codelists)


def known(code_or_name: str) -> bool:
    """Whether `codelist(code_or_name)` finds one."""
    return code_or_name in _codes()


@cache
def codelist(code_or_name: str) -> Codelist:
    """A codelist by C-code ("C66731"), submission value ("SEX") or name ("Sex").

    Raises:
        UsageError: FS702, there is no such codelist.
    """
    code = _codes().get(code_or_name)
    if code is None:
        raise UsageError("FS702", code_or_name, "a codelist of SDTM terminology " + version())
    return Codelist(code, _index().codelists[code])


@cache
def submission_values(code_or_name: str) -> frozenset[str]:
    """The submission values of a codelist. Raises UsageError (FS702) for an unknown codelist."""
    return frozenset(codelist(code_or_name).terms)


def term(code_or_name: str, value: str) -> Term | None:
    """One term by its submission value, None when the codelist does not hold it."""
    return codelist(code_or_name).terms.get(value)


@cache
def decode(code_or_name: str) -> Mapping[str, str]:
    """Test code -> test name for a codelist of test codes (LBTESTCD -> LBTEST), by the C-code which both share.

    Its partner is found by name: "... Test Code" and "... Test Name", "... Parameter Code" and "... Parameter". An
    empty mapping where the codelist has no partner. Raises UsageError (FS702) for an unknown codelist.
    """
    return paired(sys.modules[__name__], code_or_name)


def paired(package: Any, code_or_name: str) -> Mapping[str, str]:
    """The same for any package with `known` and `codelist`."""
    codes = package.codelist(code_or_name)
    partner = next((n for n in _partner_names(codes.name) if n != codes.name and package.known(n)), None)
    if partner is None:
        return {}
    names = package.codelist(partner).by_code
    return {item.value: names[item.code].value for item in codes.terms.values() if item.code in names}


def _partner_names(name: str) -> tuple[str, ...]:
    return (
        name.replace("Test Code", "Test Name"),
        name.replace("Parameter Code", "Parameter"),
        name.replace(" Code", " Name"),
        name.replace(" Short Name", " Long Name"),
        name.replace(" Code", ""),
    )


@cache
def loinc(domain: str, testcd: str) -> tuple[Loinc, ...]:
    """The LOINC codes known for a test code, with specimen, method, fasting and units; may be empty."""
    return tuple(row for row in loinc_rows() if row.domain == domain and row.testcd == testcd)


@cache
def loinc_rows() -> tuple[Loinc, ...]:
    """All LOINC codes that are known for test codes."""
    text = files("fhirspace.standards").joinpath("data", "loinc.csv").read_text("utf-8")
    return tuple(Loinc(*row) for row in csv.reader(text.splitlines()[1:]))
