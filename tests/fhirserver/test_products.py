"""The facts about servers are well formed, and products are recognised by them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from importlib.resources import files
from typing import Any

import pytest

from fhirspace.fhirserver.capability import Capability, TypeCapability, read
from fhirspace.fhirserver.products import Limits, known_servers, limits_of
from tests.support import statements

FACTS: dict[str, dict[str, Any]] = tomllib.loads(
    files("fhirspace.fhirserver").joinpath("products.toml").read_text("utf-8")
)


@pytest.mark.parametrize("key", FACTS)
def test_each_product_has_known_fields_patterns_and_sources(key: str) -> None:
    facts = FACTS[key]
    names = {field.name for field in fields(Limits)} - {"key"} | {"import", "export"}
    assert facts.keys() <= names
    assert facts["sources"]
    assert all(source and len(source) < 120 for source in facts["sources"])
    assert all(re.compile(pattern) for pattern in [*facts["software"], *facts.get("hosts", [])])
    assert all(not text.endswith(".") for text in [*facts.get("quirks", []), facts.get("advice", "")])


def test_the_products_that_hospitals_ask_about_are_there() -> None:
    assert {"hapi", "azure", "google", "healthlake"} <= FACTS.keys()
    assert [facts.key for facts in known_servers()] == list(FACTS)


@pytest.mark.parametrize(
    ("names", "server", "key"),
    [
        (("HAPI FHIR Server",), "https://example.org/fhir", "hapi"),
        (("Something", "HAPI FHIR R4 Server"), "https://example.org/fhir", "hapi"),
        (("Microsoft FHIR Server",), "https://x.fhir.azurehealthcareapis.com", "azure"),
        (("Microsoft FHIR Server",), "https://example.org", "microsoft"),
        (("Vonk FHIR server",), "https://example.org", "firely"),
        (("IBM FHIR Server",), "https://example.org", "linuxforhealth"),
        ((), "https://healthcare.googleapis.com/v1/x", "google"),
        ((), "https://healthlake.us-east-1.amazonaws.com/datastore/1/r4", "healthlake"),
        ((), "https://notazurehealthcareapis.com", ""),
        ((), "https://healthcare.googleapis.com.example.org", ""),
        (("A server of our own",), "https://example.org", ""),
    ],
)
def test_a_product_is_known_by_its_address_or_its_names(names: tuple[str, ...], server: str, key: str) -> None:
    assert limits_of(Capability(names=names), server).key == key


def test_a_statement_is_read_with_what_it_shares_between_types() -> None:
    document = statements.statement(
        "X", parameters=("_id",), rest={"searchParam": [{"name": "_tag"}]}, **statements.BY_ID
    )
    document["rest"][0]["operation"] = [{"name": "$import"}, {"name": "export"}]
    said = read(document)
    assert said.types["Patient"].parameters == {"_id", "_tag", "identifier"}
    assert said.types["AdverseEvent"].parameters == {"_id", "_tag"}
    assert said.operations == {"import", "export"}
    assert (said.software, said.version, said.names) == ("X", "1.0", ("X",))
    assert said.types["Patient"].may("update") is True
    assert said.types["Patient"].may("patch") is False


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"rest": None, "software": [], "format": "json"},
        {"rest": [{"resource": {"type": "Patient"}, "interaction": "batch", "security": []}]},
        {
            "rest": [
                "x",
                {
                    "resource": [{}, None, {"type": 5}, {"type": "https://evil.example.org/X"}],
                    "interaction": [{"code": 5}, "x"],
                },
            ]
        },
    ],
)
def test_what_has_the_wrong_shape_is_not_said(document: dict[str, Any]) -> None:
    said = read(document)
    assert (said.system, dict(said.types), said.formats, said.security) == (None, {}, (), ())


def test_a_sign_in_is_named_by_its_code_or_its_text() -> None:
    services = [{"coding": [{}, {"code": "OAuth"}]}, {"text": "a token of ours"}, {}]
    assert read({"rest": [{"security": {"service": services}}]}).security == ("OAuth", "a token of ours")


def test_flags_of_the_wrong_type_are_not_said() -> None:
    document = {"rest": [{"resource": [{"type": "Patient", "updateCreate": "true", "interaction": []}]}]}
    assert read(document).types["Patient"] == TypeCapability()
    assert TypeCapability().may("update") is None


def test_what_a_server_says_cannot_steer_a_terminal() -> None:
    said = read({"software": {"name": "X\x1b[2J\nY" + "z" * 500, "version": "\x07"}, "format": ["\x00"]})
    assert said.software.startswith("X\\x1b[2J\\nYzzz")
    assert said.software.isprintable()
    assert len(said.software) == 100
    assert (said.version, said.formats) == ("\\x07", ("\\x00",))
