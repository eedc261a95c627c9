"""How results are written, and which datasets are judged together: as CDISC's engine does."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.results import Line, results
from fhirspace.sdtm.rules.study import About, Dataset, Study
from tests.sdtm.rules.rules_data import rule, study

EXISTS = "{all: [{name: --STAT, operator: exists}]}"
FILLED = "{all: [{name: QSSTAT, operator: not_equal_to, value: x}]}"
PART: dict[str, list[Any]] = {"DOMAIN": ["QS"], "QSSTAT": ["y"]}
OTHER: dict[str, list[Any]] = {"DOMAIN": ["QS"] * 2, "QSSTAT": ["x", "z"]}


def lines(text: str, data: dict[str, dict[str, list[Any]]], **parts: Any) -> list[Line]:
    return sorted(results(Engine(study(**data)).run(rule(text, **parts))))


@pytest.mark.parametrize(
    ("cell", "value"),
    [("x ", "x "), (" ", ""), ("nan", ""), (" NaN", ""), ("null", ""), ("NULL", "NULL"), (None, ""), ("None", "None")],
)
def test_what_counts_as_no_value(cell: str | None, value: str) -> None:
    data: dict[str, list[Any]] = {"DOMAIN": ["QS"], "QSSTAT": [cell]}
    assert lines(EXISTS, {"QS": data}, Sensitivity="Record") == [("QS", "1", "QSSTAT", value)]


SPLIT = {
    "two parts": ({"QSPH": PART, "QSSL": OTHER}, ("QSPH", "QSSL"), "QSPH, QSSL"),
    "one has the name of the domain": ({"QS": PART, "QSSL": OTHER}, ("QS", "QSSL"), "QS, QSSL"),
}


@pytest.mark.parametrize("case", SPLIT)
def test_parts_of_a_domain_are_judged_together(case: str) -> None:
    data, (first, second), both = SPLIT[case]
    assert lines(FILLED, data) == [(first, "1", "QSSTAT", "y"), (second, "2", "QSSTAT", "z")]
    assert lines(FILLED, data, Sensitivity="Dataset") == [(both, "", "QSSTAT", "y")]


def test_parts_that_a_rule_asks_for_are_judged_alone() -> None:
    data, *_ = SPLIT["two parts"]
    scope = {"Domains": {"include_split_datasets": True}}
    found = lines(FILLED, data, Sensitivity="Dataset", Scope=scope)
    assert found == [("QSPH", "", "QSSTAT", "y"), ("QSSL", "", "QSSTAT", "z")]


def test_a_domain_whose_first_part_is_out_of_scope_is_not_judged() -> None:
    data, *_ = SPLIT["two parts"]
    assert lines(FILLED, data, Scope={"Domains": {"Include": ["QSPH"]}}) != []
    assert lines(FILLED, data, Scope={"Domains": {"Include": ["QSSL"]}}) == []


def test_a_variable_that_a_record_names_and_that_is_not_there_has_no_value() -> None:
    text = "{all: [{name: IDVARVAL, operator: not_equal_to, value: IDVAR, value_is_reference: true}]}"
    data: dict[str, list[Any]] = {"DOMAIN": ["CO"] * 3, "COSEQ": ["1", "2", "3"]}
    data |= {"IDVAR": ["COSEQ", "AESPID", None], "IDVARVAL": ["1", "x", None]}
    found = lines(text, {"CO": data}, Outcome={"Output Variables": ["IDVARVAL"]})
    assert found == [("CO", "2", "IDVARVAL", "x")]


def test_cells_that_are_no_numbers_are_an_error_also_where_they_are_only_shown() -> None:
    about = {"AEDOSE": About(type="Num")}
    data = Study([Dataset("AE", pa.table({"DOMAIN": ["AE"], "AEDOSE": ["much"]}), about=about)])
    outcome = Engine(data).run(rule("{all: [{name: AEDOSE, operator: exists}]}"))
    assert outcome.errors == {"AE": "AEDOSE is a numeric variable, but not all its cells are numbers"}


def test_a_list_beside_the_file_says_which_variables_there_are() -> None:
    table = pa.table({"DOMAIN": ["XX"], "XXTERM": ["a"]})
    data = Study([Dataset("XX", table, listed=("XXTERM", "XXTESTCD", "DOMAIN"))])
    parts = {"Rule Type": "Variable Metadata Check", "Scope": {"Classes": {"Include": ["EVENTS"]}}}
    found = results(Engine(data).run(rule("{all: [{name: variable_name, operator: non_empty}]}", **parts)))
    assert [line[1::2] for line in found] == [("1", "XXTERM"), ("2", "XXTESTCD"), ("3", "DOMAIN")]
