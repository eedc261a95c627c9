"""The published figures, from datasets and from resources: equal, and a wrong one is noticed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fhirspace.study.convert import convert
from fhirspace.study.demo.figures import Figures, Published, Response, from_datasets, from_resources
from fhirspace.study.demo.run import sample
from fhirspace.study.reading.from_fhir import fhir_files
from fhirspace.tables import csv, xpt
from fhirspace.tables.text import as_rows
from tests.study.space_study import Space


@pytest.fixture(scope="module")
def published() -> Published:
    return Published.load(sample() / "published.toml")


@pytest.fixture(scope="module")
def tables(space: Space) -> dict[str, pa.Table]:
    return {path.stem.upper(): xpt.read(path)[0] for path in (space.sdtm().out / "sdtm").glob("*.xpt")}


def test_the_datasets_give_the_published_figures(tables: dict[str, pa.Table], published: Published) -> None:
    assert from_datasets(tables, published) == published.figures


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_the_resources_alone_give_the_published_figures(release: Any, space: Space, published: Published) -> None:
    assert from_resources(fhir_files(space.fhir(release).out), published) == published.figures


def changed(table: pa.Table, column: str, before: str, after: str | None, count: int = 1) -> pa.Table:
    """The table with the first cells of that text replaced."""
    cells = table[column].cast("string").to_pylist()
    for row in [row for row, cell in enumerate(cells) if cell == before][:count]:
        cells[row] = after
    return table.set_column(table.column_names.index(column), column, pa.array(cells, pa.string()))


@pytest.mark.parametrize(
    ("dataset", "column", "before", "after"),
    [
        ("AE", "AESER", "Y", "N"),
        ("DS", "DSDECOD", "LOST TO FOLLOW-UP", "ADVERSE EVENT"),
        ("MH", "MHOCCUR", "Y", "N"),
        ("RS", "RSORRES", "CR", "PR"),
        ("RS", "RSORRES", "PR", "SD"),
        ("RS", "RSTESTCD", "OVRLRESP", "OTHER"),
    ],
)
def test_one_wrong_cell_is_noticed(
    dataset: str, column: str, before: str, after: str, request: pytest.FixtureRequest
) -> None:
    tables, published = (request.getfixturevalue(name) for name in ("tables", "published"))
    cells = tables[dataset][column].cast("string").to_pylist()
    assert before in cells, sorted(set(cells))
    wrong = tables | {dataset: changed(tables[dataset], column, before, after, count=cells.count(before))}
    assert from_datasets(wrong, published) != published.figures


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["AdverseEvent", "Condition", "Observation"])
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_a_missing_kind_of_resource_is_noticed(release: Any, kind: str, space: Space, published: Published) -> None:
    files = [path for path in fhir_files(space.fhir(release).out) if path.name != f"{kind}.ndjson"]
    assert len(files) == len(fhir_files(space.fhir(release).out)) - 1
    assert from_resources(files, published) != published.figures


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_subjects_that_stopped_for_an_event_are_counted_in_both(
    release: Any, tables: dict[str, pa.Table], published: Published, tmp_path: Path
) -> None:
    # Nobody in the sample did: those that were lost are made to.
    term = "LOST TO FOLLOW-UP"
    lost = len({row["USUBJID"] for row in as_rows(tables["DS"]) if row["DSDECOD"] == term})
    other = {"DM": tables["DM"], "DS": changed(tables["DS"], "DSDECOD", term, "ADVERSE EVENT", count=99)}
    assert from_datasets(tables | other, published).stopped == lost > 0
    for name, table in other.items():
        csv.write(table, tmp_path / f"{name.lower()}.csv")
    convert(sorted(tmp_path.glob("*.csv")), to="fhir", out=tmp_path / "out", fhir=release)
    assert from_resources(fhir_files(tmp_path / "out"), published).stopped == lost


@pytest.mark.slow
def test_a_wrong_response_in_one_resource_is_noticed(space: Space, published: Published, tmp_path: Path) -> None:
    lines = (space.fhir().out / "fhir" / "Observation.ndjson").read_text("utf-8").splitlines()
    for row, line in enumerate(lines):
        value = json.loads(line).get("valueCodeableConcept", {}).get("text")
        if published.test in line and value == published.complete:
            lines[row] = line.replace(f'"text":"{value}"', f'"text":"{published.partial}"')
            assert lines[row] != line
            break
    other = tmp_path / "Observation.ndjson"
    other.write_text("\n".join(lines) + "\n", "utf-8")
    files = [other if path.name == other.name else path for path in fhir_files(space.fhir().out)]
    assert from_resources(files, published) != published.figures


# -- the arithmetic


@pytest.mark.parametrize(
    ("evaluated", "good", "percent"), [(8, 1, 13), (8, 3, 38), (3, 1, 33), (3, 2, 67), (0, 0, 0), (26, 26, 100)]
)
def test_percentages_are_rounded_half_up(evaluated: int, good: int, percent: int) -> None:
    assert Response(evaluated, good, 0, (0, 0), (0, 0)).percent == percent


def test_a_response_and_its_figures_are_told_in_words() -> None:
    response = Response(8, 2, 1, (1, 3), (2, 5))
    assert str(response) == "3/8 = 38 % (CR 2, PR 1; 1/3, 2/5)"
    assert list(Figures({"W24": response}, 4, 2).lines({"W24": "week 24"})) == [
        ("responders, week 24", str(response)),
        ("serious adverse events", "4"),
        ("stopped for an adverse event", "2"),
    ]


def test_each_subject_counts_once_a_time_point_and_only_where_evaluable(published: Published) -> None:
    point = next(iter(published.labels))
    small = replace(
        published, labels={point: "x"}, complete="CR", partial="PR", evaluable=frozenset({"CR", "PR", "PD"})
    )
    results = [("1", point, "PD"), ("1", point, "CR"), ("2", point, "PR"), ("3", point, "NE"), ("4", "other", "CR")]
    assert small.responses(results, {"1", "9"}) == {point: Response(2, 1, 1, (1, 1), (1, 1))}
