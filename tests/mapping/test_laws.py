"""The laws of mappings, held for every file that is found in mappings/: there is no list to keep.

A test may give other folders: `test_a_new_domain_is_yaml_and_csv` adds a domain that way.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fhirspace.fhir.validation.check import check
from fhirspace.json import parse
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import CARRIED_URL, Mapping
from fhirspace.mapping.read.extract import extract
from fhirspace.mapping.write.render import render
from fhirspace.standards import sdtm
from fhirspace.standards.fhir import Release
from tests.mapping.generate import CLEAN, LEGAL, Cells, Kind, Row, base_domain, children, homes, options, order, rows
from tests.support.shipped import marked, roots

RELEASES: tuple[Release, ...] = ("R4", "R4B", "R5")
_MODELS = {"R4": "fhir.resources.R4B", "R4B": "fhir.resources.R4B", "R5": "fhir.resources"}


@cache
def library(release: Release, *folders: Path) -> Library:
    found = Library(release, folders)
    found.complete()
    return found


def cases(*folders: Path) -> list[tuple[Release, str]]:
    """Each release with each domain that makes resources of its own; others are tested in the rows in which they are nested.

    R4B is as R4 in all that a class says, so that the datasets that only extend one are tried in R4 and R5.
    """
    return [(release, name) for release in RELEASES for name in roots(*folders, classes=release != "R4B")]


# -- rendering and reading a row with all that hangs into it


def written(mapping: Mapping, row: Row, lib: Library) -> list[tuple[str, str]]:
    each = {
        name: [text for child in found for _, text in written(lib.mappings[name], child, lib)]
        for name, found in row.nested.items()
    }
    return render(mapping, row.cells | row.helpers, each)


def read(
    mapping: Mapping, texts: list[tuple[str, str]], lib: Library
) -> tuple[Cells, dict[str, list[Cells]], list[str]]:
    """The cells of all blocks together (a carried one wins), the nested rows of any depth, and what no slot read."""
    items = dict(_deep(mapping, lib))
    cells: Cells = {}
    nested: dict[str, list[Cells]] = {}
    unmapped: list[str] = []
    carried: set[str] = set()
    for block, (kind, text) in zip(mapping.blocks, texts, strict=True):
        assert kind == block.resource
        found = extract(mapping, block, parse(text), items)
        told = {name: cell for name, cell in found.cells.items() if name not in carried}
        assert all(cells.get(name, cell) == cell for name, cell in told.items() if name not in found.carried)
        cells |= told
        carried |= found.carried
        nested |= {name: list[Cells](rows) for name, rows in found.nested.items()}
        unmapped += found.unmapped
    return cells, nested, unmapped


def _deep(mapping: Mapping, lib: Library) -> Iterator[tuple[str, Mapping]]:
    for name, child in children(mapping, lib).items():
        yield name, child
        yield from _deep(child, lib)


def flat(row: Row, lib: Library) -> Iterator[tuple[str, Cells]]:
    for name, found in row.nested.items():
        for child in found:
            yield name, child.cells
            yield from flat(child, lib)


def again(mapping: Mapping, cells: Cells, row: Row, lib: Library) -> Row:
    """What was read, as a row to write: cells in the order of the standard, helpers computed as before."""
    made = Row(order(mapping, cells), row.helpers)
    for name, found in row.nested.items():
        made.nested[name] = [again(lib.mappings[name], child.cells, child, lib) for child in found]
    return made


# -- the laws


def exact(mapping: Mapping, row: Row, lib: Library) -> list[tuple[str, str]]:
    """(a) What is written comes back cell by cell; (b) and is written again byte for byte. Gives what is written."""
    texts = written(mapping, row, lib)
    cells, nested, unmapped = read(mapping, texts, lib)
    assert unmapped == []
    assert cells == row.cells
    wanted: dict[str, list[Cells]] = {}
    for name, child in flat(row, lib):
        wanted.setdefault(name, []).append(child)
    assert nested == wanted
    assert written(mapping, again(mapping, cells, row, lib), lib) == texts
    return texts


def valid(release: Release, texts: list[tuple[str, str]]) -> None:
    """(e) HL7's definitions and fhir.resources find nothing wrong."""
    for kind, text in texts:
        assert check(parse(text), release) == []
        if kind:
            # fhir.resources reads the blanks of a pattern as Unicode's, FHIR's are ASCII's.
            model(release, kind).model_validate_json(re.sub(r"[^\S \t\r\n]", "~", text))


@cache
def model(release: Release, kind: str) -> Any:
    return getattr(importlib.import_module(f"{_MODELS[release]}.{kind.lower()}"), kind)


def thrifty(mapping: Mapping, row: Row, lib: Library) -> None:
    """(c) Of a clean row only such columns are carried as have no home, or are carried on purpose."""
    allowed = set(mapping.carried) - homes(mapping)
    for _, text in written(mapping, Row(row.cells, row.helpers), lib):
        surplus = {name for name in _carried(json.loads(text)) if name in homes(mapping) or name not in allowed}
        assert surplus == set()
    for name, found in row.nested.items():
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
    deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
"""The same rows on every run. Not shrunk: a row of fifty columns takes minutes; run a domain alone to look closer."""


