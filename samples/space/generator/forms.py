"""All forms: their columns (read from ``dictionary.csv``, which is their only list) and what fills them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from generator import forms_disease, forms_lab, forms_subject, forms_treatment
from generator.cohort import site_of
from generator.forms_subject import Row
from generator.plan import Plan

DICTIONARY = Path(__file__).parent.parent / "dictionary.csv"
SUBJECT_KEY = ("site_no", "subject_no")
SYNTHETIC_NOTE = "SYNTHETIC: invented from published summaries; no record describes a real person"

FILLS: dict[str, Callable[[Plan], Iterator[Row]]] = {
    "demographics": forms_subject.demographics,
    "eligibility": forms_subject.eligibility,
    "visits": forms_subject.visits,
    "dosing_diary": forms_treatment.dosing_diary,
    "adverse_events": forms_treatment.adverse_events,
    "concomitant_medication": forms_treatment.concomitant_medication,
    "medical_history": forms_subject.medical_history,
    "smoking": forms_subject.smoking,
    "blood_count": forms_lab.blood_count,
    "chemistry": forms_lab.chemistry,
    "cd4_cd8_viral_load": forms_lab.cd4_cd8_viral_load,
    "vitals": forms_lab.vitals,
    "anoscopy_biopsy": forms_disease.anoscopy_biopsy,
    "lesion_octants": forms_disease.lesion_octants,
    "response": forms_disease.response,
    "hpv_typing": forms_disease.hpv_typing,
    "immune_monitoring": forms_lab.immune_monitoring,
    "end_of_study": forms_subject.end_of_study,
}


@dataclass(frozen=True, slots=True)
class Form:
    """A form: its name, its columns in order, and those that name a record."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    items: tuple[dict[str, str], ...]

    def cells(self, of: Plan) -> Iterator[list[str]]:
        """The records of a subject as cells; a column that is not in the dictionary is an error."""
        known = frozenset(self.columns)
        for row in FILLS[self.name](of):
            if not row.keys() <= known:
                raise KeyError(f"{self.name}: not in dictionary.csv: {sorted(row.keys() - known)}")
            yield [of.who.site, of.who.number, *(row.get(column, "") for column in self.columns[2:])]


def read_forms() -> dict[str, Form]:
    """The forms by name, in the order of the dictionary."""
    with DICTIONARY.open(encoding="utf-8", newline="") as file:
        items = list(csv.DictReader(file))
    made = {}
    for name in dict.fromkeys(item["form"] for item in items):
        own = tuple(item for item in items if item["form"] == name)
        lead = SUBJECT_KEY if name in FILLS else ()
        columns = (*lead, *(item["column"] for item in own))
        made[name] = Form(name, columns, (*lead, *(item["column"] for item in own if item["key"])), own)
    return made


def describe(forms: Iterable[Form]) -> str:
    """The forms as Markdown, one table a form, as the README shows them."""
    parts = []
    for form in forms:
        rows = [f"| `{item['column']}` | {item['meaning']} | {item['values']} |" for item in form.items]
        key = ", ".join(f"`{column}`" for column in form.key)
        head = [f"### {form.name}.csv", "", f"Key: {key}", "", "| column | meaning | values |", "| --- | --- | --- |"]
        parts.append("\n".join([*head, *rows]))
    return "\n\n".join(parts) + "\n"


def study_row(subjects: int) -> Row:
    """The one record of ``study.csv``."""
    return {
        "protocol_no": "SPACE",
        "synthetic": "Yes",
        "synthetic_note": SYNTHETIC_NOTE,
        "title": "SPACE: a Phase 2 Study of Immunomodulation in People With Persistent HPV-associated High Grade "
        "Squamous Intraepithelial Lesions",
        "short_title": "SPACE",
        "sponsor": "Kirby Institute",
        "registry_id": "NCT03113942",
        "phase": "Phase 2",
        "study_type": "Interventional",
        "allocation": "Not applicable",
        "intervention_model": "Single group",
        "blinding": "Open label",
        "control": "None",
        "primary_purpose": "Treatment",
        "indication": "Persistent anal high-grade squamous intraepithelial lesions",
        "min_age_years": "18",
        "sex_allowed": "All",
        "planned_subjects": str(subjects),
        "actual_subjects": str(subjects),
        "start_date": "14 JUN 2017",
        "primary_completion_date": "31 MAR 2019",
        "completion_date": "31 DEC 2022",
        "arm_code": "POM",
        "arm_name": "Pomalidomide",
        "arm_description": "Pomalidomide 2 mg by mouth once a day on days 1 to 21 of 28, six cycles",
        "treatment": "Pomalidomide",
        "dose_mg": "2",
        "cycles_planned": "6",
        "cycle_days": "28",
        "dosing_days": "21",
        "thromboprophylaxis": "Aspirin or other",
        "primary_outcome": "Response at the end of therapy: histological clearance (CR) or area halved at least (PR)",
        "secondary_outcome": "Response after six further months; safety",
        "ae_grading": "CTCAE 4.03",
        "meddra_version": "20.0",
    }


def site_rows(subjects: int, cohort: int) -> Iterator[Row]:
    """The records of ``sites.csv``: the published site and, for larger studies, invented ones."""
    yield {
        "site_no": "01",
        "site_name": "St Vincent's Hospital",
        "city": "Darlinghurst",
        "state": "NSW",
        "country": "Australia",
        "pathology_lab": "Douglass Hanly Moir",
    }
    used = {site_of(index, cohort) for index in range(cohort, subjects, cohort)}
    for site in sorted(used):
        lab = {"city": "", "state": "", "country": "Australia", "pathology_lab": "Synthetic Pathology"}
        yield {"site_no": site, "site_name": f"Synthetic Site {site}", **lab}
