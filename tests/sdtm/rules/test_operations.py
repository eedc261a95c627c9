"""Each operation of the rule language on a small study."""

from typing import Any

import pytest

from fhirspace.sdtm.rules.errors import CannotRun, MissingDataset
from fhirspace.sdtm.rules.frame import Frame, of_dataset
from fhirspace.sdtm.rules.model import Operation
from fhirspace.sdtm.rules.operations import OPERATIONS, apply
from fhirspace.sdtm.rules.study import Study
from fhirspace.sdtm.rules.values import Lists
from tests.sdtm.rules.rules_data import study

STUDY: dict[str, dict[str, list[Any]]] = {
    "AE": {
        "DOMAIN": ["AE"] * 3,
        "USUBJID": ["1", "1", "2"],
        "AETERM": ["a", "b", "a"],
        "AEDTC": ["2020-01-15", "2020-01-14", "2020-01"],
        "AELNKID": ["x", None, "y"],
    },
    "DM": {"DOMAIN": ["DM"] * 2, "USUBJID": ["1", "2"], "RFSTDTC": ["2020-01-15", "2020-01-01"]},
    "EX": {"DOMAIN": ["EX"] * 2, "USUBJID": ["1", "1"], "EXSTDTC": ["2020-02-01", "2020-01-01"], "EXLNKID": ["x", "y"]},
    "SUPPAE": {"RDOMAIN": ["AE", "AE"], "USUBJID": ["1", "2"], "IDVAR": ["AETERM", "NOSUCH"], "QNAM": ["Q", "R"]},
}
CASES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("distinct", {"name": "AETERM"}, [("a", "b")] * 3),
    ("distinct", {"name": "--TERM", "group": ("USUBJID",)}, [("a", "b"), ("a", "b"), ("a",)]),
    (
        "distinct",
        {"domain": "EX", "name": "EXSTDTC", "group": ("USUBJID",)},
        [("2020-02-01", "2020-01-01")] * 2 + [None],
    ),
    ("distinct", {"domain": "SUPPAE", "name": "IDVAR", "value_is_reference": True}, [("AETERM",)] * 3),
    ("record_count", {}, [3, 3, 3]),
    ("record_count", {"group": ("USUBJID",)}, [2, 2, 1]),
    ("record_count", {"filter": {"AETERM": "a"}}, [2, 2, 2]),
    ("record_count", {"filter": {"AEDTC": "2020-01-&"}, "group": ("USUBJID",)}, [2, 2, 0]),
    ("record_count", {"group": ("--DTC",), "regex": r"\d{4}-\d{2}"}, [3, 3, 3]),
    ("min_date", {"domain": "EX", "name": "EXSTDTC", "group": ("USUBJID",)}, ["2020-01-01", "2020-01-01", None]),
    ("max_date", {"domain": "EX", "name": "EXSTDTC"}, ["2020-02-01"] * 3),
    ("dy", {"name": "--DTC"}, [1, -1, None]),
    ("study_domains", {}, [("AE", "DM", "EX", "")] * 3),
    ("dataset_names", {}, [("AE", "DM", "EX", "SUPPAE")] * 3),
    ("get_column_order_from_dataset", {}, [("DOMAIN", "USUBJID", "AETERM", "AEDTC", "AELNKID")] * 3),
    ("variable_exists", {"name": "--TERM"}, [True] * 3),
    ("variable_count", {"name": "--LNKID"}, [2, 2, 2]),
    ("extract_metadata", {"name": "dataset_name"}, ["AE"] * 3),
    ("domain_label", {}, ["Adverse Events"] * 3),
    ("domain_is_custom", {}, [False] * 3),
    ("get_dataset_filtered_variables", {"key_name": "role", "key_value": "Timing"}, [("AEDTC",)] * 3),
]
RELATIONS: dict[str, list[Any]] = {
    "RDOMAIN": ["AE", "AE", "AE", "AE", "LB", "CM"],
    "USUBJID": ["1", "2", None, "1", "1", "1"],
    "IDVAR": ["AELNKID", "AELNKID", "AELNKID", "AESPID", "LBSEQ", None],
    "IDVARVAL": ["x", "x", None, None, "1", "1"],
}
LONG = {
    "country_codes": ("GBR", "GB"),
    "required_variables": ("AETERM", "AELOC"),
    "expected_variables": ("AESER", "AETERM"),
    "get_column_order_from_library": ("AETERM", "XX"),
    "codelist_terms": ("C49562", "AE"),
    "get_model_column_order": ("AETERM", "AETRT"),
    "get_model_filtered_variables": ("AESTDTC", "AETERM"),
    "get_parent_model_column_order": ("AETERM", "QNAM"),
}
"""Operations that give long lists: a name that is in it, and one that is not."""


