"""Stories of real servers that several tests tell, with more or fewer resources, for one release or another."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from fhirspace.delivery.plan.plan import plan
from fhirspace.delivery.push.push import PushReport, push, retry
from fhirspace.delivery.verify import verify
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import HttpTransport
from fhirspace.localserver import server
from fhirspace.standards.fhir import Release
from tests.support.resources import dump, lines_of, observation, resource, trial, write

Bad = tuple[str, str, str, str]
"""What is wrong, the bad line, the same mended, and what the server says about it."""


def _wrong(name: str, **elements: Any) -> str:
    return dump(resource("Observation", name, **({"status": "final", "code": {"text": "x"}} | elements)))


BAD: list[Bad] = [
    ("broken reference", observation("BAD", "nobody"), observation("BAD", "p-1"), "HAPI-1094"),
    ("invalid content", _wrong("BAD", status="no-such-status"), _wrong("BAD"), "status"),
    # Ids of digits alone belong to the server: a rule that no profile tells.
    ("rule of the server", _wrong("4711"), _wrong("BAD"), "HAPI-0960"),
]


def one_bad(client: Client, bad: Bad, tmp: Path, *, patients: int, each: int) -> None:
    """Pushes a trial with one bad resource in its middle, mends the dead letter, and tries again."""
    what, wrong, mended, said = bad
    name = f"BAD{tmp.name[-8:].replace('_', '-')}{patients}"
    folder = trial(tmp / "in", patients=patients, each=each)
    lines = (folder / "fhir" / "Observation.ndjson").read_text("utf-8").splitlines()
    row = len(lines) // 2
    lines.insert(row, wrong)
    write(folder, {"Observation": lines})
    renamed(folder, name)
    total = patients * (each + 1) + 3
    report = push(folder, client.server, client=client)
    assert (report.total, report.created, report.refused) == (total, total - 1, 1), what
    (problem,) = report.problems
    assert (problem.place.file, problem.place.row) == ("Observation.ndjson", row + 1)
    assert report.dead
    letter = report.dead.read_text("utf-8").splitlines()
    (told,) = map(json.loads, report.dead.with_name(f"{report.run}.outcomes.ndjson").read_text("utf-8").splitlines())
    assert (told["file"], told["row"], told["outcome"]["resourceType"]) == (
        "Observation.ndjson", row + 1, "OperationOutcome"
    )  # fmt: skip
    assert len(letter) == 1
    assert said in json.dumps(told["outcome"])

    report.dead.write_text(_named(mended, name) + "\n", "utf-8")
    again = retry(folder, client.server, client=client)
    assert (again.created, again.refused) == (1, 0)
    assert client.json("GET", f"Observation/{name}-BAD")["status"] == "final"


def _named(text: str, name: str) -> str:
    """Ids and references made unique, but for one of digits alone."""
    for kind in ("ob-", "p-", "o-", "s-", "BAD"):
        text = text.replace(f'"id":"{kind}', f'"id":"{name}-{kind}').replace(f"/{kind}", f"/{name}-{kind}")
    return text.replace("TRIAL01", name)


def renamed(folder: Path, name: str) -> Path:
    """The folder, its ids and its study made unique: the tests of a session share one server."""
    for file in (folder / "fhir").glob("*.ndjson"):
        file.write_text(_named(file.read_text("utf-8"), name), "utf-8")
    return folder


def versions(client: Client, folder: Path) -> set[str]:
    """The version numbers that the server keeps of all resources of a folder."""
    found = set()
    for line in lines_of(folder):
        head = json.loads(line)
        history = client.json("GET", f"{head['resourceType']}/{head['id']}/_history")
        found |= {entry["resource"]["meta"]["versionId"] for entry in history["entry"]}
    return found


@dataclass
class Outlived:
    """A study that was delivered before its server died, and the server that was started again on its database."""

    client: Client
    folder: Path
    report: PushReport

    def stands(self) -> None:
        """All is there, nothing is left to do."""
        assert verify(self.report.run, client=self.client, journal=self.folder).problems == []
        assert push(self.folder, self.client.server, client=self.client).unchanged == 32
        assert plan(self.folder, self.client.server, client=self.client).total("unchanged") == 32
        assert versions(self.client, self.folder) == {"1"}


@contextmanager
def outlived(release: Release, tmp: Path, *, client_ids: bool = True) -> Iterator[Outlived]:
    """Planned and pushed, then the server is killed; it is started again, perhaps as one that makes all new ids."""
    folder = renamed(trial(tmp / "in", patients=5, each=5), "OUTLIVED")
    kept: dict[str, Any] = {"database": tmp / "db", "folder": tmp / "home"}
    started = server.start(release, validate=False, **kept)
    planned = plan(folder, started.url)
    assert planned.total("create") == 32
    report = push(folder, started.url, plan=planned.file)
    assert (report.created, report.refused) == (32, 0)
    invalid = dump(resource("Patient", "kept", "OUTLIVED", noSuchElement="x")).encode()
    assert Client(started.url).request("PUT", "Patient/kept", invalid).status == 201, "nobody validates"
    os.kill(started.pid, signal.SIGKILL)
    psutil.Process(started.pid).wait(30)
    started = server.start(release, started.port, validate=False, client_ids=client_ids, **kept)
    transport = HttpTransport(started.url)
    try:
        yield Outlived(Client(started.url, transport), folder, report)
    finally:
        server.stop(port=started.port)
        transport.close()
