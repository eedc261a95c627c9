"""Bundles, single resources and compressed files are pushed as NDJSON is."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.push.order import Order, Reader, inputs
from fhirspace.errors import FhirspaceError
from tests.support.resources import dump, organization, patient

UUID = "2f6b3c1e-9a53-4b1a-8b57-0d4b8a1c7f10"


def bundle(*entries: dict[str, Any]) -> str:
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}, indent=2)


def sent(folder: Path) -> list[tuple[str, bytes]]:
    with Order(inputs(folder)) as order, Reader() as reader:
        return [(str(item.place), reader.line(item)) for unit in order.units() for item in unit]


def test_a_bundle_is_its_resources_and_its_inner_references_become_relative(tmp_path: Path) -> None:
    child = {"resourceType": "Patient", "managingOrganization": {"reference": f"urn:uuid:{UUID}"}}
    text = bundle(
        {
            "fullUrl": "https://elsewhere.example/Patient/p-1",
            "resource": {**child, "id": "p-1", "multipleBirthInteger": 2},
        },
        {"fullUrl": f"urn:uuid:{UUID}", "resource": {"resourceType": "Organization", "name": "Klinik Süd"}},
        {"request": {"method": "DELETE", "url": "Patient/x"}},
        {
            "resource": {
                "resourceType": "Basic",
                "id": "b",
                "subject": {"reference": "https://elsewhere.example/Patient/p-1"},
            }
        },
    )
    (tmp_path / "load.json").write_text(text, "utf-8")
    found = sent(tmp_path)
    assert [place for place, _ in found] == ["load.json:2", "load.json:1", "load.json:4"]
    bodies = [json.loads(line) for _, line in found]
    assert bodies[0] == {"id": UUID, "resourceType": "Organization", "name": "Klinik Süd"}
    assert bodies[1]["managingOrganization"] == {"reference": f"Organization/{UUID}"}
    assert bodies[2]["subject"] == {"reference": "Patient/p-1"}


def test_a_bundle_that_was_cut_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "org.json").write_text(dump(organization()))
    (tmp_path / "cut.json").write_text(bundle({"resource": organization()})[:-9])
    with pytest.raises(FhirspaceError, match=r"FS401 cut\.json"):
        sent(tmp_path)


def test_decimals_and_text_stay_as_they_are_spelt(tmp_path: Path) -> None:
    resource = '{"resourceType": "Observation",\r\n "id": "o", "valueQuantity": {"value": 5.50, "unit": "a\\nb"}}'
    (tmp_path / "one.json").write_bytes(resource.encode())
    ((_, line),) = sent(tmp_path)
    assert b'"value": 5.50' in line
    assert b"a\\nb" in line
    assert b"\n" not in line


@pytest.mark.parametrize("name", ["Patient.ndjson.gz", "Patient.jsonl", "Patient.ndjson"])
def test_places_are_those_of_the_file_also_when_it_is_compressed(tmp_path: Path, name: str) -> None:
    text = ("\ufeff" + dump(patient("p-1")) + "\r\n\n" + dump(patient("p-2")) + "\n").encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    assert [place for place, _ in sent(tmp_path)] == [f"{name}:1", f"{name}:3"]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"resourceType":"Patient","id":"no"}')
    (tmp_path / "package.json").write_text('{"name": "x"}')
    (tmp_path / ".hidden.json").write_text(dump(patient("no")))
    (tmp_path / "org.json").write_text(dump(organization()))
    assert [place for place, _ in sent(tmp_path)] == ["org.json:1"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("load.json", b'{"resourceType":"Bundle","entry":[{"resource":{', "FS401"),
        ("load.json", b'{"resourceType":"Bundle","entry":7}', "FS401"),
        ("load.json", b'{"a":1}', "FS406"),
        ("load.ndjson.gz", gzip.compress(b'{"resourceType":"Patient","id":"a"}\n' * 99, mtime=0)[:-9], "FS404"),
    ],
)
def test_a_file_that_is_no_fhir_is_said(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FhirspaceError, match=code), Order(inputs(tmp_path / name)):
        pass
