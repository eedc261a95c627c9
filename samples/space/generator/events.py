"""Adverse events of a subject, from the grades and the serious event of ``subjects.csv``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from generator.cohort import Person
from generator.draw import Draw, plus

NADIRS = ("Cycle 1 Day 15", "Cycle 2 Day 1", "Cycle 3 Day 1", "Cycle 4 Day 1")


@dataclass(frozen=True, slots=True)
class Term:
    """A kind of event: verbatim spellings, MedDRA names (numbers where they were checked), relation, treatment."""

    verbatim: tuple[str, ...]
    llt: str
    pt: str
    pt_code: str
    soc: str
    soc_code: str
    relations: tuple[int, ...]
    treatment: str = ""


BLOOD = ("Blood and lymphatic system disorders", "10005329")
GUT = ("Gastrointestinal disorders", "10017947")
GENERAL = ("General disorders and administration site conditions", "10018065")
SKIN = ("Skin and subcutaneous tissue disorders", "10040785")
INFECTION = ("Infections and infestations", "10021881")
MUSCLE = ("Musculoskeletal and connective tissue disorders", "10028395")
HEART = ("Cardiac disorders", "10007541")

TERMS: dict[str, Term] = {
    "AENEUT": Term(
        ("Neutropenia", "Neutropaenia", "Low neutrophils"), "Neutropenia", "Neutropenia", "10029354", *BLOOD, (3, 4, 4)
    ),
    "AECONST": Term(
        ("Constipation", "constipated", "Constipation (intermittent)"),
        *("Constipation", "Constipation", "10010774", *GUT, (3, 4)),
        treatment="MACROGOL",
    ),
    "AEFATIG": Term(
        ("Fatigue", "Tiredness", "fatigue - mild, evenings"), "Fatigue", "Fatigue", "10016256", *GENERAL, (3, 3, 4)
    ),
    "AERASH": Term(
        ("Rash", "Rash on trunk", "Itchy rash, arms and chest"),
        *("Rash", "Rash", "10037844", *SKIN, (3, 4)),
        treatment="HYDROCORTISONE",
    ),
    "AEURTI": Term(
        ("Upper respiratory tract infection", "URTI", "Cold / URTI"),
        *("Upper respiratory tract infection", "Upper respiratory tract infection", "10046306", *INFECTION, (1, 2)),
        treatment="PARACETAMOL",
    ),
    "AESPASM": Term(
        ("Muscle spasm", "Leg cramps at night"), "Muscle spasms", "Muscle spasms", "10028334", *MUSCLE, (2, 3)
    ),
    "AENAUS": Term(
        ("Nausea", "Nausea after capsules"),
        *("Nausea", "Nausea", "10028813", *GUT, (3,)),
        treatment="METOCLOPRAMIDE",
    ),
    "PNEUMONIA": Term(
        ("Community acquired pneumonia",),
        *("Community acquired pneumonia", "Pneumonia", "10035664", *INFECTION, (1,)),
        treatment="CEFTRIAXONE",
    ),
    "ACUTE CORONARY SYNDROME": Term(
        ("Acute coronary syndrome",),
        *("Acute coronary syndrome", "Acute coronary syndrome", "", *HEART, (3,)),
        treatment="CLOPIDOGREL",
    ),
    "APPENDICITIS": Term(
        ("Acute appendicitis",),
        *("Acute appendicitis", "Appendicitis", "", *INFECTION, (1,)),
        treatment="METRONIDAZOLE",
    ),
}
SERIOUS_NOTES = {
    "PNEUMONIA": "Temp 38.9 °C on admission; chest X-ray: right lower lobe. Discharged home on oral antibiotics.",
    "ACUTE CORONARY SYNDROME": "Chest pain at rest, troponin ↑; stent to one vessel.\nStudy drug held, "
    '"restart agreed with cardiology".',
    "APPENDICITIS": "Laparoscopic appendicectomy, uneventful.",
}
RELATIONS = {"NOT RELATED": 1, "POSSIBLY RELATED": 3}
COUNT_NOTES = ("Grade by count in 10⁹/L; repeat ≥ 7 days later", "Asymptomatic, no fever", "No G-CSF given")
NOTES = (
    "Settled without treatment",
    "Patient’s own words: “a nuisance, no more”",
    "Mild, seen in diary only",
    "Déjà vu: similar complaint some years ago",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One adverse event; `end` is None while it goes on; `known` is how far its start date is known."""

    kind: str
    term: Term
    verbatim: str
    grade: int
    start: date
    end: date | None
    known: str = "day"
    serious: bool = False
    relation: int = 1
    action: int = 1
    outcome: int = 1
    comment: str = ""
    held: tuple[date, date] | None = None