def computed(operator: str, parameters: dict[str, Any], name: str = "AE") -> tuple[Frame, Any]:
    data = study(**STUDY)
    result = apply(of_dataset(data.datasets[name]), Operation(operator, "$x", parameters), data)
    return result, result.column("$x")


@pytest.mark.parametrize(("operator", "parameters", "cells"), CASES)
def test_an_operation(operator: str, parameters: dict[str, Any], cells: list[Any]) -> None:
    frame, column = computed(operator, parameters)
    found = [column.at(row) for row in range(frame.size)] if isinstance(column, Lists) else column.to_pylist()
    assert found == cells


@pytest.mark.parametrize(("operator", "there", "not_there"), [(key, *names) for key, names in LONG.items()])
def test_an_operation_that_asks_the_standard(operator: str, there: str, not_there: str) -> None:
    name = "SUPPAE" if "parent" in operator else "AE"
    terms = {"codelists": ("DOMAIN",), "level": "term", "returntype": "code"}
    frame, column = computed(operator, {"key_name": "role", "key_value": "Timing", **terms}, name)
    names = column.at(frame.size - 1)
    assert there in names
    assert not_there not in names


DATES: list[tuple[list[Any], Any, Any]] = [
    (["2020-01-02", "2020-01-01", None], "2020-01-01", "2020-01-02"),
    (["2020-01-01", "2020-01", "2020"], "2020-01-01", "2020-01-01"),  # all begin at once: the first record's
    (["2020", "2020-01-01", "2019-12-31T23:59"], "2019-12-31T23:59", "2020"),
    (["2020-01-01T01:00+02:00", "2020-01-01"], "2019-12-31T23:00", "2020-01-01"),
    (["2020-01-01T10:30:00.5", "2020-01-01T10:30:00.4"], "2020-01-01T10:30:00", "2020-01-01T10:30:00"),
    (["soon", "2020-01-01", "2020-13-01"], "2020-01-01", "2020-01-01"),  # CORE breaks off
    ([None, None], None, None),
]


@pytest.mark.parametrize(("cells", "first", "last"), DATES)
def test_the_first_and_the_last_date(cells: list[Any], first: Any, last: Any) -> None:
    size = len(cells)
    data = study(EX={"DOMAIN": ["EX"] * size, "USUBJID": ["1"] * size, "EXSTDTC": cells})
    for group in ((), ("USUBJID",)):
        for operator, date in (("min_date", first), ("max_date", last)):
            work = Operation(operator, "$x", {"name": "--STDTC", "group": group})
            assert apply(of_dataset(data.datasets["EX"]), work, data).plain("$x").to_pylist() == [date] * size


def test_rows_without_a_key_are_in_no_group() -> None:
    data = study(EX={"DOMAIN": ["EX"] * 2, "USUBJID": ["1", None], "EXSTDTC": ["2020-01-01", "2019"]})
    frame = of_dataset(data.datasets["EX"])
    parameters = {"name": "EXSTDTC", "group": ("USUBJID",)}
    assert apply(frame, Operation("min_date", "$x", parameters), data).plain("$x").to_pylist() == ["2020-01-01", None]
    column = apply(frame, Operation("distinct", "$x", parameters), data).column("$x")
    assert isinstance(column, Lists)
    assert [column.at(0), column.at(1)] == [("2020-01-01",), None]


