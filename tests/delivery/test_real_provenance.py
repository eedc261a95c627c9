"""Against a real HAPI FHIR server that validates what it is sent: it takes our Provenance, keeps it and finds it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from fhirspace.delivery.provenance import RUN, Source, Target, provenance, sources, targets_of
from fhirspace.fhirserver.http.client import Client, HttpTransport

pytestmark = [pytest.mark.server, pytest.mark.slow]


def put(client: Client, resource: dict[str, Any]) -> Target:
    """PUT a resource. Returns its key and the version that the server says it has now."""
    key = f"{resource['resourceType']}/{resource['id']}"
    stored = client.json("PUT", key, msgspec.json.encode(resource))
    return key, stored["meta"]["versionId"]


def found(client: Client, run: str) -> list[dict[str, Any]]:
    form = urlencode({"_tag": f"{RUN}|{run}"}).encode("ascii")
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Cache-Control": "no-cache"}
    bundle = client.json("POST", "Provenance/_search", form, headers=kind)
    return [entry["resource"] for entry in bundle.get("entry", ())]


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_the_server_takes_it_keeps_it_and_finds_it_by_its_run(
    hapi: Callable[[str], str], release: str, tmp_path: Path
) -> None:
    run, now = f"run-{tmp_path.name}", datetime.now(UTC)
    transport = HttpTransport(hapi(release))
    client = Client(hapi(release), transport)
    (tmp_path / "a.ndjson").write_text("{}\n")
    files = {*sources([tmp_path / "a.ndjson"]).values(), Source("a" * 64, "b" * 64, "0.1.0")}
    people = [{"resourceType": "Patient", "id": f"prov-{release}-{number}"} for number in range(3)]
    created = [put(client, person) for person in people]
    updated = [put(client, {**people[0], "gender": "female"})]
    assert [version for _, version in (*created, *updated)] == ["1", "1", "1", "2"]

    made = [
        provenance(run, now, created[:2], [], files, on_behalf_of="Trial unit"),
        provenance(run, now, [], updated, files),
        provenance(run, now, created[2:], [put(client, {**people[1], "gender": "male"})], []),
    ]
    told = [
        issue["details"]["text"] if "details" in issue else issue["diagnostics"]
        for each in made
        for issue in client.json("POST", "Provenance/$validate", msgspec.json.encode(each))["issue"]
        if issue["severity"] in ("error", "fatal")
    ]
    assert told == []
    assert {put(client, each)[1] for each in made} == {"1"}
    # Once more, as after a lost answer: it stays the same resource, if in a new version where HAPI cuts versions off.
    assert all(put(client, each)[1] in ("1", "2") for each in made)
    kept = found(client, run)
    assert {each["id"]: targets_of(each) for each in kept} == {each["id"]: targets_of(each) for each in made}
    assert found(client, "another run") == []
    transport.close()
