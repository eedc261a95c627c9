"""The rules that a user added, such as the CDISC Open Rules: read from a clone or an archive, kept with a digest.

They are kept as one JSON document in the user's data folder; the files of others are never unpacked there.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from fhirspace import atomic, json
from fhirspace.errors import InputError, MappingError, Place, Problem, UsageError
from fhirspace.folders import data_folder, data_place, open_own
from fhirspace.limits import limit, too_much
from fhirspace.sdtm.rules.model import Rule, build, contents

FILE = "rules.json"
_SUFFIXES = (".yml", ".yaml")
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)


class Kept(msgspec.Struct, frozen=True):
    """What is kept: where the rules came from, a digest over their files, and each rule by the name of its file."""

    source: str
    digest: str
    rules: dict[str, Any]


@dataclass
class Added:
    """What was added: how many rules, drafts that were left out, and files that are no rule."""

    source: str
    digest: str = ""
    rules: int = 0
    drafts: int = 0
    problems: list[Problem] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The result for ``--json``."""
        problems = [problem.as_dict() for problem in self.problems]
        return {**vars(self), "problems": problems}


def add(path: Path) -> Added:
    """Reads the rules of a folder, a tar or a zip archive, and keeps them in place of those added before.

    Raises:
        InputError: FS101 nothing is there, FS804 the archive is broken, FS160 it is too large; FS802 it has no rules.
    """
    added, digest, kept = Added(path.name), hashlib.sha256(), dict[str, Any]()
    for name, data in _files(path):
        if b"Core:" not in data or b"Check:" not in data:
            continue
        try:
            content = _rule(data, name)
        except MappingError as error:
            added.problems.append(error.problem)
            continue
        if _status(content) not in ("", "Published"):
            added.drafts += 1
            continue
        digest.update(f"{len(name)} {name} {len(data)}\n".encode() + data)
        kept[name] = content
    if not kept:
        raise InputError("FS802", Place(path.name), "files with the rules of the CDISC Open Rules, such as rule.yml")
    added.rules, added.digest = len(kept), digest.hexdigest()
    _write(msgspec.json.encode(Kept(added.source, added.digest, kept)))
    return added


def rules() -> tuple[Kept, tuple[Rule, ...]] | None:
    """The rules that were added, and what is kept of them; None where none were.

    Raises:
        UsageError: FS805, the file is broken: add the rules again.
    """
    file = data_place() / "rules" / FILE
    try:
        with os.fdopen(open_own(file, os.O_RDONLY), "rb") as stream:
            data = stream.read(limit("document-bytes"))
        kept = json.decode(data, Kept)
        return kept, tuple(build(content, name) for name, content in kept.rules.items())
    except FileNotFoundError:
        return None
    except (OSError, json.JsonError, MappingError, UnicodeDecodeError):
        raise UsageError("FS805", FILE) from None


def _write(data: bytes) -> None:
    folder = data_folder() / "rules"
    folder.mkdir(mode=0o700, exist_ok=True)
    part = folder / f"{FILE}.{os.getpid()}.part"
    part.unlink(missing_ok=True)
    atomic.write(part, data, new=True)
    atomic.replace(part, folder / FILE)


def _rule(data: bytes, name: str) -> dict[str, Any]:
    """The content of a rule's file, without the citations. Raises MappingError: it is no rule."""
    try:
        found = contents(data.decode(), name)
    except UnicodeDecodeError:
        raise MappingError("FS300", name, "a readable UTF-8 file") from None
    if len(found) != 1:
        raise MappingError("FS801", Place(name), "one rule")
    build(found[0], name)
    slim: dict[str, Any] = {**found[0], "Authorities": _slim(found[0].get("Authorities"))}
    return slim


def _slim(authorities: Any) -> list[dict[str, Any]]:
    """Of the authorities of a rule the standards and the ids: their citations are long."""
    found = []
    for authority in authorities or ():
        for each in authority.get("Standards") or ():
            ids = [{"Rule Identifier": one.get("Rule Identifier")} for one in each.get("References") or ()]
            found.append({"Standards": [{"Name": each.get("Name"), "Version": each.get("Version"), "References": ids}]})
    return found


def _status(content: dict[str, Any]) -> str:
    return str(content["Core"].get("Status") or "")


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each YAML file, in the order of the names. Raises InputError."""
    if path.is_dir():
        yield from _of_folder(path)
    elif not path.is_file():
        raise InputError("FS101", Place(path.name), "a folder or an archive with rules")
    else:
        try:
            if zipfile.is_zipfile(path):
                yield from _of_zip(path)
            else:
                yield from _of_tar(path)
        except _BROKEN:
            raise InputError("FS804", Place(path.name), "a folder, a tar or a zip archive") from None


def _of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    count = _Counter(folder.name)
    for file in sorted(each for each in folder.rglob("*") if each.suffix in _SUFFIXES):
        if stat.S_ISREG(file.lstat().st_mode):  # no link is followed
            with file.open("rb") as stream:
                yield file.relative_to(folder).as_posix(), count.read(stream, file.lstat().st_size)


def _of_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    count, found = _Counter(path.name), dict[str, bytes]()
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            count.member(member.size)
            if member.isfile() and PurePosixPath(member.name).suffix in _SUFFIXES:
                found[member.name] = count.read(archive.extractfile(member), member.size)
    yield from sorted(found.items())


def _of_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    count, found = _Counter(path.name), dict[str, bytes]()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            count.member(0)
            if PurePosixPath(info.filename).suffix in _SUFFIXES and not info.is_dir():
                with archive.open(info) as stream:
                    found[info.filename] = count.read(stream, info.file_size)
    yield from sorted(found.items())


class _Counter:
    """Bounds what is read of one source: bytes of a file, files, and bytes altogether."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._files = self._bytes = 0

    def member(self, size: int) -> None:
        """Counts a member of an archive, which is unpacked even if nobody wants it. Raises InputError (FS160)."""
        self._files += 1
        self._bytes += size
        if self._files > limit("rule-files"):
            raise too_much("rule-files", Place(self._name))
        if self._bytes > limit("rule-bytes"):
            raise too_much("rule-bytes", Place(self._name))

    def read(self, stream: Any, size: int) -> bytes:
        """The bytes of a file. Raises InputError (FS160): it is too long."""
        self.member(0)
        most = limit("yaml-bytes")
        data: bytes = stream.read(most + 1)
        self._bytes += len(data)
        if max(len(data), size) > most:
            raise too_much("yaml-bytes", Place(self._name))
        if self._bytes > limit("rule-bytes"):
            raise too_much("rule-bytes", Place(self._name))
        return data
