"""What happens to a subject: the visits that took place or did not, and the adverse events between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from generator.cohort import Person
from generator.draw import Draw, plus
from generator.events import NADIRS, Event, events, last_contact

SCREENING, FIRST, END, LATE = "Screening", "Cycle 1 Day 1", "End of treatment", "Follow-up 2"
# label, planned study day, days allowed before and after it
SCHEDULE: tuple[tuple[str, int, int, int], ...] = (
    (SCREENING, -14, 14, 13),
    (FIRST, 1, 0, 0),
    ("Cycle 1 Day 15", 15, 3, 3),
    *((f"Cycle {cycle} Day 1", 28 * (cycle - 1) + 1, 3, 3) for cycle in range(2, 7)),
    (END, 169, 14, 14),
    ("Follow-up 1", 260, 28, 28),
    (LATE, 351, 28, 28),
)
MAY_BE_MISSED = ("Cycle 3 Day 1", "Cycle 4 Day 1", "Cycle 5 Day 1", "Cycle 6 Day 1", "Follow-up 1")
REASONS = ("Public holiday, no other day within the window", "Subject interstate", "Subject unwell – stayed at home")


@dataclass(frozen=True, slots=True)
class Visit:
    """A scheduled or unscheduled visit; `day` is None where it did not take place, for the given `reason`."""

    label: str
    planned: int | None
    before: int | None
    after: int | None
    day: date | None
    reason: str = ""
    recheck: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A subject with its visits (in the order of the schedule, unscheduled ones where they fell) and its events."""

    who: Person
    visits: list[Visit]
    events: list[Event]

    def attended_visits(self) -> list[tuple[Visit, date]]:
        """The visits that took place, with their dates."""
        return [(visit, visit.day) for visit in self.visits if visit.day is not None]

    def day_of(self, label: str) -> date | None:
        """The date of a visit, None where it did not take place."""
        return next((visit.day for visit in self.visits if visit.label == label), None)


def _nominal(who: Person, planned: int) -> date:
    return plus(who.first_dose, planned - 1 if planned > 0 else planned)


def _stopped(who: Person) -> str:
    return "Subject withdrew consent" if who.disposition == "WITHDRAWAL BY SUBJECT" else "Lost to follow-up"


def _scheduled_day(who: Person, label: str, planned: int, draw: Draw) -> date:
    fixed_days = {SCREENING: who.consent, FIRST: who.first_dose, END: who.end_visit, LATE: who.late_visit}
    day = fixed_days.get(label)
    if day is not None:
        return day
    jitter = draw.between(-10, 12) if planned > 150 else draw.pick((-2, -1, 0, 0, 0, 1, 2))
    if label.endswith("Day 1"):
        jitter = -abs(jitter)  # the capsules of a cycle are handed out at its first visit
    return plus(_nominal(who, planned), jitter)


def _scheduled(who: Person, draw: Draw) -> list[Visit]:
    made = []
    for label, planned, before, after in SCHEDULE:
        day = _scheduled_day(who, label, planned, draw)
        missed = label in MAY_BE_MISSED and draw.chance(4)
        why = draw.pick(REASONS)
        if day > last_contact(who) or (not who.completed and label == END):
            made.append(Visit(label, planned, before, after, None, _stopped(who)))
        elif missed:
            made.append(Visit(label, planned, before, after, None, why))
        else:
            made.append(Visit(label, planned, before, after, day))
    return made


def _unscheduled(who: Person, found: list[Event], taken: set[date], draw: Draw) -> list[Visit]:
    """Rechecks of a neutropenia of grade 2 or more, visits after a serious event, a few others."""
    wanted = [
        (event.end, "Repeat blood count", True)
        for event in found
        if event.kind == "AENEUT" and event.grade > 1 and event.end
    ]
    wanted += [(event.end, "Review after hospital admission", False) for event in found if event.serious and event.end]
    if who.completed and draw.chance(8):
        wanted.append((plus(who.first_dose, draw.between(30, 160)), "Capsule bottle mislaid, resupply", False))
    free = sorted(item for item in wanted if item[0] not in taken)
    return [
        Visit(f"Unscheduled {number}", None, None, None, day, why, recheck)
        for number, (day, why, recheck) in enumerate(free, 1)
    ]


def _in_order(scheduled: list[Visit], extra: list[Visit], who: Person) -> list[Visit]:
    """Unscheduled visits come before the first scheduled visit that is later, by its date or its planned day."""

    def when(visit: Visit) -> date:
        return visit.day or _nominal(who, visit.planned or 0)

    return sorted([*scheduled, *extra], key=when)


def plan(who: Person) -> Plan:
    """Everything that happens to a subject, before any form records it."""
    draw = Draw(who.index, "visits")
    scheduled = _scheduled(who, draw)
    days = {visit.label: visit.day for visit in scheduled if visit.day is not None and visit.label != SCREENING}
    found = events(who, days)
    taken = {visit.day for visit in scheduled if visit.day is not None}
    extra = _unscheduled(who, found, taken, draw)
    return Plan(who, _in_order(scheduled, extra, who), found)


def nadirs(of: Plan) -> dict[str, int]:
    """The grade of neutropenia at each visit whose blood count found one."""
    grades = {event.start: event.grade for event in of.events if event.kind == "AENEUT"}
    return {visit.label: grades[day] for visit, day in of.attended_visits() if visit.label in NADIRS and day in grades}