def last_contact(who: Person) -> date:
    """The last day on which the study knew how the subject was."""
    if who.completed and who.late_visit:
        return who.late_visit
    return plus(who.last_dose, 7 if who.disposition == "WITHDRAWAL BY SUBJECT" else 0)


def _outcome(who: Person, end: date, draw: Draw) -> tuple[date | None, int]:
    """The end and the outcome: 1 recovered, 3 recovering, 4 not recovered, 6 unknown."""
    if end > last_contact(who):
        return None, 6 if who.disposition == "LOST TO FOLLOW-UP" else 4
    if draw.chance(5):
        return None, draw.pick((3, 4))
    return end, 1


def _neutropenia(who: Person, grade: int, days: dict[str, date], draw: Draw) -> Event:
    """Found by the blood count of one of the early visits, no longer there at the next scheduled one."""
    visits = [label for label in NADIRS if label in days]
    start = days[draw.pick(visits[: min(len(visits), who.cycles)])]
    later = [(day - start).days for day in days.values() if day > start]
    end = plus(start, draw.between(7, min([21, *later])))
    term = TERMS["AENEUT"]
    comment = draw.pick(COUNT_NOTES) if draw.chance(25) else ""
    return Event(
        *("AENEUT", term, draw.pick(term.verbatim), grade, start, end),
        relation=draw.pick(term.relations),
        comment=comment,
    )


def _common(who: Person, kind: str, grade: int, draw: Draw) -> Event:
    cycle = draw.between(1, min(4, who.cycles))
    held = kind == "AERASH" and grade > 1
    start = plus(who.first_dose, 28 * (cycle - 1) + draw.between(3, 12 if held else 20))
    end, outcome = _outcome(who, plus(start, draw.between(7, 21)), draw)
    term = TERMS[kind]
    known = "month" if grade == 1 and start.day > 3 and draw.chance(12) else "day"
    return Event(
        *(kind, term, draw.pick(term.verbatim), grade, start, end, known, False),
        relation=draw.pick(term.relations),
        action=3 if held else 1,
        outcome=outcome,
        comment=draw.pick(NOTES) if draw.chance(25) else "",
        held=(plus(start, 1), plus(start, draw.between(3, 5))) if held else None,
    )


def _serious(who: Person, draw: Draw) -> Event:
    """Reads texts such as ``PNEUMONIA (G3, cycle 3)``: term, grade, when, and whether the drug was held."""
    found = re.fullmatch(r"(.+) \(G(\d), (?:cycle (\d)|follow-up)(; drug interrupted, resumed)?\)", who.serious)
    if found is None:
        raise ValueError("subjects.csv: SAE must read like 'TERM (G3, cycle 3)'")
    kind, grade, cycle, interrupted = found.groups()
    term = TERMS[kind]
    day = 28 * (int(cycle) - 1) + draw.between(3, 9) if cycle else draw.between(275, 330)
    start = plus(who.first_dose, day)
    return Event(
        *(kind, term, draw.pick(term.verbatim), int(grade), start, plus(start, draw.between(9, 21)), "day", True),
        relation=RELATIONS[who.serious_relation],
        action=3 if interrupted else 1 if cycle else 5,
        outcome=1,
        comment=SERIOUS_NOTES[kind],
        held=(start, plus(start, draw.between(5, 8))) if interrupted else None,
    )


def events(who: Person, days: dict[str, date]) -> list[Event]:
    """The adverse events in the order in which they began; `days` are the planned treatment visits that took place."""
    draw = Draw(who.index, "events")
    found = [
        _neutropenia(who, grade, days, draw) if kind == "AENEUT" else _common(who, kind, grade, draw)
        for kind, grade in who.grades
    ]
    if who.serious:
        found.append(_serious(who, draw))
    return sorted(found, key=lambda event: (event.start, event.kind))
