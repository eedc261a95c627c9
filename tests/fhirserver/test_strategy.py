"""The way of delivery, for statements of the shapes that products publish."""

from __future__ import annotations

from typing import Any

import pytest

from fhirspace.errors import ServerError
from fhirspace.fhirserver.capability import read
from fhirspace.fhirserver.products import Limits, limits_of
from fhirspace.fhirserver.strategy import way
from tests.support import statements as said

ELSEWHERE = "https://fhir.example.org/r4"
HOSTS = {
    "azure": "https://work-fhir.fhir.azurehealthcareapis.com",
    "google": "https://healthcare.googleapis.com/v1/projects/p/locations/l/datasets/d/fhirStores/s/fhir",
    "healthlake": "https://healthlake.eu-west-1.amazonaws.com/datastore/0/r4",
}


def limits(statement: dict[str, Any], server: str = ELSEWHERE) -> Limits:
    return limits_of(read(statement), server)


@pytest.mark.parametrize(
    ("statement", "server", "product", "expected"),
    [
        (said.HAPI, ELSEWHERE, "hapi", ("transaction", 50, None, 3)),
        (said.AZURE, HOSTS["azure"], "azure", ("transaction", 160, 500, 4)),
        (said.AZURE, ELSEWHERE, "azure", ("transaction", 160, 500, 4)),
        (said.AZURE_OLD, "https://old.azurehealthcareapis.com", "azure", ("batch", 160, 500, 4)),
        (said.GOOGLE, HOSTS["google"], "google", ("transaction", 160, 4500, 4)),
        (said.GOOGLE_OWN_IDS, HOSTS["google"], "google", ("conditional", 1, 1, 4)),
        (said.HEALTHLAKE, HOSTS["healthlake"], "healthlake", ("transaction", 160, 160, 4)),
        (said.FIRELY, ELSEWHERE, "firely", ("transaction", 160, None, 1)),
        (said.MEDPLUM, ELSEWHERE, "medplum", ("conditional", 1, 1, 1)),
        (said.AIDBOX, ELSEWHERE, "aidbox", ("transaction", 160, None, 1)),
        (said.LINUXFORHEALTH, ELSEWHERE, "linuxforhealth", ("transaction", 160, None, 1)),
        (said.MICROSOFT, ELSEWHERE, "microsoft", ("batch", 160, 500, 2)),
        (said.SILENT, ELSEWHERE, "", ("transaction", 160, None, 1)),
        (said.statement("Other", system=("search-system",), **said.BY_ID), ELSEWHERE, "", ("single", 1, 1, 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_product_has_its_way(
    statement: dict[str, Any], server: str, product: str, expected: tuple[object, ...]
) -> None:
    facts = limits(statement, server)
    found = way(statement, facts, ["Patient", "Observation"])
    assert facts.key == product
    assert (found.kind, found.size, found.most, found.connections) == expected
    assert found.without == ()
    assert not found.gzip
    assert found.why.keys() == {"kind", "size", "connections", "gzip"}
    assert all(reason.endswith(".") for reason in found.why.values())


@pytest.mark.parametrize(
    ("statement", "facts", "batch", "kind", "reason"),
    [
        (said.HAPI, Limits(), None, "transaction", "The server says that it takes transactions"),
        (said.HAPI, Limits(transaction="no"), False, "transaction", "The server says"),
        (said.SILENT, Limits(), None, "transaction", "does not say what bundles it takes; assumed"),
        (said.SILENT, Limits(), True, "transaction", "assumed"),
        (said.SILENT, Limits(), False, "single", "a batch that was tried failed"),
        (said.SILENT, Limits(name="X", batch="yes"), None, "batch", "X is known to take this kind"),
        (said.AZURE_OLD, Limits(), None, "batch", "The server says so: batches, and no transactions"),
        (said.AZURE_OLD, Limits(), True, "batch", "One that was tried worked: batches, and no transactions"),
        (said.statement("X", system=("history-system",)), Limits(), True, "batch", "One that was tried worked"),
        (said.statement("X", system=("history-system",)), Limits(), False, "single", "neither"),
        (said.AZURE_OLD, Limits(), False, "single", "one that was tried failed"),
        (said.SILENT, Limits(name="X", client_ids="no"), None, "conditional", "known of X that it makes the ids"),
        (said.MEDPLUM, Limits(), None, "conditional", "The server says that it makes the ids itself, so"),
    ],
)
def test_what_is_said_wins_and_silence_is_told(
    statement: dict[str, Any], facts: Limits, batch: bool | None, kind: str, reason: str
) -> None:
    found = way(statement, facts, batch=batch)
    assert found.kind == kind
    assert reason in found.why["kind"]


def test_one_type_that_refuses_ids_makes_all_conditional() -> None:
    mixed = said.statement("X", types=("Patient",), **said.BY_ID)
    mixed["rest"][0]["resource"].append(said.resource("Device", updateCreate=False, conditionalUpdate=True))
    assert way(mixed, Limits(), ["Patient"]).kind == "transaction"
    found = way(mixed, Limits(), ["Patient", "Device"])
    assert found.kind == "conditional"
    assert "for Device" in found.why["kind"]


def test_types_without_identifier_cannot_go_conditionally() -> None:
    found = way(said.MEDPLUM, limits(said.MEDPLUM), ["Patient", "AdverseEvent"])
    assert (found.kind, found.without) == ("conditional", ("AdverseEvent",))


def test_types_that_are_read_only_are_left_out() -> None:
    partly = said.statement("X", types=("Patient",), **said.BY_ID)
    partly["rest"][0]["resource"].append(said.resource("Organization", interactions=("read",), updateCreate=True))
    assert way(partly, Limits(), ["Patient", "Organization"]).without == ("Organization",)


@pytest.mark.parametrize(
    ("statement", "types", "expected"),
    [
        (said.READ_ONLY, [], "update"),
        (said.MEDPLUM, ["AdverseEvent"], "identifier"),
        (said.statement("X", updateCreate=False, conditionalUpdate=False), [], "ids made by the client"),
        (said.statement("X", updateCreate=False), ["Patient"], "ids made by the client"),
    ],
)
def test_where_there_is_no_way_it_is_an_error(statement: dict[str, Any], types: list[str], expected: str) -> None:
    with pytest.raises(ServerError, match="FS550") as caught:
        way(statement, Limits(), types)
    assert expected in caught.value.problem.expected


@pytest.mark.parametrize(
    ("facts", "size", "most_bytes", "reason"),
    [
        (Limits(), 160, 8_000_000, "No limit is known; sending begins with 160"),
        (Limits(name="X", entries=20), 20, 8_000_000, "X takes no more than 20 entries"),
        (Limits(name="X", entries=500, bytes=1_000_000), 160, 1_000_000, "X takes up to 500; sending begins"),
        (Limits(size=50, bytes=50_000_000), 50, 8_000_000, "50 did well with this product"),
    ],
)
def test_a_bundle_stays_within_the_limits(facts: Limits, size: int, most_bytes: int, reason: str) -> None:
    found = way(said.SILENT, facts)
    assert (found.size, found.bytes) == (size, most_bytes)
    assert reason in found.why["size"]


@pytest.mark.parametrize(
    ("gzip", "used", "reason"), [(True, True, "understood"), (False, False, "refused"), (None, False, "Not tried")]
)
def test_requests_are_compressed_only_where_that_was_tried(gzip: bool | None, used: bool, reason: str) -> None:
    found = way(said.HAPI, Limits(), gzip=gzip)
    assert found.gzip is used
    assert reason in found.why["gzip"]
    assert str(found).endswith("gzip") is used


def test_a_rate_that_is_known_is_kept() -> None:
    assert way(said.HEALTHLAKE, limits(said.HEALTHLAKE, HOSTS["healthlake"])).rate == 10
    assert way(said.HAPI, limits(said.HAPI)).rate is None
