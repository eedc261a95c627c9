"""The design of a study as far as derivations need it: visits, elements, standard units and a few rules.

A ``study.yaml`` beside the source mappings holds it::

    visits:
      - {number: 1, label: SCREENING, day: -14}
    elements:
      - {etcd: SCRN, element: Screening, epoch: SCREENING, start: RFICDTC}
      - {etcd: FU, element: Follow-up, epoch: FOLLOW-UP, start: RFXENDTC + 1}
    units: {all: SI, LB: {HGB: g/L}}  # or conventional, or as collected
    zone: Australia/Sydney                      # or by site: {"10": Australia/Sydney, "20": Europe/Berlin}
    reference: {start: RFXSTDTC, end: RFXENDTC}  # end: DSSTDTC is that of the last disposition event
    day of change: {Findings: before}           # the epoch on the day when an element starts
    scores: {QSPH: {Not at all: 0}, SWLS0101: {Agree: 6}}  # of answers, by dataset or test
    baseline: {flags: [LOBXFL, BLFL], VS: [VSTESTCD, VSPOS]}  # which flags, and what identifies a test
    actual arm: as planned
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirspace.errors import MappingError, Place, UsageError
from fhirspace.standards.timezones import alike, is_zone
from fhirspace.standards.units import SYSTEMS, canonical_number
from fhirspace.template import yaml_nodes as nodes

DISPOSITION = "DSSTDTC"
"""What RFENDTC can repeat beside the other dates of DM: the date of the last disposition event."""
_CHANGE = {"before": True, "after": False}
_FLAGS = ("LOBXFL", "BLFL")
REFERENCE_DATES = ("RFICDTC", "RFSTDTC", "RFENDTC", "RFXSTDTC", "RFXENDTC", "RFPENDTC")
LABEL = 100
"""Letters of a visit's label in which `StudyDesign.unscheduled` is sought."""
_KEYS = frozenset(
    (
        "visits",
        "elements",
        "units",
        "unscheduled",
        "reference",
        "day of change",
        "scores",
        "baseline",
        "actual arm",
        "zone",
    )
)
_LONGEST, _MOST = 200, 3
"""Letters of that pattern, and its repetitions, at most."""
_REPEATED = re.compile(r"[*+?{]")
_NESTED = re.compile(r"\)[*+?{]|\\\d|\(\?[^:]")
"""A group that is repeated, a reference to a group, a look-around: with them a pattern can take any time."""
_RULE = re.compile(r"(?P<date>RF[A-Z]*DTC)\s*(?:(?P<sign>[+-])\s*(?P<days>\d{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Visit:
    """A planned visit: number and day are numbers as text, the day counts as VISITDY does."""

    number: str
    label: str
    day: str | None = None


@dataclass(frozen=True, slots=True)
class Element:
    """A planned element: it starts `days` after the reference date of DM named `start`."""

    etcd: str
    element: str
    epoch: str
    start: str
    days: int = 0


@dataclass(frozen=True, slots=True)
class FormZone:
    """The dates of a dataset that a form writes, and the time zone that it declares for them (empty: none).

    `merged` is true where several forms make one row together: the variables say which of them wrote a date.
    """

    form: str
    dataset: str
    variables: frozenset[str]
    zone: str = ""
    merged: bool = False


@dataclass(frozen=True, slots=True)
class StudyDesign:
    """The design of a study.

    `units` maps domain -> test code -> standard unit; `unit_system` says which units all other tests get.
    `zone` is the time zone of the study (IANA), `zones` those of sites by SITEID, which win; `forms` those of forms,
    which win over both (every form is there if one has a zone).
    `unscheduled` is the pattern (searched, whatever the case) of visit labels that stand for no planned visit.
    `reference_start` and `reference_end` name the dates of DM that RFSTDTC and RFENDTC repeat.
    `before_change` are the datasets and classes whose records of the day on which an element starts, both without a
    time, belong to the element before it, and the epochs of which this holds for all records.
    `scores` maps dataset or test code -> answer -> score.
    `baseline_flags` are those that are derived (without the prefix), `baseline_tests` by domain the variables that
    identify a test for them.
    `actual_arm_as_planned`: treated subjects got what was planned for them.
    """

    visits: tuple[Visit, ...] = ()
    elements: tuple[Element, ...] = ()
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unit_system: str = "SI"
    zone: str = ""
    zones: Mapping[str, str] = field(default_factory=dict)
    forms: tuple[FormZone, ...] = ()
    unscheduled: str = "UNSCH"
    reference_start: str = "RFXSTDTC"
    reference_end: str = "RFXENDTC"
    before_change: frozenset[str] = frozenset()
    scores: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    baseline_flags: tuple[str, ...] = ("LOBXFL",)
    baseline_tests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    actual_arm_as_planned: bool = False

    @property
    def declared_zones(self) -> set[str]:
        """All time zones that are declared."""
        return {name for name in (self.zone, *self.zones.values(), *(form.zone for form in self.forms)) if name}


def load_study(path: Path) -> StudyDesign:
    """Read a ``study.yaml``.

    Raises:
        UsageError: FS703, the file is not as described at the head of this module; FS160, it is too large or too deep.
    """
    try:
        documents = nodes.load(path)
    except MappingError as error:
        if error.code == "FS160":
            raise
        raise UsageError("FS703", error.problem.place, error.problem.expected, error.problem.detail) from None
    if len(documents) != 1:
        raise UsageError("FS703", Place(path.name), "one document with a mapping at the top")
    return _design(nodes.plain(documents[0]), path.name)


def _design(content: dict[str, Any], name: str) -> StudyDesign:
    for key in content:
        if key not in _KEYS:
            raise UsageError("FS703", Place(name, None, str(key)), "one of " + ", ".join(sorted(_KEYS)))
    try:
        reference = content.get("reference", {})
        units, zone = content.get("units", {}), content.get("zone", "")
        units = {"all": units} if isinstance(units, str) else units
        change, baseline = content.get("day of change", {}), content.get("baseline", {})
        return StudyDesign(
            visits=tuple(_visit(item) for item in content.get("visits", ())),
            elements=tuple(_element(item) for item in content.get("elements", ())),
            units={domain: _texts(tests) for domain, tests in units.items() if domain != "all"},
            zone=_zone(zone, name) if isinstance(zone, str) else "",
            zones={} if isinstance(zone, str) else {site: _zone(each, name) for site, each in zone.items()},
            unit_system=_system(units.get("all", "SI")),
            unscheduled=_pattern(content.get("unscheduled", "UNSCH"), name),
            reference_start=_reference(reference.get("start", "RFXSTDTC")),
            reference_end=_reference(reference.get("end", "RFXENDTC"), DISPOSITION),
            before_change=frozenset(each for each, side in change.items() if _CHANGE[side]),
            scores={each: _texts(answers) for each, answers in content.get("scores", {}).items()},
            baseline_flags=tuple(_flag(each) for each in baseline.get("flags", ("LOBXFL",))),
            baseline_tests={each: tuple(map(_text, names)) for each, names in baseline.items() if each != "flags"},
            actual_arm_as_planned=content.get("actual arm", "") == "as planned",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError("FS703", Place(name), "entries with the keys described", type(error).__name__) from None


def _pattern(text: str, name: str) -> str:
    """A regular expression that takes little time on any label: no repetition in another, and few of them."""
    sound = len(text) <= _LONGEST and len(_REPEATED.findall(text)) <= _MOST and not _NESTED.search(text)
    try:
        re.compile(text if sound else "*")
    except (re.error, RecursionError, OverflowError):
        hint = "a short regular expression with at most three of * + ? {, none of them behind a bracket"
        raise UsageError("FS703", Place(name, None, "unscheduled"), hint) from None
    return text


def _visit(item: dict[str, str]) -> Visit:
    number, day = canonical_number(item["number"]), canonical_number(item["day"]) if item.get("day") else None
    if number is None:
        raise ValueError(item)
    return Visit(number, item["label"], day)


def _element(item: dict[str, str]) -> Element:
    matched = _RULE.fullmatch(item["start"].strip())
    if matched is None:
        raise ValueError(item)
    days = int(matched["days"] or 0) * (-1 if matched["sign"] == "-" else 1)
    return Element(item["etcd"], item["element"], item["epoch"], _reference(matched["date"]), days)


def _zone(zone: str, name: str) -> str:
    """A name of IANA's list, or "" where there is no zone. Raises UsageError (FS703): another one."""
    if zone and not (isinstance(zone, str) and is_zone(zone)):
        raise UsageError("FS703", Place(name, None, "zone"), alike(str(zone)))
    return zone


def _system(name: str) -> str:
    if name not in SYSTEMS:
        raise ValueError(name)
    return name


def _texts(mapping: Mapping[str, str]) -> dict[str, str]:
    """A mapping of texts to texts. Raises ValueError: a value is none."""
    return {key: _text(value) for key, value in mapping.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _flag(name: str) -> str:
    if name not in _FLAGS:
        raise ValueError(name)
    return name


def _reference(name: str, *more: str) -> str:
    if name not in (*REFERENCE_DATES, *more):
        raise ValueError(name)
    return name
