"""Resources of one type as they come from a server, in any order and more than once: the newest of each is kept.

The lines are spooled to a file without a name; only ids, versions and places are kept in memory. At the end they are
written sorted by id, and the file appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec

from fhirspace.delivery.canonical import cleaned
from fhirspace.jsontext import JsonError, decoder
from fhirspace.tables.durable import synchronise

TAG_SYSTEM = "https://fhirspace.org/study"
_SMALL = 1_000_000


class _Tag(msgspec.Struct):
    system: str = ""
    code: str = ""


class _Meta(msgspec.Struct):
    versionId: str = ""  # noqa: N815
    lastUpdated: str = ""  # noqa: N815
    tag: list[_Tag] = []


class Head(msgspec.Struct):
    """What is read of a resource that came: its key, its version, its tags."""

    resourceType: str = ""  # noqa: N815
    id: str = ""
    meta: _Meta = msgspec.field(default_factory=_Meta)

    @property
    def moment(self) -> float:
        """When it was last updated, in seconds; 0 where the server does not say."""
        try:
            return datetime.fromisoformat(self.meta.lastUpdated).timestamp()
        except ValueError:
            return 0.0

    def of_study(self, study: str) -> bool:
        """Whether it has the tag of the study."""
        return any(tag.system == TAG_SYSTEM and tag.code == study for tag in self.meta.tag)


head_of = decoder(Head)


@dataclass(frozen=True, slots=True)
class _Kept:
    version: str
    moment: float
    start: int
    length: int


class Gathered:
    """The resources of one type. Use it in a `with`: it owns a scratch file in `folder`.

    `first_total` is for the caller: how many the server said there are when it was asked first.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind = kind
        self.first_total: int | None = None
        self._target = folder / f"{kind}.ndjson"
        # In memory while it is small: a server lists 150 types, and a study has resources of a few.
        self._spool = tempfile.SpooledTemporaryFile(_SMALL, dir=str(folder))  # noqa: SIM115  (closed by __exit__)
        self._kept: dict[str, _Kept] = {}

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
        """Keep a resource; gives whether it was news. Raises JsonError: it is no resource.

        One that is there in a later version is kept as it is.
        """
        head = head_of(resource)
        if not head.id:
            raise JsonError("FS522", "a resource with an id")
        line = cleaned(resource)
        # A server that tells no versions: content is all there is to compare.
        version = f"{head.meta.versionId} {head.meta.lastUpdated}".strip() or hashlib.sha256(line).hexdigest()
        known = self._kept.get(head.id)
        if known is not None and (known.version == version or head.moment < known.moment):
            return False
        start = self._spool.seek(0, os.SEEK_END)
        self._spool.write(line)
        self._kept[head.id] = _Kept(version, head.moment, start, len(line))
        return True

    def drop(self, name: str) -> None:
        """Forget one: it is no longer there."""
        self._kept.pop(name, None)

    def write(self) -> Path | None:
        """Write ``<Type>.ndjson``; without resources that file is removed, and None comes back."""
        if not self._kept:
            self._target.unlink(missing_ok=True)
            return None
        part = self._target.with_name(f".{self._target.name}.part")
        try:
            with part.open("wb") as file:
                for name in sorted(self._kept):
                    self._spool.seek(self._kept[name].start)
                    file.write(self._spool.read(self._kept[name].length) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._target)
        finally:
            part.unlink(missing_ok=True)
        synchronise(self._target.parent)
        return self._target
