"""What goes in and out of the server, whatever carries it: requests, answers, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

JSON = "application/fhir+json"


class Request(NamedTuple):
    """A request as it came: `path` with its query, names of `headers` in lower case, `body` decompressed."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def place(self) -> str:
        """The path below the FHIR base, without query: ``Patient/1``; "" for the base itself."""
        return urlsplit(self.path).path.removeprefix("/fhir").strip("/")

    @property
    def query(self) -> str:
        """The text after the question mark."""
        return urlsplit(self.path).query

    def prefers(self, what: str) -> bool:
        """Whether ``Prefer`` asks for it: "minimal", "representation", "OperationOutcome"."""
        return f"return={what}" in self.headers.get("prefer", "")


@dataclass(slots=True)
class Answer:
    """An answer; `wire` says how its bytes are spoilt on their way: not at all, cut short, or by a reset."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wire: Literal["", "short", "reset"] = ""


class Refused(Exception):
    """The server does not do it: the status, what it says, and the FHIRPaths that it blames."""

    def __init__(self, status: int, diagnostics: str, places: list[str] | None = None) -> None:
        super().__init__(diagnostics)
        self.status = status
        self.diagnostics = diagnostics
        self.places = places or []

    @property
    def outcome(self) -> dict[str, Any]:
        """Its OperationOutcome."""
        return outcome(self.diagnostics, self.places)

    @property
    def answer(self) -> Answer:
        """It as an answer."""
        return document(self.status, self.outcome)


def outcome(
    diagnostics: str, places: list[str] | None = None, code: str = "processing", severity: str = "error"
) -> dict[str, Any]:
    """An OperationOutcome with an issue for each place, or one without a place."""
    issue = {"severity": severity, "code": code, "diagnostics": diagnostics}
    found = [{**issue, "expression": [place]} for place in places or []]
    return {"resourceType": "OperationOutcome", "issue": found or [issue]}


def document(status: int, content: Any, headers: dict[str, str] | None = None) -> Answer:
    """An answer of JSON."""
    return Answer(status, json.dumps(content).encode(), headers or {})
