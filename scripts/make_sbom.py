"""Writes the software bill of materials: CycloneDX 1.6 as JSON, from the lock files alone, the same for the same locks.

python scripts/make_sbom.py --out dist/fhirspace.cdx.json

It lists the Python packages of ``requirements.lock``, what each needs, the SHA-256 of every file that may be installed,
and the jars of the local FHIR server, which are fetched at its first start. It is checked against the schema, which
needs ``cyclonedx-python-lib[json-validation]`` (``tox run -e sbom`` has it).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from make_lock import LOCK, ROOT, Locked, read_lock

JARS: Final = "src/fhirspace/localserver/hapi/lock-*.txt"
"""Lock files of the local server's jars: ``group:artifact:version[:classifier] sha256 bytes``, a line each."""
SERVER: Final = "fhirspace-local-server"
VERSION: Final = "src/fhirspace/version.py"

Component = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Writes the file, after holding it against the schema."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    text = json.dumps(bill(ROOT), indent=2, sort_keys=True) + "\n"
    fault = invalid(text)
    if fault:
        print(f"not valid CycloneDX 1.6: {fault}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, "utf-8")
    print(f"{options.out}: {len(json.loads(text)['components'])} components, valid CycloneDX 1.6")
    return 0


def bill(root: Path) -> dict[str, Any]:
    """The bill of materials of a checkout; without time and serial number, so that it only changes with the locks."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    packages = read_lock((root / LOCK).read_text("utf-8"))
    lines = [line.split() for path in root.glob(JARS) for line in path.read_text("utf-8").splitlines() if line.strip()]
    jars = {coordinate: sha256 for coordinate, sha256, _ in lines}
    server = {"type": "application", "bom-ref": SERVER, "name": "HAPI FHIR JPA on this machine", "scope": "optional"}
    made = [*map(_package, packages), server, *(_jar(coordinate, sha256) for coordinate, sha256 in jars.items())]
    version = _version(root)
    main = _purl("pypi", project["name"], version)
    edges = {main: {SERVER, *_needed(packages, project["name"])}, SERVER: {_maven(each) for each in jars}}
    edges |= {_pypi(each): set(_needed(packages, each.name)) for each in packages}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": main,
                "purl": main,
                "name": project["name"],
                "version": version,
                "description": project["description"],
                "licenses": [{"license": {"id": project["license"]}}],
            },
            "authors": [{"name": author["name"]} for author in project["authors"]],
        },
        "components": sorted(made, key=lambda each: str(each["bom-ref"])),
        "dependencies": [{"ref": ref, "dependsOn": sorted(to)} for ref, to in sorted(edges.items())],
    }


def invalid(text: str) -> str:
    """What the schema has against it; "" for nothing. Raises ModuleNotFoundError: the schema is not installed."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return str(found) if found else ""


def _version(root: Path) -> str:
    found = re.search(r'^__version__ = "([^"]+)"$', (root / VERSION).read_text("utf-8"), flags=re.M)
    if not found:
        raise SystemExit(f"{VERSION}: no line __version__")
    return found[1]


def _package(entry: Locked) -> Component:
    marker = entry.requirement.marker
    files = {
        "type": "distribution",
        "url": _pypi(entry),
        "comment": "each file of this version that may be installed",
        "hashes": [_sha256(text.removeprefix("sha256:")) for text in sorted(entry.hashes)],
    }
    where = [{"name": "fhirspace:marker", "value": str(marker)}] if marker else []
    made = {"type": "library", "bom-ref": _pypi(entry), "purl": _pypi(entry), "name": entry.name}
    return made | {"version": entry.version, "externalReferences": [files]} | ({"properties": where} if where else {})


def _jar(coordinate: str, sha256: str) -> Component:
    group, artifact, version, *_ = coordinate.split(":")
    return {
        "type": "library",
        "bom-ref": _maven(coordinate),
        "purl": _maven(coordinate),
        "group": group,
        "name": artifact,
        "version": version,
        "scope": "optional",
        "hashes": [_sha256(sha256)],
    }


def _needed(packages: Iterable[Locked], parent: str) -> Iterable[str]:
    return (_pypi(each) for each in packages if parent in {text.partition(" ")[0] for text in each.via})


def _sha256(content: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": content}


def _pypi(entry: Locked) -> str:
    return _purl("pypi", entry.name, entry.version)


def _maven(coordinate: str) -> str:
    group, artifact, version, *classifier = coordinate.split(":")
    return _purl("maven", f"{group}/{artifact}", version) + "".join(f"?classifier={quote(each)}" for each in classifier)


def _purl(kind: str, name: str, version: str) -> str:
    return f"pkg:{kind}/{quote(name)}@{quote(version)}"


if __name__ == "__main__":
    sys.exit(main())
