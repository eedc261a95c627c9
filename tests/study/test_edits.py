"""FHIR that was edited anywhere: no element says something else than its row in silence; held for all mappings."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping as Table
from copy import deepcopy
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from fhirspace.errors import Problem
from fhirspace.json import Number, parse
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import CARRIED_URL, Mapping
from fhirspace.mapping.read.reader import Collector, Reader
from fhirspace.mapping.write.render import BadRow
from fhirspace.sdtm.derive import basis
from fhirspace.standards.fhir import Release
from fhirspace.standards.units import canonical_number
from fhirspace.study.dataset import InMemory
from fhirspace.study.helper_columns import Helpers, with_records
from fhirspace.study.reading.edited import reconcile
from fhirspace.study.reading.statuses import StatusScreen
from fhirspace.study.reading.subjects import SubjectScreen
from fhirspace.study.summary import for_rendering, needed
from tests.mapping.generate import CLEAN, LEGAL, Cells, Kind, Row, order, rows
from tests.mapping.reader_cases import dump
from tests.mapping.test_laws import RELEASES, cases, flat, library, written
from tests.support.shipped import roots

Rows = dict[str, list[dict[str, str]]]
Path = tuple[Any, ...]


@cache
def reader(release: Release) -> Reader:
    return Reader(library(release))


def read(release: Release, texts: list[str]) -> tuple[Rows, set[str]]:
    """All rows of some resources as a conversion has them, and the codes of what is reported as error or warning."""
    lib = library(release)
    collector, statuses, subjects = Collector(lib), StatusScreen(lib), SubjectScreen(lib)
    lines = dict(enumerate((text.encode() for text in texts), 1))
    found: list[Problem] = []
    codes: set[str] = set()
    for batch in reader(release).read(list(lines.items()), "x.ndjson"):
        statuses.apply(batch, lines, "x.ndjson")
        subjects.apply(batch, lines, "x.ndjson")
        collector.add(batch)
        found += batch.problems
        codes |= {"FS441"} if batch.unmapped else set()
        codes |= {"FS420"} if batch.empty else set()
        codes |= {"FS440"} if batch.foreign else set()
        codes |= {"FS448"} if batch.contradictory else set()
        codes |= {"FS458"} if batch.absent else set()
    tables, more = subjects.take_out(collector.tables())
    done = reconcile(tables, lib, collector.once)
    found += [*more, *done.problems, *statuses.findings()]
    codes |= {each.code for each in found if each.level != "note"}
    subjects_read = done.tables["DM"].to_pylist() if "DM" in done.tables else []
    codes |= {"FS720"} if any(not row.get("SUBJID") for row in subjects_read) else set()  # half a row, see `check`
    return {
        name: [
            {column: cell for column, cell in row.items() if cell and not column.startswith("@")}
            for row in table.to_pylist()
        ]
        for name, table in done.tables.items()
    }, codes


def helped(row: Row, mapping: Mapping, lib: Library) -> Row:
    """The row with the helper columns and the digest that a conversion computes for it."""
    every: dict[str, list[Cells]] = {mapping.domain: [row.cells]}
    for name, child in flat(row, lib):
        every.setdefault(name, []).append(child)
    if row.helpers.get("_has_SV_USUBJID_VISITNUM"):
        every.setdefault("SV", []).append({n: row.cells[n] for n in ("USUBJID", "VISITNUM") if n in row.cells})
    tabulations = {name: InMemory(pa.Table.from_pylist(some, _schema(some))) for name, some in every.items()}
    helpers = Helpers(for_rendering(tabulations, [lib.mappings[name] for name in every]))
    return _helped(row, mapping, lib, helpers)


def _schema(some: list[Cells]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in dict.fromkeys(name for row in some for name in row)])


def _helped(row: Row, mapping: Mapping, lib: Library, helpers: Helpers) -> Row:
    table = pa.Table.from_pylist([row.cells], _schema([row.cells]))
    (batch,) = (table if mapping.key else with_records(table)).to_batches()
    made = helpers.add(mapping, batch).to_pylist()[0]
    digest = basis.digests({mapping.domain: table})[mapping.domain][0].as_py()
    cells = row.cells | ({basis.DIGEST: digest} if digest else {})
    nested = {
        name: [_helped(each, lib.mappings[name], lib, helpers) for each in some] for name, some in row.nested.items()
    }
    return Row(cells, {name: made[name] for name in needed(mapping) if made.get(name)}, nested)


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The primitives of a resource with their paths, without carried cells."""
    if isinstance(value, dict):
        if value.get("url") != CARRIED_URL:
            for name, inner in value.items():
                yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from leaves(inner, (*path, position))
    else:
        yield path, value


