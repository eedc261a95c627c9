"""The state of an unfinished export, on the disk after each step, so that a killed one can be resumed."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import msgspec

from fhirspace.atomic import replace, write
from fhirspace.delivery.bulk.download import measured
from fhirspace.errors import ServerError
from fhirspace.fhirserver.address import is_type
from fhirspace.folders import strangers
from fhirspace.json import JsonError, decode
from fhirspace.limits import answered_too_much, limit
from fhirspace.tables.proof import not_ours

FOLDER = ".bulk-export"
_NAME = re.compile(r"state\.(json|part)|\d{6,}\.ndjson(\.part)?")


class Output(msgspec.Struct):
    """A file of the export: its type, where it is, how many resources are in it; size and SHA-256 once it is here."""

    url: str
    type: str = ""
    count: int | None = None
    size: int = -1
    sha256: str = ""


class Manifest(msgspec.Struct):
    """The answer to a finished export (Bulk Data Access, "complete status")."""

    output: list[Output]
    requiresAccessToken: bool = True  # noqa: N815
    error: list[Output] | None = None
    deleted: list[Output] | None = None

    @property
    def files(self) -> list[Output]:
        """All files to fetch; the place in this list is the file's name on the disk."""
        return [*self.output, *(self.error or ()), *(self.deleted or ())]

    @property
    def errors(self) -> range:
        """The places of the files of errors; those of deletions follow."""
        return range(len(self.output), len(self.output) + len(self.error or ()))

    def check(self, server: str) -> None:
        """Raises ServerError: FS512 a file of no resource type, FS519 too many files."""
        if len(self.files) > limit("job-files"):
            raise answered_too_much("job-files", server)
        if not all(each.type == "" or is_type(each.type) for each in self.files):
            raise ServerError("FS512", server, "names of resource types in the manifest of an export")


class State(msgspec.Struct):
    """An export: what was asked for (a digest of it), its status URL, and its manifest once it is finished.

    `filtered`: the server took a filter by the study.
    """

    request: str
    status: str
    manifest: Manifest | None = None
    filtered: bool = True


class Desk:
    """The folder in which an export is worked on: its state and the files that have come, for the owner only."""

    def __init__(self, out: Path) -> None:
        """Raises UsageError (FS144): in `out` something of that name is not ours."""
        self.folder = out / FOLDER
        if os.path.lexists(self.folder) and strangers(self.folder):
            raise not_ours(self.folder)
        self._file = self.folder / "state.json"

    def load(self, request: str) -> State | None:
        """The export that was begun for the same request, if there is one, with the files that are whole.

        A file gets its name when it is whole; one that differs from its recorded digest is ignored.
        """
        try:
            state = decode(self._file.read_bytes(), State)
        except (OSError, JsonError):
            return None
        if state.request != request:
            return None
        for number, output in enumerate(state.manifest.files if state.manifest else []):
            here = measured(self.path(number)) if self.path(number).is_file() else (-1, "")
            output.size, output.sha256 = here if output.sha256 in ("", here[1]) else (-1, "")
        return state

    def save(self, state: State) -> None:
        """Put the state on the disk."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._file.with_suffix(".part")
        write(part, msgspec.json.encode(state))
        replace(part, self._file)

    def path(self, number: int) -> Path:
        """Where the file of this number is, or will be."""
        return self.folder / f"{number:06}.ndjson"

    def clear(self) -> None:
        """Remove all of it; a file of another name, which was put there by somebody else, stays."""
        with suppress(OSError):
            for file in self.folder.iterdir():
                if _NAME.fullmatch(file.name):
                    file.unlink()
            self.folder.rmdir()
