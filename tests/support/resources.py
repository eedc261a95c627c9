"""Small valid resources for the delivery tests, as lines of NDJSON, and a folder of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STUDY = "TRIAL01"


def resource(kind: str, key: str, study: str = STUDY, **elements: Any) -> dict[str, Any]:
    tag = {"system": "https://fhirspace.org/study", "code": study}
    html = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
    return {"resourceType": kind, "id": key, "meta": {"security": [html], "tag": [tag]}, **elements}


def ref(kind: str, name: str) -> dict[str, str]:
    return {"reference": f"{kind}/{name}"}


def organization(name: str = "o-1") -> dict[str, Any]:
    return resource("Organization", name, name="Site 1")


def study(name: str = "s-1") -> dict[str, Any]:
    return resource("ResearchStudy", name, status="active", title="A trial")


def patient(name: str, **elements: Any) -> dict[str, Any]:
    return resource("Patient", name, gender="female", managingOrganization=ref("Organization", "o-1"), **elements)


def observation(name: str, subject: str, value: str = "5.50", **elements: Any) -> str:
    """A line, since its decimal must keep its spelling: `value` is put in as it is."""
    body = resource(
        "Observation",
        name,
        status="final",
        code={"text": "Glucose"},
        subject=ref("Patient", subject),
        effectiveDateTime="2024-05-01",
        valueQuantity={"value": "@", "unit": "mmol/L"},
        **elements,
    )
    return dump(body).replace('"@"', value)


def dump(body: dict[str, Any]) -> str:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def write(folder: Path, lines: dict[str, list[Any]]) -> Path:
    """`folder/fhir/<Type>.ndjson` for each type; a line may be a dict or a text."""
    home = folder / "fhir"
    home.mkdir(parents=True, exist_ok=True)
    for kind, items in lines.items():
        text = "".join((item if isinstance(item, str) else dump(item)) + "\n" for item in items)
        (home / f"{kind}.ndjson").write_text(text, "utf-8")
    return folder


def trial(folder: Path, patients: int = 3, each: int = 4) -> Path:
    """A small trial: an Organization, a ResearchStudy, `patients` Patients and `each` Observations for each."""
    names = [f"p-{number}" for number in range(patients)]
    spelled = ["5.50", "0.10", "-1.0", "12", "100.000"]
    return write(
        folder,
        {
            "Observation": [
                observation(f"ob-{name}-{turn}", name, spelled[turn % len(spelled)])
                for name in names
                for turn in range(each)
            ],
            "Patient": [patient(name) for name in names],
            "Organization": [organization()],
            "ResearchStudy": [study()],
        },
    )


def lines_of(folder: Path) -> list[bytes]:
    return [line for file in sorted((folder / "fhir").glob("*.ndjson")) for line in file.read_bytes().splitlines()]
