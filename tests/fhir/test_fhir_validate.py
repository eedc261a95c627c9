"""Validation of files and folders: the place of each finding, and what fhir.resources says to the same resources."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fhirspace.errors import InputError, UsageError
from fhirspace.fhir.validation.check import check
from fhirspace.fhir.validation.models import by_models, models_of
from fhirspace.fhir.validation.validate import validate
from fhirspace.standards.fhir import RELEASES, Release
from tests.fhir.fhir_samples import ABSENT, ADVERSE_EVENT, BUNDLE, GOOD, OBSERVATION, PATIENT, Json, changed

BAD = changed(OBSERVATION, "status", "finished")


def written(path: Path, *resources: Json, indent: int | None = None) -> Path:
    path.write_text("\n".join(json.dumps(item, indent=indent) for item in resources), "utf-8")
    return path


def found(*paths: Path, release: Release = "R4", full: bool = False) -> list[tuple[str, str, int | None, str | None]]:
    """All but what is found across resources, which has tests of its own (`test_across`)."""
    problems = [item for item in validate(paths, fhir=release, full=full) if item.code not in ("FS435", "FS436")]
    return [(item.code, item.place.file, item.place.row, item.place.column) for item in problems]


def test_a_finding_names_file_line_and_element(tmp_path: Path) -> None:
    path = written(tmp_path / "Observation.ndjson", OBSERVATION, BAD, OBSERVATION)
    assert found(path) == [("FS417", "Observation.ndjson", 2, "Observation.status")]
    assert [problem.table for problem in validate([path]) if problem.code == "FS417"] == ["Observation"]


def test_resources_and_bundles_are_looked_into(tmp_path: Path) -> None:
    resource = written(tmp_path / "a.json", BAD, indent=1)
    bundle = written(tmp_path / "b.json", changed(BUNDLE, "entry.1.resource.gender", "F"))
    assert found(resource, bundle) == [
        ("FS417", "a.json", None, "Observation.status"),
        ("FS417", "b.json", None, "Bundle.entry[1].resource.gender"),
    ]


def test_damaged_lines_do_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "Observation.ndjson"
    line = json.dumps(BAD)
    path.write_text("\n".join(["{", line.replace("{", '{"id":"x",', 1), '{"a":1}', line]), "utf-8")
    assert [item[:1] + item[2:] for item in found(path)] == [
        ("FS401", 1, None),
        ("FS402", 2, None),
        ("FS410", 3, "resourceType"),
        ("FS417", 4, "Observation.status"),
    ]


def test_a_folder_gives_all_its_fhir(tmp_path: Path) -> None:
    (tmp_path / "fhir").mkdir()
    written(tmp_path / "fhir" / "Observation.ndjson", BAD)
    written(tmp_path / "fhir" / "Patient.ndjson", PATIENT)
    written(tmp_path / "manifest.json", {"files": []})
    written(tmp_path / "problems.ndjson", {"code": "FS101"})
    (tmp_path / "notes.txt").write_text("x")
    assert found(tmp_path) == [("FS417", "Observation.ndjson", 1, "Observation.status")]


def test_other_files_of_a_folder_are_named(tmp_path: Path) -> None:
    written(tmp_path / "Patient.ndjson", PATIENT)
    written(tmp_path / "package.json", {"name": "x"})
    (tmp_path / "Patient.xml").write_text("<Patient/>")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "journal.db").write_bytes(b"x")
    (tmp_path / "problems.ndjson").write_bytes(b"")
    named = [("FS180", "package.json"), ("FS180", "Patient.xml"), ("FS181", ".hidden"), ("FS181", "problems.ndjson")]
    assert sorted(found(tmp_path)) == sorted((*each, None, None) for each in named)


def test_nothing_to_check_is_a_finding(tmp_path: Path) -> None:
    assert [item[0] for item in found(tmp_path)] == ["FS406"]
    written(tmp_path / "manifest.json", {"files": []})
    assert [item[0] for item in found(tmp_path)] == ["FS406"]
    assert found(tmp_path / "manifest.json") == [("FS406", "manifest.json", None, None)]
    with pytest.raises(InputError, match=r"FS101 no\.json"):
        found(tmp_path / "no.json")


def test_a_damaged_file_named_as_a_resource_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "Patient.ndjson").write_text("{damaged")
    assert found(tmp_path) == [("FS406", "Patient.ndjson", None, None)]


@pytest.mark.parametrize("release", RELEASES)
def test_right_files_pass_the_full_check(tmp_path: Path, release: Release) -> None:
    path = written(tmp_path / "all.ndjson", *GOOD[release])
    noted = {code for code, *_ in found(path, release=release, full=True)}
    assert noted <= {"FS439"}, "nobody has a list of LOINC"


AGREED: list[tuple[Json, str, Any]] = [
    (OBSERVATION, "vlaueString", "x"),
    (OBSERVATION, "status", ABSENT),
    (OBSERVATION, "code", "ALT"),
    (OBSERVATION, "identifier", OBSERVATION["identifier"][0]),
    (OBSERVATION, "id", "a_1"),
    (OBSERVATION, "effectiveDateTime", "2024-13"),
    (OBSERVATION, "valueString", "x"),
    (OBSERVATION, "component.0.code", ABSENT),
    (OBSERVATION, "subject", "Patient/p1"),
    (OBSERVATION, "extension.0.url", ABSENT),
    (ADVERSE_EVENT, "subject", ABSENT),
]


@pytest.mark.parametrize(("resource", "path", "value"), AGREED)
def test_both_checks_refuse_the_same(resource: Json, path: str, value: Any) -> None:
    pytest.importorskip("fhir.resources")
    wrong = changed(resource, path, value)
    theirs = by_models(json.dumps(wrong).encode(), models_of("R4"))
    assert check(wrong, "R4")
    assert theirs
    assert {item[1] for item in theirs} == {"FS430"}


def test_what_only_the_models_refuse_is_named_by_its_rule(tmp_path: Path) -> None:
    """R4B asks more of some resources than R4: the own check reads R4, the models are R4B's."""
    pytest.importorskip("fhir.resources")
    resource = {
        "resourceType": "Evidence",
        "status": "active",
        "exposureBackground": {"reference": "EvidenceVariable/1"},
    }
    assert check(resource) == []
    theirs = by_models(json.dumps(resource).encode(), models_of("R4"))
    assert ("Evidence.exposureBackground", "FS430") in [(path, code) for path, code, _ in theirs]


def test_a_type_without_a_model_is_reported() -> None:
    pytest.importorskip("fhir.resources")
    raw = b'{"resourceType":"MedicinalProductInteraction","description":"x"}'
    assert [code for _, code, _ in by_models(raw, models_of("R4"))] == ["FS431"]


def test_the_models_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fhir.resources", None)
    with pytest.raises(UsageError, match="FS432") as caught:
        models_of("R4")
    assert str(caught.value).count("pip install") == 1


def test_no_finding_repeats_a_value(tmp_path: Path) -> None:
    canary = "C4N4RY"
    wrong = [changed(resource, path, canary) for resource, path, _ in AGREED if "resourceType" not in path]
    path = written(tmp_path / "a.ndjson", *wrong)
    problems = list(validate([path], full=True))
    assert problems
    assert canary not in "".join(map(str, problems))
