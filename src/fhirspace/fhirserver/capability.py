"""The content of a CapabilityStatement (FHIR, "capabilities" interaction), read leniently.

Servers leave out much of it and some get it wrong: an element that is missing or of the wrong shape counts as not
stated (None), which differs from denied (False).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhirspace.fhirserver.address import is_type
from fhirspace.foreign import shown
from fhirspace.standards.fhir import RELEASES, Release

_LONGEST = 100
_RELEASES = {"4.0": "R4", "4.3": "R4B", "5.0": "R5"}


@dataclass(frozen=True, slots=True)
class TypeCapability:
    """The capabilities of one resource type; `interactions` and `parameters` (of searches) are None if not stated."""

    interactions: frozenset[str] | None = None
    parameters: frozenset[str] | None = None
    update_create: bool | None = None
    conditional_update: bool | None = None
    versioning: str = ""

    def may(self, interaction: str) -> bool | None:
        """Whether an interaction is stated as supported."""
        return None if self.interactions is None else interaction in self.interactions


@dataclass(frozen=True, slots=True)
class Capability:
    """A CapabilityStatement: which server it is, and what it states to support.

    `release` is its ``fhirVersion``; `names` are the texts by which a product is recognised; `system` the interactions
    of the whole system (None if not stated); `security` the codes of ``rest.security.service``. `types` has those only
    that the release has: their names become parts of addresses and file names. `foreign` counts the others.
    """

    release: str = ""
    software: str = ""
    version: str = ""
    names: tuple[str, ...] = ()
    system: frozenset[str] | None = None
    types: Mapping[str, TypeCapability] = field(default_factory=dict)
    operations: frozenset[str] = frozenset()
    formats: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    foreign: int = 0


def release_of(statement: Mapping[str, Any]) -> str:
    """The release of a CapabilityStatement, by its ``fhirVersion``; a version of no known release as it is given."""
    version = text(statement.get("fhirVersion"))
    return _RELEASES.get(version[:3], version)


def known_release(statement: Mapping[str, Any]) -> Release:
    """The release of a CapabilityStatement; R4 where it is none that is known here."""
    return next((name for name in RELEASES if name == release_of(statement)), "R4")


def read(statement: Mapping[str, Any]) -> Capability:
    """A decoded CapabilityStatement of any release, R4 to R5."""
    software, built = _object(statement.get("software")), _object(statement.get("implementation"))
    rest = next(_objects(statement.get("rest")), {})
    shared = _codes(rest.get("searchParam"), "name") or frozenset()
    listed, release = list(_objects(rest.get("resource"))), release_of(statement)
    resources = [item for item in listed if is_type(item.get("type"), release)]
    names = (software.get("name"), statement.get("publisher"), statement.get("name"), built.get("description"))
    return Capability(
        release=text(statement.get("fhirVersion")),
        software=text(software.get("name")),
        version=text(software.get("version")),
        names=tuple(name for name in map(text, names) if name),
        system=_codes(rest.get("interaction"), "code"),
        types={item["type"]: _type(item, shared) for item in resources},
        operations=frozenset(_operations(rest, resources)),
        formats=tuple(name for name in map(text, _list(statement.get("format"))) if name),
        security=tuple(_services(rest)),
        foreign=len(listed) - len(resources),
    )


def _type(item: Mapping[str, Any], shared: frozenset[str]) -> TypeCapability:
    own = _codes(item.get("searchParam"), "name")
    return TypeCapability(
        interactions=_codes(item.get("interaction"), "code"),
        parameters=(own or frozenset()) | shared if own or shared else None,
        update_create=_flag(item.get("updateCreate")),
        conditional_update=_flag(item.get("conditionalUpdate")),
        versioning=text(item.get("versioning")),
    )


def _operations(rest: Mapping[str, Any], resources: list[Mapping[str, Any]]) -> Iterator[str]:
    for holder in (rest, *resources):
        for item in _objects(holder.get("operation")):
            yield text(item.get("name")).removeprefix("$")


def _services(rest: Mapping[str, Any]) -> Iterator[str]:
    for service in _objects(_object(rest.get("security")).get("service")):
        codes = [text(coding.get("code")) for coding in _objects(service.get("coding"))]
        name = next((code for code in codes if code), text(service.get("text")))
        if name:
            yield name


def _codes(value: Any, key: str) -> frozenset[str] | None:
    found = frozenset(text(item.get(key)) for item in _objects(value)) - {""}
    return found or None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in _list(value) if isinstance(item, dict))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """A text of a server fit to be shown: short, and with escapes for what could steer a terminal; "" if it is none."""
    return shown(value, _LONGEST) if isinstance(value, str) else ""


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
