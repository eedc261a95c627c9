"""FHIR that was edited: what is read is what the element says, never the old carried value; held for all mappings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fhirspace.json import parse
from fhirspace.mapping.model import CARRIED_URL, Mapping, slots
from fhirspace.mapping.read.extract import extract
from fhirspace.mapping.read.reader import Collector, Reader
from fhirspace.sdtm.derive import basis
from fhirspace.standards.fhir import Release
from fhirspace.study.reading.edited import reconcile
from tests.mapping.generate import LEGAL, Row, rows
from tests.mapping.test_laws import cases, library, written
from tests.support.shipped import marked

DATES = ("effectiveDateTime", "date", "recordedDate", "onsetDateTime", "abatementDateTime", "birthDate", "start", "end")
LOCAL = "2017-05-31T11:50"
"""A time without an offset: it is carried, and its element has the day."""
TABLES = marked(case for case in cases() if case[0] != "R4B")


@cache
def reader(release: Release) -> Reader:
    return Reader(library(release))


def cells(release: Release, resources: list[str], domain: str) -> tuple[dict[str, str], list[str]]:
    """The row of a dataset after its elements have won, the codes of what was found, and columns that contradict."""
    lib = library(release)
    collector = Collector(lib)
    contradictory: list[str] = []
    for batch in reader(release).read(list(enumerate((text.encode() for text in resources), 1)), "x.ndjson"):
        collector.add(batch)
        contradictory += [column for _, column in batch.contradictory]
    done = reconcile(collector.tables(), lib)
    (row,) = done.tables[domain].drop_columns(["@file", "@row"]).to_pylist()
    return {name: cell for name, cell in row.items() if cell}, [
        *(problem.code for problem in done.problems),
        *contradictory,
    ]


def dates(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of dates outside of extensions."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in DATES and isinstance(inner, str):
                yield (*path, name)
            elif name not in {"extension", "contained"}:
                yield from dates(inner, (*path, name))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from dates(inner, (*path, position))


def put(value: Any, path: tuple[Any, ...], new: str) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


def said(mapping: Mapping, texts: list[str], lib: Any) -> dict[str, str | None]:
    """What the elements say, without any carried cell."""
    found: dict[str, str | None] = {}
    for block, text in zip(mapping.blocks, texts, strict=True):
        row = extract(mapping, block, parse(text.encode()), lib.mappings).cells
        told = {name: row.elements.get(name, cell) for name, cell in row.items()}
        found |= {name: cell for name, cell in told.items() if cell is not None or name not in found}
    return found


@pytest.mark.parametrize(("release", "domain"), TABLES)
def test_an_edited_date_is_what_is_read(release: Release, domain: str) -> None:
    lib = library(release)
    mapping = lib.mappings[domain]

    slotted = {slot.base for root in mapping.roots() for _, slot in slots(root) if slot.base.endswith("DTC")}

    @settings(
        max_examples=1,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(rows(mapping, lib, LEGAL))
    def law(row: Row) -> None:
        row.cells |= dict.fromkeys(slotted, LOCAL)
        texts = [text for _, text in written(mapping, row, lib)]
        before, _ = cells(release, texts, domain)
        for number, text in enumerate(texts):
            if mapping.blocks[number].once:
                continue
            for path in dates(json.loads(text)):
                edited = json.loads(text)
                put(edited, path, "1999-09-09")
                new = [*texts[:number], json.dumps(edited), *texts[number + 1 :]]
                after, codes = cells(release, new, domain)
                changed = {name for name, cell in said(mapping, new, lib).items() if cell == "1999-09-09"}
                assert changed or slotted & set(codes)
                for name in changed - {name for name, cell in before.items() if cell == "1999-09-09"}:
                    assert after[name] == "1999-09-09"
                    carried = CARRIED_URL in text and f'"url":"{name}"' in text
                    assert "FS445" in codes or not carried

    law()


@pytest.mark.parametrize(("release", "domain"), TABLES)
def test_what_nobody_edited_is_as_it_was(release: Release, domain: str) -> None:
    lib = library(release)
    mapping = lib.mappings[domain]

    @settings(max_examples=3, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(rows(mapping, lib, LEGAL))
    def law(row: Row) -> None:
        table = pa.table({name: pa.array([cell]) for name, cell in row.cells.items()})
        digest = basis.digests({domain: table})[domain][0].as_py()
        whole = Row(row.cells | ({basis.DIGEST: digest} if digest else {}), row.helpers, row.nested)
        after, codes = cells(release, [text for _, text in written(mapping, whole, lib)], domain)
        assert after == {name: cell for name, cell in row.cells.items() if cell}
        assert "FS445" not in codes and (not digest or "FS446" not in codes)

    law()


def test_a_digest_tells_which_group_changed() -> None:
    row = {"LBTESTCD": ["GLUC"], "LBORRES": ["5"], "LBSTRESC": ["5"], "LBDTC": ["2024-03-03"], "VISITNUM": ["1"]}
    first = basis.digests({"LB": pa.table(row)})["LB"][0].as_py()
    for column, group in (("LBORRES", 0), ("LBDTC", 1), ("VISITNUM", 2)):
        other = basis.digests({"LB": pa.table(row | {column: ["9"]})})["LB"][0].as_py()
        assert [first[at : at + 8] == other[at : at + 8] for at in (0, 8, 16)] == [at != group for at in range(3)]
    assert basis.digests({"LB": pa.table({"LBORRES": ["5"]})})["LB"].to_pylist() == [None]
    assert basis.digests({"AE": pa.table({"EPOCH": ["TREATMENT", None]})})["AE"].to_pylist() == ["0" * 24, None]
    moved = pa.table({name: [None, *cells] for name, cells in row.items()}).slice(1)
    assert basis.digests({"LB": moved})["LB"][0].as_py() == first
