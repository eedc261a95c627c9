"""People whom Synthea makes up, and a study of some of them: Synthea of Maven Central, its jars by SHA-256.

What is generated stays outside the repository: in a folder of the test, or in the one that SYNTHEA names, where a
second run finds it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fhirspace.localserver import jars
from tests.views.ehr import RXNORM, common

LOCK = Path(__file__).with_name("lock.txt")
DAY = "20260101"
ZONE = ZoneInfo("America/New_York")
YEAR = timedelta(days=365)
VISITS = """VISITNUM,VISIT,from day,to day
1,SCREENING,-30,-1
2,TREATMENT,1,7
3,WEEK 4,22,36
4,WEEK 12,71,99
5,WEEK 26,160,205
6,WEEK 52,320,370
"""
ENROLMENT = ("patient", "STUDYID", "SUBJID", "SITEID", "COUNTRY", "participation start", "participation end", "ARMCD")

Resource = dict[str, Any]


def generated(folder: Path, *, seed: int, patients: int) -> Path:
    """The folder with the NDJSON of so many living patients, and of those who died, by US Core."""
    home = Path(os.environ["SYNTHEA"]) if "SYNTHEA" in os.environ else folder
    if not (home / "fhir" / "Patient.ndjson").exists():
        library = jars.fetch(jars.read_lock(LOCK.read_text()))
        options = {"baseDirectory": str(home), "fhir.bulk_data": "true"}
        command = [jars.java(), "-Xmx2g", "-cp", os.pathsep.join(map(str, library)), "App"]
        command += ["-s", seed, "-cs", seed, "-p", patients, "-r", DAY, "-e", DAY]
        command += [f"--exporter.{name}={value}" for name, value in options.items()]
        words = [str(word) for word in command]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return home / "fhir"


def resources(folder: Path, *kinds: str) -> Iterator[Resource]:
    """The resources of some types."""
    for kind in kinds:
        with (folder / f"{kind}.ndjson").open("rb") as lines:
            yield from map(json.loads, lines)


def owner(found: Resource) -> str:
    """The id of the patient of a resource."""
    reference = (found.get("subject") or found.get("patient") or {}).get("reference", "")
    return str(found["id"] if found["resourceType"] == "Patient" else reference.removeprefix("Patient/"))


def local(text: str) -> date:
    """The day of a date or a moment at the site."""
    return datetime.fromisoformat(text).astimezone(ZONE).date() if "T" in text else date.fromisoformat(text)


def enrolled(folder: Path, home: Path, wanted: int) -> list[dict[str, str]]:
    """Makes the folder of a study of so many patients, and gives its enrolment.

    The study drug is what was administered to most patients, and the next ones as far as they are needed. A patient is
    eligible if the first dose is within the patient's life and at least five observations are of the year after it.
    Consent is some days before the dose; the end is a year later, the death, or the last observation.
    """
    patients = {each["id"]: each for each in resources(folder, "Patient")}
    seen = defaultdict[str, list[date]](list)
    for each in resources(folder, "Observation"):
        seen[owner(each)].append(local(each["effectiveDateTime"]))
    doses = _doses(folder)
    drugs, first = list[str](), dict[str, date]()
    for drug in sorted(doses, key=lambda code: (-len(doses[code]), code)):
        drugs.append(drug)
        for who, day in doses[drug].items():
            first[who] = min(day, first.get(who, day))
        eligible = [who for who in first if _eligible(patients[who], first[who], seen[who])]
        if len(eligible) >= wanted:
            break
    chosen = sorted(eligible, key=lambda who: hashlib.sha256(who.encode()).digest())[:wanted]
    rows = [_subject(at, patients[who], first[who], seen[who]) for at, who in enumerate(chosen, 1)]
    (home / "codes").mkdir(parents=True)
    (home / "common.yaml").write_text(common("synthea"))
    (home / "visits.csv").write_text(VISITS)
    write(home / "enrolment.csv", ENROLMENT, rows)
    write(home / "codes" / "STUDYDRUG.csv", ("value", "code", "form"), [(drug, f"DRUG {drug}", "") for drug in drugs])
    return [dict(zip(ENROLMENT, row, strict=True)) for row in rows]


def _doses(folder: Path) -> dict[str, dict[str, date]]:
    """The first day that each patient got a drug, by its code of RxNorm."""
    drugs = {each["id"]: each["code"] for each in resources(folder, "Medication")}
    found = defaultdict[str, dict[str, date]](dict)
    for each in resources(folder, "MedicationAdministration"):
        reference = each.get("medicationReference", {}).get("reference", "").removeprefix("Medication/")
        code = each.get("medicationCodeableConcept") or drugs.get(reference, {})
        when = each.get("effectiveDateTime") or each["effectivePeriod"]["start"]
        for coding in code.get("coding", []):
            if coding["system"] == RXNORM and each["status"] == "completed":
                days = found[coding["code"]]
                days[owner(each)] = min(local(when), days.get(owner(each), local(when)))
    return found


def _eligible(patient: Resource, first: date, seen: list[date]) -> bool:
    alive = date.fromisoformat(patient["birthDate"]) < first <= _death(patient)
    return alive and sum(first <= day <= first + YEAR for day in seen) >= 5


def _death(patient: Resource) -> date:
    return local(patient["deceasedDateTime"]) if "deceasedDateTime" in patient else date.max


def _subject(at: int, patient: Resource, first: date, seen: list[date]) -> tuple[str, ...]:
    consent = max(first - timedelta(days=1 + at % 14), date.fromisoformat(patient["birthDate"]))
    end = max(first, min(first + YEAR, _death(patient), max(seen)))
    return patient["id"], "SYN1", f"{at:03}", str(10 + at % 3), "USA", str(consent), str(end), "A"


def write(path: Path, head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Writes a CSV file."""
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])
