"""The packages of terminology that a user added: kept in the user's data folder, chosen by their version."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

import msgspec

from fhirspace import atomic, json
from fhirspace.errors import UsageError
from fhirspace.folders import data_folder, data_place, open_own
from fhirspace.foreign import shown
from fhirspace.limits import limit
from fhirspace.sdtm.ct.reading import DATE, Listed, read
from fhirspace.standards import terminology
from fhirspace.standards.terminology import Codelist, Term

_FOLDER = "terminology"


class Terms(Protocol):
    """Controlled terminology of one version. The module `standards.terminology` is one, the version that is shipped."""

    def version(self) -> str:
        """The date of the package."""

    def known(self, code_or_name: str) -> bool:
        """Whether `codelist` finds one."""

    def codelist(self, code_or_name: str) -> Codelist:
        """A codelist by C-code, submission value or name. Raises UsageError (FS702): there is none."""

    def decode(self, code_or_name: str) -> Mapping[str, str]:
        """Test code -> test name for a codelist of test codes."""


class Kept(msgspec.Struct, frozen=True):
    """A package as it is kept: its version, the file that it came from, and the digest of that file."""

    version: str
    source: str
    digest: str
    codelists: dict[str, Listed]


class _Codelist(Codelist):
    def __init__(self, code: str, listed: Listed) -> None:
        self.code, self.name = code, listed.name
        self.submission_value, self.extensible = listed.submission_value, listed.extensible
        self._rows = listed.terms

    @cached_property
    def terms(self) -> Mapping[str, Term]:
        """The terms by submission value, in the order of the package."""
        return {row[0]: Term(row[0], row[1], row[2], tuple(row[3:])) for row in self._rows}


class Added:
    """A package that was added, as `Terms`."""

    def __init__(self, kept: Kept) -> None:
        self._version = kept.version
        self._codes: dict[str, str] = {}
        self._lists = {code: _Codelist(code, listed) for code, listed in kept.codelists.items()}
        for code, each in self._lists.items():
            for key in (code, each.submission_value, each.name):
                self._codes.setdefault(key, code)

    def version(self) -> str:
        """The date of the package."""
        return self._version

    def known(self, code_or_name: str) -> bool:
        """Whether `codelist` finds one."""
        return code_or_name in self._codes

    def codelist(self, code_or_name: str) -> Codelist:
        """A codelist by C-code, submission value or name. Raises UsageError (FS702): there is none."""
        if code_or_name not in self._codes:
            raise UsageError("FS702", code_or_name, f"a codelist of SDTM terminology {self._version}")
        return self._lists[self._codes[code_or_name]]

    def decode(self, code_or_name: str) -> Mapping[str, str]:
        """Test code -> test name for a codelist of test codes."""
        return terminology.paired(self, code_or_name)


@dataclass(frozen=True, slots=True)
class About:
    """A package at hand: version, where it came from, digest, how many codelists and terms; no digest: shipped."""

    version: str
    source: str
    digest: str
    codelists: int
    terms: int

    def __str__(self) -> str:
        digest = f" (sha256 {self.digest[:12]})" if self.digest else ""
        return f"{self.version}  {self.codelists:,} codelists, {self.terms:,} terms, of {shown(self.source)}{digest}"


def add(path: Path, version: str = "") -> About:
    """Reads a package and keeps it, in place of one of the same version. Raises InputError as `read`."""
    found = read(path, version)
    folder = data_folder() / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"{found.version}.json"
    part = folder / f"{name}.{os.getpid()}.part"
    part.unlink(missing_ok=True)
    atomic.write(part, msgspec.json.encode(Kept(found.version, path.name, found.digest, found.codelists)), new=True)
    try:
        atomic.replace(part, folder / name)
    finally:
        part.unlink(missing_ok=True)
    return About(found.version, path.name, found.digest, len(found.codelists), found.terms)


def at_hand() -> list[About]:
    """The packages that can be chosen, the newest last. Raises UsageError (FS809): one that was added is damaged."""
    lists = [terminology.codelist(code) for code in terminology.codelists()]
    shipped = About(terminology.version(), "fhirspace", "", len(lists), sum(len(each.terms) for each in lists))
    found = {shipped.version: shipped}
    folder = data_place() / _FOLDER
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        kept = _load(file)
        terms = sum(len(each.terms) for each in kept.codelists.values())
        found[kept.version] = About(kept.version, kept.source, kept.digest, len(kept.codelists), terms)
    return [found[version] for version in sorted(found)]


def chosen(version: str) -> Terms:
    """The package of a version that a study names; the shipped one where it names none, or one that is not at hand.

    One that was added is taken before the shipped one of the same version.

    Raises:
        UsageError: FS809, the package that was added is damaged.
    """
    if not DATE.fullmatch(version):  # it comes from a file of anybody
        return terminology
    file = data_place() / _FOLDER / f"{version}.json"
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        return terminology
    return _opened(file, changed)


@cache
def _opened(file: Path, _changed: int) -> Added:
    return Added(_load(file))


def _load(file: Path) -> Kept:
    try:
        with os.fdopen(open_own(file, os.O_RDONLY), "rb") as stream:
            return json.decode(stream.read(limit("document-bytes")), Kept)
    except (OSError, json.JsonError, UnicodeDecodeError):
        raise UsageError("FS809", file.name) from None
