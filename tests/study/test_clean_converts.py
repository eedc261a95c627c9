"""A law over all datasets: what `validate` calls clean (exit 0) `convert` never quarantines, whatever the cells are.

Some rows of each dataset of SPACE get odd cells. Rows in which the check finds something get their own cells back,
until it finds nothing any more; then no row may be quarantined, in any release.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from fhirspace.idkey import DEMO_KEY
from fhirspace.mapping.library import Library
from fhirspace.sdtm.columns import text
from fhirspace.sdtm.layout import orphans
from fhirspace.standards import sdtm, terminology
from fhirspace.standards.fhir import Release
from fhirspace.study import pipeline
from fhirspace.study.accounting import Accounting
from fhirspace.study.dataset import InMemory, tabulation
from fhirspace.study.inputs import recognise
from fhirspace.study.screening import conforming
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.text import data_columns
from tests.mapping.test_clean_converts import ODD
from tests.study.space_study import Space

_MOST = 4
Rows = list[dict[str, str | None]]


@pytest.fixture(scope="module")
def study(space: Space) -> dict[str, Rows]:
    """The first rows of two subjects of each dataset, with the qualifiers of these rows."""
    tables = _read(space.sdtm().out / "sdtm")
    subjects = text(tables["AE"], "USUBJID").unique()[:2]
    found: dict[str, pa.Table] = {}
    for name, table in sorted(tables.items(), key=lambda each: each[0].startswith(("SUPP", "RELREC"))):
        mine = table.filter(pc.is_in(text(table, "USUBJID"), value_set=subjects)) if _of_subjects(table) else table
        if name.startswith("SUPP"):
            lost = set(orphans(found[name[4:]], mine, name[4:]))
            mine = mine.take(pa.array([row for row in range(mine.num_rows) if row not in lost], pa.int64()))
        found[name] = mine.filter(_whole(found, mine)) if name == "RELREC" else mine.slice(0, _MOST)
    made = {name: table.select(data_columns(table)).to_pylist() for name, table in found.items() if table.num_rows}
    assert _findings(made) == set()
    return made


def _read(folder: Path) -> dict[str, pa.Table]:
    given = recognise(sorted(folder.rglob("*.parquet")))
    return {name: tabulation(found)[0].table() for name, found in given.files.items()}


def _whole(found: dict[str, pa.Table], related: pa.Table) -> pa.Array:
    """Which rows of RELREC belong to a relationship all of whose records are among the rows that were taken."""
    there = {
        (name, *row.values())
        for name, table in found.items()
        if _of_subjects(table) and f"{name}SEQ" in table.column_names
        for row in table.select(["USUBJID", f"{name}SEQ"]).to_pylist()
    }
    rows = related.to_pylist()
    lost = {row["RELID"] for row in rows if (row["RDOMAIN"], row["USUBJID"], row["IDVARVAL"]) not in there}
    return pa.array([row["RELID"] not in lost for row in rows], pa.bool_())


def _of_subjects(table: pa.Table) -> bool:
    return "USUBJID" in table.column_names


def _tables(study: dict[str, Rows]) -> dict[str, pa.Table]:
    names = {name: dict.fromkeys(each for row in rows for each in row) for name, rows in study.items()}
    return {
        name: pa.table({each: pa.array([row.get(each) for row in rows], pa.string()) for each in names[name]})
        for name, rows in study.items()
    }


def _findings(study: dict[str, Rows]) -> set[tuple[str, int | None]]:
    """The rows (None: a whole dataset) in which `validate` finds more than notes."""
    found = pipeline.check(pipeline.Block(_tables(study))).findings
    return {(problem.table, row) for problem, row in found if problem.level != "note"}


def _cell(random: Random, name: str, column: str) -> str | None:
    variable = sdtm.variable(name, column)
    lists = [code for code in variable.codelists if terminology.known(code)] if variable else []
    terms = sorted(terminology.submission_values(lists[0])) if lists else []
    return random.choice([None, *ODD, *random.choices(terms, k=len(ODD))] if terms else [None, *ODD]) or None


def _edited(study: dict[str, Rows], random: Random) -> dict[str, Rows]:
    """The study with odd cells, as far as the check finds nothing in them."""
    changed: dict[str, Rows] = pickle.loads(pickle.dumps(study))
    for name, rows in changed.items():
        standard = [each.name for each in sdtm.standard_variables(name)] if sdtm.known(name) else list(rows[0])
        for _ in range(3):
            column = random.choice(standard)
            random.choice(rows)[column] = _cell(random, name, column)
    for turn in range(20):
        found = _findings(changed)
        if not found:
            return changed
        for name, at in found:  # the cause may be in another row: in the end the whole dataset gets its cells back
            own, whole = list(enumerate(study[name])), at is None or turn > 1
            changed[name] = [dict(cells) if whole or at == row else changed[name][row] for row, cells in own]
    return study


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R5"])
@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_what_is_clean_is_never_quarantined(
    release: Release, study: dict[str, Rows], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    changed = _edited(study, Random(seed))
    accounting = _converted(changed, release, tmp_path_factory.mktemp("clean") / "out")
    assert {name: each.rows for name, each in accounting.accounts.items() if each.quarantined} == {}
    assert [problem for problem in accounting.problems if problem.level == "error"] == []


def _converted(study: dict[str, Rows], release: Release, home: Path) -> Accounting:
    accounting = Accounting()
    look = conforming(_tables(study), accounting)
    prepared: Any = pipeline.Prepared({name: InMemory(table) for name, table in look.tables.items()}, screening=look)
    for name, table in look.tables.items():
        accounting.read(name, table.num_rows)
    with OutputFolder(home) as folder:
        pipeline.render(prepared, Library(release, key=DEMO_KEY), folder, accounting)
    return accounting
