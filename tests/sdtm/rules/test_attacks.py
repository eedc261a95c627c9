"""Rules that are written to do harm: each is refused or reported with the reason, and none ends the run."""

from pathlib import Path
from typing import Any

import pytest

from fhirspace import limits
from fhirspace.errors import MappingError
from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.model import load_all
from tests.sdtm.rules.rules_data import study

HEAD = "Core: {Id: BAD}\nRule Type: Record Data\nSensitivity: Record\nScope: {Domains: {Include: [AE]}}\n"
DEEP = HEAD + "Check: " + "{all: [" * 200 + "{name: A, operator: empty}" + "]}" * 200
ALIASES = "b0: &b0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"b{at}: &b{at} [{','.join([f'*b{at - 1}'] * 10)}]\n" for at in range(1, 9)
)
EXPLODING = '{name: AETERM, operator: matches_regex, value: "(?=((a+)+)+$)(a|b)*c"}'
CHECKS = {
    "a regular expression that is none": '{name: AETERM, operator: matches_regex, value: "(["}',
    "a regular expression nested too deeply": f'{{name: AETERM, operator: matches_regex, value: "{"(" * 5000}"}}',
    "an unknown operator": "{name: AETERM, operator: no_such}",
    "an operator of Python": "{name: AETERM, operator: __class__}",
    "a map for a value": "{name: AETERM, operator: equal_to, value: {a: b}}",
    "a map in a list": "{name: AETERM, operator: is_contained_by, value: [{a: b}, [c]]}",
    "a huge number": "{name: AESEQ, operator: less_than, value: 1e999}",
    "a huge integer": "{name: AESEQ, operator: less_than, value: " + "9" * 400 + "}",
    "a prefix below zero": "{name: AETERM, operator: prefix_equal_to, value: a, prefix: -9}",
    "a prefix that is a text": "{name: AETERM, operator: prefix_matches_regex, value: a, prefix: many}",
    "a group that is a number": "{name: AETERM, operator: present_on_multiple_rows_within, within: 5}",
    "an order by nothing": "{name: AESEQ, operator: target_is_not_sorted_by, within: USUBJID, value: [{name: 5}]}",
    "a column of the program": '{name: "@row", operator: empty}',
}
FILES = {
    "ten megabytes": HEAD + "Description: " + "x" * 10_000_001,
    "nesting": DEEP,
    "aliases": HEAD + ALIASES,
    "an alias of itself": HEAD + "Check: &a {all: [*a]}",
    "an object of Python": HEAD + "Check: !!python/object/apply:os.system [id]",
    "a date that is none": HEAD + "Check: {all: [{name: A, operator: equal_to, value: 2020-99-99}]}",
    "no check": HEAD,
    "two kinds of check": HEAD + "Check: {all: [{name: A, operator: empty}], any: []}",
    "bytes": "\x00\x01",
    "a name that is a list": HEAD + "Check: {all: [{name: [A], operator: empty}]}",
    "an operation without name": HEAD + "Check: {all: [{name: $x, operator: empty}]}\n"
    "Operations: [{id: $x, operator: distinct}]",
    "an unknown operation": HEAD + "Check: {all: [{name: $x, operator: empty}]}\nOperations: [{id: $x, operator: exec}]",
    "a filter of maps": HEAD + "Check: {all: [{name: $x, operator: empty}]}\n"
    "Operations: [{id: $x, operator: record_count, filter: {AETERM: {a: b}}}]",
    "a key of a join that is a map": HEAD + "Check: {all: [{name: AETERM, operator: non_empty}]}\n"
    "Match Datasets: [{Name: DM, Keys: [{Left: {a: b}}]}]",
}  # fmt: skip

HARMLESS = {
    "a map for a value",
    "a map in a list",
    "a column of the program",
    "a group that is a number",
    "a filter of maps",
}
"""What names nothing of the data and so finds nothing."""


def judged(text: str, folder: Path) -> str:
    """Why a rule is not judged: what is wrong with its file, or what the engine reports; "" where it found nothing."""
    file = folder / "bad.yml"
    file.write_text(text)
    try:
        (rule,) = load_all(file)
    except MappingError as error:
        return str(error)
    ae: dict[str, list[Any]] = {
        "DOMAIN": ["AE"] * 3,
        "USUBJID": ["S-1"] * 3,
        "AESEQ": [1.0, 2.0, 3.0],
        "AETERM": ["a" * 60 + "!"] * 3,
    }
    outcome = Engine(study(AE=ae, DM={"DOMAIN": ["DM"], "USUBJID": ["S-1"]})).run(rule)
    assert not outcome.faults
    return " ".join(outcome.errors.values())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "rule-seconds=1")


@pytest.mark.parametrize("attack", CHECKS)
def test_a_condition(attack: str, tmp_path: Path) -> None:
    reason = judged(HEAD + f"Check: {{all: [{CHECKS[attack]}]}}", tmp_path)
    assert bool(reason) == (attack not in HARMLESS)


@pytest.mark.parametrize("attack", FILES)
def test_a_file(attack: str, tmp_path: Path) -> None:
    assert bool(judged(FILES[attack], tmp_path)) == (attack not in HARMLESS)


def test_a_regular_expression_that_explodes_is_stopped_in_time(tmp_path: Path) -> None:
    check = f"Check: {{all: [{EXPLODING}]}}"
    assert "takes too long" in judged(HEAD + check, tmp_path)
