"""The anal disease: anoscopy and biopsy, lesion size, HPV types, response."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from math import ceil

from generator.draw import Draw, box, edc_date, yes
from generator.forms_subject import Row
from generator.plan import END, LATE, SCREENING, Plan, Visit

HPV_TYPES = (16, 18, 31, 33, 35, 39, 45, 51, 52, 56, 58, 59, 68)
UNTYPED = ("Insufficient material", "Assay failed – human DNA control negative")
NOTES = (
    "Lugol’s: well demarcated, acetowhite",
    "Mosaic pattern, coarse; biopsy × 2",
    "Scar at 6 o’clock, “flat”, no ulcer",
    "Zone de transformation entièrement vue",
)


def _assessments(of: Plan) -> list[tuple[Visit, str, str, bool]]:
    """The visits due for anoscopy with octants, histology (both empty where there is none), and whether it was done."""
    who = of.who
    due = {
        SCREENING: (who.octants, "HSIL", True),
        END: (who.end_octants, who.end_histology, who.end_visit is not None),
        LATE: (who.late_octants, who.late_histology, who.late_visit is not None),
    }
    return [(visit, *due[visit.label]) for visit in of.visits if visit.label in due and visit.day]


def _grade(visit: Visit, histology: str, baseline: str, draw: Draw) -> tuple[str, str]:
    """The coded finding (1 no SIL, 2 LSIL, 3 HSIL) and its AIN grade; LSIL may remain after HSIL has cleared."""
    if histology == "NO HSIL":
        return ("2", "AIN1") if draw.chance(35) else ("1", "")
    if visit.label == SCREENING:
        return "3", baseline
    return "3", "AIN2" if draw.chance(30) else "AIN3"


def anoscopy_biopsy(of: Plan) -> Iterator[Row]:
    """One record a high-resolution anoscopy that was due at a visit that took place."""
    who, draw = of.who, Draw(of.who.index, "anoscopy")
    for number, (visit, _, histology, done) in enumerate(_assessments(of), 1):
        row = {"visit": visit.label, "hra_done": yes(done)}
        if not done:
            row |= {"hra_not_done_reason": who.end_missing.replace("EOT HRA OUT OF WINDOW", "HRA out of window")}
        else:
            finding, ain = _grade(visit, histology, who.ain_grade, draw)
            row |= {
                "hra_date": edc_date(visit.day),
                "hra_complete_view": yes(not draw.chance(6)),
                "biopsy_taken": "Yes",
                "biopsy_count": str(draw.pick((1, 1, 2, 2, 3))),
                "specimen_id": f"SYN{who.site}{who.number}-{number}",
                "histology": finding,
                "ain_grade": ain,
                "hsil_present": yes(finding == "3"),
                "comment": draw.pick(NOTES) if draw.chance(30) else "",
            }
        yield row


def _shares(total: str, parts: int) -> list[str]:
    """A size in octants over lesions, in quarters; the first takes the larger part. One lesion keeps the spelling."""
    if parts == 1:
        return [total]
    quarters = int(Decimal(total) * 4)
    return [f"{Decimal(part) / 4:.2f}" for part in (quarters - quarters // 3, quarters // 3)]


def lesion_octants(of: Plan) -> Iterator[Row]:
    """One record a lesion an assessment; the sizes of an assessment add up to the octants of the subject."""
    who, draw = of.who, Draw(of.who.index, "lesions")
    parts = 2 if Decimal(who.octants) >= 2 and draw.chance(40) else 1
    zones = [draw.pick(("1", "1", "1", "2")) for _ in range(parts)]
    first = draw.between(1, 8)
    for visit, total, _, done in _assessments(of):
        if not done:
            continue
        place = first
        for number, size in enumerate(_shares(total, parts), 1):
            wide = ceil(Decimal(size))
            inside = {(place + step - 1) % 8 + 1 for step in range(wide)}
            place += ceil(Decimal(_shares(who.octants, parts)[number - 1]))
            seen = Decimal(size) > 0
            yield {
                "visit": visit.label,
                "lesion_no": str(number),
                "assessment_date": edc_date(visit.day),
                "lesion_seen": yes(seen),
                "zone": zones[number - 1],
                **{f"octant___{octant}": box(octant in inside) for octant in range(1, 9)},
                "size_octants": size,
            }


def response(of: Plan) -> Iterator[Row]:
    """The response at the end of therapy and at month 12; who cannot be evaluated says why."""
    who = of.who
    for code, label, verdict, day, octants in (
        ("1", END, who.end_response, who.end_visit, who.end_octants),
        ("2", LATE, who.late_response, who.late_visit, who.late_octants),
    ):
        able = verdict != "NE"
        yield {
            "visit": label,
            "timepoint": code,
            "evaluable": yes(able),
            "not_evaluable_reason": "" if able else _why_not(of),
            "response_date": edc_date(day) if able else "",
            "response": verdict,
            "baseline_octants": who.octants,
            "current_octants": octants,
            "change_pct": _change(who.octants, octants) if able else "",
        }


def _why_not(of: Plan) -> str:
    who = of.who
    return "HRA out of window" if who.completed else who.disposition.capitalize()


def _change(before: str, after: str) -> str:
    return f"{(Decimal(after) - Decimal(before)) / Decimal(before) * 100:.1f}"


def hpv_typing(of: Plan) -> Iterator[Row]:
    """High-risk HPV types at screening, one checkbox each; no box of an untyped sample has a value."""
    who, draw = of.who, Draw(of.who.index, "hpv")
    day: date | None = of.day_of(SCREENING)
    row = {"visit": SCREENING, "typing_done": yes(who.hpv_typed)}
    if who.hpv_typed:
        row |= {"sample_date": edc_date(day)}
        row |= {f"hpv___{kind}": box(str(kind) in who.hpv) for kind in HPV_TYPES}
        row |= {"multiple_high_risk": yes(len(who.hpv) > 1)}
    else:
        row |= {"not_done_reason": draw.pick(UNTYPED)}
    yield row
