"""HL7's packages as HAPI reads them at the start of an R5 server, without what it throws away.

HAPI 8.8 parses each resource of three packages before it answers, narratives and all, and keeps four types. A package
without the rest saves half of the start; it comes before the jar in the class path, under the same name.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import msgspec

_JAR: Final = "hapi-fhir-validation-resources-"
_USED_TYPES: Final = frozenset({"CodeSystem", "SearchParameter", "StructureDefinition", "ValueSet"})
"""What `PrePopulatedValidationSupport.addResource` keeps."""


def slim(library: list[Path], folder: Path) -> None:
    """Write the packages (``*.tgz``) inside the jars of HL7's definitions below a folder, at the same paths, slim."""
    for jar in library:
        if jar.name.startswith(_JAR):
            with zipfile.ZipFile(jar) as archive:
                for name in archive.namelist():
                    if name.endswith(".tgz"):
                        path = folder / name
                        path.parent.mkdir(parents=True, exist_ok=True)
                        _package(io.BytesIO(archive.read(name)), path)


def _package(whole: io.BytesIO, path: Path) -> None:
    with tarfile.open(fileobj=whole) as source, tarfile.open(path, "w:gz", compresslevel=1) as made:
        for member in source:
            content = source.extractfile(member)
            raw = content and _slim(member.name, content.read())
            if raw:
                member.size = len(raw)
                made.addfile(member, io.BytesIO(raw))


def _slim(name: str, raw: bytes) -> bytes | None:
    """A file of a package, None where HAPI has no use for it: it loads the folders ``package`` and ``other`` only."""
    folder, _, file = name.rpartition("/")
    if folder == "package/other" or file in {"package.json", ".index.json"}:
        return raw
    if folder != "package" or not file.endswith(".json"):
        return None
    resource = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    resource.pop("text", None)
    kind = msgspec.json.decode(resource.get("resourceType", b"null"))
    return msgspec.json.encode(resource) if kind in _USED_TYPES else None
