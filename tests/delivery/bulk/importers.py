"""Servers that import, without a network of their own: each is a `Transport` that follows its maker's documents.

HAPI's fetches the files from our file server, as the real one does, and stores them; Azure's and Google's know what is
in their storage. `refuse` says of a line whether it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from fhirspace.fhirserver.http.client import Response

METADATA = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
Line = dict[str, Any]


def _refers_elsewhere(known: set[str], line: Line) -> bool:
    return not set(re.findall(r'"reference": "(.*?)"', json.dumps(line))) <= known


class Importer:
    """What the three have in common: `looks` looks until a job is done; `jobs` are the requests that began one."""

    url = "https://fhir.example/r4"

    def __init__(self, storage: dict[str, Path] | None = None) -> None:
        self.storage = storage or {}
        self.looks = 2
        self.jobs: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.store: dict[str, Line] = {}
        self.refuse: Callable[[Line], bool] = lambda line: False
        self.down = False
        self._left: list[int] = []

    def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
        self.requests.append((method, path, dict(headers or {})))
        if path == "metadata":
            return answer(200, METADATA)
        if method == "POST":
            if self.down:
                return answer(403 if self.down == "sign-in" else 422, {"resourceType": "OperationOutcome", "issue": []})
            self.jobs.append(json.loads(body or b""))
            self._left.append(self.looks)
            return self.begun(len(self.jobs) - 1, path)
        job = int(re.findall(r"\d+", path)[-1])
        self._left[job] -= 1
        return self.going_on(job) if self._left[job] >= 0 else self.done(job)

    def begun(self, job: int, path: str) -> Response:
        raise NotImplementedError

    def going_on(self, job: int) -> Response:
        raise NotImplementedError

    def done(self, job: int) -> Response:
        raise NotImplementedError

    def take(self, text: bytes) -> tuple[int, int]:
        """Store lines; gives how many were stored and refused."""
        lines = [json.loads(line) for line in text.splitlines()]
        good = [line for line in lines if not self.refuse(line)]
        self.store |= {f"{line['resourceType']}/{line['id']}": line for line in good}
        return len(good), len(lines) - len(good)

    def inputs(self, job: int) -> list[dict[str, str]]:
        """The inputs of a job in Parameters, as name -> value."""
        return [
            {part["name"]: next(str(value) for name, value in part.items() if name != "name") for part in item["part"]}
            for item in self.jobs[job]["parameter"]
            if item["name"] == "input"
        ]


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(status, {"content-type": "application/fhir+json", **(headers or {})}, json.dumps(body).encode())


class HapiImporter(Importer):
    """Refuses what refers to something that is neither stored nor in the same file (its chunks go in any order).

    The report is spelled as HAPI 8.8.0 does, in JSON in the OperationOutcome.
    """

    wrapped = True

    def begun(self, job: int, path: str) -> Response:
        assert path == "$import"
        self._texts = {}
        for item in self.inputs(job):
            with urlopen(item["url"]) as source:
                assert source.headers["Content-Type"] == "application/fhir+ndjson"
                self._texts[item["url"]] = source.read()
        return answer(202, {}, {"content-location": f"{self.url}/$import-poll-status?_jobId={job}"})

    def going_on(self, job: int) -> Response:
        progress = "Job was created at 2026-03-01T00:00:00Z and is in IN_PROGRESS state. Current completion: 40.0%"
        return answer(202, {}, {"retry-after": "120", "x-progress": progress})

    def done(self, job: int) -> Response:
        stored = set(self.store)
        report, errors = "Bulk Import Report\n-----\nStorage Actions : 3 (1/sec)\n-----\n", []
        for url, text in self._texts.items():
            lines = [json.loads(line) for line in text.splitlines()]
            known = stored | {f"{line['resourceType']}/{line['id']}" for line in lines}
            self.refuse = partial(_refers_elsewhere, known)
            good, bad = self.take(text)
            report += f"Source: {url}\n"
            report += "  Outcomes:\n"
            report += f"    * SUCCESSFUL_UPDATE_AS_CREATE: {good}\n" if good else ""
            report += f"    * FAILURE: {bad}\n" if bad else ""
            errors = [
                "HAPI-1094: Resource Patient/SECRET-CANARY not found, specified in path: Observation.subject"
            ] * bad
            report += "".join(["  Errors:\n", *(f"    * {error}\n" for error in errors)]) if errors else ""
        if self.wrapped:
            report = json.dumps({"reportMsg": report})
        texts = ["Job is in FAILED state with 0 error count. Last error: HAPI-2673", report] if errors else [report]
        severity = "error" if errors else "information"
        issues = [{"severity": severity, "code": "processing", "diagnostics": text} for text in texts]
        return answer(500 if errors else 200, {"resourceType": "OperationOutcome", "issue": issues})


class AzureImporter(Importer):
    """Azure: blobs by their URLs; the result lists counts a blob, and blobs with errors."""

    def begun(self, job: int, path: str) -> Response:
        assert path == "$import"
        return answer(202, {}, {"content-location": f"{self.url}/_operations/import/{job}"})

    def going_on(self, job: int) -> Response:
        return answer(202, {})

    def done(self, job: int) -> Response:
        output, error = [], []
        for item in self.inputs(job):
            good, bad = self.take(self.storage[item["url"]].read_bytes())
            output.append({"type": item["type"], "count": good, "inputUrl": item["url"]})
            if bad:
                logs = "https://acct.blob.core.windows.net/fhirlogs/SECRET-CANARY.ndjson"
                error.append({"type": "OperationOutcome", "count": bad, "inputUrl": item["url"], "url": logs})
        found = {"transactionTime": "2026-03-01T00:00:00+00:00", "request": f"{self.url}/$import"}
        return answer(200, {**found, "output": output, "error": error})


class GoogleImporter(Importer):
    """Google: an operation a file, with counters of 64 bits as texts."""

    data = "projects/p-1/locations/europe-west3/datasets/d-1"
    url = f"https://healthcare.googleapis.com/v1/{data}/fhirStores/s-1/fhir"
    broken = False

    def begun(self, job: int, path: str) -> Response:
        assert path == f"https://healthcare.googleapis.com/v1/{self.data}/fhirStores/s-1:import"
        return answer(200, {"name": f"{self.data}/operations/{job}"})

    def going_on(self, job: int) -> Response:
        return answer(200, {"name": f"{self.data}/operations/{job}", "metadata": {"counter": {"pending": "7"}}})

    def done(self, job: int) -> Response:
        found: dict[str, Any] = {"name": f"{self.data}/operations/{job}", "done": True}
        if self.broken:
            return answer(200, {**found, "error": {"code": 7, "message": "SECRET-CANARY"}})
        good, bad = self.take(self.storage[self.jobs[job]["gcsSource"]["uri"]].read_bytes())
        counter = {"success": str(good), **({"failure": str(bad)} if bad else {})}
        return answer(200, {**found, "metadata": {"counter": counter}, "response": {}})