def test_whether_a_record_that_another_names_is_there() -> None:
    data = study(**STUDY, RELREC=RELATIONS)
    result = apply(of_dataset(data.datasets["RELREC"]), Operation("referred_record_exists", "$x", {}), data)
    assert result.plain("$x").to_pylist() == [True, False, True, False, None, None]


def test_the_names_that_terminology_gives_to_codes() -> None:
    data = study(VS={"DOMAIN": ["VS"] * 3, "VSTESTCD": ["WEIGHT", "MINE", None]})
    result = apply(of_dataset(data.datasets["VS"]), Operation("codelist_decodes", "$x", {"name": "--TESTCD"}), data)
    column = result.column("$x")
    assert isinstance(column, Lists)
    assert [column.at(row) for row in range(3)] == [("Weight",), (), None]


ALONE = {"referred_record_exists", "codelist_decodes"}
"""Operations that have a test of their own."""


def test_every_operation_is_tested() -> None:
    assert {case[0] for case in CASES} | set(LONG) | ALONE == set(OPERATIONS)


TERMS: list[tuple[dict[str, Any], str, str]] = [
    ({"codelists": ("DOMAIN",), "level": "codelist", "returntype": "code"}, "C66734", ""),
    ({"codelists": ("NY",), "level": "term"}, "Y", ""),
    ({"codelists": ("NOSUCH",), "level": "term"}, "", "no codelist NOSUCH"),
    ({"codelists": ("NY",), "level": "term", "returntype": "pref_term"}, "", "`returntype` code or value"),
]


@pytest.mark.parametrize(("parameters", "there", "wrong"), TERMS)
def test_terms_of_codelists(parameters: dict[str, Any], there: str, wrong: str) -> None:
    if wrong:
        with pytest.raises(CannotRun, match=wrong):
            computed("codelist_terms", parameters)
    else:
        assert there in computed("codelist_terms", parameters)[1].at(0)


@pytest.mark.parametrize(("parameter", "older"), [("3.3", True), ("3.4", False), ("latest", False)])
def test_variables_that_only_a_newer_guide_expects(*, parameter: str, older: bool) -> None:
    data = study(SV={"DOMAIN": ["SV"]}, TS={"TSPARMCD": ["X", "SDTIGVER"], "TSVAL": ["1.0", parameter]})
    result = apply(of_dataset(data.datasets["SV"]), Operation("expected_variables", "$x", {}), data)
    column = result.column("$x")
    assert isinstance(column, Lists)
    assert ("SVPRESP" in (column.at(0) or ())) is not older
    assert "SVSTDTC" in (column.at(0) or ())


def test_terms_of_another_version_than_that_which_the_study_names() -> None:
    data = Study(study(**STUDY).datasets.values(), terminology="2020-12-18")
    work = Operation("codelist_terms", "$x", {"codelists": ("NY",), "level": "term"})
    with pytest.raises(CannotRun, match="names terminology 2020-12-18, but 2025-03-28 is here"):
        apply(of_dataset(data.datasets["AE"]), work, data)


def test_an_operation_that_is_not_there() -> None:
    with pytest.raises(CannotRun, match="`map` is not supported"):
        computed("map", {})


def test_a_dataset_that_is_not_there() -> None:
    data = Study([study(**STUDY).datasets["AE"]])
    for operator, parameters in (("distinct", {"domain": "TV", "name": "VISIT"}), ("dy", {"name": "AEDTC"})):
        with pytest.raises(MissingDataset):
            apply(of_dataset(data.datasets["AE"]), Operation(operator, "$x", parameters), data)
