"""Delivery as in a notebook: a study is pushed, verified, pulled, changed and taken back, by the public functions alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

import fhirspace
from fhirspace.fhir.canonical import canonical
from fhirspace.testing import FaultyServer, serving
from tests import small_study


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path / "state"))


def converted(folder: Path, **datasets: str) -> Path:
    source = small_study.write(folder / "records", **datasets)
    assert fhirspace.convert(source, to="fhir", out=folder / "study", id_key="demo").exit_code == 0
    return folder / "study"


def lines(folder: Path) -> list[bytes]:
    return sorted(canonical(line) for path in folder.rglob("*.ndjson") for line in path.read_bytes().splitlines())


def stored(server: FaultyServer) -> dict[str, bytes]:
    return {key: canonical(body) for key, body in server.store.items() if not key.startswith("Provenance/")}


def test_push_verify_pull_and_undo(tmp_path: Path) -> None:
    study = converted(tmp_path)
    count = len(lines(study / "fhir"))
    with serving() as server:
        planned = fhirspace.plan(study, server.url, id_key="demo")
        assert planned.total("create") == count
        pushed = fhirspace.push(study, server.url, id_key="demo")
        assert (pushed.created, pushed.updated, pushed.refused, pushed.exit_code) == (count, 0, 0, 0)
        first = stored(server)
        assert len(first) == count

        verified = fhirspace.verify(pushed.run, journal=study, id_key="demo")
        assert (verified.same, verified.total, verified.problems) == (count + 1, count + 1, [])  # and a Provenance
        assert fhirspace.push(str(study), server.url, id_key="demo").unchanged == count

        pulled = fhirspace.pull(server.url, "TINY", tmp_path / "pulled")
        assert (pulled.total, pulled.problems) == (count, [])
        back = fhirspace.convert(tmp_path / "pulled", to="sdtm", out=tmp_path / "back", formats="csv", id_key="demo")
        assert back.tables["AE"]["out"] == 3

        small_study.write(tmp_path / "records", AE=small_study.AE.replace("SEVERE", "MILD"))
        fhirspace.convert(tmp_path / "records", to="fhir", out=study, id_key="demo")
        second = fhirspace.push(study, server.url, id_key="demo")
        assert (second.created, second.updated, second.unchanged) == (0, 1, count - 1)
        assert stored(server) != first

        taken = fhirspace.undo(second.run, server.url, journal=study, id_key="demo")
        assert (taken.restored, taken.deleted, taken.problems) == (1, 1, [])  # deleted: its Provenance
        assert stored(server).keys() == first.keys()
        assert {each["run"] for each in fhirspace.runs(study)} >= {pushed.run, second.run}


def test_overwrite_replaces_what_others_changed(tmp_path: Path) -> None:
    study = converted(tmp_path)
    with serving() as server:
        fhirspace.push(study, server.url, id_key="demo")
        first = stored(server)
        key = next(key for key in first if key.startswith("AdverseEvent/"))
        changed = json.loads(server.store[key]) | {"language": "de"}
        requests.put(f"{server.url}/{key}", json=changed, timeout=10).raise_for_status()
        small_study.write(tmp_path / "records", AE=small_study.AE.replace(",N,", ",Y,"))
        fhirspace.convert(tmp_path / "records", to="fhir", out=study, id_key="demo")
        assert fhirspace.push(study, server.url, id_key="demo").conflicts == 1
        forced = fhirspace.push(study, server.url, id_key="demo", overwrite=True)
        assert (forced.conflicts, forced.updated) == (0, 1)
