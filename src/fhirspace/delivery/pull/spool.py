"""Resources of one type as a server sends them, in any order and more than once: the newest version of each is kept.

The lines are spooled to a file without a name; only ids, versions and places are kept in memory. At the end they are
written sorted by id into an output folder.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fhirspace.fhir.canonical import cleaned
from fhirspace.fhir.wire import head_of
from fhirspace.fhirserver.address import file_name, is_id
from fhirspace.json import JsonError
from fhirspace.tables.outputs import OutputFolder

_SMALL = 1_000_000


@dataclass(frozen=True, slots=True)
class _Kept:
    version: str
    moment: float
    start: int
    length: int


class Spool:
    """The resources of one type, for an output folder. Use it in a `with`: it owns a scratch file there.

    `total` is for the caller: the server's count when all were listed last. `unclear` are the ids of resources that
    came with different contents and nothing that says which is newer: the last one counts.
    """

    def __init__(self, folder: OutputFolder, kind: str) -> None:
        self.kind = kind
        self.total: int | None = None
        self._folder, self._name = folder, f"fhir/{file_name(kind, 'the server')}"
        # In memory while it is small: a server lists 150 types, and a study has resources of a few.
        self._spool = tempfile.SpooledTemporaryFile(_SMALL, dir=str(folder.waiting))  # noqa: SIM115  (closed by __exit__)
        self._kept: dict[str, _Kept] = {}
        self.unclear: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def __len__(self) -> int:
        return len(self._kept)

    def ids(self) -> set[str]:
        """The ids of what is there."""
        return set(self._kept)

    def add(self, resource: bytes) -> bool:
        """Keep a resource; returns whether it is new. Raises JsonError: it is no resource.

        One that is there in a later version is kept as it is.
        """
        head = head_of(resource)
        if head.resourceType != self.kind or not is_id(head.id):
            raise JsonError("FS522", "a resource of the type, with an id")
        line = cleaned(resource)
        # A server without versions: only the content can be compared.
        given = f"{head.meta.versionId} {head.meta.lastUpdated}".strip()
        version = given or hashlib.sha256(line).hexdigest()
        known = self._kept.get(head.id)
        if known is not None and (known.version == version or head.moment < known.moment):
            return False
        if known is not None and not given:
            self.unclear.add(head.id)
        start = self._spool.seek(0, os.SEEK_END)
        self._spool.write(line)
        self._kept[head.id] = _Kept(version, head.moment, start, len(line))
        return True

    def drop(self, name: str) -> None:
        """Forget one: it is no longer there."""
        self._kept.pop(name, None)

    def write(self) -> Path | None:
        """Write ``fhir/<Type>.ndjson`` and give its path in the output folder; without resources None comes back.

        Raises:
            UsageError, InputError: as `OutputFolder.open`.
        """
        if not self._kept:
            return None
        with self._folder.open(self._name) as file:
            for each in sorted(self._kept):
                self._spool.seek(self._kept[each].start)
                file.write(self._spool.read(self._kept[each].length) + b"\n")
        self._folder.count(self.kind, rows_in=len(self), rows_out=len(self), quarantined=0)
        return self._folder.root / self._name
