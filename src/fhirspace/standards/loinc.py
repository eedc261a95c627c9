"""The LOINC code of a test: of its code, category, specimen, method and unit, where they leave just one.

Two tables: ``loinc-common.csv``, kept by hand, has the commonest analytes by LOINC's own axes (system, property);
``loinc.csv`` is CDISC's. A code of the first says nothing of a method, so it holds for each method but those of which
CDISC has codes of their own.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec

from fhirspace.standards import terminology, units
from fhirspace.standards.ucum import size

_NO_METHOD: Final = ""


class Common(NamedTuple):
    """One row of ``loinc-common.csv``: `system` is the specimens that it holds for, by blanks; "" is any.

    `usual` is Y where the test is hardly ever made in another specimen, so that the column of specimens may be empty.
    """

    domain: str
    testcd: str
    system: str
    property: str
    usual: str
    loinc: str


class Cells(NamedTuple):
    """What a row says about its test: --TESTCD, --CAT, --SPEC, --METHOD, --ORRESU."""

    testcd: str | None
    category: str | None
    specimen: str | None
    method: str | None
    unit: str | None


COLUMNS: Final = ("TESTCD", "CAT", "SPEC", "METHOD", "ORRESU")
"""The variables of `Cells` without their prefix, in its order."""


class _Axes(msgspec.Struct, frozen=True):
    specimens: dict[str, list[str]]
    categories: dict[str, list[str]]
    properties: dict[str, list[str]]


def code(domain: str, test: Cells) -> str | None:
    """The LOINC code of a result of a dataset; None where several or none fit."""
    if not test.testcd:
        return None
    systems = _systems(test)
    concepts = terminology.loinc(domain, test.testcd)
    if not test.method or all(row.method != test.method for row in concepts):
        found = _common(domain, test.testcd, systems, test.unit or "")
        if found:
            return found
    return _concept(concepts, systems, test)


@cache
def coded_tests(domain: str) -> frozenset[str]:
    """The test codes of a dataset that may have a LOINC code."""
    common = {testcd for of, testcd in _commons() if of == domain}
    return frozenset(common | {row.testcd for row in terminology.loinc_rows() if row.domain == domain})


def _systems(test: Cells) -> frozenset[str] | None:
    """The systems that the specimen may be of, or else the category; None: neither says anything."""
    axes = _axes()
    if test.specimen:
        return frozenset(axes.specimens.get(test.specimen.upper(), [test.specimen]))
    found = axes.categories.get(test.category.upper()) if test.category else None
    return frozenset(found) if found else None


def _common(domain: str, testcd: str, systems: frozenset[str] | None, unit: str) -> str | None:
    """The one code of the common analytes whose system and property fit."""
    left = [row for row in _commons().get((domain, testcd), ()) if _fits(row, systems)]
    if not unit:
        # A result without a unit is one of a property without a unit where the test has one.
        left = [row for row in left if "" in _axes().properties[row.property]] or left
    else:
        left = [row for row in left if _measures(row.property, unit)]
    return _only(row.loinc for row in left)


def _fits(row: Common, systems: frozenset[str] | None) -> bool:
    return not row.system or (bool(row.usual) if systems is None else not systems.isdisjoint(row.system.split()))


@cache
def _measures(name: str, unit: str) -> bool:
    """Whether a unit is one of a property: listed, or of the same dimension as one that is."""
    listed = _axes().properties[name]
    mine = _size(unit)
    return units.canonical(unit) in listed or (mine is not None and mine in map(_size, filter(None, listed)))


def _size(unit: str) -> tuple[object, ...] | None:
    written = units.ucum(unit)
    found = size(written) if written else None
    return (found.dimensions, found.ratio) if found else None


def _concept(rows: Iterable[terminology.Loinc], systems: frozenset[str] | None, test: Cells) -> str | None:
    """The one code of CDISC's biomedical concepts that is left."""
    names = {name for name, made in _axes().specimens.items() if systems and not systems.isdisjoint(made)}
    names |= {test.specimen} if test.specimen else set()
    fits: tuple[Callable[[terminology.Loinc], bool], ...] = (
        lambda row: not names or not row.spec or not names.isdisjoint((row.spec, *row.spec.split(" OR "))),
        lambda row: not test.unit or not row.orresu or test.unit in row.orresu.split(";"),
        lambda row: row.method in (_NO_METHOD, test.method),
    )
    return _only(each for row in rows if all(fit(row) for fit in fits) for each in row.loinc.split(", "))


def _only(codes: Iterable[str]) -> str | None:
    found = set(codes)
    return found.pop() if len(found) == 1 else None


@cache
def _axes() -> _Axes:
    return msgspec.convert(tomllib.loads(_data("loinc-axes.toml")), _Axes)


@cache
def _commons() -> dict[tuple[str, str], list[Common]]:
    found: dict[tuple[str, str], list[Common]] = {}
    for row in map(Common._make, list(csv.reader(_data("loinc-common.csv").splitlines()))[1:]):
        found.setdefault((row.domain, row.testcd), []).append(row)
    return found


def _data(name: str) -> str:
    return files("fhirspace.standards").joinpath("data", name).read_text("utf-8")
