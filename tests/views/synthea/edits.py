"""Records on a server that people edit, and what each edit does to the rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.views.ehr import coded
from tests.views.synthea.people import Resource, owner, resources

KINDS: Final = [
    "Medication",
    "Patient",
    "Encounter",
    "Condition",
    "Procedure",
    "Observation",
    "MedicationRequest",
    "MedicationAdministration",
    "Immunization",
    "AllergyIntolerance",
]
"""In the order of their references."""
CHUNK, TWENTY = 150, 20
Key = tuple[str, str, str]
Rows = dict[Key, dict[str, str]]
Expected = dict[Key, dict[str, str] | None]
"""The cells that change in a row, None where the row is gone."""


class Server:
    """Plain requests, by the standard library alone."""

    def __init__(self, url: str) -> None:
        self._at = urlsplit(url)

    def ask(self, method: str, path: str = "", body: Any = None) -> Any:
        """The answer, which must not be an error."""
        line = HTTPConnection(str(self._at.hostname), self._at.port, timeout=300)
        text = None if body is None else json.dumps(body)
        line.request(method, f"{self._at.path}/{path}".rstrip("/"), text, {"Content-Type": "application/fhir+json"})
        answer = line.getresponse()
        content = answer.read()
        line.close()
        assert answer.status < 300, content[:500]
        return json.loads(content)

    def edit(self, path: str, change: Callable[[Resource], None]) -> None:
        """Reads a resource, changes it, and stores it."""
        found = self.ask("GET", path)
        change(found)
        self.ask("PUT", path, found)


def loaded(url: str, population: Path, patients: list[str]) -> set[str]:
    """Stores the records of the twenty patients that have the fewest; gives their ids."""
    mine: dict[str, list[Resource]] = {who: [] for who in patients}
    drugs = {each["id"]: each for each in resources(population, "Medication")}
    for each in resources(population, *KINDS[1:]):
        if owner(each) in mine:
            mine[owner(each)].append(each)
    chosen = set(sorted(patients, key=lambda who: (len(mine[who]), who))[:TWENTY])
    records = [each for who in sorted(chosen) for each in mine[who]]
    used = {name for each in records for name in _references(each) if name.startswith("Medication/")}
    records += [drugs[name.removeprefix("Medication/")] for name in sorted(used)]
    records.sort(key=lambda each: KINDS.index(each["resourceType"]))
    server = Server(url)
    for at in range(0, len(records), CHUNK):
        server.ask("POST", body=_transaction([_without_providers(each) for each in records[at : at + CHUNK]]))
    return chosen


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from _references(each)


def _without_providers(value: Any) -> Any:
    """Without references by a search, since the doctors and clinics are not on the server."""
    if isinstance(value, dict):
        return {
            name: _without_providers(each)
            for name, each in value.items()
            if not (name == "reference" and isinstance(each, str) and "?" in each)
        }
    return [_without_providers(each) for each in value] if isinstance(value, list) else value


def _transaction(records: list[Resource]) -> Resource:
    names = [f"{each['resourceType']}/{each['id']}" for each in records]
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": name}} for each, name in zip(records, names, strict=True)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def made(url: str, rows: Rows) -> Expected:
    """Edits nine records, and says what becomes of their rows. Baselines are spared: others would take their place."""
    server = Server(url)
    results = [key for key, row in rows.items() if key[0] == "lb" and row["LBORRESU"] == row["LBSTRESU"] and _late(row)]
    value, wrong, model = results[:3]
    pressure, event, history, drug, procedure, person = (
        next(key for key, row in rows.items() if key[0] == name and chosen(key, row))
        for name, chosen in (
            ("vs", lambda key, row: key[2] == "SYSBP" and not row["VSLOBXFL"]),
            ("ae", lambda _, row: True),
            ("mh", lambda _, row: row["MHCAT"] != "ALLERGY"),
            ("cm", lambda key, row: row["CMCAT"] == "PRESCRIPTION" and ("cm", key[1], "2") not in rows),
            ("pr", lambda _, row: True),
            ("dm", lambda _, row: True),
        )
    )
    new = {**server.ask("GET", f"Observation/{model[1]}"), "id": "new-result"}
    new["valueQuantity"]["value"] = 123.4
    del new["meta"]
    refuted = coded("http://terminology.hl7.org/CodeSystem/condition-ver-status", "refuted")
    server.edit(f"Observation/{value[1]}", lambda found: found["valueQuantity"].update(value=99.5))
    server.edit(f"Observation/{wrong[1]}", lambda found: found.update(status="entered-in-error"))
    server.edit(f"Observation/{pressure[1]}", _systolic)
    server.edit(f"Condition/{event[1]}", lambda found: found["code"].update(text="Edited term"))
    server.edit(f"Condition/{history[1]}", lambda found: found.update(verificationStatus=refuted))
    server.edit(f"MedicationRequest/{drug[1]}", lambda found: found.update(authoredOn="1900-01-02"))
    server.ask("DELETE", f"Procedure/{procedure[1]}")
    server.edit(f"Patient/{person[1]}", lambda found: found.update(birthDate="1901-01-01"))
    server.ask("PUT", "Observation/new-result", new)
    return {
        value: _result("LB", "99.5"),
        wrong: None,
        pressure: _result("VS", "201"),
        event: {"AETERM": "Edited term"},
        history: None,
        drug: {"CMSTDTC": "1900-01-02"},
        procedure: None,
        person: {"BRTHDTC": "1901-01-01"},
        ("lb", "new-result", model[2]): {**rows[model], "LBSPID": "new-result", **_result("LB", "123.4")},
    }


def _late(row: dict[str, str]) -> bool:
    return row["LBSTRESN"] != "" and not row["LBLOBXFL"] and not row["LBDY"].startswith("-")


def _result(name: str, text: str) -> dict[str, str]:
    return {f"{name}{suffix}": text for suffix in ("ORRES", "STRESC", "STRESN")}


def _systolic(found: Resource) -> None:
    (part,) = (each for each in found["component"] if each["code"]["coding"][0]["code"] == "8480-6")
    part["valueQuantity"]["value"] = 201
