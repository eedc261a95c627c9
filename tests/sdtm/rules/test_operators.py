"""Each operator of the rule language on a few cells; what is expected is what CDISC's engine answers."""

from typing import Any

import pytest

from fhirspace.sdtm.rules.engine import evaluate
from fhirspace.sdtm.rules.errors import CannotRun, MissingColumn
from fhirspace.sdtm.rules.model import Check
from fhirspace.sdtm.rules.operators import OPERATORS
from fhirspace.sdtm.rules.values import Lists
from tests.sdtm.rules.rules_data import frame

A, B = "AETERM", "AEDECOD"
T, F = True, False
# operator, cells of AETERM, cells of AEDECOD (or None), value, options, flags
CASES: list[tuple[str, list[Any], list[Any] | None, Any, dict[str, Any], list[bool]]] = [
    ("empty", ["x", "", None], None, None, {}, [F, T, T]),
    ("non_empty", ["x", "", None], None, None, {}, [T, F, F]),
    ("empty", [0.0, None], None, None, {}, [F, T]),
    ("exists", ["x"], None, None, {}, [T]),
    ("not_exists", ["x"], None, None, {}, [F]),
    ("equal_to", ["x", "y", None, None], ["x", "x", "x", None], B, {}, [T, F, F, F]),
    ("not_equal_to", ["x", "y", None, None, ""], ["x", "x", "x", None, None], B, {}, [F, T, T, F, F]),
    ("equal_to", ["AEDECOD", "x"], ["x", "x"], B, {"value_is_literal": True}, [T, F]),
    ("equal_to", ["AE", "x"], None, "--", {}, [T, F]),
    ("equal_to", ["1", "2"], None, 1, {}, [F, F]),
    ("equal_to", [1.0, 2.0], None, 1, {}, [T, F]),
    ("equal_to", [1.0, 2.0], None, "1", {}, [F, F]),
    ("not_equal_to", [1.0, None], None, "1", {}, [T, T]),
    ("equal_to", ["1.00", "2"], [1.0, 3.0], B, {"type_insensitive": True}, [T, F]),
    ("not_equal_to", ["1.00", "2"], [1.0, 3.0], B, {"type_insensitive": True}, [F, T]),
    ("equal_to", ["1.4", "2", "x"], [1.0, 3.0, 4.0], B, {"round_values": True, "type_insensitive": True}, [T, F, F]),
    ("not_equal_to", [1.4, 2.6], None, 1, {"round_values": True}, [F, T]),
    ("equal_to_case_insensitive", ["Ab", "a", None], ["aB", "b", None], B, {}, [T, F, F]),
    ("not_equal_to_case_insensitive", ["Ab", "a", None], ["aB", "b", "x"], B, {}, [F, T, T]),
    ("equal_to_case_insensitive", [1.0, 2.0, None], None, 7, {}, [T, T, T]),  # what is no text equals what is none
    ("equal_to_case_insensitive", ["a", None, None], [1.0, 2.0, None], B, {}, [F, T, F]),
    ("not_equal_to_case_insensitive", ["a", None, None], [1.0, 2.0, None], B, {}, [T, F, F]),
    ("equal_to", ["1.4", "2", " x"], None, 1, {"round_values": True}, [T, F, F]),
    ("equal_to", [" A", "A"], [B, A], B, {"value_is_reference": True}, [F, T]),
    ("equal_to", ["AEDECOD", None, "x"], ["AEDECOD", None, "NOSUCH"], B, {"value_is_reference": True}, [T, F, F]),
    ("not_equal_to", ["AEDECOD", None, "x"], ["AEDECOD", None, "NOSUCH"], B, {"value_is_reference": True}, [F, F, T]),
    ("less_than", ["1", "10", "x", None], None, 9, {}, [T, F, F, F]),
    ("less_than", ["1", "10", "x"], [2.0, 3.0, 4.0], B, {}, [T, F, F]),
    ("less_than_or_equal_to", [1.0, 2.0, 3.0], None, 2, {}, [T, T, F]),
    ("greater_than", [1.0, 2.0, None], None, 1, {}, [F, T, F]),
    ("greater_than_or_equal_to", [1.0, 2.0], None, 2, {}, [F, T]),
    ("is_contained_by", ["A", "B", None], None, ("A", "C"), {}, [T, F, F]),
    ("is_not_contained_by", ["A", "B", None], None, ("A", "C"), {}, [F, T, T]),
    ("is_contained_by", ["A", "B"], ["B", "X"], B, {}, [F, T]),
    ("is_contained_by", [1.0, 2.0], None, ("1", 2), {}, [F, T]),
    ("is_contained_by", ["A", None], ["B", None], B, {}, [F, T]),
    ("is_contained_by", [1.0, None], [2.0, None], B, {}, [F, F]),
    ("is_not_contained_by", [None, None], None, (1, "A"), {}, [T, T]),
    ("is_contained_by_case_insensitive", ["a", "B"], None, ("A",), {}, [T, F]),
    ("is_contained_by_case_insensitive", ["a", "B"], ["x", "A"], B, {}, [T, F]),
    ("is_not_contained_by_case_insensitive", ["a", "B"], None, ("A",), {}, [F, T]),
    ("contains", ["informed consent", "none", None], None, "consent", {}, [T, F, F]),
    ("does_not_contain", ["informed consent", "none", None], None, "consent", {}, [F, T, T]),
    ("contains", ["A", "B"], ["x", "A"], B, {}, [F, T]),  # a variable of the other one's values in any record
    ("contains_all", ["A", "B", "C"], None, ("A", "B"), {}, [T, T, T]),
    ("not_contains_all", ["A", "B", "C"], None, ("A", "X"), {}, [T, F, F]),
    ("matches_regex", ["AB1", "xAB", None], None, "^[A-Z]+", {}, [T, F, F]),
    ("not_matches_regex", ["AB1", "xAB", None], None, "^[A-Z]+", {}, [F, T, F]),
    ("matches_regex", ["xAB"], None, "AB", {}, [F]),
    ("matches_regex", ["AB\n"], None, "AB$", {}, [T]),
    ("matches_regex", ["é1"], None, r"\w\d", {}, [T]),
    ("matches_regex", ["aa", "ab"], None, r"(.)\1", {}, [T, F]),
    ("matches_regex", [12.0, 1.5], None, r"^\d+$", {}, [T, F]),
    ("prefix_matches_regex", ["1AB", "AB1"], None, r"\d", {"prefix": 2}, [T, F]),
    ("not_prefix_matches_regex", ["1AB", "AB1", None], None, r"\d", {"prefix": 2}, [F, T, F]),
    ("suffix_matches_regex", ["AB1", "1AB"], None, r"\d", {"suffix": 2}, [T, F]),
    ("not_suffix_matches_regex", ["AB1", "1AB", None], None, r"\d", {"suffix": 2}, [F, T, F]),
    ("prefix_equal_to", ["AETERM", "CMTRT"], None, "AE", {"prefix": 2}, [T, F]),
    ("prefix_equal_to", ["12", "34"], [12.0, 34.0], B, {"prefix": 2}, [F, F]),
    ("prefix_not_equal_to", ["AETERM", "CMTRT"], None, "DOMAIN", {"prefix": 2}, [F, T]),
    ("suffix_equal_to", ["AETERM", "CMTRT"], None, "RM", {"suffix": 2}, [T, F]),
    ("suffix_not_equal_to", ["AETERM", "CMTRT"], None, "RM", {"suffix": 2}, [F, T]),
    ("prefix_is_contained_by", ["AETERM", "CMTRT"], None, ("AE",), {"prefix": 2}, [T, F]),
    ("prefix_is_not_contained_by", ["AETERM", "CMTRT"], None, ("AE",), {"prefix": 2}, [F, T]),
    ("suffix_is_contained_by", ["FACM", "FAMH"], None, ("CM",), {"suffix": 2}, [T, F]),
    ("suffix_is_not_contained_by", ["FACM", "FAMH"], None, ("CM",), {"suffix": 2}, [F, T]),
    ("starts_with", ["RACE1", "SEX", None], None, "RACE", {}, [T, F, F]),
    ("ends_with", ["AESEQ", "AETERM", None], None, "SEQ", {}, [T, F, F]),
    ("longer_than", ["abc", "ab", None], None, 2, {}, [T, F, F]),
    ("shorter_than_or_equal_to", ["abc", "ab", None], None, 2, {}, [F, T, T]),
    ("longer_than_or_equal_to", ["abc", "ab", "a"], None, 2, {}, [T, T, F]),
    ("shorter_than", ["abc", "ab", "a"], None, 2, {}, [F, F, T]),
    ("longer_than", ["abc", "ab"], ["ab", "abc"], B, {}, [T, F]),
    ("equals_string_part", ["CM", "AE"], ["SUPPCM", "SUPPCM"], B, {"regex": ".{4}(..).*"}, [T, F]),
    ("does_not_equal_string_part", ["CM", "AE"], ["SUPPCM", "SUPPCM"], B, {"regex": ".{4}(..).*"}, [F, T]),
    ("equals_string_part", ["CM", "AE"], [None, None], B, {"regex": "(..)"}, [F, F]),
    ("date_less_than", ["2020-02-10", "2020"], None, "2020-01-15", {"date_component": "day"}, [T, T]),
    ("date_equal_to", ["2019-01", "2020-02"], None, "2020-01-15", {"date_component": "month"}, [T, F]),
    ("is_unique_set", ["x", "y"], None, ("NOSUCH",), {}, [F, F]),  # of the two only one is there
    ("is_complete_date", ["2020-01-02", "2020-01-02T10:00", "2020-01", "x", None], None, None, {}, [T, T, F, F, F]),
    ("is_incomplete_date", ["2020-01-02", "2020-01", None], None, None, {}, [F, T, T]),
    ("invalid_date", ["2020-01-02", "2020-02-30", "2020---15", "20200102", None], None, None, {}, [F, T, F, T, T]),
    ("valid_date", ["2020-01-02T10:30:15Z", "2020/2021", "-----T10:15", "2020-01-02T25:00"], None, None, {}, [T, T, T, F]),
    ("invalid_duration", ["P1D", "-P1D", "P1.5D", "P1.5DT2H", "PT", None], None, None, {}, [F, F, F, T, T, T]),
    ("invalid_duration", ["P1D", "-P1D", "P2W"], None, None, {"negative": False}, [F, T, F]),
    ("valid_duration", ["PT30M", "1D"], None, None, {}, [T, F]),
    ("date_equal_to", ["2020-01-02", "2020-01", "2020-01-02T10:00Z"], ["2020-01-02", "2020-01-02", "2020-01-02T12:00+02:00"], B, {}, [T, F, T]),
    ("date_not_equal_to", ["2020-01-02", "2020-01", None], ["2020-01-02", "2020-01-02", "2020"], B, {}, [F, T, F]),
    ("date_less_than", ["2020-01-01", "2020-01", "x"], ["2020-01-02", "2020-01-02", "2020"], B, {}, [T, F, F]),
    ("date_less_than_or_equal_to", ["2020-01-03", "2020-01"], ["2020-01-02", "2020-01-02"], B, {}, [F, T]),
    ("date_greater_than", ["2020-01-03", "2021"], ["2020-01-02", "2020-12-31"], B, {}, [T, T]),
    ("date_greater_than_or_equal_to", ["2020-01-01", "2020"], ["2020-01-02", "2020-12-31"], B, {}, [F, T]),
    ("date_less_than", ["2020-03-01", "2019"], ["2020-04", "2020"], B, {"date_component": "year"}, [F, T]),
    ("date_equal_to", ["2020-03-01", "2020"], ["2020-03-09", "2020-03"], B, {"date_component": "month"}, [T, F]),
    ("is_unique_set", ["a", "a", "b", None], ["1", "1", "1", None], B, {}, [F, F, T, T]),
    ("is_not_unique_set", ["a", "a", None, None], ["1", "2", None, None], (B, "ABSENT"), {}, [F, F, T, T]),
    ("is_not_unique_set", ["2020-01-01T10", "2020-01-01T11"], ["1", "1"], B, {"regex": r"^\d{4}-\d{2}-\d{2}"}, [T, T]),
    ("present_on_multiple_rows_within", ["a", "a", "b"], ["1", "1", "1"], None, {"within": B}, [T, T, F]),
    ("not_present_on_multiple_rows_within", ["a", "a", "b"], ["1", "2", "1"], None, {"within": B}, [T, T, T]),
    ("is_not_unique_relationship", ["a", "a", "b", "c"], ["1", "2", "3", "3"], B, {}, [T, T, T, T]),
    ("is_not_unique_relationship", ["a", "a", "b", None], ["1", None, "3", "4"], B, {}, [T, T, F, F]),
    ("is_unique_relationship", ["a", "a", "b"], ["1", "1", "2"], B, {}, [T, T, T]),
    ("differs_from_first", ["a", "b", "b", "a", None, "c"], ["1", "1", "1", "2", "1", None], B, {}, [F, T, F, F, F, F]),
    ("differs_from_first", [None, "a", "b", "b"], ["1", "1", "1", "2"], B, {}, [F, F, T, F]),
    ("date_always_less_than", ["2020-05", "2020-05-01", "2020", None], ["2020-05-31", "2020-05-02", "2021-01", "2020"], B, {}, [F, T, T, F]),
    ("date_always_less_than", ["2020-06-01/2020-06-10", "2020-06-01/2020-06-04", "x"], ["2020-06-05"] * 3, B, {}, [F, T, F]),
    ("date_always_less_than", ["2020-05-03", "2020-05-03T10:00", "2020-05-03T09:00"], ["2020-05-03T23:30-04:00"] * 2 + ["2020-05-03T10:00"], B, {}, [F, T, T]),
    ("date_always_less_than", [1.0], ["2020"], B, {}, [F]),
    ("is_inconsistent_across_dataset", ["x", "x", "y"], ["1", "1", "1"], B, {}, [T, T, T]),
    ("is_inconsistent_across_dataset", ["x", "y", "z"], ["1", "1", "2"], (B, "ABSENT"), {}, [T, T, F]),
    ("empty_within_except_last_row", [None, "x", None], ["1", "1", "1"], B, {"ordering": "AESEQ"}, [T, F, F]),
    ("has_next_corresponding_record", ["2", "9", "x"], ["1", "2", "3"], B, {"within": "DOMAIN", "ordering": "AESEQ"}, [T, F, T]),
    ("does_not_have_next_corresponding_record", ["2", "9"], ["1", "2"], B, {"within": "DOMAIN", "ordering": "AESEQ"}, [F, F]),
    ("target_is_sorted_by", ["1", "2"], ["2020-01-01", "2020-01-02"], ({"name": B},), {"within": "DOMAIN"}, [T, T]),
    ("target_is_not_sorted_by", ["1", "2"], ["2020-01-02", "2020-01-01"], ({"name": B},), {"within": "DOMAIN"}, [T, T]),
    ("target_is_sorted_by", ["1", "1"], ["b", "a"], ({"name": B},), {"within": "DOMAIN"}, [T, T]),  # equal places
    ("target_is_sorted_by", ["1", "2"], ["b", "a"], ({"name": B},), {"within": "DOMAIN"}, [F, F]),
    ("target_is_sorted_by", ["2", "1"], ["s", None], ({"name": A},), {"within": B}, [T, T]),  # not in a group
    ("target_is_sorted_by", ["M2", "M10"], ["2020-01-01", "2020-01-02"], ({"name": B},), {"within": "DOMAIN", "regex": r".*?(\d+)$"}, [T, T]),
    ("target_is_not_sorted_by", ["M2", "M10"], ["2020-01-01", "2020-01-02"], ({"name": B},), {"within": "DOMAIN"}, [T, T]),
    ("target_is_not_sorted_by", ["1", "2", "3"], ["2020-01-02", None, "2020-01-03"], ({"name": B},), {"within": "DOMAIN"}, [F, T, F]),
    ("target_is_not_sorted_by", ["1", "2"], ["2020-01", "2020-01-05"], ({"name": B},), {"within": "DOMAIN"}, [T, T]),
]  # fmt: skip
LISTS: list[tuple[str, tuple[str, ...], tuple[str, ...], bool]] = [
    ("shares_no_elements_with", ("A", "B"), ("C",), T),
    ("shares_at_least_one_element_with", ("A", "B"), ("B", "C"), T),
    ("is_ordered_subset_of", ("A", "C"), ("A", "B", "C"), T),
    ("is_not_ordered_subset_of", ("C", "A"), ("A", "B", "C"), T),
    ("is_not_ordered_subset_of", ("A", "X"), ("A", "B"), T),
    ("contains_all", ("A", "B"), ("B",), T),
    ("not_contains_all", ("A",), ("B",), T),
    ("is_contained_by", ("A", "B"), ("B", "C"), T),
    ("is_not_contained_by", ("A",), ("B", "C"), T),
]


