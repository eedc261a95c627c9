"""FHIR of which something was deleted: the row changes, or the element that is missing is reported; for all mappings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fhirspace.json import parse
from fhirspace.mapping.model import CARRIED_URL, Mapping
from fhirspace.mapping.read import leaves
from fhirspace.mapping.read.reader import Reader
from fhirspace.standards.fhir import Release
from tests.mapping.generate import CLEAN, LEGAL, Kind, Row, rows
from tests.mapping.reader_cases import dump
from tests.mapping.test_laws import cases, library, written
from tests.study.test_edits import Path, general, helped, read, silent

NOBODY_LOOKS: Final = {
    "id": "a server gives ids of its own (conditional create), and drops the one that it was given",
    "meta": "servers change tags, profiles and security labels, and exports leave them out",
    "resourceType": "without it there is no resource: the line is an error, whatever it was",
}
"""The elements of a resource that may be missing, and why; ids inside of it (of what it contains) are none of them."""


def parts(value: Any, path: Path = ()) -> Iterator[Path]:
    """All elements and entries of lists of a resource, without carried cells: their absence takes cells away."""
    if path:
        yield path
    if isinstance(value, dict) and value.get("url") != CARRIED_URL:
        for name, inner in value.items():
            yield from parts(inner, (*path, name))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from parts(inner, (*path, position))


def remove(value: Any, path: Path) -> None:
    """Delete an element, and what is empty without it."""
    trail = [value]
    for step in path[:-1]:
        trail.append(trail[-1][step])
    for inner, step in zip(reversed(trail), reversed(path), strict=True):
        del inner[step]
        if inner:
            return


def says_nothing(resource: dict[str, Any], path: Path) -> bool:
    """Whether an element is of a contained resource that has an id alone: it was written for a cell that is carried."""
    contained = resource.get("contained", [])
    empty = {f"#{each['id']}" for each in contained if set(each) == {"resourceType", "id"}}
    if path[0] == "contained":
        return len(empty) == len(contained) if len(path) == 1 else f"#{contained[path[1]]['id']}" in empty
    named = resource[path[0]]
    return isinstance(named, dict) and named.get("reference") in empty


def silent_deletions(release: Release, domain: str, kind: Kind, each: int = 2) -> list[str]:
    """The elements whose absence changes nothing; of those alike `each` are tried."""
    lib = library(release)
    mapping = lib.mappings[domain]
    tried: Counter[str] = Counter()
    found: list[str] = []

    @settings(
        max_examples=2, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(rows(mapping, lib, kind))
    def law(row: Row) -> None:
        texts = with_study(release, mapping, row)
        before = read(release, texts)
        for number in range(len(mapping.blocks)):
            resource = parse(texts[number].encode())
            for path in parts(resource):
                place = f"{resource['resourceType']}.{general(path)}"
                tried[place] += 1
                if path[0] in NOBODY_LOOKS or tried[place] > each or says_nothing(resource, path):
                    continue
                edited = deepcopy(resource)
                remove(edited, path)
                if silent(release, [*texts[:number], dump(edited), *texts[number + 1 :]], before):
                    found.append(place)

    law()
    return found


def with_study(release: Release, mapping: Mapping, row: Row) -> list[str]:
    """The resources of a row, and the study to which they refer."""
    lib = library(release)
    texts = [text for _, text in written(mapping, helped(row, mapping, lib), lib)]
    if mapping.domain == "DM":
        return texts
    study = {name: row.cells.get(name, "S") for name in ("STUDYID", "USUBJID")} | {"SUBJID": "1"}
    return [*texts, written(lib.mappings["DM"], Row(study, {"_STATUS": "on-study"}), lib)[0][1]]


FAST = [("R4", name) for name in ("AE", "DM", "LB")]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in cases() if case not in FAST]


@pytest.mark.parametrize(("release", "domain"), [*FAST, *SLOW])
def test_no_deletion_is_silent(release: Release, domain: str) -> None:
    each = 2 if (release, domain) in FAST or release == "R4" else 1
    assert silent_deletions(release, domain, CLEAN, each) + silent_deletions(release, domain, LEGAL, each) == []


_LB = {
    "STUDYID": "S", "DOMAIN": "LB", "USUBJID": "S-1", "LBSEQ": "1", "LBTESTCD": "GLUC", "LBTEST": "Glucose",
    "LBORRES": "5.1", "LBORRESU": "mmol/L", "LBSPEC": "SERUM", "LBMETHOD": "SPECTROPHOTOMETRY",
}  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        ("subject",),
        ("status",),
        ("category",),
        ("specimen",),
        ("contained", 0, "type", "coding"),
        ("contained", 0, "type", "text"),
        ("code", "coding", 0),
        ("code", "coding", 1),
        ("method", "text"),
        ("valueQuantity", "code"),
        ("valueQuantity", "system"),
    ],
)
def test_an_element_that_gives_no_cell_is_missed(path: Path) -> None:
    """What was deleted in silence before."""
    lib = library("R4")
    texts = with_study("R4", lib.mappings["LB"], Row(_LB, {}))
    before = read("R4", texts)
    edited = parse(texts[0].encode())
    remove(edited, path)
    after = read("R4", [dump(edited), *texts[1:]])
    assert not before[1]
    assert after == (before[0], {"FS458"})


@pytest.mark.parametrize("name", ["phase", "title", "identifier", "period"])
def test_what_the_trial_summary_gives_is_missed(name: str) -> None:
    """The ResearchStudy is one resource, so that no other has the element either."""
    lib = library("R4")
    said = {"TITLE": "A trial", "TPHASE": "PHASE II TRIAL", "REGID": "NCT00000000", "SSTDTC": "2024-01-01"}
    summary = [
        Row({"STUDYID": "S", "DOMAIN": "TS", "TSSEQ": "1", "TSPARMCD": code, "TSPARM": code, "TSVAL": value}, {})
        for code, value in said.items()
    ]
    subject = {"STUDYID": "S", "DOMAIN": "DM", "USUBJID": "S-1", "SUBJID": "1"}
    texts = with_study("R4", lib.mappings["DM"], Row(subject, {}, {"TS": summary}))
    before = read("R4", texts)
    edited = parse(texts[0].encode())
    remove(edited, (name, 1) if name == "identifier" else (name,))
    after = read("R4", [dump(edited), *texts[1:]])
    assert not before[1]
    assert after == (before[0], {"FS458"})


def test_what_servers_change_is_not_missed() -> None:
    lib = library("R4")
    texts = with_study("R4", lib.mappings["LB"], Row(_LB, {}))
    edited = parse(texts[0].encode())
    del edited["meta"]
    del edited["id"]
    found = list(Reader(lib).read([(1, dump(edited).encode())], "x"))
    assert [batch.absent for batch in found] == [[]]


def test_the_law_sees_what_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the doubts of the compiled reader deletions are silent again."""
    looked = leaves.watched
    monkeypatch.setattr("fhirspace.mapping.read.program.watched", lambda root, **_: looked(root, notice=False))
    monkeypatch.setattr("fhirspace.mapping.read.program._known", lambda _root: {})
    monkeypatch.setattr("tests.study.test_edits.reader", lambda release: Reader(library(release)))
    assert "AdverseEvent.subject" in silent_deletions("R4", "AE", CLEAN)
