"""Which files of an output folder are ours: those that a manifest of ours lists and that are unchanged since.

Nothing else in an output folder is ever replaced or removed, and nothing in a manifest of somebody else is believed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from fhirspace.errors import InputError, Place, UsageError
from fhirspace.folders import open_own
from fhirspace.foreign import counted
from fhirspace.json import JsonError, decoder
from fhirspace.limits import limit, too_much
from fhirspace.tables.durable import MANIFEST

RESULTS = frozenset({"fhir", "records", "sdtm"})
"""The folders with the result of a run."""
FOLDERS = RESULTS | {"quarantine", "unread", "differences"}
"""The folders that runs write files into. A manifest proves nothing of files elsewhere."""
FILES = frozenset({"problems.ndjson", "unread.ndjson", "reviewers-guide.md", "reviewers-guide.html"})
"""The files that runs write beside these folders and the manifest."""

Entry = dict[str, Any]
"""A file's entry in a manifest: its ``sha256`` (hexadecimal) and its ``size`` in bytes."""
_Signature = tuple[int, int, int, int, int]


class _File(msgspec.Struct):
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, msgspec.Meta(ge=0)]


class _Manifest(msgspec.Struct):
    versions: dict[str, Any]
    tables: dict[str, Any]
    files: dict[str, _File]

    def is_ours(self) -> bool:
        """Whether a run of ours can have written it: it names our version, our problems, and no path that leaves."""
        named = isinstance(self.versions.get("fhirspace"), str) and "problems.ndjson" in self.files
        return named and not any(_leaves(relative) for relative in self.files)


_decode = decoder(_Manifest)


def listed(manifest: Path, home: Path) -> dict[str, Entry]:
    """The files of a manifest that are where runs write; none where there is no manifest.

    Args:
        manifest: its path. home: the output folder, for the message.

    Raises:
        UsageError: FS145, there is something else of that name. InputError: FS160, it is too large.
    """
    try:
        descriptor = open_own(manifest, os.O_RDONLY)
    except FileNotFoundError:
        return {}
    except OSError:
        raise _foreign(home) from None
    with os.fdopen(descriptor, "rb") as stream:
        raw = stream.read(limit("manifest-bytes") + 1)
    if len(raw) > limit("manifest-bytes"):
        raise too_much("manifest-bytes", Place(str(home / MANIFEST)))
    try:
        found = _decode(raw)
    except JsonError:
        raise _foreign(home) from None
    if not found.is_ours():
        raise _foreign(home)
    return {name: {"sha256": each.sha256, "size": each.size} for name, each in found.files.items() if is_place(name)}


def _foreign(home: Path) -> UsageError:
    return UsageError("FS145", str(home / MANIFEST), "a manifest of fhirspace, or none")


def _leaves(relative: str) -> bool:
    parts = relative.split("/")
    return any(part in ("", ".", "..") for part in parts) or any(sign in relative for sign in "\\\0")


def is_place(relative: str) -> bool:
    """Whether runs write files to this path of an output folder: into one of `FOLDERS`, or one of `FILES`."""
    folder, slash, name = relative.partition("/")
    inside = folder in FOLDERS and "/" not in name if slash else relative in FILES
    return inside and not _leaves(relative)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The result of an earlier run that a run replaced: when it was written (None: unknown), its files by folder.

    Its text is for people: ``the earlier result of 2026-05-01T10:15:00Z (fhir: 8 files)``.
    """

    written: datetime | None
    folders: dict[str, int]

    @classmethod
    def of(cls, written: float, files: Iterable[str]) -> Earlier | None:
        """The earlier result that files belong to; None where there are none but lists of problems.

        Args:
            written: when their manifest was written, in seconds since 1970. files: their paths in the output folder.
        """
        folders = Counter(name.partition("/")[0] for name in files if "/" in name)
        when = None
        with suppress(ValueError, OverflowError, OSError):  # a time that somebody has set beyond all calendars
            when = datetime.fromtimestamp(int(written), UTC)
        return cls(when, dict(sorted(folders.items()))) if folders else None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"written": self._time(), "files": sum(self.folders.values()), "folders": self.folders}

    def __str__(self) -> str:
        counts = ", ".join(f"{name}: {counted(count, 'file')}" for name, count in self.folders.items())
        return f"the earlier result of {self._time() or 'an unknown time'} ({counts})"

    def _time(self) -> str | None:
        return self.written.isoformat().replace("+00:00", "Z") if self.written else None


class Proof:
    """What the manifest of an earlier run proves. A file is read once; after that its times and size are compared."""

    def __init__(self, root: Path, files: Mapping[str, Entry]) -> None:
        """Args: the output folder, and the files that its manifest lists."""
        self.root, self.files = root, dict(files)
        self._seen: dict[str, _Signature] = {}

    def is_free(self, relative: str, *, even: Entry | None = None) -> bool:
        """Whether a place may be written to: nothing is there, or a file that is proven to be ours, or equal to `even`.

        Raises:
            InputError: FS141, FS143 as `real_folder`.
        """
        path = self.root / relative
        real_folder(self.root, path.parent)
        try:
            now = _signature(path.lstat())
        except FileNotFoundError:
            return True
        if self._seen.get(relative) == now:
            return True
        found, signature = _measured(path)
        if found is None or found not in (self.files.get(relative), even):
            return False
        self._seen[relative] = signature
        return True

    def require(self, places: Iterable[str]) -> None:
        """Raises UsageError (FS144) for the first of these places, relative to the root, that is not free."""
        for relative in places:
            if not self.is_free(relative):
                raise not_ours(self.root / relative)

    def require_no_input(self, read: Iterable[Path]) -> None:
        """Raises UsageError (FS146) for a file that was read and is one of ours here, under whatever name or link."""
        ours: dict[tuple[int, int], str] = {}
        for relative in self.files:
            with suppress(FileNotFoundError):
                found = (self.root / relative).lstat()
                ours[found.st_dev, found.st_ino] = relative
        for path in read:
            found = path.stat()
            relative = ours.get((found.st_dev, found.st_ino), "")
            if relative:
                raise UsageError("FS146", str(self.root / relative), "an input that the output does not replace")


def not_ours(path: Path) -> UsageError:
    """The error (FS144) for a file in the output folder that is not ours, or no longer as it was written."""
    return UsageError("FS144", str(path))


def real_folder(root: Path, folder: Path) -> None:
    """Makes sure that a folder below the output folder is one, as far as it is there.

    Raises:
        InputError: FS141, a part of the path is a link: files written or removed there would be elsewhere. FS143, it is
            no folder, or cannot be written, or is on another disk, to which no file can be moved as a whole.
    """
    home = root.stat().st_dev
    for each in reversed([folder, *folder.parents][: len(folder.relative_to(root).parts)]):
        try:
            found = each.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            raise InputError("FS141", Place(str(each)), "a folder inside the output folder, and no link")
        if not stat.S_ISDIR(found.st_mode) or found.st_dev != home or not os.access(each, os.W_OK | os.X_OK):
            raise InputError("FS143", Place(str(each)), "a folder that can be written, on the same disk")


def _measured(path: Path) -> tuple[Entry | None, _Signature]:
    """What a manifest would say of a file (None: it is no ordinary file, or cannot be read), and its signature."""
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb") as stream:
            before = os.fstat(stream.fileno())
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            return {"sha256": sha256, "size": before.st_size}, _signature(before)
    except OSError:
        return None, (0, 0, 0, 0, 0)


def _signature(found: os.stat_result) -> _Signature:
    """What changes when somebody writes to a file or puts another one in its place."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
