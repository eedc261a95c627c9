"""Lines that are written alike: whatever is taken at once is strict JSON, and its values are those of `parse`."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from fhirspace.fhir.patterns.match import Patterns
from fhirspace.fhir.patterns.pattern import pattern_of
from fhirspace.json import JsonError, parse

LINE: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "a1",
    "text": {"div": '<p class="x">ä\\ \n</p>'},
    "status": "final",
    "category": [{"coding": [{"system": "http://x", "code": "lab"}]}],
    "flags": [True, False],
    "valueQuantity": {"value": 12.5, "unit": "mg/dL"},
    "range": [{"low": {"value": -3}}],
    "issued": "2024-01-01",
}
TEXTS = ["", "b", "ä", 'q"', "\\", '\\"', "a\\\\", "\n", "{", "}", ",", ":", "[]", "null", "12", "\u2028"]


def line(chosen: random.Random) -> bytes:
    made = {**LINE, "id": chosen.choice(TEXTS), "status": chosen.choice(TEXTS)}
    made["valueQuantity"] = {"value": chosen.choice([0, -1, 2.5, 100000, 0.001]), "unit": chosen.choice(TEXTS)}
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()


def mutant(chosen: random.Random) -> bytes:
    """A line with up to three places that are changed, left out, repeated, or added."""
    raw = bytearray(line(chosen))
    for _ in range(chosen.randrange(1, 4)):
        at = chosen.randrange(len(raw))
        end = min(len(raw), at + chosen.randrange(1, 12))
        sign = chosen.choice(
            [b'"', b"\\", b"\\u0041", b"\xff", b"\x01", b"0", b"e5", b".", b"-", b",", b"{", b"\t", b"x"]
        )
        raw[at:end] = chosen.choice([sign, bytes(raw[at:end]) * 2, b"", raw[at:at] + sign + raw[at:end]])
    return bytes(raw).replace(b"\n", b"")


def taken(lines: list[bytes]) -> dict[int, dict[str, Any]]:
    """The lines that are written alike, with the values that were found in them."""
    groups, rest = Patterns(lambda pattern: True).divided(b"\n".join((*lines, b"")))
    found: dict[int, dict[str, Any]] = {}
    for group in groups:
        pattern = group.pattern
        spans = {**pattern.texts, **pattern.numbers}
        cells = {path: group.cells(span).to_pylist() for path, span in spans.items()}
        members = {name: group.cells(span).to_pylist() for name, span in pattern.members.items()}
        for at, row in enumerate(group.rows.tolist()):
            found[row] = {
                "texts": {path: cells[path][at] for path in pattern.texts},
                "numbers": {path: cells[path][at] for path in pattern.numbers},
                "members": {name: members[name][at] for name in members},
            }
    assert sorted([*found, *rest.tolist()]) == list(range(len(lines)))
    return found


def value_at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def check(lines: list[bytes], found: dict[int, dict[str, Any]]) -> None:
    for row, values in found.items():
        parsed = parse(lines[row])
        for path, text in values["texts"].items():
            assert parse(f'"{text}"') == value_at(parsed, path)
        for path, text in values["numbers"].items():
            assert text == str(value_at(parsed, path))
        assert {name: parse(text) for name, text in values["members"].items()} == parsed


def test_good_lines_are_taken_with_their_values() -> None:
    chosen = random.Random(1)
    lines = [line(chosen) for _ in range(300)]
    found = taken(lines)
    assert len(found) == len(lines)
    check(lines, found)


@pytest.mark.parametrize("seed", range(4))
def test_mutants_are_taken_only_if_they_are_strict_json(seed: int) -> None:
    chosen = random.Random(seed)
    lines = [mutant(chosen) if number % 2 else line(chosen) for number in range(1_500)]
    lines = [each for each in lines if min(each, default=0) >= 32 and each.decode(errors="ignore").encode() == each]
    found = taken(lines)
    assert len(lines) / 2 < len(found) < len(lines)
    check(lines, found)


@pytest.mark.parametrize("sign", [b"\xff", b"\xed\xa0\x80", b"\xc3", b"\x00", b"\t", b"\x1f"])
def test_signs_that_no_text_of_json_has_are_found(sign: bytes) -> None:
    lines = [line(random.Random(1))] * 30
    lines[7] = lines[7].replace(b"2024", b"20" + sign + b"24")
    assert 7 not in taken(lines)


ODD = [
    b'"id":"a","id":"b"',
    b'"i\\u0064":"a"',
    b'"id":null',
    b'"id":01',
    b'"id":1e400',
    b'"id":-',
    b'"id":1.',
    b'"id":"\\ud800"',
    b'"id":"\\x"',
    b'"id":"a" "b"',
    b'"id":' + b"9" * 5_000,
    b'"id":' + b"[" * 300 + b"]" * 300,
    b'"id":{"id":"a","id":"b"}',
    b'"id":"a",',
    b'"id":tru',
]


@pytest.mark.parametrize("odd", ODD)
def test_lines_that_are_all_wrong_alike_make_no_pattern(odd: bytes) -> None:
    lines = [b'{"resourceType":"Observation",' + odd + b',"at":"%d"}' % number for number in range(50)]
    found = taken(lines)
    for row in found:
        parse(lines[row])
    try:
        parse(lines[0])
    except JsonError:
        assert not found


def test_numbers_without_a_text_between_them_are_left_to_others() -> None:
    lines = [b'{"a":[1,%d],"b":"x"}' % number for number in range(50)]
    assert not taken(lines)


BLANKS = " " * 50


@pytest.mark.parametrize(
    ("usual", "odd"),
    [
        ('"x":[true,1,"x"]', '"x":[true,"x"]'),
        (f'"x": {BLANKS}1{BLANKS} ,"y":"x"', f'"x": {BLANKS},"y":"x"'),
        ('"x": 1 ,"y":"x"', '"x": ,"y":"x"'),
    ],
)
def test_a_number_that_is_missing_where_what_is_around_it_overlaps(usual: str, odd: str) -> None:
    lines = [b'{"resourceType":"Observation","id":"a%d",%b}' % (number, usual.encode()) for number in range(60)]
    lines[40] = lines[40].replace(usual.encode(), odd.encode())
    assert taken(lines).keys() == set(range(60)) - {40}


def test_a_pattern_of_many_numbers_costs_what_its_line_is_long() -> None:
    line = b'{"resourceType":"Observation","x":[%b]}' % b",".join([b'{"v":1}'] * 6_000)
    begin = time.process_time()
    assert pattern_of(line) is not None
    assert time.process_time() - begin < 1.5, "a way over all numbers for each of them"


def test_few_lines_and_shapes_without_end_cost_little() -> None:
    assert not taken([line(random.Random(1))] * 5)
    patterns = Patterns(lambda pattern: True)
    lines = [json.dumps({f"x{number}": "", **LINE}).encode() for number in range(500)]
    groups, _ = patterns.divided(b"\n".join((*lines, b"")))
    assert len(groups) <= 8
