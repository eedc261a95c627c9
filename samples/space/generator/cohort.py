"""The subjects: 26 rows of ``subjects.csv`` and, beyond them, the cohort again with fresh numbers, values jittered."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from generator.draw import Draw, plus

SUBJECTS = Path(__file__).parent.parent / "subjects.csv"
EXTRA_SITES = 39
AE_COLUMNS = ("AENEUT", "AECONST", "AEFATIG", "AERASH", "AEURTI", "AESPASM", "AENAUS")


@dataclass(frozen=True, slots=True)
class Person:
    """One subject of the study; the field names follow the columns of ``subjects.csv``."""

    index: int
    site: str
    number: str
    age: int
    sex: str
    race: str
    hiv: bool
    regimen: tuple[str, ...]
    cd4: int | None
    smoker: bool
    consent: date
    first_dose: date
    last_dose: date
    cycles: int
    thromboprophylaxis: str
    ain_grade: str
    hsil_months: int
    octants: str
    hpv_typed: bool
    hpv: tuple[str, ...]
    end_visit: date | None
    end_response: str
    end_octants: str
    end_histology: str
    late_visit: date | None
    late_response: str
    late_octants: str
    late_histology: str
    disposition: str
    end_missing: str
    grades: tuple[tuple[str, int], ...]
    serious: str
    serious_relation: str
    stopped_for_event: bool
    unmet: str

    @property
    def completed(self) -> bool:
        """Whether all six cycles were completed."""
        return self.disposition == "COMPLETED"


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _person(index: int, row: dict[str, str]) -> Person:
    return Person(
        index=index,
        site=row["SITEID"],
        number=row["SUBJID"],
        age=int(row["AGE"]),
        sex=row["SEX"],
        race=row["RACE"],
        hiv=row["HIV"] == "P",
        regimen=tuple(row["ARTREG"].split(" + ")) if row["ARTREG"] else (),
        cd4=int(row["CD4BL"]) if row["CD4BL"] else None,
        smoker=row["SMOKER"] == "Y",
        consent=date.fromisoformat(row["RFICDTC"]),
        first_dose=date.fromisoformat(row["RFSTDTC"]),
        last_dose=date.fromisoformat(row["RFXENDTC"]),
        cycles=int(row["CYCLES"]),
        thromboprophylaxis=row["THROMBO"],
        ain_grade=row["AINGRBL"],
        hsil_months=int(row["HSILDURM"]),
        octants=row["OCTBL"],
        hpv_typed=row["HPVTYPED"] == "Y",
        hpv=tuple(row["HPVHR"].split(";")) if row["HPVHR"] else (),
        end_visit=_day(row["EOTDTC"]),
        end_response=row["RSEOT"],
        end_octants=row["OCTEOT"],
        end_histology=row["HISTEOT"],
        late_visit=_day(row["EXTDTC"]),
        late_response=row["RSEXT"],
        late_octants=row["OCTEXT"],
        late_histology=row["HISTEXT"],
        disposition=row["DSTRT"],
        end_missing=row["EOTREAS"],
        grades=tuple((name, int(row[name])) for name in AE_COLUMNS if row[name]),
        serious=row["SAE"],
        serious_relation=row["SAEREL"],
        stopped_for_event=row["TRTDISAE"] == "Y",
        unmet=row["UNMET"],
    )


def site_of(index: int, cohort: int) -> str:
    """The site number of a subject: the cohort stays at site 01, its repeats spread over sites 02..40."""
    repeat = index // cohort
    return f"{2 + (repeat - 1) % EXTRA_SITES:02d}" if repeat else "01"


def read_cohort() -> list[Person]:
    """The 26 subjects of ``subjects.csv``."""
    with SUBJECTS.open(encoding="utf-8", newline="") as file:
        return [_person(index, row) for index, row in enumerate(csv.DictReader(file))]


def person(index: int, cohort: list[Person]) -> Person:
    """Subject `index` (from 0) of a study of any size; the first ones are the cohort itself."""
    base = cohort[index % len(cohort)]
    if index < len(cohort):
        return base
    draw = Draw(index, "person")
    shift = draw.between(-60, 540)
    return replace(
        base,
        index=index,
        site=site_of(index, len(cohort)),
        number=f"{index + 1:03d}",
        age=max(18, base.age + draw.between(-4, 4)),
        cd4=None if base.cd4 is None else max(210, base.cd4 + draw.between(-90, 90)),
        hsil_months=max(12, base.hsil_months + draw.between(-4, 6)),
        consent=plus(base.consent, shift),
        first_dose=plus(base.first_dose, shift),
        last_dose=plus(base.last_dose, shift),
        end_visit=base.end_visit and plus(base.end_visit, shift),
        late_visit=base.late_visit and plus(base.late_visit, shift),
    )
