"""One Provenance a bundle: valid in every release, the same when made again, and readable without a journal."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.provenance import RUN, SHA256, Source, provenance, sources, targets_of
from fhirspace.errors import ServerError
from fhirspace.fhir.validation.check import check
from fhirspace.mapping.library import Library
from fhirspace.standards.fhir import RELEASES
from fhirspace.study.convert import convert
from tests import small_study
from tests.support.resources import trial

NOW = datetime(2025, 1, 2, 3, 4, 5, 678901, UTC)
NEW = [("Patient/p-1", "1"), ("Observation/o-1", "1")]
CHANGED = [("Patient/p-0", "4")]
FILES = [Source("b" * 64, "c" * 64, "0.1.0"), Source("a" * 64)]

CASES: dict[str, dict[str, Any]] = {
    "created": {"created": NEW, "updated": [], "sources": FILES},
    "updated": {"created": [], "updated": CHANGED, "sources": FILES[:1]},
    "both": {"created": NEW, "updated": CHANGED, "sources": [], "on_behalf_of": "Trial unit"},
}


def made(case: str = "both", run: str = "run-1", **other: Any) -> dict[str, Any]:
    return provenance(run, other.pop("recorded", NOW), **{**CASES[case], **other})


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("case", CASES)
def test_it_is_valid_in_every_release(case: str, release: str) -> None:
    resource = made(case)
    assert check(resource, release) == []  # type: ignore[arg-type]
    module = "fhir.resources" if release == "R5" else "fhir.resources.R4B"
    importlib.import_module(module).get_fhir_model_class("Provenance").model_validate_json(json.dumps(resource))


@pytest.mark.parametrize(("case", "code"), [("created", "CREATE"), ("updated", "UPDATE"), ("both", "")])
def test_it_says_what_was_done_to_what(case: str, code: str) -> None:
    resource = made(case)
    assert [coding["code"] for coding in resource["activity"].get("coding", ())] == ([code] if code else [])
    assert resource["activity"]["text"] == {"CREATE": "created", "UPDATE": "updated"}.get(code, "created and updated")
    assert targets_of(resource) == sorted([*CASES[case]["created"], *CASES[case]["updated"]])
    assert [item["reference"] for item in made("updated")["target"]] == ["Patient/p-0/_history/4"]
    assert resource["meta"]["tag"] == [{"system": RUN, "code": "run-1"}]


def test_made_again_it_is_the_same_and_any_other_bundle_has_another_id() -> None:
    turned = provenance("run-1", NOW.astimezone(timezone(timedelta(hours=9))), NEW[::-1], CHANGED, reversed(FILES))
    assert turned == provenance("run-1", NOW, NEW, CHANGED, FILES)
    ids = {made("created")["id"], made("updated")["id"], made("created", run="run-2")["id"]}
    ids.add(provenance("run-1", NOW, [("Observation/o-1", "2")], [], [])["id"])
    assert len(ids) == 4
    assert all(len(each) == 32 and each[0] == "p" for each in ids)


def test_it_names_files_and_mappings_by_digest_and_no_file_by_name() -> None:
    whats = [entity["what"] for entity in made("created")["entity"]]
    assert [what["identifier"] for what in whats] == [{"system": SHA256, "value": each * 64} for each in "abc"]
    assert whats[2]["display"] == "mappings, run by fhirspace 0.1.0"
    assert "entity" not in made("both")
    assert made("both")["agent"][0]["onBehalfOf"] == {"display": "Trial unit"}
    assert "onBehalfOf" not in made("created")["agent"][0]


ANSWERS: dict[str, dict[str, Any]] = {
    "as sent": {"reference": "Patient/p/_history/3"},
    "made absolute": {"reference": "https://x.example.org/fhir/Patient/p/_history/3"},
    "version cut off": {"reference": "Patient/p"},
    "reference taken off": {"display": "x"},
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_targets_are_read_whatever_the_server_made_of_the_reference(answer: str) -> None:
    (sent,) = provenance("r", NOW, [("Patient/p", "3")], [], [])["target"]
    assert targets_of({"target": [{"identifier": sent["identifier"], **ANSWERS[answer]}]}) == [("Patient/p", "3")]


@pytest.mark.parametrize(
    "target",
    [{"reference": "Patient/p"}, {}, {"identifier": {"system": "x", "value": "Patient/p/_history/3"}}],
    ids=["no version", "empty", "identifier of another"],
)
def test_a_target_without_a_version_is_told(target: dict[str, Any]) -> None:
    with pytest.raises(ServerError, match="FS577"):
        targets_of({"target": [target]})


# -- where the files come from


def test_a_manifest_is_believed_while_the_file_is_the_one_it_lists(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(small_study.write(tmp_path / "in"), to="fhir", out=out)
    files = sorted((out / "fhir").glob("*.ndjson"))
    listed = json.loads((out / "manifest.json").read_bytes())
    found = sources(files)
    assert {source.sha256 for source in found.values()} == {
        fields["sha256"] for name, fields in listed["files"].items() if name.startswith("fhir/")
    }
    digest = Library("R4").digest
    assert {(source.mappings, source.maker) for source in found.values()} == {(digest, listed["versions"]["fhirspace"])}

    with files[0].open("ab") as file:
        file.write(b"\n")
    again = sources(files)
    assert again[files[0]].sha256 != found[files[0]].sha256
    assert (again[files[0]].mappings, again[files[0]].maker) == ("", "")
    assert again[files[1]] == found[files[1]]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files":[],"versions":{}}', '{"files":{"fhir/Patient.ndjson":1}}'])
def test_files_of_others_have_a_digest_only(tmp_path: Path, text: str) -> None:
    folder = trial(tmp_path)
    if text:
        (folder / "manifest.json").write_text(text)
    found = sources((folder / "fhir").glob("*.ndjson"))
    assert len(found) == 4
    assert all(len(source.sha256) == 64 and not source.mappings and not source.maker for source in found.values())


def test_own_mappings_have_a_digest_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir()
    assert Library("R4", [tmp_path]).digest == Library("R4").digest
    (tmp_path / "domains" / "zz.yaml").write_text("domain: ZZ\n")
    own = Library("R4", [tmp_path]).digest
    assert own != Library("R4").digest
    (tmp_path / "domains" / "zz.yaml").write_text("domain: ZY\n")
    assert own not in (Library("R4", [tmp_path]).digest, Library("R4").digest)
