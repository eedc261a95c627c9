"""Published rules for which the archive has no case, over small made-up datasets: one at fault, one that is not.

`without_cases.jsonl` has a line for each: the datasets (variables as name, or name and type, or name, label, type and
length) and the results that CDISC's engine (CORE 0.17.1) gave for them. Values are nonsense on purpose.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fhirspace.sdtm.rules.cases import _comparable
from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.model import Rule, build, contents
from fhirspace.sdtm.rules.results import Line, results
from fhirspace.sdtm.rules.study import About, Dataset, Study
from tests.sdtm.rules.rules_data import ARCHIVE

TABLE = Path(__file__).with_name("without_cases.jsonl")


def cases() -> list[dict[str, Any]]:
    return [json.loads(line) for line in TABLE.read_text("utf-8").splitlines()]


def dataset(name: str, given: Mapping[str, Any]) -> Dataset:
    about: dict[str, About] = {}
    for each in given["variables"]:
        variable, *facts = [each] if isinstance(each, str) else each
        label, kind, length = facts if len(facts) == 3 else ("", *(facts or ["Char"]), "8")
        about[variable] = About(label, kind, int(length))
    columns = zip(*given["rows"], strict=True)
    table = {key: pa.array([cell or None for cell in cells]) for key, cells in zip(about, columns, strict=True)}
    typed = {key: cells.cast(pa.string()) for key, cells in table.items()}
    label = given.get("label", name.upper())
    return Dataset(name.upper(), pa.table(typed), label, f"{name}.csv", 100, about, listed=tuple(about))


def found(rule: Rule, data: Mapping[str, Any]) -> set[Line]:
    outcome = Engine(Study((dataset(*each) for each in data.items()), "3.4")).run(rule)
    assert not outcome.errors
    assert outcome.judged
    return {_comparable(line) for line in results(outcome)}


def published(wanted: set[str]) -> Iterator[tuple[str, Rule]]:
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            name = Path(member.name).stem
            if name in wanted and member.name.endswith(".yml") and (stream := archive.extractfile(member)):
                (content,) = contents(stream.read().decode("utf-8"), member.name)
                yield name, build(content, member.name)


def test_the_table_has_both_kinds() -> None:
    given = cases()
    assert len({each["rule"] for each in given}) == 123
    flagged = {each["rule"] for each in given if each["results"]}
    assert {each["rule"] for each in given} - flagged == {"CORE-000539", "CORE-000765"}  # no such name, no such size
    assert sum(not each["results"] for each in given) == 99


@pytest.mark.slow
@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"CDISC's rules are not here: {ARCHIVE.name}")
def test_rules_without_cases_give_what_core_gives() -> None:
    given = cases()
    rules = dict(published({each["rule"] for each in given}))
    differing = [
        each["rule"]
        for each in given
        if found(rules[each["rule"]], each["data"]) != {_comparable(tuple(line)) for line in each["results"]}
    ]
    assert differing == []
