"""A record that says "this did not happen" or "ignore me" never becomes a row: held for every mapping and release."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fhirspace.fhir.status import rules
from fhirspace.mapping.read.reader import ReadBatch, Reader
from fhirspace.standards.fhir import Release, definitions
from fhirspace.study.reading.statuses import StatusScreen
from tests.mapping.generate import CLEAN, Row, rows
from tests.mapping.test_laws import cases, library, written
from tests.support.shipped import marked

WITHOUT = {"CO", "OI", "RELREC", "RELSUB"}
"""The datasets whose resources have no status that says whether something happened."""
CASES = marked(cases())
SCREENED = marked(case for case in cases() if case[1] not in WITHOUT)


@cache
def reader(release: Release) -> Reader:
    return Reader(library(release))


def screened(release: Release, resource: dict[str, Any]) -> ReadBatch:
    line = json.dumps(resource, separators=(",", ":")).encode()
    (batch,) = reader(release).read([(1, line)], "x.ndjson")
    StatusScreen(library(release)).apply(batch, {1: line}, "x.ndjson")
    return batch


def put(resource: dict[str, Any], path: str, code: str) -> None:
    """Set a status element to a code, as a concept where the element is one."""
    *outer, name = path.split(".")
    for step in outer:
        resource = resource.setdefault(step, {})
    concept = name in {"verificationStatus", "clinicalStatus"} or outer
    resource[name] = {"coding": [{"code": code}]} if concept else code == "true" if name == "active" else code


@pytest.mark.parametrize(("release", "domain"), CASES)
def test_no_row_of_what_did_not_happen(release: Release, domain: str) -> None:
    lib = library(release)
    mapping = lib.mappings[domain]
    assert any(block.resource in rules() and not block.once for block in mapping.blocks) is (domain not in WITHOUT)

    @settings(
        max_examples=1, deadline=None, derandomize=True, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )  # fmt: skip
    @given(rows(mapping, lib, CLEAN))
    def law(row: Row) -> None:
        for kind, text in written(mapping, row, lib):
            for path, outcomes in rules().get(kind, {}).items():
                if path.partition(".")[0] not in definitions(release).children(kind):
                    continue
                more = {} if path == "active" else {"no-such-code": "not understood"}
                for code, outcome in {**outcomes, **more}.items():
                    edited = deepcopy(json.loads(text))
                    put(edited, path, code)
                    _check(domain, row, outcome, screened(release, edited))

    law()


def _check(domain: str, row: Row, outcome: str, batch: ReadBatch) -> None:
    tables = [table for parts in batch.tables.values() for table in parts.values()]
    said = bool(row.cells.get(f"{domain}STAT")) or row.cells.get(f"{domain}OCCUR") == "N"
    if outcome in {"never", "not understood"}:
        assert not tables and [each.code for each in batch.problems] in (["FS442"], ["FS443"])
    elif outcome in {"not done", "not occurred"} and not said:
        mine = list(batch.tables.get(domain, {}).values())
        assert all(table[f"{domain}STAT"].to_pylist() == ["NOT DONE"] for table in mine)
        assert not any(f"{domain}ORRES" in table.column_names for table in mine)


@pytest.mark.parametrize(("release", "domain"), SCREENED)
def test_no_row_of_what_is_not_understood(release: Release, domain: str) -> None:
    lib = library(release)
    mapping = lib.mappings[domain]

    @settings(max_examples=1, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(rows(mapping, lib, CLEAN))
    def law(row: Row) -> None:
        for _, text in written(mapping, row, lib):
            whole = json.loads(text)
            for at in [whole, *_objects(whole)]:
                for extra in ("modifierExtension", "implicitRules"):
                    at[extra] = "http://x"
                    batch = screened(release, whole)
                    assert not batch.tables and [each.code for each in batch.problems] == ["FS443"]
                    del at[extra]

    law()


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects below the top of a resource, up to eight of them."""
    found: list[dict[str, Any]] = []
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(inner, dict):
            found.append(inner)
        found += _objects(inner)
    return found[:8]