def put(value: Any, path: Path, new: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


def general(path: Path) -> str:
    return ".".join(str(step) for step in path if not isinstance(step, int))


def other(value: Any, path: Path, seen: Table[str, list[Any]], rng: random.Random) -> Any:
    """Another value of an element: one that a resource of the domain has there, or a changed one of the same type."""
    choices = [each for each in seen.get(general(path), ()) if each != value]
    if choices and rng.random() < 0.6:
        return rng.choice(choices)
    if isinstance(value, bool):
        return not value
    if isinstance(value, Number):
        return Number(rng.choice(["99", "3", "0.25"]))
    text = str(value)
    if len(text) >= 4 and text[:4].isdigit() and path[-1] not in {"value", "display", "text", "code"}:
        return rng.choice(["1999-09-09", "2001-01-02T10:20:30Z"])
    return text + rng.choice(["x", "2", "-A"])


def same(old: Any, new: Any) -> bool:
    if isinstance(old, Number):
        return canonical_number(str(old)) == canonical_number(str(new))
    return bool(old == new)


def silent(release: Release, texts: list[str], before: tuple[Rows, set[str]]) -> bool:
    """Whether edited resources give the rows that they gave before, and nothing more is reported."""
    after, codes = read(release, texts)
    return after == before[0] and not codes - before[1]


def elements(value: Any) -> Any:
    """What a resource says, to be compared: without carried cells, numbers without their spelling."""
    if isinstance(value, dict):
        return {name: made for name, inner in value.items() if (made := elements(inner)) not in ([], {})}
    if isinstance(value, list):
        return [elements(inner) for inner in value if not (isinstance(inner, dict) and inner.get("url") == CARRIED_URL)]
    return canonical_number(str(value)) or str(value) if isinstance(value, Number) else value


def refilled(row: Row, domain: str, left: Rows) -> Row:
    """The row with the cells that were read, nested rows in the order in which they were written."""
    cells = left[domain].pop(0)
    nested = {name: [refilled(each, name, left) for each in some] for name, some in row.nested.items()}
    return Row(cells, row.helpers, nested)


def said(resource: Any, path: Path) -> set[str]:
    """What an edited element says: its text; of the name of an extension, what the extension has."""
    for step in path[:-1]:
        resource = resource[step]
    if path[-1] != "url":
        return {str(resource[path[-1]])}
    return {str(value) for inner, value in leaves(resource) if inner != ("url",)}


def faithful(case: tuple[Release, str], row: Row, edited: list[Any], new: set[str], after: Rows) -> bool:
    """Whether the rows that were read, written by the renderer, are the resources as they were edited.

    `new`: what the edited element says.
    """
    release, domain = case
    lib = library(release)
    mapping = lib.mappings[domain]
    try:
        again = refilled(row, domain, {name: list(some) for name, some in after.items()})
    except (KeyError, IndexError):
        return False
    again = Row(order(mapping, again.cells), again.helpers, again.nested)
    try:
        texts = [text for _, text in written(mapping, helped(again, mapping, lib), lib)]
    except BadRow:  # what the element says is no cell that can be written
        return any(not new.isdisjoint(cells.values()) for some in after.values() for cells in some)
    resources = [parse(text.encode()) for text in texts]
    carrying = frozenset(carried(resources) - carried(edited))
    return contained([elements(each) for each in edited], [elements(each) for each in resources], carrying)


def in_a_form(mapping: Mapping, before: Rows, after: Rows, new: set[str]) -> bool:
    """Whether all that changed is a cell in which what the element says is a part: a range from high to low is a text."""
    rows = [before.get(mapping.domain, []), after.get(mapping.domain, [])]
    if {**before, mapping.domain: []} != {**after, mapping.domain: []} or len(rows[0]) != len(rows[1]):
        return False
    changed = [cell for old, now in zip(*rows, strict=True) for cell in old.items() ^ now.items()]
    parts = [cell for name, cell in changed if name in mapping.forms]
    return bool(parts) and len(parts) == len(changed) and any(each in cell for each in new for cell in parts)


def carried(value: Any) -> Counter[str]:
    """The cells that resources carry: the text of the element that they are in place of."""
    if isinstance(value, dict) and value.get("url") == CARRIED_URL:
        return Counter(part["valueString"] for part in value["extension"])
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(carried, inner), Counter[str]())


