"""Provenance: who wrote what to the server, from which files. One for each bundle; an undo reads them.

Source: FHIR R4, R4B and R5, "Provenance" (the elements used here have the same shape in all three), W3C PROV.

A Provenance carries the tag of its run; the resources themselves do not, since a tag that changes with each run would
make a new version of everything. Nothing it refers to has to be on the server but its targets: the software and the
files are given as identifiers. File names are left out, they are the user's and may name a patient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fhirspace.errors import ServerError
from fhirspace.fhir.references import parsed
from fhirspace.fhir.tags import VERSION
from fhirspace.fhirserver.address import is_id, is_key
from fhirspace.tables.durable import manifest
from fhirspace.version import __version__

RUN: Final = "https://fhirspace.org/run"
"""The system of the tag that names a run."""
SOFTWARE: Final = "https://fhirspace.org/software"
SHA256: Final = "urn:oid:2.16.840.1.101.3.4.2.1"
"""The object identifier of SHA-256 (NIST), as the system of digests in hexadecimal."""

_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"

Target = tuple[str, str]
"""A resource at one of its versions: key (``Type/id``) and version."""


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A file that resources came out of: its SHA-256.

    And of the mappings that made it the SHA-256, and the version of fhirspace that ran them; "" where nobody knows.
    """

    sha256: str
    mappings: str = ""
    maker: str = ""


def sources(files: Iterable[Path]) -> dict[Path, Source]:
    """What is known of input files.

    A manifest (of fhirspace, in the folder of the file or the one above) is used for the mappings of a file only while
    the file still has the digest in it. Files are read as a stream.

    Raises:
        OSError: a file cannot be read.
    """
    manifests: dict[Path, dict[str, Any]] = {}
    found = {}
    for file in files:
        with file.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        made = _made(file.absolute(), sha256, manifests)
        found[file] = Source(sha256, str(made.get("mappings", "")), str(made.get("fhirspace", "")))
    return found


def _made(file: Path, sha256: str, manifests: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """The versions by which a file was made."""
    for home in file.parents[:2]:
        if home not in manifests:
            manifests[home] = _manifest(home)
        entry = manifests[home]["files"].get(file.relative_to(home).as_posix())
        if isinstance(entry, dict) and entry.get("sha256") == sha256:
            return dict(manifests[home]["versions"])
    return {}


def _manifest(home: Path) -> dict[str, Any]:
    """The versions and files of a manifest; both empty where there is none, or something else of that name."""
    content = manifest(home)
    parts = {name: content.get(name) for name in ("versions", "files")}
    return parts if all(isinstance(each, dict) for each in parts.values()) else {"versions": {}, "files": {}}


def provenance(
    run: str,
    recorded: datetime,
    created: Collection[Target],
    updated: Collection[Target],
    sources: Iterable[Source],
    *,
    on_behalf_of: str = "",
) -> dict[str, Any]:
    """The Provenance of one bundle: the same arguments make the same resource, so that a repeated PUT changes nothing.

    Args:
        run: the run; it becomes the tag.
        recorded: when the bundle was answered (or the run started), with its zone.
        created, updated: exactly what the server took as new or as a new version; one at least.
        sources: the files that it came out of.
        on_behalf_of: for whom the run was made, a name of an organization or service out of the configuration.
    """
    targets = sorted({*created, *updated})
    key, version = targets[0]
    name = hashlib.sha256(f"{run}\n{key}\n{version}".encode()).hexdigest()[:31]
    agent = {
        "type": {"coding": [{"system": _PARTICIPANT, "code": "assembler"}]},
        "who": {**_identified(SOFTWARE, f"fhirspace|{__version__}"), "display": f"fhirspace {__version__}"},
        **({"onBehalfOf": {"display": on_behalf_of}} if on_behalf_of else {}),
    }
    entities = _entities(sorted(set(sources)))
    return {
        "resourceType": "Provenance",
        "id": f"p{name}",
        "meta": {"tag": [{"system": RUN, "code": run}]},
        "target": [_target(key, version) for key, version in targets],
        "recorded": recorded.astimezone(UTC).isoformat(timespec="milliseconds"),
        "activity": _activity(bool(created), bool(updated)),
        "agent": [agent],
        **({"entity": entities} if entities else {}),
    }


def _target(key: str, version: str) -> dict[str, Any]:
    """A versioned reference, and the version once more as an identifier: HAPI cuts versions off references."""
    reference = f"{key}/_history/{version}"
    return {"reference": reference, **_identified(VERSION, reference)}


def _identified(system: str, value: str) -> dict[str, Any]:
    return {"identifier": {"system": system, "value": value}}


def _activity(created: bool, updated: bool) -> dict[str, Any]:
    """Create or update; of a bundle that did both only in words: the value set has no code for that."""
    if created and updated:
        return {"text": "created and updated"}
    code, text = ("CREATE", "created") if created else ("UPDATE", "updated")
    return {"coding": [{"system": _OPERATION, "code": code}], "text": text}


def _entities(found: list[Source]) -> list[dict[str, Any]]:
    mappings = sorted({(source.mappings, source.maker) for source in found if source.mappings})
    whats = [{**_identified(SHA256, source.sha256), "display": "FHIR file"} for source in found]
    whats += [
        {**_identified(SHA256, each), "display": f"mappings, run by fhirspace {maker}"} for each, maker in mappings
    ]
    return [{"role": "source", "what": what} for what in whats]


def targets_of(resource: Mapping[str, Any]) -> list[Target]:
    """What a Provenance of ours is about, in its order, as the server gives it back.

    Raises:
        ServerError: FS577, a target has no version.
    """
    targets = resource.get("target", ())
    return [_version_of(target) for target in (targets if isinstance(targets, list) else ())]


def _version_of(target: Any) -> Target:
    if not isinstance(target, dict):
        target = {}
    own = target.get("identifier")
    ours = isinstance(own, dict) and own.get("system") == VERSION
    texts = [own["value"] if ours and "value" in own else None, target.get("reference")]
    for text in texts:
        found = parsed(text) if isinstance(text, str) else None
        if found and is_key(found.key) and is_id(found.version):
            return found.key, found.version
    raise ServerError("FS577", "Provenance.target", "a reference Type/id/_history/version")
