"""Decimals keep their spelling, server metadata goes, sets of `meta` have one order."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from fhirspace.fhir.canonical import canonical, cleaned
from fhirspace.fhir.tags import VERSION


@pytest.mark.parametrize("number", ["5.50", "0.10", "-1.0", "100", "1.0E+3", "1e5", "-0.0", "123456789012345678901234"])
def test_numbers_keep_their_spelling(number: str) -> None:
    line = f'{{"resourceType":"Observation","valueQuantity":{{"value":{number}}}}}'.encode()
    assert cleaned(line) == line
    assert canonical(line) == line


@pytest.mark.parametrize(
    ("meta", "kept"),
    [
        ({"versionId": "3", "lastUpdated": "2024-01-01T00:00:00Z", "source": "#abcdefGHIJ012345"}, None),
        ({"source": "https://edc.example#abcdefGHIJ012345"}, {"source": "https://edc.example"}),
        ({"source": "https://edc.example"}, {"source": "https://edc.example"}),
        ({"versionId": "1", "tag": [{"code": "S"}]}, {"tag": [{"code": "S"}]}),
        ([], []),
    ],
)
def test_only_what_the_server_added_is_taken_off(meta: object, kept: object) -> None:
    found = json.loads(cleaned(json.dumps({"resourceType": "Patient", "id": "p", "meta": meta}).encode()))
    assert found.get("meta") == kept
    assert list(found)[:2] == ["resourceType", "id"]


def test_key_order_layout_escapes_and_sets_make_no_difference() -> None:
    one = b'{ "b": "\\u00e9\\/",\n "a": [1.50, 2], "meta": {"tag": [{"code":"x"},{"code":"a"}], "profile": ["q","p"]}}'
    two = '{"a":[1.50,2],"b":"é/","meta":{"profile":["p","q"],"tag":[{"code":"a"},{"code":"x"}]}}'.encode()
    assert canonical(one) == two == canonical(two)


def test_the_order_of_other_lists_counts() -> None:
    assert canonical(b'{"name":["a","b"]}') != canonical(b'{"name":["b","a"]}')


@pytest.mark.slow
@given(
    st.recursive(
        st.text() | st.booleans() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_the_content_is_the_same(value: object) -> None:
    line = json.dumps({"x": value}).encode()
    assert json.loads(canonical(line)) == json.loads(line)
    assert canonical(canonical(line)) == canonical(line)


def test_a_version_that_stands_beside_its_reference_may_be_cut_off_it() -> None:
    def target(reference: str, system: str = VERSION) -> bytes:
        beside = {"system": system, "value": "Patient/a/_history/2"}
        return canonical(
            json.dumps(
                {"resourceType": "Provenance", "target": [{"reference": reference, "identifier": beside}]}
            ).encode()
        )

    assert target("Patient/a/_history/2") == target("Patient/a") != target("Patient/b")
    assert target("Patient/a/_history/3") != target("Patient/a"), "another version than the one beside"
    assert target("Patient/a/_history/2", "urn:x") != target("Patient/a", "urn:x"), "no version of ours"
