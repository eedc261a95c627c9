"""Codes of HL7 FHIR: which codes a code system has, and which ones a value set.

The data are made by ``scripts/make_fhir_rules.py`` out of HL7's packages (CodeSystem and ValueSet resources), one
compressed file a release and one with HL7's terminology, which all releases share; they are read on first use.
Source: FHIR, "Terminology Service" and "Using Codes in Resources" (value set compose, content of code systems).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

from fhirspace.standards.fhir import Release


class System(msgspec.Struct, array_like=True):
    """A code system as it is stored: its codes, and whether upper and lower case are the same."""

    codes: list[str]
    folded: bool = False


Includes = dict[str, list[str] | int]
"""A value set as it is stored: by system the codes, 1 for the whole system, 0 for a part that is not listed here."""
WHOLE, UNLISTED = 1, 0


class _File(msgspec.Struct):
    systems: dict[str, System]
    values: dict[str, Includes] = {}


class CodeSystem(NamedTuple):
    """All codes of a code system; `folded`: in lower case, as case does not matter."""

    codes: frozenset[str]
    folded: bool

    def holds(self, code: str) -> bool:
        """Whether the system has a code."""
        return code in self.codes or (self.folded and code.lower() in self.codes)


class ValueSet:
    """The codes of a value set, as far as they are listed."""

    def __init__(self, includes: Mapping[str, CodeSystem | None]) -> None:
        """Args: by system its codes in the value set; None where these are not listed."""
        self._includes = includes
        self.listed: bool = None not in includes.values()
        """Whether all of its codes are known."""

    def holds(self, system: str | None, code: str) -> bool | None:
        """Whether it has a code of a system ("" or None: of any of its systems); None where that is not known."""
        if system:
            found = self._includes.get(system, _NOTHING)
            return None if found is None else found.holds(code)
        if any(each is not None and each.holds(code) for each in self._includes.values()):
            return True
        return False if self.listed else None

    def some(self, most: int) -> list[str]:
        """Its codes, if there are at most so many and all are listed; else none."""
        if not self.listed:
            return []
        found = sorted({code for each in self._includes.values() if each is not None for code in each.codes})
        return found if len(found) <= most else []


_NOTHING = CodeSystem(frozenset(), False)


class Terms:
    """The code systems and value sets of one release. Get them by `terms`, which reads each release once."""

    def __init__(self, own: _File, shared: _File) -> None:
        """Args: the content of the file of the release, and of the one that all share."""
        self._files: tuple[_File, ...] = (own, shared)
        self._values = own.values
        self._made: dict[str, ValueSet | None] = {}
        self._systems: dict[str, CodeSystem | None] = {}
        self._named: set[str] | None = None

    @classmethod
    def of(cls, values: dict[str, Includes], systems: dict[str, System], known: Terms) -> Terms:
        """The terms of users' packages; what these do not have is looked for in what is `known`."""
        made = cls(_File(systems, values), known._files[-1])
        made._files = (_File(systems), *known._files)
        return made

    def stored(self, url: str) -> Includes | None:
        """A value set as it is stored."""
        return self._values.get(url.partition("|")[0])

    def system(self, url: str) -> CodeSystem | None:
        """A code system of which all codes are known; None for any other."""
        if url not in self._systems:
            found = [each for file in self._files if (each := file.systems.get(url)) is not None]
            self._systems[url] = _system(found) if found else None
        return self._systems[url]

    def names(self, url: str) -> bool:
        """Whether it is the address of a code system: one that is listed, or one that a value set takes codes of."""
        if self._named is None:
            self._named = {system for each in self._values.values() for system in each}
        return url in self._named or self.system(url) is not None

    def value_set(self, url: str) -> ValueSet | None:
        """A value set by its address, without or with a version; None where it is not known."""
        name = url.partition("|")[0]
        if name not in self._made:
            found = self._values.get(name)
            self._made[name] = None if found is None else self._value_set(found)
        return self._made[name]

    def _value_set(self, stored: Includes) -> ValueSet:
        includes: dict[str, CodeSystem | None] = {}
        for system, codes in stored.items():
            if isinstance(codes, int):
                includes[system] = self.system(system) if codes == WHOLE else None
            else:
                whole = self.system(system)
                includes[system] = _system([System(codes, whole is not None and whole.folded)])
        return ValueSet(includes)


def _system(parts: Iterable[System]) -> CodeSystem:
    found = list(parts)
    folded = any(each.folded for each in found)
    codes = (code for each in found for code in each.codes)
    return CodeSystem(frozenset(map(str.lower, codes) if folded else codes), folded)


@cache
def terms(release: Release = "R4") -> Terms:
    """The code systems and value sets of a release, read once."""
    return Terms(_read(f"fhir-{release.lower()}-terms.json.gz"), _read("fhir-terms.json.gz"))


@cache
def _read(name: str) -> _File:
    packed = files("fhirspace.standards").joinpath("data", name).read_bytes()
    return msgspec.json.decode(gzip.decompress(packed), type=_File)