def _each(mapping: Mapping, lib: Library, kind: Kind, count: int, reached: set[str]) -> None:
    @settings(_RUN, max_examples=count)
    @given(rows(mapping, lib, kind))
    def law(row: Row) -> None:
        valid(lib.release, exact(mapping, row, lib))
        if kind.clean:
            thrifty(mapping, row, lib)
            reached.update(row.cells)

    law()


def hold(lib: Library, name: str, examples: int = 12) -> None:
    """All laws for a domain: in legal rows, in clean ones, in full ones that take each option of its choices."""
    mapping = lib.mappings[name]
    kinds = [(LEGAL, examples), (CLEAN, examples), *((Kind(True, option), 2) for option in range(options(mapping)))]
    reached: set[str] = set()
    for kind, count in kinds:
        _each(mapping, lib, kind, count, reached)
    assert homes(mapping) - reached == set(), "clean rows must come to every home, or the law says nothing"
    for each in (mapping, *dict(_deep(mapping, lib)).values()):
        covered(each)


@pytest.mark.parametrize(("release", "name"), marked(cases()))
def test_laws(release: Release, name: str) -> None:
    # Each release has its own definitions, but most of a mapping is the same in all of them. More: `soak_laws.py`.
    hold(library(release), name, {"R4": 6, "R4B": 2, "R5": 3}[release])


_EG = """
domain: EG
key: [STUDYID, USUBJID, EGSEQ]
carried: [$derived]
forms: {EGORRES: $orres}
let:
  result:
    - {status: final, valueQuantity: $quantity}
    - {status: final, valueRatio: $ratio}
    - {status: final, valueRange: $range}
    - status: final
      valueCodeableConcept: {coding: {system: $fs/ecg, code: <EGORRES.other codes+(ECG)>}, text: <EGORRES.other>}
    - {status: cancelled, dataAbsentReason: $absent}
    - {status: final}

Observation:
  id: <USUBJID id>-EG-<EGSEQ integer>
  identifier: [{system: $fs/EG, value: <USUBJID>|<EGSEQ integer>}, $spid, $refid]
  meta: $meta
  category: [{always: {coding: {system: $thoc/observation-category, code: procedure}}}, $categories]
  code: {coding: [{system: $loinc, code: <_LOINC>}, {system: $fs/testcd, code: <EGTESTCD>}], text: <EGTEST>}
  subject: $patient
  encounter: $visit
  effectiveDateTime: <EGDTC datetime>
  one of: $result
  method: $method
  performer: $performers
  device: {when: SPDEVID, display: <SPDEVID>}
  extension:
    - {url: $hl7x/observation-bodyPosition, valueCodeableConcept: {text: <EGPOS>}}
    - {url: $fsx/lead, valueString: <EGLEAD>}
    - {url: $fsx/external-file, valueString: <EGXFN>}
    - {url: $fsx/beat-number, valueInteger: <EGBEATNO integer>}
    - {url: $fsx/repetition, valueInteger: <EGREPNUM integer>}
    - $links
    - $timepoint
    - $standardized
    - $judged
    - <each SUPP-->
    - <carried>
"""


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_a_new_domain_is_yaml_and_csv(tmp_path: Path, release: Release) -> None:
    (tmp_path / "domains").mkdir()
    (tmp_path / "codes").mkdir()
    (tmp_path / "domains" / "eg.yaml").write_text(_EG, "utf-8")
    (tmp_path / "codes" / "ECG.csv").write_text("value,code\nNORMAL,N\nABNORMAL,A\n", "utf-8")
    assert (release, "EG") in cases(tmp_path)
    hold(library(release, tmp_path), "EG", 3)


_BROKEN = {
    "a column without a home": ("valueString: <EGXFN>", "valueString: none"),
    "free text has only a list to go to": (", text: <EGORRES.other>}", "}"),
    "a condition that closes a home": ("{url: $fsx/lead, ", "{when: EGPOS is NEVER, url: $fsx/lead, "),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", _BROKEN.values(), ids=_BROKEN)
def test_the_laws_notice(tmp_path: Path, change: tuple[str, str]) -> None:
    """A mapping that breaks a law fails: the laws are no empty words."""
    (tmp_path / "domains").mkdir()
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes" / "ECG.csv").write_text("value,code\nNORMAL,N\nABNORMAL,A\n", "utf-8")
    assert change[0] in _EG
    (tmp_path / "domains" / "eg.yaml").write_text(_EG.replace(*change), "utf-8")
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        hold(library("R4", tmp_path), "EG", 3)


def test_a_laboratory_row_stays_lean() -> None:
    """Resources of the largest domain stay small, or every study pays: the row as a laboratory gives it."""
    lab = {
        "STUDYID": "SPACE", "DOMAIN": "LB", "USUBJID": "SPACE-01-001", "LBSEQ": "12", "LBTESTCD": "NEUT",
        "LBTEST": "Neutrophils", "LBCAT": "HEMATOLOGY", "LBORRES": "3.21", "LBORRESU": "10^9/L", "LBORNRLO": "1.5",
        "LBORNRHI": "7.5", "LBNRIND": "NORMAL", "LBDTC": "2017-06-28", "_LOINC": "751-8",
    }  # fmt: skip
    [(_, text)] = render(library("R4").mappings["LB"], lab)
    assert len(text) <= 1250
