"""The case of three patients out of an EHR, with expected rows of nine datasets: each cell and each resource.

Two runs: with the code lists of the case, and with the shipped ones, which know more codes. Each departure from the
expected rows is in a table below, with its reason; nothing else may differ. The case is not in the repository.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from fhirspace.cli import main
from tests.views.ehr import common

CASE = Path(__file__).parents[3] / "shared" / "cases" / "foreign"
DATASETS = ("ae", "cm", "dm", "ex", "lb", "mh", "pr", "sv", "vs")
DRUG = "value,code,form\n1535362,SODIUM FLUORIDE,GEL\n"
FLOVENT = "CM c8a780cc-efe4-add3-559a-95bca877fe09"
LDL = "43738b65-7229-ec12-0342-082927b0a920"


class Departure(NamedTuple):
    """A cell that differs from the expected one, and why ours is right."""

    row: str
    column: str
    expected: str
    made: str
    why: str


SMOKING = "4bdfe50a-13d7-1608-5a2c-cad7d0b9a610"
"""A smoking status, which is a row of SU: the case has no dataset for it."""
REASON = Departure(
    FLOVENT,
    "CMINDC",
    "",
    "Childhood asthma",
    "The joint guide of HL7 and CDISC maps MedicationRequest.reasonCode to CMINDC, row by row beside reasonReference.",
)
NUMBERED = "SDTM numbers the records of a subject within the dataset: the row of LDL is before this one."
UNITS = [
    Departure(
        f"LB {name}",
        "LBORRESU",
        "10^3/uL",
        "10^9/L",
        "CDISC's codelist UNIT has 10^9/L with the synonym 10^3/uL, which is no submission value itself.",
    )
    for name in ("ace1cc6e-4aae-3b02-31df-a56d8bdd301d", "7c95cdeb-23f4-a8a1-1432-88fa1ae44735")
]
MORE_ROWS = {
    "own lists": [],
    "shipped lists": [
        f"LB {LDL}"  # 18262-6 is LDL cholesterol by direct assay, CDISC's LDL; the lists of the case do not have it
    ],
}
DEPARTURES = {
    "own lists": [REASON, *UNITS],
    "shipped lists": [
        REASON,
        *UNITS,
        Departure("LB 3046187d-4c32-6d69-cb56-103b6d3dc23e", "LBSEQ", "2", "3", NUMBERED),
        Departure("LB ace1cc6e-4aae-3b02-31df-a56d8bdd301d", "LBSEQ", "3", "4", NUMBERED),
    ],
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def keyed(domain: str, table: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """The rows of a dataset by what they came from: the id of a resource (and the test), the visit, or the subject."""
    name = domain.upper()

    def key(row: dict[str, str]) -> str:
        if domain in ("dm", "sv"):
            return f"{name} {row['USUBJID']} {row.get('VISITNUM', '')}".strip()
        return f"{name} {row[f'{name}SPID']} {row['VSTESTCD'] if domain == 'vs' else ''}".strip()

    found = {key(row): row for row in table}
    assert len(found) == len(table)
    return found


def study(folder: Path, *, own: bool) -> Path:
    """The study of the case; its list of laboratory tests gets the column of methods that it lacks."""
    (folder / "codes").mkdir(parents=True)
    (folder / "common.yaml").write_text(common("synthea"))
    (folder / "codes" / "STUDYDRUG.csv").write_text(DRUG)
    for name in ("enrolment.csv", "visits.csv"):
        shutil.copy(CASE / "study" / name, folder / name)
    for name in ("LOINCLB", "LOINCVS", "OMBRACE") if own else ():
        lines = (CASE / "study" / "codes" / f"{name}.csv").read_text().splitlines()
        more = {"LOINCLB": ("method", ""), "LOINCVS": ("method,loc", ",")}.get(name)
        text = [f"{line},{more[bool(at)]}" if more else line for at, line in enumerate(lines)]
        (folder / "codes" / f"{name}.csv").write_text("\n".join(text) + "\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("lists", DEPARTURES)
def test_the_rows_and_the_fate_of_each_resource_are_as_expected(lists: str, tmp_path: Path) -> None:
    if not CASE.is_dir():
        pytest.skip(f"the case of foreign FHIR is not at {CASE}")
    out = tmp_path / "out"
    views = study(tmp_path / "study", own=lists == "own lists")
    run = ["convert", str(CASE / "in"), "--to", "sdtm", "--views", str(views), "--source", "ehr", "--format", "csv"]
    assert main([*run, "--out", str(out)]) == (3 if lists == "own lists" else 1)  # a code that is in no list
    cells, different, more = 0, list[tuple[str, ...]](), list[str]()
    for domain in DATASETS:
        made, expected = (keyed(domain, rows(folder / f"{domain}.csv")) for folder in (out / "sdtm", CASE / "expected"))
        more += sorted(made.keys() - expected.keys())
        for key, row in expected.items():
            cells += len(row)
            ours = {name: made[key].get(name, "") for name in row}  # a column without a filled cell is not written
            different += [(key, name, cell, ours[name]) for name, cell in row.items() if ours[name] != cell]
    assert cells == 611
    assert more == MORE_ROWS[lists]
    assert sorted(different) == sorted(each[:4] for each in DEPARTURES[lists])
    _check_fates(out, [f"Observation/{row.split()[1]}" for row in MORE_ROWS[lists]])


def _check_fates(out: Path, more: list[str]) -> None:
    """46 resources made rows of the expected datasets, and 20 made none; those that the shipped lists know besides."""
    expected = {row["resource"]: Counter(row["rows"].split()) for row in rows(CASE / "expected" / "taken.csv")}
    left = {row["resource"] for row in rows(CASE / "expected" / "left.csv")}
    assert (len(expected), len(left), len(expected.keys() & left)) == (46, 20, 0)
    made = dict[str, Counter[str]]()
    names = {each.partition("/")[2]: each for each in (*expected, *left)}
    for domain in DATASETS:
        table = rows(out / "sdtm" / f"{domain}.csv")
        for row in table if domain not in ("dm", "sv") else ():
            made.setdefault(names[row[f"{domain.upper()}SPID"]], Counter()).update([domain.upper()])
    assert [row["SUSPID"] for row in rows(out / "sdtm" / "su.csv")] == [SMOKING]
    assert f"Observation/{SMOKING}" in left
    apart = {name for name, found in expected.items() if found.keys() & {"DM", "SV"}}
    assert made == {name: found for name, found in expected.items() if name not in apart} | {
        name: Counter(["LB"]) for name in more
    }
    assert apart == {name for name in names.values() if name.startswith("Patient/")} | {
        name for name in expected if name.startswith("Encounter/")
    }