@pytest.mark.parametrize(("operator", "left", "right", "value", "options", "flags"), CASES)
def test_an_operator(*, operator: str, left: Any, right: Any, value: Any, options: Any, flags: list[bool]) -> None:
    columns = {A: left, "AESEQ": [float(at) for at in range(len(left))]}
    rows = frame(columns if right is None else {**columns, B: right})
    assert evaluate(Check(operator, "--TERM", value, options), rows).to_pylist() == flags


@pytest.mark.parametrize(("operator", "left", "right", "flag"), LISTS)
def test_an_operator_on_lists(operator: str, left: Any, right: Any, flag: bool) -> None:
    rows = frame({A: ["x", "y"]}).with_column("$left", Lists((left,), 2)).with_column("$right", Lists((right,), 2))
    assert evaluate(Check(operator, "$left", "$right"), rows).to_pylist() == [flag, flag]


def test_a_value_that_names_the_variable_to_compare_with() -> None:
    rows = frame({"IDVAR": ["AESEQ", "AESPID"], "IDVARVAL": ["1", "B"], "AESEQ": [1.0, 2.0], "AESPID": ["A", "A"]})
    check = Check("not_equal_to", "IDVARVAL", "IDVAR", {"value_is_reference": True, "type_insensitive": True})
    assert evaluate(check, rows).to_pylist() == [False, True]


