"""HL7's packages for the local server, without what HAPI throws away."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

from fhirspace.localserver.packages import slim
from tests.support import archives

PLACE = "org/hl7/fhir/r5/packages/some.core-5.0.0.tgz"


def package(contents: dict[str, bytes]) -> bytes:
    return gzip.compress(archives.archive(contents))


def jar(folder: Path, name: str, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for inner, raw in contents.items():
            archive.writestr(inner, raw)
    return folder / name


def resource(kind: str, **more: object) -> bytes:
    return json.dumps({"resourceType": kind, **more}).encode()


def test_what_hapi_keeps_stays_word_for_word_but_for_its_narrative(tmp_path: Path) -> None:
    kept = b'{"resourceType":"StructureDefinition","min":5.50,"name":"\\u00e9","text":{"div":"<div/>"},"abstract":true}'
    whole = package(
        {
            "package/package.json": b'{"name" : "some.core"}',
            "package/.index.json": b'{"files" : []}',
            "package/StructureDefinition-x.json": kept,
            "package/ValueSet-x.json": resource("ValueSet", text={"div": "<div/>"}),
            "package/StructureMap-x.json": resource("StructureMap"),
            "package/Bundle-x.json": resource("Bundle"),
            "package/README.md": b"text",
            "package/xml/x.xsd": b"<schema/>",
            "package/other/spec.internals": b'{"text" : 1}',
            "example/CodeSystem-x.json": resource("CodeSystem"),
        }
    )
    library = [
        jar(tmp_path, "hapi-fhir-validation-resources-r5-1.0.jar", {PLACE: whole, "META-INF/MANIFEST.MF": b""}),
        jar(tmp_path, "hapi-fhir-structures-r5-1.0.jar", {"another.tgz": whole}),
    ]
    slim(library, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.tgz")] == [PLACE]
    with tarfile.open(tmp_path / "out" / PLACE) as tar:
        found = {member.name: (tar.extractfile(member) or io.BytesIO()).read() for member in tar}
    assert found == {
        "package/package.json": b'{"name" : "some.core"}',
        "package/.index.json": b'{"files" : []}',
        "package/StructureDefinition-x.json": kept.replace(b',"text":{"div":"<div/>"}', b""),
        "package/ValueSet-x.json": b'{"resourceType":"ValueSet"}',
        "package/other/spec.internals": b'{"text" : 1}',
    }