def contained(edited: Any, again: Any, carrying: frozenset[str], name: str = "") -> bool:
    """Whether what was edited is written again: extensions in any order, a changed code with the codings that it has.

    An element that cannot be written so (a number with a zero before it, the end of a period before its start) has its
    text among the cells that are carried now and were not before.
    """
    if isinstance(edited, dict) and isinstance(again, dict):
        lost = edited.keys() - again.keys()
        kept = all(contained(edited[each], again[each], carrying, each) for each in edited.keys() & again.keys())
        return kept and again.keys() <= edited.keys() and all(_carries(edited[each], carrying) for each in lost)
    if isinstance(edited, list) and isinstance(again, list):
        if name in ("coding", "extension"):
            whole = name == "coding" or len(edited) == len(again)
            return whole and all(any(contained(one, other, carrying) for other in again) for one in edited)
        return len(edited) == len(again) and all(contained(*pair, carrying) for pair in zip(edited, again, strict=True))
    return bool(edited == again) or _carries(edited, carrying)


def _carries(value: Any, carrying: frozenset[str]) -> bool:
    return isinstance(value, str) and value in carrying


def hold(release: Release, domain: str, kind: Kind, examples: int, edits: int) -> list[str]:
    lib = library(release)
    mapping = lib.mappings[domain]
    seen: dict[str, list[Any]] = {}
    tried: Counter[str] = Counter()
    found: list[str] = []

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(rows(mapping, lib, kind), st.integers(0, 10**9))
    def law(row: Row, seed: int) -> None:
        rng = random.Random(seed)
        texts = [text for _, text in written(mapping, helped(row, mapping, lib), lib)]
        if domain != "DM":  # the study to which others refer
            study = Row(
                {name: row.cells.get(name, "S") for name in ("STUDYID", "USUBJID")} | {"SUBJID": "1"},
                {"_STATUS": "on-study"},
            )
            texts.append(written(lib.mappings["DM"], study, lib)[0][1])
        resources = [parse(text.encode()) for text in texts]
        for resource in resources:
            for path, value in leaves(resource):
                seen.setdefault(general(path), []).append(value)
        before, known = read(release, texts)
        if known - {"FS446"}:
            found.append(f"unedited: {known}")
        own = len(mapping.blocks)
        mine = enumerate(resources[:own])
        places = [(number, path, value) for number, each in mine for path, value in leaves(each)]
        rng.shuffle(places)
        places.sort(key=lambda place: tried[general(place[1])])
        for number, path, value in places[:edits]:
            tried[general(path)] += 1
            new = other(value, path, seen, rng)
            if same(value, new):
                continue
            edited = deepcopy(resources[number])
            put(edited, path, new)
            after, codes = read(release, [*texts[:number], dump(edited), *texts[number + 1 :]])
            if codes - known:
                continue
            several, says = [*resources[:number], edited, *resources[number + 1 : own]], said(edited, path)
            as_edited = faithful((release, domain), row, several, says, after)
            if after == before or not (as_edited or in_a_form(mapping, before, after, says)):
                how = "silent" if after == before else "other"
                found.append(f"{how} {resources[number]['resourceType']}.{general(path)}: {value!r} -> {new!r}")

    law()
    return found


def every() -> list[tuple[Release, str]]:
    """Each release with each dataset that makes resources of its own."""
    return [(release, name) for release in RELEASES for name in roots()]


FAST = [("R4", name) for name in ("AE", "DM", "LB", "VS")]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in cases() if case not in FAST]


@pytest.mark.parametrize(("release", "domain"), [*FAST, *SLOW])
def test_no_edit_is_silent(release: Release, domain: str) -> None:
    assert hold(release, domain, CLEAN, 1, 12) + hold(release, domain, LEGAL, 1, 6) == []


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (("code", "coding", 0, "code"), "718-7"),
        (("valueQuantity", "code"), "mg/dL"),
        (("contained", 0, "type", "coding", 0, "code"), "C12434"),
        (("subject", "reference"), "Patient/" + "b" * 32),
        (("status",), "cancelled"),
    ],
)
def test_the_law_sees_an_edit(path: Path, new: str) -> None:
    """What was silent before elements that give no cell were compared with their row."""
    row = {
        "STUDYID": "S", "DOMAIN": "LB", "USUBJID": "S-1", "LBSEQ": "1", "LBTESTCD": "GLUC", "LBTEST": "Glucose",
        "LBORRES": "5.1", "LBORRESU": "mmol/L", "LBSPEC": "SERUM",
    }  # fmt: skip
    mapping = library("R4").mappings["LB"]
    (text,) = [text for _, text in written(mapping, helped(Row(row, {}), mapping, library("R4")), library("R4"))]
    before = read("R4", [text])
    edited = parse(text.encode())
    put(edited, path, new)
    assert not before[1] and not silent("R4", [dump(edited)], before)
