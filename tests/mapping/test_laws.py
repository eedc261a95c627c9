"""The laws of mappings, held for every file that is found in mappings/: there is no list to keep.

A test may give other folders: `test_a_new_domain_is_yaml_and_csv` adds a domain that way.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fhirspace.fhir.check import check
from fhirspace.fhir.jsontext import parse as strict
from fhirspace.mapping.extract import extract, parse
from fhirspace.mapping.library import Library
from fhirspace.mapping.render import render
from fhirspace.mapping.tree import CARRIED_URL, Mapping
from fhirspace.standards import sdtm
from fhirspace.standards.fhir import Release
from tests.mapping.generate import Cells, Row, base_domain, children, homes, order, rows

RELEASES: tuple[Release, ...] = ("R4", "R4B", "R5")
_MODELS = {"R4": "fhir.resources.R4B", "R4B": "fhir.resources.R4B", "R5": "fhir.resources"}


@cache
def library(release: Release, *folders: Path) -> Library:
    return Library(release, folders)


def cases(*folders: Path) -> list[tuple[Release, str]]:
    """Each release with each domain that makes resources of its own; others are tested in the rows they hang into."""
    return [
        (release, name)
        for release in RELEASES
        for name, each in library(release, *folders).mappings.items()
        if not each.attach
    ]


# -- rendering and reading a row with all that hangs into it


def written(mapping: Mapping, row: Row, lib: Library) -> list[tuple[str, str]]:
    each = {
        name: [text for child in found for _, text in written(lib.mappings[name], child, lib)]
        for name, found in row.attached.items()
    }
    return render(mapping, row.cells | row.helpers, each)


def read(
    mapping: Mapping, texts: list[tuple[str, str]], lib: Library
) -> tuple[Cells, dict[str, list[Cells]], list[str]]:
    """The cells of all blocks together, the attached rows of any depth, and what no slot read."""
    items = dict(_deep(mapping, lib))
    cells: Cells = {}
    attached: dict[str, list[Cells]] = {}
    unread: list[str] = []
    for block, (kind, text) in zip(mapping.blocks, texts, strict=True):
        assert kind == block.resource
        found = extract(mapping, block, parse(text), items)
        assert all(cells.get(name, cell) == cell for name, cell in found.cells.items())
        cells |= found.cells
        attached |= found.attached
        unread += found.unread
    return cells, attached, unread


def _deep(mapping: Mapping, lib: Library) -> Iterator[tuple[str, Mapping]]:
    for name, child in children(mapping, lib).items():
        yield name, child
        yield from _deep(child, lib)


def flat(row: Row, lib: Library) -> Iterator[tuple[str, Cells]]:
    for name, found in row.attached.items():
        for child in found:
            yield name, child.cells
            yield from flat(child, lib)


def again(mapping: Mapping, cells: Cells, row: Row, lib: Library) -> Row:
    """What was read, as a row to write: cells in the order of the standard, helpers computed as before."""
    made = Row(order(mapping, cells), row.helpers)
    for name, found in row.attached.items():
        made.attached[name] = [again(lib.mappings[name], child.cells, child, lib) for child in found]
    return made


# -- the laws


def exact(mapping: Mapping, row: Row, lib: Library) -> None:
    """(a) What is written comes back cell by cell; (b) and is written again byte for byte."""
    texts = written(mapping, row, lib)
    cells, attached, unread = read(mapping, texts, lib)
    assert unread == []
    assert cells == row.cells
    wanted: dict[str, list[Cells]] = {}
    for name, child in flat(row, lib):
        wanted.setdefault(name, []).append(child)
    assert attached == wanted
    assert written(mapping, again(mapping, cells, row, lib), lib) == texts


def valid(release: Release, texts: list[tuple[str, str]]) -> None:
    """(e) HL7's definitions and fhir.resources find nothing wrong."""
    for kind, text in texts:
        assert check(strict(text.encode()), release) == []
        if kind:
            model(release, kind).model_validate_json(text)


@cache
def model(release: Release, kind: str) -> Any:
    return getattr(importlib.import_module(f"{_MODELS[release]}.{kind.lower()}"), kind)


def thrifty(mapping: Mapping, row: Row, lib: Library) -> None:
    """(c) Of a clean row only such columns are carried as have no home, or are carried on purpose."""
    allowed = set(mapping.carried) - homes(mapping)
    for _, text in written(mapping, Row(row.cells, row.helpers), lib):
        surplus = {name for name in _carried(json.loads(text)) if name in homes(mapping) or name not in allowed}
        assert surplus == set()
    for name, found in row.attached.items():
        for child in found:
            thrifty(lib.mappings[name], child, lib)


def _carried(resource: Any) -> Iterator[str]:
    if isinstance(resource, dict):
        if resource.get("url") == CARRIED_URL:
            yield from (part["url"] for part in resource["extension"])
        else:
            yield from (name for value in resource.values() for name in _carried(value))
    elif isinstance(resource, list):
        yield from (name for value in resource for name in _carried(value))


def covered(mapping: Mapping) -> None:
    """(d) Each column of the domain's metadata has a home or is carried on purpose."""
    assert [
        name for name in sdtm.domain(base_domain(mapping)).names if name not in homes(mapping) | set(mapping.carried)
    ] == []


# -- the tests

_RUN = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def hold(lib: Library, name: str, examples: int = 20) -> None:
    """All laws for a domain."""
    mapping = lib.mappings[name]

    @settings(_RUN, max_examples=examples)
    @given(rows(mapping, lib))
    def legal(row: Row) -> None:
        exact(mapping, row, lib)
        valid(lib.release, written(mapping, row, lib))

    @settings(_RUN, max_examples=examples)
    @given(rows(mapping, lib, clean=True))
    def clean(row: Row) -> None:
        exact(mapping, row, lib)
        thrifty(mapping, row, lib)
        valid(lib.release, written(mapping, row, lib))

    legal()
    clean()
    for each in (mapping, *dict(_deep(mapping, lib)).values()):
        covered(each)


@pytest.mark.parametrize(("release", "name"), cases())
def test_laws(release: Release, name: str) -> None:
    hold(library(release), name)