def test_every_operator_is_tested() -> None:
    assert {case[0] for case in CASES} | {case[0] for case in LISTS} == set(OPERATORS)


WRONG = [
    Check("no_such_operator", "AETERM"),
    Check("less_than", "AETERM", "x"),
    Check("is_contained_by", "AETERM", "x"),
    Check("matches_regex", "AETERM", "(["),
    Check("matches_regex", "AETERM", 3),
    Check("prefix_matches_regex", "AETERM", "A", {}),
    Check("starts_with", "AESEQ", "A"),
    Check("longer_than", "AETERM", "x"),
    Check("contains", "AESEQ", "1"),
    Check("date_less_than", "AETERM", "2020", {"date_component": "week"}),
    Check("empty", "AETERM", None, {"separator": "/"}),
    Check("is_unique_set", "ABSENT", "ABSENT"),
    Check("present_on_multiple_rows_within", "AETERM"),
    Check("target_is_sorted_by", "AETERM", "AESEQ"),
    Check("shares_no_elements_with", "AETERM", "AESEQ"),
]


@pytest.mark.parametrize("check", WRONG, ids=lambda check: check.operator)
def test_what_an_operator_cannot_do_is_said(check: Check) -> None:
    with pytest.raises(CannotRun):
        evaluate(check, frame({"AETERM": ["a"], "AESEQ": [1.0]}))


@pytest.mark.parametrize("operator", ["empty", "equal_to", "matches_regex", "is_contained_by", "is_complete_date"])
def test_a_variable_that_is_not_there(operator: str) -> None:
    with pytest.raises(MissingColumn):
        evaluate(Check(operator, "AEXX", "a"), frame({"AETERM": ["a"]}))
