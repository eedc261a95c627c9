"""Acceptance lines 2 and 6 of views: a population of Synthea, 40 of its patients in a study, and a real server.

pytest -m soak -s tests/views/soak_synthea.py      # some twenty minutes, most of them Synthea's; 750 MB in /tmp
SYNTHEA=/tmp/people pytest -m soak -s ...          # keeps what is generated, and takes it again
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.localserver import server
from tests.views.synthea import edits, not_so, people
from tests.views.synthea.people import Resource, local, owner, resources

pytestmark = [pytest.mark.soak, pytest.mark.slow]

SEED, PATIENTS, ENROLLED, NOT_SO = 20260, 200, 40, 300
DATASETS = {"dm", "lb", "vs", "mh", "cm", "pr", "ae", "ex", "sv", "qs"}
BLOOD_PRESSURE = "85354-9"
RULES = re.compile(r"([0-9,]+) conformance rules: ([0-9,]+) errors?")
Row = dict[str, str]


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return people.generated(tmp_path_factory.mktemp("synthea"), seed=SEED, patients=PATIENTS)


def sdtm(given: Path, study: Path, out: Path) -> dict[str, list[Row]]:
    """The datasets that a run makes, by name."""
    command = ["convert", str(given), "--to", "sdtm", "--views", str(study), "--source", "ehr", "--format", "csv"]
    assert main([*command, "--out", str(out)]) in (0, 1, 3)
    return {path.stem: list(rows(path)) for path in sorted((out / "sdtm").glob("??.csv"))}


def rows(path: Path) -> Iterator[Row]:
    with path.open(newline="") as stream:
        yield from csv.DictReader(stream)


def sources(made: dict[str, list[Row]]) -> Counter[tuple[str, str]]:
    """The rows by dataset and the id of their resource."""
    named = ((name, row.get(f"{name.upper()}SPID", "")) for name, found in made.items() for row in found)
    return Counter(each for each in named if each[1])


def test_a_study_of_forty_patients(population: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, out = tmp_path / "study", tmp_path / "out"
    subjects = people.enrolled(population, study, ENROLLED)
    assert len(subjects) == ENROLLED
    made = sdtm(population, study, out)
    rules = RULES.search(capsys.readouterr().err)
    assert rules and rules[2] == "0"
    counts = accounted(out / "manifest.json")
    assert set(made) >= DATASETS and all(made.values())
    with capsys.disabled():
        print(f"\n{dict(counts)}; rows: { {name: len(each) for name, each in made.items()} }; {rules[0]}")
        print(share_with_test(population, subjects, made))
    nothing_of_what_is_not_so(population, study, tmp_path, sources(made))


def accounted(manifest: Path) -> Counter[str]:
    """The counts of all types: each resource was taken, left or quarantined."""
    tables = json.loads(manifest.read_text())["tables"]
    counts = Counter[str]()
    for name, each in tables.items():
        if re.fullmatch(r"[A-Z][a-z]\w+", name):
            counts.update({"in": each["rows_in"], "taken": each["rows_out"], "left": each.get("skipped", 0)})
            counts.update({"quarantined": each["quarantined"]})
    assert counts["in"] == counts["taken"] + counts["left"] + counts["quarantined"] > 100_000
    assert counts["quarantined"] == 0
    return counts


def share_with_test(population: Path, subjects: list[Row], made: dict[str, list[Row]]) -> str:
    """The share of laboratory results and vital signs of the participation with a test, and that of blood pressures."""
    tests = defaultdict[str, set[str]](set)
    for name in ("lb", "vs", "qs"):
        for row in made[name]:
            tests[row[f"{name.upper()}SPID"]].add(row[f"{name.upper()}TESTCD"])
    items = {row["QSSPID"] for row in made["qs"]}
    asked = [each for each in during(population, subjects) if categories(each) & {"laboratory", "vital-signs"}]
    measured = [each for each in asked if each["id"] not in items]
    with_test = sum("" not in tests[each["id"]] != set() for each in measured)
    lacking = Counter(each["code"]["text"] for each in asked if not tests[each["id"]])
    pressures = [tests[each["id"]] for each in asked if each["code"]["coding"][0]["code"] == BLOOD_PRESSURE]
    assert len(measured) > 1_000 and with_test >= 0.95 * len(measured)
    assert pressures and all(each == {"SYSBP", "DIABP"} for each in pressures)
    return (
        f"LB and VS: {with_test:,} of {len(measured):,} with a test ({100 * with_test / len(measured):.1f} %), and"
        f" {len(asked) - len(measured)} items of QS; without: {dict(lacking)}; {len(pressures)} blood pressures are both"
    )


def during(population: Path, subjects: list[Row]) -> Iterator[Resource]:
    """The Observations of the participation."""
    spans = {
        each["patient"]: [date.fromisoformat(each[f"participation {end}"]) for end in ("start", "end")]
        for each in subjects
    }
    for each in resources(population, "Observation"):
        start, end = spans.get(owner(each), (date.max, date.min))
        if start <= local(each["effectiveDateTime"]) <= end:
            yield each


def categories(found: Resource) -> set[str]:
    return {coding["code"] for each in found.get("category", []) for coding in each["coding"]}


def nothing_of_what_is_not_so(population: Path, study: Path, tmp_path: Path, before: Counter[tuple[str, str]]) -> None:
    """Some resources that made rows are changed to say "not so": they make none, and all others the same."""
    ids = {name for _, name in before}
    by_kind = {kind: {each["id"] for each in resources(population, kind)} & ids for kind in not_so.CHANGES}
    changes = not_so.chosen({kind: names for kind, names in by_kind.items() if names}, NOT_SO, SEED)
    folder = tmp_path / "not-so"
    folder.mkdir()
    for kind in (*not_so.CHANGES, "Patient", "Encounter", "Medication", "DiagnosticReport"):
        with (folder / f"{kind}.ndjson").open("w") as stream:
            for each in resources(population, kind):
                print(json.dumps({**each, **changes.get(each["id"], {})}), file=stream)
    after = sources(sdtm(folder, study, tmp_path / "not-so-out"))
    assert len(changes) == NOT_SO
    assert after == Counter({key: count for key, count in before.items() if key[1] not in changes})


def test_a_real_server_whose_records_are_edited(population: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    subjects = people.enrolled(population, study, ENROLLED)
    running = server.start("R4", validate=False)
    try:
        twenty = edits.loaded(running.url, population, [each["patient"] for each in subjects])
        profiled = tmp_path / "profiled"
        assert main(["mapping", "profile", "--server", running.url, "--patients", "all", "--out", str(profiled)]) == 0
        assert {each["patient"] for each in rows(profiled / "enrolment.csv")} == twenty
        names = {"-".join((each["STUDYID"], each["SITEID"], each["SUBJID"])): each["patient"] for each in subjects}
        kept = [each.values() for each in subjects if each["patient"] in twenty]
        people.write(study / "enrolment.csv", people.ENROLMENT, kept)
        before = keyed(pulled(running.url, study, tmp_path, "before"), names)
        expected = edits.made(running.url, before)
        after = keyed(pulled(running.url, study, tmp_path, "after"), names)
    finally:
        server.stop(port=running.port)
    differ = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert len(before) > 1_000
    assert {key: after.get(key) for key in differ} == {
        key: None if cells is None else {**before.get(key, {}), **cells} for key, cells in expected.items()
    }


def pulled(url: str, study: Path, tmp_path: Path, name: str) -> dict[str, list[Row]]:
    """The datasets of what the server has now."""
    given = tmp_path / "pulled"
    command = ["pull", "--server", url, "--patients", str(study / "enrolment.csv"), "--out", str(given)]
    assert main(command) in (0, 1)
    return sdtm(given, study, tmp_path / name)


def keyed(made: dict[str, list[Row]], patients: dict[str, str]) -> edits.Rows:
    """The rows by dataset, resource and test, visit or number; without --SEQ and what is computed of edited cells."""
    found: edits.Rows = {}
    for name, table in made.items():
        for row in table:
            prefix = name.upper()
            of = row.get(f"{prefix}SPID") or patients[row["USUBJID"]]
            what = row.get(f"{prefix}TESTCD") or (row["VISITNUM"] if name == "sv" else "1")
            key = next((name, of, each) for each in (what, *map(str, range(2, 100))) if (name, of, each) not in found)
            found[key] = {
                column: cell for column, cell in row.items() if column not in (f"{prefix}SEQ", "CMSTDY", "AGE")
            }
    return found
