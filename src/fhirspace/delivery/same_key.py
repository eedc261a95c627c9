"""Checks that resources are delivered under the ids that the study had before: one key for folder and server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from fhirspace.errors import InputError, ServerError, UsageError
from fhirspace.fhir.files import FhirFile
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.search import by_identifier, escaped
from fhirspace.idkey import DEMO_KEY, IdKey, chosen
from fhirspace.json import JsonError, decode
from fhirspace.tables.durable import key_of, manifest

_MADE = re.compile(r"[a-f][0-9a-f]{31}")
_STUDY, _MOST = "ResearchStudy", 100
"""Our output has them in a file of their own; of so many at most the server is asked."""


def folder_key(files: Iterable[FhirFile], given: IdKey | Path | str | None) -> IdKey | Path | str | None:
    """The key to deliver files with: as given, but the published one where their manifest says that it made them.

    Args:
        files: FHIR files; the manifest that lists them is in their folder, or in the one above.

    Raises:
        UsageError: FS591 the manifest names another key than the given one, or than the site's.
    """
    made = _made(file.path for file in files)
    if given is None and made.keys() == {DEMO_KEY.fingerprint}:
        return DEMO_KEY
    if not made:
        return given
    key = chosen(given)
    for fingerprint, home in made.items():
        if fingerprint != key.fingerprint:
            raise UsageError("FS591", str(home), f"the key {fingerprint}", f"the key in use is {key.fingerprint}")
    return key


def _made(files: Iterable[Path]) -> dict[str, Path]:
    """The fingerprints of the keys that made files, with the output folder that says so, where it lists them."""
    manifests: dict[Path, dict[str, Any]] = {}
    found = {}
    for file in (each.absolute() for each in files):
        for home in file.parents[:2]:
            content = manifests[home] = manifests[home] if home in manifests else manifest(home)
            listed = content.get("files")
            if key_of(content) and isinstance(listed, dict) and file.relative_to(home).as_posix() in listed:
                found[key_of(content)] = home
    return found


def check_study(client: Client, files: Iterable[FhirFile]) -> None:
    """A server that no journal knows may hold the study already, delivered from elsewhere: then by the same ids.

    The study's own resource is searched by its identifier, which names no person. A server that cannot search it is
    assumed to hold none.

    Raises:
        UsageError: FS592, it is there under an id that another key has made. ServerError: FS510, FS511.
    """
    for file in files:
        if file.name.startswith(f"{_STUDY}."):
            with suppress(InputError):  # a file that is cut short is for the push to report
                for _, line in islice(file.resources(), _MOST):
                    _check(client, line)


def _check(client: Client, line: bytes) -> None:
    try:
        resource = decode(line, dict[str, Any])
        ours, identifiers = resource["id"], resource["identifier"]
        system, value = identifiers[0]["system"], identifiers[0]["value"]
        made = all(isinstance(each, str) for each in (ours, system, value)) and _MADE.fullmatch(ours)
    except (JsonError, LookupError, TypeError):
        return  # none of ours; the push reports what is wrong with it
    if made and any(each != ours and _MADE.fullmatch(each) for each in _ids(client, system, value)):
        raise UsageError("FS592", client.server, f"the study under {_STUDY}/{ours}")


def _ids(client: Client, system: str, value: str) -> list[str]:
    """The ids of the study's resources on the server."""
    try:
        found = [decode(line) for line in by_identifier(client, _STUDY, escaped(system, value))]
    except ServerError as error:
        if error.code == "FS512":
            return []
        raise
    return [str(each.get("id", "")) for each in found if isinstance(each, dict)]
