"""Packages of profiles: folders and archives, with value sets of their own, and what they depend on."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fhirspace.errors import FhirspaceError, InputError, UsageError
from fhirspace.study.validate import validate
from tests.support import archives

BASE = "http://example.org/fhir"
PROFILE = {
    "resourceType": "StructureDefinition",
    "url": f"{BASE}/StructureDefinition/site-observation",
    "type": "Observation",
    "derivation": "constraint",
    "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation",
    "differential": {
        "element": [
            {"id": "Observation", "path": "Observation", "constraint": [
                {"key": "site-1", "severity": "error", "expression": "value.exists() or note.exists()"}]},
            {"id": "Observation.subject", "path": "Observation.subject", "min": 1},
            {"id": "Observation.code", "path": "Observation.code",
             "binding": {"strength": "required", "valueSet": f"{BASE}/ValueSet/tests"}},
            {"id": "Observation.extension", "path": "Observation.extension",
             "slicing": {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}},
            {"id": "Observation.extension:site", "path": "Observation.extension", "sliceName": "site", "min": 1,
             "type": [{"code": "Extension", "profile": [f"{BASE}/StructureDefinition/site"]}]},
        ]
    },
}  # fmt: skip
EXTENSION = {
    "resourceType": "StructureDefinition",
    "url": f"{BASE}/StructureDefinition/site",
    "type": "Extension",
    "derivation": "constraint",
    "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
    "context": [{"type": "element", "expression": "Observation"}],
    "snapshot": {
        "element": [
            {"id": "Extension", "path": "Extension", "max": "1"},
            {"id": "Extension.url", "path": "Extension.url", "fixedUri": f"{BASE}/StructureDefinition/site"},
            {"id": "Extension.value[x]", "path": "Extension.value[x]", "min": 1, "type": [{"code": "string"}]},
        ]
    },
}
SYSTEM = {
    "resourceType": "CodeSystem",
    "url": f"{BASE}/CodeSystem/tests",
    "content": "complete",
    "concept": [{"code": "A", "concept": [{"code": "A1"}]}, {"code": "B"}],
}
VALUES = {
    "resourceType": "ValueSet",
    "url": f"{BASE}/ValueSet/tests",
    "compose": {
        "include": [
            {"system": SYSTEM["url"], "filter": [{"property": "concept", "op": "is-a", "value": "A"}]},
        ]
    },
}
GOOD: dict[str, Any] = {
    "resourceType": "Observation",
    "meta": {"profile": [PROFILE["url"]]},
    "status": "final",
    "code": {"coding": [{"system": SYSTEM["url"], "code": "A1"}]},
    "subject": {"reference": "Patient/1"},
    "valueString": "x",
    "extension": [{"url": EXTENSION["url"], "valueString": "S1"}],
}
DEFINITIONS = {"a.json": PROFILE, "b.json": EXTENSION, "c.json": SYSTEM, "d.json": VALUES}


def folder(path: Path, **more: Any) -> Path:
    path.mkdir()
    for name, content in {**DEFINITIONS, **more}.items():
        (path / name).write_text(json.dumps(content), "utf-8")
    return path


def archive(path: Path, **more: Any) -> Path:
    made = {f"package/{name}": json.dumps(content).encode() for name, content in {**DEFINITIONS, **more}.items()}
    path.write_bytes(gzip.compress(archives.archive(made)))
    return path


def found(tmp_path: Path, resource: dict[str, Any], *profiles: Path | str) -> list[tuple[str, str | None]]:
    file = tmp_path / "one.json"
    file.write_text(json.dumps(resource), "utf-8")
    return [(each.code, each.place.column or each.place.file) for each in validate([file], profile=profiles)]


FAULTS: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("right", GOOD, []),
    (
        "code not in the value set",
        {**GOOD, "code": {"coding": [{"system": SYSTEM["url"], "code": "B"}]}},
        [("FS433", "Observation.code")],
    ),
    (
        "unknown code",
        {**GOOD, "code": {"coding": [{"system": SYSTEM["url"], "code": "C"}]}},
        [("FS426", "Observation.code.coding[0].code"), ("FS433", "Observation.code")],
    ),
    (
        "no subject",
        {name: value for name, value in GOOD.items() if name != "subject"},
        [("FS433", "Observation.subject")],
    ),
    (
        "an invariant of the profile",
        {name: value for name, value in GOOD.items() if name != "valueString"},
        [("FS424", "Observation")],
    ),
    (
        "the extension with another type",
        {**GOOD, "extension": [{"url": EXTENSION["url"], "valueInteger": 1}]},
        [("FS423", "Observation.extension[0].valueInteger")],
    ),
    ("no extension", {k: v for k, v in GOOD.items() if k != "extension"}, [("FS433", "Observation.extension")]),
]


@pytest.mark.parametrize("case", FAULTS, ids=[each[0] for each in FAULTS])
@pytest.mark.parametrize("made", [folder, archive])
def test_a_package_is_judged_by(tmp_path: Path, case: tuple[str, dict[str, Any], list[Any]], made: Any) -> None:
    _, resource, expected = case
    assert found(tmp_path, resource, made(tmp_path / "own.tgz")) == expected


def test_the_address_of_a_profile_asks_for_it_of_all_resources_of_its_type(tmp_path: Path) -> None:
    package = folder(tmp_path / "own")
    bare = {name: value for name, value in GOOD.items() if name not in ("meta", "subject")}
    assert found(tmp_path, bare, package) == []
    assert found(tmp_path, bare, package, PROFILE["url"]) == [("FS433", "Observation.subject")]  # type: ignore[arg-type]
    assert found(tmp_path, {"resourceType": "Patient"}, package, PROFILE["url"]) == []  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="FS617"):
        found(tmp_path, bare, "http://example.org/none")


def test_packages_that_others_depend_on_are_found_beside_them(tmp_path: Path) -> None:
    derived = {
        "resourceType": "StructureDefinition",
        "url": f"{BASE}/StructureDefinition/derived",
        "type": "Observation",
        "derivation": "constraint",
        "baseDefinition": PROFILE["url"],
        "differential": {"element": [{"id": "Observation.performer", "path": "Observation.performer", "min": 1}]},
    }
    (tmp_path / "guide").mkdir()
    manifest = {"name": "guide", "dependencies": {"own": "1.0.0", "hl7.fhir.r4.core": "4.0.1", "gone": "1.0.0"}}
    for name, content in (("package.json", manifest), ("derived.json", derived)):
        (tmp_path / "guide" / name).write_text(json.dumps(content), "utf-8")
    archive(tmp_path / "own-1.0.0.tgz")
    resource = {**GOOD, "meta": {"profile": [derived["url"]]}}
    assert found(tmp_path, resource, tmp_path / "guide") == [("FS437", "gone"), ("FS433", "Observation.performer")]
    del resource["subject"]
    codes = found(tmp_path, resource, tmp_path / "guide")
    assert codes == [("FS437", "gone"), ("FS433", "Observation.subject"), ("FS433", "Observation.performer")]


@pytest.mark.parametrize("content", ["{", "", '{"resourceType":"Patient"}'])
def test_what_is_no_package_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.json").write_text(content, "utf-8")
    (tmp_path / "x.tgz").write_text(content, "utf-8")
    for path in (tmp_path / "x", tmp_path / "x.tgz"):
        with pytest.raises(UsageError, match="FS617"):
            found(tmp_path, GOOD, path)


def _with_element(**element: Any) -> dict[str, Any]:
    return {**PROFILE, "differential": {"element": [element]}}


def _values(compose: Any) -> dict[str, Any]:
    return {**VALUES, "compose": compose}


MALFORMED = {
    "an id that is no text": _with_element(id=5, path=["Observation"]),
    "a cardinality in words": _with_element(id="Observation.subject", path="Observation.subject", min="one"),
    "a maximum that is no text": _with_element(id="Observation.subject", path="Observation.subject", max=1),
    "types that are numbers": _with_element(id="Observation.subject", path="Observation.subject", type=[1]),
    "an expression that is no text": _with_element(
        id="Observation", path="Observation", constraint=[{"key": "k", "expression": ["true"]}]
    ),
    "a compose that is a text": _values("all"),
    "includes that are texts": _values({"include": ["x"]}),
    "concepts that are texts": _values({"include": [{"system": SYSTEM["url"], "concept": ["A"]}]}),
    "a filter without an operator": _values({"include": [{"system": SYSTEM["url"], "filter": [{"property": "code"}]}]}),
    "a value set that is no address": _values({"include": [{"valueSet": [1]}]}),
    "codes that are numbers": {**SYSTEM, "concept": [{"code": 1}]},
    "a concept that is a text": {**SYSTEM, "concept": "A"},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_definition_is_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"FS617 0\.json"):
        found(tmp_path, GOOD, folder(tmp_path / "own", **{"0.json": MALFORMED[case]}))


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "own.tgz").read_bytes()
    for length in range(len(whole) // 2, 0, -40):
        (tmp_path / "own.tgz").write_bytes(whole[:length])
        with pytest.raises(FhirspaceError, match=r"FS617|FS101"):
            found(tmp_path, GOOD, tmp_path / "own.tgz")


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "own.tgz", "w:gz", compresslevel=1) as stream:
        member = tarfile.TarInfo("package/other/picture.png")
        member.size = 17_000_000
        stream.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(InputError, match="FS160"):
        found(tmp_path, GOOD, tmp_path / "own.tgz")


@pytest.mark.parametrize(("name", "version"), [("../guide", "1"), ("guide", "1/../../guide-2"), ("x" * 300, "1")])
def test_a_package_beside_is_never_sought_in_another_folder(name: str, version: str, tmp_path: Path) -> None:
    archive(tmp_path / "guide-1.tgz")
    archive(tmp_path / "guide-2.tgz")
    (tmp_path / "in" / "guide-1").mkdir(parents=True)
    manifest: Any = {"name": "own", "dependencies": {name: version}}
    package = archive(tmp_path / "in" / "own.tgz", **{"package.json": manifest})
    assert [code for code, _ in found(tmp_path, GOOD, package)] == ([] if name == "guide" else ["FS437"])


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("text.matches('(a+)+')", False),
        ("text.matches('(a+)+!')", True),
        ("text.matches('(a|a)*')", False),
        ("text.matches('(a?){30}a{30}')", False),
        ("text.matches('.*.*.*.*.*.*b')", False),
        ("text.replaceMatches('(a+)+b', 'x').length() = 61", True),
        ("text.replaceMatches('(a+)+', '\\\\1').length() = 3", True),
        (r"text.matches('(?!b)(a+)+')", True),  # not known to RE2: nobody can say
        ("true and " * 3000 + "false", None),  # too deep
    ],
    ids=range(9),
)
def test_no_expression_of_a_package_takes_for_ever(tmp_path: Path, expression: str, holds: bool | None) -> None:
    rule = {"key": "own-1", "severity": "error", "expression": expression}
    own = {**PROFILE, "differential": {"element": [{"id": "Observation.code", "path": "Observation.code",
                                                    "type": [{"code": "CodeableConcept"}], "constraint": [rule]}]}}  # fmt: skip
    resource = {**GOOD, "code": {"text": "a" * 60 + "!"}}
    codes = [code for code, _ in found(tmp_path, resource, folder(tmp_path / "own", **{"a.json": own}))]
    assert codes == {True: [], False: ["FS424"], None: ["FS454"]}[holds]


def supported(path: str, piece: str = "", **about: Any) -> dict[str, Any]:
    element: dict[str, Any] = {"id": f"{path}:{piece}" if piece else path, "path": path, "mustSupport": True, **about}
    return element | ({"sliceName": piece} if piece else {})


MUST: dict[str, Any] = {
    **PROFILE,
    "differential": {
        "element": [
            supported("Observation.subject"),
            supported("Observation.note"),
            supported("Observation.note.text"),
            supported("Observation.value[x]"),
            {"id": "Observation.category", "path": "Observation.category",
             "slicing": {"discriminator": [{"type": "value", "path": "text"}], "rules": "open"}},
            supported("Observation.category", "one"),
            {"id": "Observation.category:one.text", "path": "Observation.category.text", "fixedString": "one"},
            supported("Observation.category", "two"),
            {"id": "Observation.category:two.text", "path": "Observation.category.text", "fixedString": "two"},
        ]
    },
}  # fmt: skip


def test_must_support_elements_that_no_resource_has_are_a_note_for_each_profile(tmp_path: Path) -> None:
    package = tmp_path / "own"
    package.mkdir()
    (package / "p.json").write_text(json.dumps(MUST), "utf-8")
    base = {"resourceType": "Observation", "meta": GOOD["meta"], "status": "final", "code": {"text": "x"}}
    one = {**base, "subject": {"display": "x"}, "category": [{"text": "two"}]}
    file = tmp_path / "some.ndjson"

    def noted(*resources: dict[str, Any]) -> list[tuple[str, str, str]]:
        file.write_text("".join(json.dumps(each) + "\n" for each in resources), "utf-8")
        problems = validate([file], profile=package)
        return [(each.level, str(each.place), each.detail) for each in problems if each.code == "FS428"]

    missing = "3 of 6, in 2 resources: Observation.note, Observation.value[x], Observation.category:one"
    assert noted(one, base) == [("note", PROFILE["url"], missing)]
    assert noted(base, {**base, "valueString": "x"})[0][2].startswith("4 of 6, in 2 resources: ")
    rest = {"valueString": "x", "note": [{"text": "x"}], "category": [{"text": "one"}]}
    assert noted(one, {**base, **rest}) == []
    assert noted({name: value for name, value in base.items() if name != "meta"}) == [], "no resource declares it"


def test_invariants_that_cannot_be_evaluated_are_a_note(tmp_path: Path) -> None:
    package, file = tmp_path / "own", tmp_path / "some.ndjson"
    package.mkdir()
    expressions = {"own-1": "subject.exists()", "own-2": "subject.unheard()", "own-3": "subject.", "own-2b": "$index"}
    rules = [{"key": key, "severity": "error", "human": "h", "expression": text} for key, text in expressions.items()]
    element = {"id": "Observation", "path": "Observation", "constraint": rules}
    (package / "p.json").write_text(json.dumps({**MUST, "differential": {"element": [element]}}), "utf-8")
    resource = {"resourceType": "Observation", "meta": GOOD["meta"], "status": "final", "code": {"text": "x"}}
    file.write_text(json.dumps(resource) + "\n", "utf-8")
    found = [(each.level, each.code, each.detail) for each in validate([file], profile=package)]
    assert found == [("error", "FS424", ""), ("note", "FS454", "own-2, own-2b, own-3")]
