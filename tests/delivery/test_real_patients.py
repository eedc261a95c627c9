"""Against a real HAPI FHIR server: records of an EHR are looked at, pulled and converted, and edits are followed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fhirspace.cli import main
from fhirspace.errors import EXIT_CLEAN, EXIT_FINDINGS
from fhirspace.fhirserver.http.client import Client, HttpTransport
from tests.views.ehr import COMMON, dose, lab, patient

pytestmark = [pytest.mark.server, pytest.mark.slow]


def values(folder: Path, url: str) -> list[tuple[str, str]]:
    """The id and value of each laboratory record, after everything of the patients was pulled."""
    patients = ["--patients", str(folder / "study/enrolment.csv")]
    assert main(["pull", "--server", url, *patients, "--out", str(folder / "in")]) == EXIT_CLEAN
    views = ["--views", str(folder / "study"), "--out", str(folder / "out")]
    assert main(["convert", str(folder / "in"), "--to", "records", *views]) in (EXIT_CLEAN, EXIT_FINDINGS)
    head, *lines = (folder / "out/records/lab.csv").read_text().splitlines()
    at = [head.split(",").index(name) for name in ("id", "value")]
    return [(line.split(",")[at[0]], line.split(",")[at[1]]) for line in lines]


def test_profile_pull_convert_and_again_after_edits(
    hapi: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = hapi("R4")
    transport = HttpTransport(url)
    client = Client(url, transport)

    def put(*given: dict[str, Any]) -> None:
        for each in given:
            client.json("PUT", f"{each['resourceType']}/{each['id']}", msgspec.json.encode(each))

    own, other = "views-1", "views-2"
    first = lab("views-l1", f"Patient/{own}", "2026-02-03T10:00:00Z")
    second = lab("views-l2", f"Patient/{own}", "2026-02-04T10:00:00Z")
    put(patient(own), patient(other), dose("views-d1", f"Patient/{own}", "2026-02-02T15:00:00Z"), first, second)
    put(lab("views-l3", f"Patient/{other}", "2026-02-03T10:00:00Z"))
    (tmp_path / "study").mkdir()
    (tmp_path / "study/common.yaml").write_text(COMMON.replace("visits: visits.csv\n", ""))
    (tmp_path / "study/enrolment.csv").write_text(f"patient,STUDYID,SUBJID\n{own},EHR9,001\n")

    assert main(["mapping", "profile", "--server", url, "--patients", own, other, "--json"]) == EXIT_CLEAN
    found = json.loads(capsys.readouterr().out)
    assert found["types"] == {"Observation": 3, "Patient": 2, "MedicationAdministration": 1}
    assert values(tmp_path, url) == [("views-l1", "12.5"), ("views-l2", "12.5")]
    put({**first, "valueQuantity": {**first["valueQuantity"], "value": 9.1}}, {**second, "status": "entered-in-error"})
    assert values(tmp_path, url) == [("views-l1", "9.1")]
    client.request("DELETE", "Observation/views-l2")
    put(lab("views-l4", f"Patient/{own}", "2026-02-05T10:00:00Z"))
    assert values(tmp_path, url) == [("views-l1", "9.1"), ("views-l4", "12.5")]
    transport.close()
