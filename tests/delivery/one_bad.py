"""One bad resource among many good ones, on a real server: everything else arrives, and mended it arrives too."""

from __future__ import annotations

import json
from pathlib import Path

from fhirspace.delivery.client import Client
from fhirspace.delivery.push import push, retry

from .resources import dump, observation, resource, trial, write

Bad = tuple[str, str, str, str]
"""What is wrong, the bad line, the same mended, and what the server says about it."""


def _wrong(name: str, **elements: object) -> str:
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
    _own(folder, name)
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


def _own(folder: Path, name: str) -> None:
    for file in (folder / "fhir").glob("*.ndjson"):
        file.write_text(_named(file.read_text("utf-8"), name), "utf-8")
