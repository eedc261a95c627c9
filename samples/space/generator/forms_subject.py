"""Forms kept once a subject, and the list of visits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from generator.draw import Draw, box, edc_date, fixed, months_before, plus, yes
from generator.events import last_contact
from generator.plan import LATE, Plan

Row = dict[str, str]
RACES = {"WHITE": ("1",), "ASIAN": ("2",), "MULTIPLE": ("1", "2")}
INCLUSION = 11
HIV_ONLY = (9, 10, 11)
HISTORY = (
    ("High blood pressure", "Hypertension"),
    ("Raised cholesterol", "Hypercholesterolaemia"),
    ("Depression", "Depression"),
    ("Asthma", "Asthma"),
    ("Perianal warts, treated", "Anogenital warts"),
    ("Gastro-oesophageal reflux", "Gastrooesophageal reflux disease"),
)
VISIT_NOTES = (
    "Travelled > 200 km; taxi voucher given",
    "Diary reviewed, naïve to capsule count",
    "Visit by nurse, “no concerns”",
)


def _birthday(age: int, on: date, days: int) -> date:
    """A birthday `days` (0..364) before the day on which the subject is `age` years old."""
    near = plus(on, -days)
    return date(near.year - age, near.month, min(near.day, 28))


def demographics(of: Plan) -> Iterator[Row]:
    """Age at consent and a birth date which agrees with it but is never known to the day."""
    who, draw = of.who, Draw(of.who.index, "demographics")
    # a day in the middle of the year of age: neither the 28th nor the shortened leap day can change the age
    born = _birthday(who.age, who.consent, draw.between(5, 330))
    races = RACES[who.race]
    yield {
        "demographics_date": edc_date(who.consent),
        "birth_date": edc_date(born, "year" if draw.chance(20) else "month"),
        "age": str(who.age),
        "age_unit": "years",
        "sex": "1" if who.sex == "M" else "2",
        **{f"race___{choice}": box(str(choice) in races) for choice in range(1, 7)},
        "country": "Australia",
    }


def eligibility(of: Plan) -> Iterator[Row]:
    """Consent, criteria and enrolment; a few men were enrolled though one criterion was not met."""
    who = of.who
    met = [(number not in HIV_ONLY or who.hiv) and f"INC{number}" != who.unmet for number in range(1, INCLUSION + 1)]
    yield {
        "consent_obtained": "Yes",
        "consent_date": edc_date(who.consent),
        "consent_version": "2.0",
        **{f"inc___{number}": box(ok) for number, ok in enumerate(met, 1)},
        "hiv_criteria_apply": yes(who.hiv),
        **{f"exc___{number}": box(False) for number in range(1, 4)},
        "eligible": yes(not who.unmet),
        "enrolment_date": edc_date(plus(who.first_dose, -Draw(who.index, "eligibility").between(0, 3))),
        "study_arm": "Pomalidomide",
    }


def visits(of: Plan) -> Iterator[Row]:
    """Every scheduled visit, done or not, and the unscheduled ones."""
    draw = Draw(of.who.index, "visit notes")
    for visit in of.visits:
        done = visit.day is not None
        scheduled = visit.planned is not None
        yield {
            "visit": visit.label,
            "visit_type": "1" if scheduled else "2",
            "planned_day": str(visit.planned) if scheduled else "",
            "window_before_days": str(visit.before) if scheduled else "",
            "window_after_days": str(visit.after) if scheduled else "",
            "visit_done": yes(done),
            "visit_date": edc_date(visit.day),
            "not_done_reason": "" if done else visit.reason,
            "unscheduled_reason": "" if scheduled else visit.reason,
            "comment": draw.pick(VISIT_NOTES) if done and draw.chance(3) else "",
        }


def smoking(of: Plan) -> Iterator[Row]:
    """Whether the subject smokes, and how much."""
    who, draw = of.who, Draw(of.who.index, "smoking")
    yield {
        "smoking_date": edc_date(who.consent),
        "current_smoker": yes(who.smoker),
        "cigarettes_per_day": str(draw.bell(2, 30)) if who.smoker else "",
        "years_smoked": fixed(draw.bell(10, 2 * (who.age - 18)) * 5, 1) if who.smoker else "",
    }


def medical_history(of: Plan) -> Iterator[Row]:
    """HIV status, the anal disease, and up to three other conditions."""
    who, draw = of.who, Draw(of.who.index, "history")
    blank = {"hsil_duration_months": "", "ain_grade": "", "comment": ""}
    hiv_since = date(who.consent.year - draw.between(3, 20), draw.between(1, 12), 1)
    yield {
        **blank,
        "mh_no": "1",
        "mh_category": "1",
        "mh_term": "HIV infection",
        "pt_name": "HIV infection",
        "present": yes(who.hiv),
        "onset_date": edc_date(hiv_since, "year" if draw.chance(60) else "month") if who.hiv else "",
        "ongoing": box(who.hiv),
        "end_date": "",
    }
    yield {
        **blank,
        "mh_no": "2",
        "mh_category": "2",
        "mh_term": "Anal high-grade squamous intraepithelial lesion",
        "pt_name": "Anal intraepithelial neoplasia",
        "present": "Yes",
        "onset_date": edc_date(months_before(who.consent, who.hsil_months), "month"),
        "ongoing": box(True),
        "end_date": "",
        "hsil_duration_months": str(who.hsil_months),
        "ain_grade": who.ain_grade,
        "comment": "Persistent at ≥ 3 consecutive assessments" if draw.chance(40) else "",
    }
    for number, (term, coded) in enumerate(conditions(of), 3):
        began = date(who.consent.year - draw.between(1, 18), draw.between(1, 12), 1)
        over = coded == "Anogenital warts"
        yield {
            **blank,
            "mh_no": str(number),
            "mh_category": "3",
            "mh_term": term,
            "pt_name": coded,
            "present": "Yes",
            "onset_date": edc_date(began, "year" if draw.chance(50) else "month"),
            "ongoing": box(not over),
            "end_date": edc_date(began, "year") if over else "",
        }


def conditions(of: Plan) -> list[tuple[str, str]]:
    """The other conditions of a subject: verbatim and coded name."""
    draw = Draw(of.who.index, "conditions")
    return [condition for condition in HISTORY if draw.chance(22)][:3]


def end_of_study(of: Plan) -> Iterator[Row]:
    """How treatment and study ended."""
    who = of.who
    withdrew = who.disposition == "WITHDRAWAL BY SUBJECT"
    code = "" if who.completed else "2" if withdrew else "3"
    ended = of.day_of(LATE) if who.completed else plus(last_contact(who), 0 if withdrew else 60)
    yield {
        "treatment_status": "1" if who.completed else "2",
        "treatment_end_date": edc_date(who.last_dose),
        "cycles_completed": str(who.cycles),
        "treatment_stop_reason": code,
        "treatment_stopped_for_ae": yes(who.stopped_for_event),
        "study_status": "1" if who.completed else "2",
        "study_end_date": edc_date(ended),
        "study_stop_reason": code,
        "last_contact_date": edc_date(last_contact(who)),
        "comment": ""
        if who.completed
        else "Moved away; no further visits"
        if withdrew
        else "3 calls, 1 letter – no reply",
    }
