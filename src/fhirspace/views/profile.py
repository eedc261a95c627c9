"""What foreign FHIR holds, looked at before views are chosen: types, identifiers, codes, units, statuses, references.

Counts only: no value of a patient is in a profile, but the systems of identifiers, codes and their displays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from fhirspace.errors import InputError, Place, Problem
from fhirspace.fhir.canonical import cleaned
from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.references import id_in, parsed
from fhirspace.fhir.wire import head_of
from fhirspace.json import JsonError, parse
from fhirspace.template.codelists import CodeLists
from fhirspace.views.notation.address import Step, texts

LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
_LISTS: Final = ("LOINCLB", "LOINCVS", "LOINCSU", "LOINCSC", "LOINCQS")
_NOT_ROWS: Final = ("NOTLAB", "NOTVITAL")
_STATUS: Final = ("status", "verificationStatus", "clinicalStatus", "intent", "actuality")
_CATEGORY: Final = (Step("category"), Step("coding"), Step("code"))


@dataclass(slots=True)
class Profile:
    """The counts of an input.

    Attributes:
        types: resources by type. identifiers: by type and system. statuses: by type, element and code.
        codes: by the type and element, the system, the code and its first display.
        categories: of Observations, the first one by code. panels: the codes of those with components.
        units: by system and code.
        offsets: of dates and times, by offset, "" for none. unresolved: references by element whose resource is not
            in the input. patients: the ids of the patients.
        problems: files that cannot be read, lines that are no JSON.
    """

    types: Counter[str] = field(default_factory=Counter)
    identifiers: Counter[tuple[str, str]] = field(default_factory=Counter)
    statuses: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    codes: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    categories: dict[str, str] = field(default_factory=dict)
    panels: set[str] = field(default_factory=set)
    units: Counter[tuple[str, str]] = field(default_factory=Counter)
    offsets: Counter[str] = field(default_factory=Counter)
    unresolved: Counter[str] = field(default_factory=Counter)
    patients: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def candidates(self, lists: CodeLists) -> list[dict[str, Any]]:
        """The LOINC codes of Observations by count, each with the test that the lists have for it ("": none).

        `extended` says that the test is no term of CDISC's codelist, `left` what a code is that makes no row of LB or
        VS. Panels are left out: their components have the values.
        """
        known = {name: lists.pairs(name) for name in (*_LISTS, *_NOT_ROWS)}
        extended = frozenset[str]().union(*(lists.marked(name, "extended") for name in _LISTS))
        found = [
            {
                "code": code,
                "display": display,
                "category": self.categories.get(code, ""),
                "resources": count,
                "test": next((known[name][code] for name in _LISTS if code in known[name]), ""),
                "extended": code in extended,
                "left": next((known[name][code] for name in _NOT_ROWS if code in known[name]), ""),
            }
            for (place, system, code, display), count in self.codes.items()
            if system == LOINC
            and code not in self.panels
            and place in ("Observation.code", "Observation.component.code")
        ]
        return sorted(found, key=lambda each: (-each["resources"], each["code"]))

    def unit_candidates(self, lists: CodeLists) -> list[dict[str, Any]]:
        """The units by count, each with the CDISC unit that the shipped list has for it ("": none)."""
        known = lists.pairs("UCUMUNIT")
        found = [
            {"unit": unit, "system": system, "values": count, "cdisc": known.get(unit, "")}
            for (system, unit), count in self.units.items()
        ]
        return sorted(found, key=lambda each: (-each["values"], each["unit"]))


def profile(files: Iterable[FhirFile]) -> Profile:
    """Looks through FHIR files, resource by resource."""
    made = _Profiler()
    for file in files:
        try:
            made.read(file)
        except InputError as fault:
            made.found.problems.append(fault.problem)
    return made.done()


def profile_of(resources: Iterable[bytes], server: str) -> Profile:
    """As `profile`, of resources that a server sent; one that comes again counts once. `server`: for messages."""
    made, seen = _Profiler(), set[tuple[str, str]]()
    for raw in resources:
        head = head_of(raw)
        if (head.resourceType, head.id) not in seen:
            seen.add((head.resourceType, head.id))
            made.add(_plain(raw), Place(server), iter(()))
    return made.done()


def _plain(raw: bytes) -> bytes:
    """A resource without the server's metadata; what is no JSON as it is, since it is reported when it is parsed."""
    try:
        return cleaned(raw)
    except JsonError:
        return raw


