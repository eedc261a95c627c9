"""The published figures of a study, computed twice: from its SDTM datasets and from FHIR resources alone.

What the figures are made of (test, time points, stratum) and what was published is in a ``published.toml``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from fhirspace.fhir import ndjson
from fhirspace.tables.text import as_rows

_OURS = "https://fhirspace.org/StructureDefinition/"


@dataclass(frozen=True, slots=True)
class Response:
    """The best response at one time point: evaluated subjects, complete and partial ones, responders by stratum."""

    evaluated: int
    complete: int
    partial: int
    positive: tuple[int, int]
    negative: tuple[int, int]

    @property
    def percent(self) -> int:
        """Responders of the evaluated, rounded half up."""
        share = Decimal(100 * (self.complete + self.partial)) / max(self.evaluated, 1)
        return int(share.quantize(Decimal(1), ROUND_HALF_UP))

    def __str__(self) -> str:
        return (
            f"{self.complete + self.partial}/{self.evaluated} = {self.percent} % "
            f"(CR {self.complete}, PR {self.partial}; {_ratio(self.positive)}, {_ratio(self.negative)})"
        )


def _ratio(pair: tuple[int, int]) -> str:
    return f"{pair[0]}/{pair[1]}"


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a study: responses by time point, serious events, subjects stopped for an event."""

    responses: dict[str, Response]
    serious: int
    stopped: int

    def lines(self, labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Each figure as a label and a text."""
        for name, response in self.responses.items():
            yield f"responders, {labels.get(name, name)}", str(response)
        yield "serious adverse events", str(self.serious)
        yield "stopped for an adverse event", str(self.stopped)


@dataclass(frozen=True, slots=True)
class Published:
    """What was published, and the study's terms for the source data of the figures."""

    figures: Figures
    labels: dict[str, str]
    test: str
    stratum: str
    complete: str
    partial: str
    evaluable: frozenset[str]

    @classmethod
    def load(cls, path: Path) -> Published:
        """Reads a ``published.toml``; see ``samples/space``."""
        data = tomllib.loads(path.read_text("utf-8"))
        points: dict[str, dict[str, Any]] = data["timepoints"]
        responses = {
            name: Response(
                each["evaluated"], each["complete"], each["partial"], tuple(each["positive"]), tuple(each["negative"])
            )
            for name, each in points.items()
        }
        return cls(
            Figures(responses, data["serious"], data["stopped_for_event"]),
            {name: each["label"] for name, each in points.items()},
            data["test"],
            data["stratum"],
            data["complete"],
            data["partial"],
            frozenset(data["evaluable"]),
        )

    def responses(self, results: Iterable[tuple[str, str, str]], positive: set[str]) -> dict[str, Response]:
        """Counts results (subject, time point, response) at the published time points; each subject once a point."""
        by_point: dict[str, dict[str, str]] = {name: {} for name in self.labels}
        for subject, point, result in results:
            if point in by_point and result in self.evaluable:
                by_point[point][subject] = result
        return {name: self._response(found, positive) for name, found in by_point.items()}

    def _response(self, found: Mapping[str, str], positive: set[str]) -> Response:
        good = {subject for subject, result in found.items() if result in {self.complete, self.partial}}
        there = found.keys() & positive
        return Response(
            evaluated=len(found),
            complete=sum(result == self.complete for result in found.values()),
            partial=sum(result == self.partial for result in found.values()),
            positive=(len(good & there), len(there)),
            negative=(len(good - there), len(found.keys() - there)),
        )


def from_datasets(tables: Mapping[str, pa.Table], published: Published) -> Figures:
    """The figures from SDTM datasets: RS, MH, AE and DS."""
    results = (
        (row["USUBJID"], row.get("RSTPT", ""), row.get("RSORRES", ""))
        for row in as_rows(tables["RS"])
        if row["RSTESTCD"] == published.test
    )
    positive = {
        row["USUBJID"]
        for row in as_rows(tables["MH"])
        if row.get("MHCAT") == published.stratum and row.get("MHOCCUR") == "Y"
    }
    serious = sum(row.get("AESER") == "Y" for row in as_rows(tables["AE"]))
    stopped = {
        row["USUBJID"]
        for row in as_rows(tables["DS"])
        if row.get("DSCAT") == "DISPOSITION EVENT" and row.get("DSDECOD") == "ADVERSE EVENT"
    }
    return Figures(published.responses(results, positive), serious, len(stopped))


def from_resources(files: Iterable[Path], published: Published) -> Figures:
    """The figures from FHIR resources alone: Observation, Condition, AdverseEvent and ResearchSubject."""
    results: list[tuple[str, str, str]] = []
    positive: set[str] = set()
    stopped: set[str] = set()
    serious = 0
    for resource in (json.loads(line) for file in files for _, line in ndjson.read(file)):
        kind = resource["resourceType"]
        if kind == "Observation" and published.test in _codes(resource["code"]):
            value = resource.get("valueCodeableConcept", {}).get("text", resource.get("valueString", ""))
            results.append((resource["subject"]["reference"], _timepoint(resource), value))
        elif kind == "Condition" and published.stratum in _codes(*resource.get("category", ())):
            if any(each.get("valueBoolean") for each in _extensions(resource, "occurred")):
                positive.add(resource["subject"]["reference"])
        elif kind == "AdverseEvent":
            serious += "serious" in {code.lower() for code in _codes(resource.get("seriousness", {}))}
        elif kind == "ResearchSubject" and "ADVERSE EVENT" in _milestones(resource):
            stopped.add(resource["id"])
    return Figures(published.responses(results, positive), serious, len(stopped))


def _codes(*concepts: Mapping[str, Any]) -> set[str]:
    return {coding.get("code", "") for concept in concepts for coding in concept.get("coding", ())}


def _extensions(element: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return [each for each in element.get("extension", ()) if each["url"] in {name, _OURS + name}]


def _timepoint(observation: Mapping[str, Any]) -> str:
    for point in _extensions(observation, "planned-timepoint"):
        for name in _extensions(point, "name"):
            return str(name.get("valueString", ""))
    return ""


def _milestones(subject: Mapping[str, Any]) -> set[str]:
    """What the subject's progress says: R5 has an element for it, R4 our extension."""
    found = {step.get("milestone", {}).get("text", "") for step in subject.get("progress", ())}
    for step in _extensions(subject, "progress"):
        found |= {each["valueCodeableConcept"].get("text", "") for each in _extensions(step, "milestone")}
    return found
