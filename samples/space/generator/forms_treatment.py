"""Study drug, adverse events and other medication."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from generator.draw import Draw, box, edc_date, plus, yes
from generator.events import Event
from generator.forms_subject import Row, conditions
from generator.plan import Plan

# name as reported, generic name, ATC code (WHO), dose, unit, frequency, route: the choices are in dictionary.csv
Drug = tuple[str, str, str, str, str, str, str]
ART: dict[str, Drug] = {
    "BICTEGRAVIR/EMTRICITABINE/TENOFOVIR ALAFENAMIDE": ("Biktarvy", "", "J05AR20", "1", "tablet", "1", "1"),
    "DOLUTEGRAVIR/ABACAVIR/LAMIVUDINE": ("Triumeq", "", "J05AR13", "1", "tablet", "1", "1"),
    "RILPIVIRINE/EMTRICITABINE/TENOFOVIR ALAFENAMIDE": ("Odefsey", "", "J05AR19", "1", "tablet", "1", "1"),
    "DOLUTEGRAVIR": ("Tivicay", "", "J05AJ03", "50", "mg", "1", "1"),
    "EMTRICITABINE/TENOFOVIR ALAFENAMIDE": ("Descovy", "", "J05AR17", "1", "tablet", "1", "1"),
    "DARUNAVIR/RITONAVIR": ("Prezista + Norvir", "", "", "800/100", "mg", "1", "1"),
    "RALTEGRAVIR": ("Isentress", "", "J05AJ01", "400", "mg", "2", "1"),
}
PROPHYLAXIS: dict[str, Drug] = {
    "ASPIRIN": ("Aspirin 100", "ACETYLSALICYLIC ACID", "B01AC06", "100", "mg", "1", "1"),
    "ENOXAPARIN": ("Clexane", "ENOXAPARIN", "B01AB05", "40", "mg", "1", "2"),
}
TREATMENT: dict[str, Drug] = {
    "MACROGOL": ("Movicol", "MACROGOL", "A06AD65", "1", "sachet", "1", "1"),
    "HYDROCORTISONE": ("Hydrocortisone 1% cream", "HYDROCORTISONE", "D07AA02", "", "", "2", "3"),
    "PARACETAMOL": ("Panadol", "PARACETAMOL", "N02BE01", "500", "mg", "4", "1"),
    "METOCLOPRAMIDE": ("Maxolon", "METOCLOPRAMIDE", "A03FA01", "10", "mg", "4", "1"),
    "CEFTRIAXONE": ("Ceftriaxone", "CEFTRIAXONE", "J01DD04", "1", "g", "1", "4"),
    "CLOPIDOGREL": ("Plavix", "CLOPIDOGREL", "B01AC04", "75", "mg", "1", "1"),
    "METRONIDAZOLE": ("Metronidazole", "METRONIDAZOLE", "J01XD01", "500", "mg", "3", "4"),
}
LONG_TERM: dict[str, Drug] = {
    "Hypertension": ("Coversyl", "PERINDOPRIL", "C09AA04", "5", "mg", "1", "1"),
    "Hypercholesterolaemia": ("Lipitor", "ATORVASTATIN", "C10AA05", "20", "mg", "1", "1"),
    "Depression": ("Zoloft", "SERTRALINE", "N06AB06", "50", "mg", "1", "1"),
    "Asthma": ("Ventolin puffer", "SALBUTAMOL", "R03AC02", "200", "ug", "4", "5"),
    "Gastrooesophageal reflux disease": ("Nexium", "ESOMEPRAZOLE", "A02BC05", "20", "mg", "1", "1"),
}
FORGOTTEN = ("Forgot evening dose ×1", "Away for the weekend", "Diary incomplete – count by bottle")


def dosing_diary(of: Plan) -> Iterator[Row]:
    """One record a cycle: 2 mg once a day on days 1 to 21, less what was held or forgotten."""
    who, draw = of.who, Draw(of.who.index, "dosing")
    for cycle in range(1, who.cycles + 1):
        start = plus(who.first_dose, 28 * (cycle - 1))
        end = plus(start, 20)
        number, event = _held(of, start, end)
        span = event.held if event else None
        days = (span[1] - span[0]).days + 1 if span else 0
        forgotten = draw.pick((0, 0, 0, 0, 0, 0, 1, 1, 2))
        taken = 21 - days - forgotten
        yield {
            "cycle": str(cycle),
            "start_date": edc_date(start),
            "end_date": edc_date(end),
            "dose_per_administration_mg": "2",
            "dose_frequency": "1",
            "capsules_dispensed": "21",
            "capsules_taken": str(taken),
            "capsules_returned": str(21 - taken),
            "interrupted": box(bool(span)),
            "interruption_start": edc_date(span[0]) if span else "",
            "interruption_end": edc_date(span[1]) if span else "",
            "interruption_reason": "1" if span else "",
            "interruption_ae_no": str(number) if span else "",
            "comment": draw.pick(FORGOTTEN) if forgotten and draw.chance(60) else "",
        }


def _held(of: Plan, start: date, end: date) -> tuple[int, Event | None]:
    """The event (with its line number) for which the drug was held within a cycle."""
    for number, event in enumerate(of.events, 1):
        if event.held and start <= event.held[0] <= end:
            return number, event
    return 0, None


def adverse_events(of: Plan) -> Iterator[Row]:
    """One record an event, in the order of onset."""
    for number, event in enumerate(of.events, 1):
        term = event.term
        hospital = event.serious
        yield {
            "ae_no": str(number),
            "ae_term": event.verbatim,
            "llt_name": term.llt,
            "pt_name": term.pt,
            "pt_code": term.pt_code,
            "soc_name": term.soc,
            "soc_code": term.soc_code,
            "start_date": edc_date(event.start, event.known),
            "end_date": edc_date(event.end),
            "ongoing": box(event.end is None),
            "ctcae_grade": str(event.grade),
            "serious": yes(event.serious),
            **{f"sae_criteria___{choice}": box(hospital and choice == 3) for choice in range(1, 7)},
            "admission_date": edc_date(event.start) if hospital else "",
            "discharge_date": edc_date(plus(event.start, 4)) if hospital else "",
            "relationship": str(event.relation),
            "action_taken": str(event.action),
            "outcome": str(event.outcome),
            "treatment_given": yes(_treated(event)),
            "led_to_withdrawal": "No",
            "comment": event.comment,
        }


def _treated(event: Event) -> bool:
    """Mild events are mostly left alone; which ones is read off the date, so that two forms agree."""
    return bool(event.term.treatment) and (event.grade > 1 or event.start.day % 2 == 0)


def concomitant_medication(of: Plan) -> Iterator[Row]:
    """Antiretroviral regimen, thromboprophylaxis, standing medicines, treatments of adverse events."""
    for number, row in enumerate(_medicines(of, Draw(of.who.index, "medication")), 1):
        yield {"cm_no": str(number), **row}


def _medicines(of: Plan, draw: Draw) -> Iterator[Row]:
    who = of.who
    for name in who.regimen:
        began = date(who.consent.year - draw.between(1, 3), draw.between(1, 12), 1)
        brand, _, *rest = ART[name]
        drug = (brand, name, *rest)
        yield _medicine(drug, "HIV infection", edc_date(began, "year" if draw.chance(35) else "month"), "", before=True)
    for _, coded in conditions(of):
        if coded in LONG_TERM:
            began = date(who.consent.year - draw.between(1, 4), draw.between(1, 12), 1)
            when = edc_date(began, "year" if draw.chance(50) else "month")
            yield _medicine(LONG_TERM[coded], coded, when, "", before=True)
    drug = PROPHYLAXIS[who.thromboprophylaxis]
    yield _medicine(drug, "Thromboprophylaxis", edc_date(who.first_dose), edc_date(who.last_dose))
    for number, event in enumerate(of.events, 1):
        if _treated(event):
            drug = TREATMENT[event.term.treatment]
            over = event.end and edc_date(event.end)
            yield _medicine(drug, event.verbatim, edc_date(event.start, event.known), over or "", ae_no=str(number))


def _medicine(
    drug: tuple[str, ...], indication: str, start: str, end: str, *, before: bool = False, ae_no: str = ""
) -> Row:
    brand, generic, atc, dose, unit, frequency, route = drug
    return {
        "med_name": brand,
        "generic_name": generic,
        "atc_code": atc,
        "dose": dose,
        "dose_unit": unit,
        "frequency": frequency,
        "route": route,
        "indication": indication,
        "ae_no": ae_no,
        "started_before_study": yes(before),
        "start_date": start,
        "end_date": end,
        "ongoing": box(not end),
    }