class _Profiler:
    def __init__(self) -> None:
        self.found = Profile()
        self._names = set[str]()
        self._references: Counter[tuple[str, str]] = Counter()
        self._displays: dict[tuple[str, str, str], str] = {}
        self._codes: Counter[tuple[str, str, str]] = Counter()

    def read(self, file: FhirFile) -> None:
        """Counts the resources of a file."""
        urls: Iterator[str] = iter(())
        if file.kind == "bundle":
            urls = (entry.fullUrl for entry in file.entries() if bytes(entry.resource))
        for line, raw in file.resources():
            self.add(raw, Place(file.name, line), urls)

    def add(self, raw: bytes, place: Place, urls: Iterator[str]) -> None:
        """Counts a resource. `urls`: the next one is its address, if it is one."""
        try:
            resource = parse(raw)
        except JsonError:
            self.found.problems.append(Problem("FS401", place, "a resource as JSON"))
            return
        if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str):
            self._count(resource, next(urls, ""))
        else:
            self.found.problems.append(Problem("FS410", place, "a resource type of FHIR"))

    def _count(self, resource: dict[str, Any], url: str) -> None:
        kind, name = resource["resourceType"], resource.get("id", id_in(url))
        self.found.types[kind] += 1
        self._names |= {f"{kind}/{name}", url}
        if kind == "Patient" and isinstance(name, str):
            self.found.patients.append(name)
        for system in texts(resource, (Step("identifier"), Step("system"))):
            self.found.identifiers[kind, system] += 1
        for element in _STATUS:
            steps = (Step(element),)
            codes = texts(resource, steps) or texts(resource, (*steps, Step("coding"), Step("code")))
            self.found.statuses.update((kind, element, code) for code in codes)
        if kind == "Observation":
            if resource.get("component"):
                self.found.panels.update(texts(resource, (Step("code"), Step("coding"), Step("code"))))
            category = next(iter(texts(resource, _CATEGORY)), "")
            for path in ((Step("code"),), (Step("component"), Step("code"))):
                for code in texts(resource, (*path, Step("coding"), Step("code"))):
                    self.found.categories.setdefault(code, category)
        self._walk(resource, kind)

    def _walk(self, value: Any, path: str) -> None:
        """Counts codings, units, references and offsets at any depth."""
        if isinstance(value, list):
            for item in value:
                self._walk(item, path)
        elif isinstance(value, dict):
            self._look_at(value, path)
            for name, inner in value.items():
                self._walk(inner, path if name == "coding" else f"{path}.{name}")
        elif isinstance(value, str) and len(value) >= 19 and value[10] == "T" and value[4] == "-":
            self.found.offsets[value[19:].lstrip(".0123456789")] += 1

    def _look_at(self, value: dict[str, Any], path: str) -> None:
        system, code, reference = value.get("system"), value.get("code"), value.get("reference")
        if isinstance(code, str) and isinstance(system, str) and "value" in value:
            self.found.units[system, code] += 1
        elif isinstance(code, str) and isinstance(system, str):
            self._codes[path, system, code] += 1
            self._displays.setdefault((path, system, code), str(value.get("display", "")))
        if isinstance(reference, str) and not reference.startswith("#"):
            self._references[path, reference] += 1

    def done(self) -> Profile:
        """The profile, when all resources are known."""
        for key, count in self._codes.items():
            self.found.codes[*key, self._displays[key]] = count
        for (path, reference), count in self._references.items():
            known = parsed(reference)
            if reference not in self._names and not (known and known.key in self._names):
                self.found.unresolved[path] += count
        self.found.patients.sort()
        return self.found
