"""References: read as JSON, named by one grammar, led elsewhere without touching anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from fhirspace.fhir.references import Reference, key_of, keys_in, parsed, redirected, references, rewritten


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Patient/1", Reference("", "Patient", "1", "", "")),
        ("Patient/1/_history/2", Reference("", "Patient", "1", "2", "")),
        ("Patient/1#part", Reference("", "Patient", "1", "", "")),
        ("https://a.example/fhir/Patient/1", Reference("https://a.example/fhir/", "Patient", "1", "", "")),
        ("Patient?identifier=http://a.example/Site/12", Reference("", "Patient", "", "", "identifier=http://a.example/Site/12")),
        ("#part", None),
        ("urn:uuid:2f6b3c1e-9a53-4b1a-8b57-0d4b8a1c7f10", None),
        ("patient/1", None),
        ("Patient/", None),
        ("Patient/a b", None),
        ("Patient/" + "a" * 65, None),
        ("", None),
    ],
)  # fmt: skip
def test_a_literal_reference_has_parts(text: str, found: Reference | None) -> None:
    assert parsed(text) == found


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Patient/1", "Patient/1"),
        ("Patient/1/_history/2", "Patient/1"),
        ("https://a.example/fhir/Patient/1", ""),
        ("Patient?identifier=1", ""),
        ("#a", ""),
    ],
)
def test_only_relative_references_have_a_key_here(text: str, key: str) -> None:
    assert key_of(text) == key


SPELLED = {
    "plain": (rb'{"subject":{"reference":"Patient/1"}}', True),
    "an escaped slash": (rb'{"subject":{"reference":"Patient\/1"}}', True),
    "escaped letters": (rb'{"subject":{"reference":"\u0050atient/1"}}', True),
    "an escaped name": (rb'{"subject":{"\u0072eference":"Patient/1"}}', True),
    "blanks": (b'{"subject":{"reference"\t:\n"Patient/1"}}', True),
    "in an array": (rb'{"x":[1,{"y":[{"reference":"Patient/1"}]}]}', True),
    "quoted in a text": (rb'{"text":"say \"reference\":\"Patient/1\" aloud"}', False),
    "a text of that name": (rb'{"x":["reference","Patient/1"]}', False),
    "a value of that name": (rb'{"type":"reference","id":"Patient/1"}', False),
    "an object of that name": (rb'{"reference":{"display":"Patient/1"}}', False),
    "an array of that name": (rb'{"reference":["Patient/1"]}', False),
    "a number": (rb'{"reference":1}', False),
    "a name that ends so": (rb'{"x\"reference":"Patient/1"}', False),
    "elsewhere": (rb'{"reference":"https://a.example/Patient/1"}', False),
}


@pytest.mark.parametrize("name", SPELLED)
def test_a_reference_is_read_as_json(name: str) -> None:
    line, refers = SPELLED[name]
    assert references(line) == ({"Patient/1"} if refers else set())
    assert (redirected(line, {"Patient/1": "Patient/900"}.get) != line) == refers


@pytest.mark.parametrize("name", [name for name, (_, refers) in SPELLED.items() if refers])
def test_what_is_led_elsewhere_keeps_the_rest(name: str) -> None:
    line, _ = SPELLED[name]
    moved = redirected(line, {"Patient/1": "Patient/900"}.get)
    assert references(moved) == {"Patient/900"}
    head, _, tail = moved.partition(b'"Patient/900"')
    assert line.startswith(head)
    assert line.endswith(tail)


def test_a_version_stays_with_its_reference() -> None:
    moved = redirected(rb'{"reference":"Patient\/1\/_history\/2"}', {"Patient/1": "Patient/900"}.get)
    assert moved == b'{"reference":"Patient/900/_history/2"}'


@pytest.mark.parametrize(
    "line", [b'{"reference":"Patient/1', b'{"x":"\xff","reference":"Patient/1"}', b'"reference"', b""]
)
def test_what_is_no_json_stays_as_it_is(line: bytes) -> None:
    assert rewritten(line, lambda text: "Patient/2") == line


_NAMES = st.sampled_from(["reference", "reference ", "x", 'a"reference', "\\", "é"])
_TEXTS = st.sampled_from(
    ["Patient/1", "reference", '"reference":"Patient/1"', "\\", "Basic/2/_history/3", "é", "", "/"]
)
_JSON = st.recursive(
    st.one_of(_TEXTS, st.integers(0, 9), st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=12,
)


@given(_JSON, st.booleans(), st.sampled_from([None, 1]))
def test_both_ways_to_look_see_the_same(content: Any, escaped: bool, indent: int | None) -> None:
    line = json.dumps({"content": content}, ensure_ascii=escaped, indent=indent).encode()
    seen: list[str] = []
    moved = redirected(line, lambda key: seen.append(key) or f"Group/{len(key)}")
    assert set(seen) == keys_in(json.loads(line)) == references(line)
    assert references(moved) == {f"Group/{len(key)}" for key in seen}
    assert redirected(line, lambda key: key) == redirected(redirected(line, lambda key: key), lambda key: key)
