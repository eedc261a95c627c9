"""The books of a run: rows in are rows out and quarantined, whatever cells hold, and the rows are really there."""
# ruff: noqa: F401, F811 - fixtures that are imported

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from fhirspace.fhir.ndjson import read
from fhirspace.mapping.library import Library
from tests.study.bad.bad_runs import CANARY, Outcome, datasets, mappings_once, records, run, table, write

ODD_TEXTS = [
    "",
    " ",
    CANARY,
    "Y",
    "=1+1",
    "+x(1)",
    "\x07",
    "a" * 201,
    "é" * 101,
    "a\nb",
    'a"b',
    "a|b",
    " lead",
    "trail ",
]
ODD_VALUES = ["1,5", "<5", "-1", "1e400", "007", "1.50", "0", "99999999999"]
ODD_DATES = ["2031-02-60", "31 FEB 2031", "UN UNK 2031", "2031-02-03T10:30"]
BAD = [*ODD_TEXTS, *ODD_VALUES, *ODD_DATES]
QUICK = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
spots = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(BAD)),
    min_size=1,
    max_size=12,
)
Spots = list[tuple[int, int, int, str]]


def spoilt(source: Path, target: Path, names: Sequence[str], where: Spots) -> Path:
    """A copy of an input with texts put into cells anywhere; a table, a row and a column are taken by remainder."""
    shutil.copytree(source, target)
    for which, row, column, text in where:
        path = target / f"{names[which % len(names)]}.csv"
        header, *rows = table(path)
        rows[row % len(rows)][column % len(header)] = text
        write(path, [header, *rows])
    return target


def done(source: Path, target: str, out: Path, *more: str) -> Outcome:
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        command: list[str | Path] = ["convert", source, "--to", target, "--format", "csv", *more]
        return run(command, out, lambda: (said.getvalue(), told.getvalue()))


def tree(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.mark.slow
@QUICK
@given(where=spots)
def test_records_to_datasets(where: Spots, records: Path) -> None:
    forms = sorted(path.stem for path in records.glob("*.csv"))
    with tempfile.TemporaryDirectory() as scratch:
        source = spoilt(records, Path(scratch) / "in", forms, where)
        outcome = done(source, "sdtm", Path(scratch) / "out", "--strict")
        assert outcome.exit_code in (0, 1, 3)
        assert (outcome.exit_code == 3) == bool(outcome.quarantined())
        assert outcome.books_balance()
        for form in forms:
            came = [row for row in table(source / f"{form}.csv")[1:] if row]
            assert outcome.tables[form]["in"] == len(came)
        written = {path.stem.upper(): len(table(path)) - 1 for path in (outcome.out / "sdtm").glob("*.csv")}
        kept = {name: count["out"] for name, count in outcome.tables.items() if name.isupper() and count["out"]}
        assert written == kept
        problem_rows = {(place[1], place[2]) for place in outcome.places()}
        held = sum(count for name, count in outcome.quarantined().items() if not name.isupper())
        assert held == len({place for place in problem_rows if place[0].removesuffix(".csv") in forms})


@pytest.mark.slow
@QUICK
@given(where=spots)
@example(where=[(6, 0, 0, "other")])  # a qualifier of another study: no row of DS is its parent
@example(where=[(617, 33, 0, "Yes")])  # a DM row of another study: DS falls with it, and SUPPDS with DS
def test_datasets_to_fhir_and_back(where: Spots, datasets: Path) -> None:
    names = sorted(path.stem for path in (datasets / "csv").glob("*.csv"))
    with tempfile.TemporaryDirectory() as scratch:
        source = spoilt(datasets / "csv", Path(scratch) / "in", names, where)
        outcome = done(source, "fhir", Path(scratch) / "out")
        assert outcome.exit_code in (0, 1, 3)
        assert outcome.books_balance()
        resources = [json.loads(line) for path in (outcome.out / "fhir").glob("*") for _, line in read(path)]
        if not resources:  # no subject is left, so that everything is in quarantine
            assert all(count["out"] == 0 for name, count in outcome.tables.items() if name.isupper())
            return
        ids = Counter((each["resourceType"], each["id"]) for each in resources)
        assert max(ids.values()) == 1
        # One row of AE and VS is one resource with an identifier of its dataset, and no other resource has one.
        for name in ("AE", "VS"):
            system = f"https://fhirspace.org/{name}"
            assert (
                sum(system in json.dumps(each.get("identifier")) for each in resources) == outcome.tables[name]["out"]
            )
        back = done(outcome.out / "fhir", "sdtm", Path(scratch) / "back")
        assert back.books_balance()
        out = {name: count["out"] for name, count in outcome.tables.items() if count["out"]}
        assert {name: count["in"] for name, count in back.tables.items() if name.isupper()} == out


@pytest.mark.slow
@settings(QUICK, max_examples=2)
@given(where=spots)
@pytest.mark.parametrize("target", ["fhir", "sdtm"])
def test_the_same_run_twice_gives_the_same_bytes(target: str, where: Spots, records: Path) -> None:
    forms = sorted(path.stem for path in records.glob("*.csv"))
    with tempfile.TemporaryDirectory() as scratch:
        source = spoilt(records, Path(scratch) / "in", forms, where)
        first, second = (done(source, target, Path(scratch) / name) for name in ("one", "two"))
        assert tree(first.out) == tree(second.out)
        assert first.exit_code == second.exit_code
