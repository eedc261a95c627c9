"""Datasets beside the one under judgement: by keys, by IDVAR, related records, supplemental qualifiers; and bounds."""

from typing import Any

import pytest

from fhirspace import limits
from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.results import results
from tests.sdtm.rules.rules_data import rule, study

AE: dict[str, list[Any]] = {
    "STUDYID": ["S"] * 3,
    "DOMAIN": ["AE"] * 3,
    "USUBJID": ["1", "1", "2"],
    "AESEQ": [1.0, 2.0, 1.0],
    "AETERM": ["a", "b", "c"],
    "AESTDTC": ["2020-01-01", "2020-02-01", "2020-03-01"],
}
DM: dict[str, list[Any]] = {
    "STUDYID": ["S"] * 3,
    "DOMAIN": ["DM"] * 3,
    "USUBJID": ["1", "2", "3"],
    "RFSTDTC": ["2020-01-15", None, "2020-01-01"],
}


def found(text: str, match: list[dict[str, Any]], output: list[str], **datasets: Any) -> list[tuple[str, ...]]:
    parts = {
        "Match Datasets": match,
        "Outcome": {"Output Variables": output},
        "Scope": {"Domains": {"Include": ["AE"]}},
    }
    outcome = Engine(study(**datasets)).run(rule(text, **parts))
    assert outcome.errors == {}
    return [line[1:] for line in results(outcome)]


def test_by_keys() -> None:
    check = "all: [{name: AESTDTC, operator: date_less_than, value: RFSTDTC}]"
    match = [{"Name": "DM", "Keys": ["USUBJID"]}]
    assert found(check, match, ["RFSTDTC"], AE=AE, DM=DM) == [("1", "RFSTDTC", "2020-01-15")]


def test_a_row_is_there_once_for_each_partner() -> None:
    check = "all: [{name: AETERM, operator: equal_to, value: CMTRT}]"
    cm = {"DOMAIN": ["CM"] * 2, "USUBJID": ["1", "1"], "CMTRT": ["b", "a"]}
    lines = found(check, [{"Name": "CM", "Keys": ["USUBJID"]}], ["AETERM", "CM.CMTRT"], AE=AE, CM=cm)
    assert lines == [
        ("1", "AETERM", "a"),
        ("1", "CM.CMTRT", "Not in dataset"),
        ("2", "AETERM", "b"),
        ("2", "CM.CMTRT", "Not in dataset"),
    ]


def test_a_variable_that_both_have_is_named_with_the_dataset() -> None:
    check = "all: [{name: AESTDTC, operator: date_less_than, value: DM.AESTDTC}]"
    dm = {**DM, "AESTDTC": ["2020-01-15", "2020-04-01", None]}
    lines = found(check, [{"Name": "DM", "Keys": ["USUBJID"]}], ["DM.AESTDTC"], AE=AE, DM=dm)
    assert lines == [("1", "DM.AESTDTC", "2020-01-15"), ("3", "DM.AESTDTC", "2020-04-01")]


def test_a_dataset_that_the_study_lacks_is_passed_over() -> None:
    check = "all: [{name: AETERM, operator: equal_to, value: a}]"
    assert found(check, [{"Name": "EX", "Keys": ["USUBJID"]}], ["AETERM"], AE=AE) == [("1", "AETERM", "a")]


def test_supplemental_qualifiers() -> None:
    check = "all: [{name: AESOSP, operator: non_empty}]"
    supp = {
        "STUDYID": ["S"] * 2,
        "RDOMAIN": ["AE"] * 2,
        "USUBJID": ["1", "2"],
        "IDVAR": ["AESEQ"] * 2,
        "IDVARVAL": ["2", "1"],
        "QNAM": ["AESOSP", "OTHER"],
        "QVAL": ["pain", "x"],
    }
    lines = found(check, [{"Name": "SUPPAE", "Keys": ["USUBJID"]}], ["AESOSP"], AE=AE, SUPPAE=supp)
    assert lines == [("2", "AESOSP", "pain")]


def test_related_records() -> None:
    relrec = {
        "STUDYID": ["S"] * 2,
        "RDOMAIN": ["AE", "CM"],
        "USUBJID": ["1", "1"],
        "IDVAR": ["AESEQ", "CMSEQ"],
        "IDVARVAL": ["2", "7"],
        "RELID": ["R1", "R1"],
    }
    cm = {"STUDYID": ["S"], "DOMAIN": ["CM"], "USUBJID": ["1"], "CMSEQ": [7.0], "CMTRT": ["aspirin"]}
    check = "all: [{name: AETERM, operator: not_equal_to, value: RELREC.**TRT}]"
    lines = found(check, [{"Name": "RELREC"}], ["RELREC.**TRT"], AE=AE, CM=cm, RELREC=relrec)
    assert lines == [("2", "RELREC.**TRT", "aspirin")]


def test_the_parent_that_idvar_names() -> None:
    supp = {
        "STUDYID": ["S"] * 3,
        "RDOMAIN": ["AE"] * 3,
        "USUBJID": ["1", "1", "2"],
        "IDVAR": ["AESEQ"] * 3,
        "IDVARVAL": ["2", "9", "1"],
        "QNAM": ["X"] * 3,
    }
    text = "all: [{name: AETERM, operator: empty}]"
    match = [{"Name": "SUPP--", "Keys": ["USUBJID", "IDVAR", "IDVARVAL"], "Child": True}]
    parts = {"Match Datasets": match, "Outcome": {"Output Variables": ["IDVARVAL"]}}
    outcome = Engine(study(AE=AE, SUPPAE=supp)).run(rule(text, Scope={"Domains": {"Include": ["SUPP--"]}}, **parts))
    assert list(results(outcome)) == [("SUPPAE", "2", "IDVARVAL", "9")]


def test_a_join_of_too_many_rows_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "rule-rows=1000000")
    many = {"STUDYID": ["S"] * 40_000, "DOMAIN": ["AE"] * 40_000, "USUBJID": ["1"] * 40_000, "AETERM": ["a"] * 40_000}
    other = {**many, "DOMAIN": ["CM"] * 40_000}
    text = "all: [{name: AETERM, operator: equal_to, value: CMTRT}]"
    parts = {
        "Match Datasets": [{"Name": "CM", "Keys": ["STUDYID", "USUBJID"]}],
        "Scope": {"Domains": {"Include": ["AE"]}},
    }
    outcome = Engine(study(AE=many, CM=other)).run(rule(text, **parts))
    assert "1,600,000,000 rows" in outcome.errors["AE"]


def test_keys_of_two_types_are_said() -> None:
    text = "all: [{name: AETERM, operator: equal_to, value: CMTRT}]"
    cm = {"DOMAIN": ["CM"], "AESEQ": ["1"]}
    parts = {"Match Datasets": [{"Name": "CM", "Keys": ["AESEQ"]}], "Scope": {"Domains": {"Include": ["AE"]}}}
    assert "texts in one and numbers in the other" in Engine(study(AE=AE, CM=cm)).run(rule(text, **parts)).errors["AE"]
