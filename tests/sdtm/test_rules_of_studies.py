"""Derivations by the rules of a study, and comparisons with the values given."""

import pytest

from fhirspace.errors import UsageError
from fhirspace.sdtm.derive.derive import derive
from fhirspace.sdtm.derive.design import StudyDesign, Visit, load_study
from fhirspace.sdtm.derive.differences import agree
from tests.sdtm.sdtm_tables import cells, table


def test_visits_of_cm_ex_ds_and_mh_are_numbered_where_they_came_with_one():
    study = StudyDesign(visits=(Visit("1", "SCREENING", "-7"), Visit("3", "WEEK 3", "22")))
    cm = table("USUBJID|CMTRT|VISIT|CMDTC|CMSTDTC", "A|X|WEEK 3||2019", "A|X|UNSCHEDULED|2020-02-01|2001-01-01")
    ds = table("USUBJID|DSDECOD|VISITNUM", "A|COMPLETED|3")
    mh = table("USUBJID|MHTERM", "A|GOUT")
    sv = table("USUBJID|VISIT|VISITNUM|SVSTDTC", "A|WEEK 3|3|2020-01-22")
    made = derive({"CM": cm, "DS": ds, "MH": mh, "SV": sv}, study).tables
    assert cells(made["CM"], "VISITNUM", "VISIT", "VISITDY") == ["3|WEEK 3|22", "3.01|UNSCHEDULED|-"]
    assert cells(made["DS"], "VISITNUM", "VISIT") == ["3|WEEK 3"]
    assert not {"VISIT", "VISITNUM"} & set(made["MH"].column_names)


def test_the_end_of_reference_may_be_the_last_disposition_event():
    dm = table("USUBJID|RFXSTDTC|RFXENDTC", "A|2020-01-01|2020-02-01", "B||")
    ds = table(
        "USUBJID|DSCAT|DSDECOD|DSSTDTC",
        "A|DISPOSITION EVENT|COMPLETED|2020-02-03",
        "A|DISPOSITION EVENT|COMPLETED|2020-02-02",
        "A|PROTOCOL MILESTONE|UNBLINDED|2020-05-01",
        "B|DISPOSITION EVENT|SCREEN FAILURE|2020-01-09",
    )
    made = derive({"DM": dm, "DS": ds}, StudyDesign(reference_end="DSSTDTC")).tables
    assert cells(made["DM"], "RFSTDTC", "RFENDTC") == ["2020-01-01|2020-02-03", "-|-"]


def test_the_end_of_participation_has_its_time():
    dm = table("USUBJID", "A", "B", "C")
    lb = table("USUBJID|LBTESTCD|LBDTC", "A|X|2020-02-01T09:30", "B|X|2020-02-01T09:30", "B|X|2020-02-02")
    ds = table("USUBJID|DSDECOD|DSDTC|DSSTDTC", "A|COMPLETED|2020-02-01T11:45|2020-02-01", "C|LOST||2020-01-05")
    se = table("USUBJID|EPOCH|SESTDTC|SEENDTC", "C|SCREENING|2020-01-01|2020-01-06")
    made = derive({"DM": dm, "LB": lb, "DS": ds, "SE": se}).tables
    assert cells(made["DM"], "RFPENDTC") == ["2020-02-01T11:45", "2020-02-02", "2020-01-06"]


@pytest.mark.parametrize(
    ("birth", "at", "age"),
    [("1960", "2020-12-31", "60"), ("1960", "2020-12-30", None), ("1960-06", "2020-06-30", "60"), ("1960-06", "2020-06-29", None),
     ("1960-06", "2020-07", "60"), ("1960-02-29", "2019-02-28", "58"), ("1960", "2020", None)],
)  # fmt: skip
def test_an_age_is_counted_to_collection_and_only_where_it_is_certain(birth, at, age):
    made = derive({"DM": table("USUBJID|BRTHDTC|DMDTC", f"A|{birth}|{at}")}).tables["DM"]
    assert cells(made, "AGE", "AGEU") == [f"{age or '-'}|{'YEARS' if age else '-'}"]


def test_a_study_may_put_measurements_on_the_day_of_change_into_the_epoch_before():
    se = table(
        "USUBJID|EPOCH|SESTDTC|SEENDTC", "A|SCREENING|2020-01-01|2020-01-10", "A|TREATMENT|2020-01-10|2020-02-01"
    )
    vs = table("USUBJID|VSTESTCD|VSDTC", "A|PULSE|2020-01-01", "A|PULSE|2020-01-10", "A|PULSE|2020-01-11")
    ex = table("USUBJID|EXTRT|EXSTDTC", "A|X|2020-01-10")
    made = derive({"SE": se, "VS": vs, "EX": ex}, StudyDesign(before_change=frozenset({"Findings"}))).tables
    assert cells(made["VS"], "EPOCH") == ["SCREENING", "SCREENING", "TREATMENT"]
    assert cells(made["EX"], "EPOCH") == ["TREATMENT"]


def test_the_day_of_change_into_one_epoch_may_be_of_the_epoch_before():
    rows = (
        "A|SCREENING|2020-01-01|2020-01-10",
        "A|TREATMENT|2020-01-10|2020-02-01",
        "A|FOLLOW-UP|2020-02-01|2020-03-01",
    )
    se = table("USUBJID|EPOCH|SESTDTC|SEENDTC", *rows)
    vs = table("USUBJID|VSTESTCD|VSDTC", "A|PULSE|2020-01-10", "A|PULSE|2020-02-01", "A|PULSE|2020-02")
    made = derive({"SE": se, "VS": vs}, StudyDesign(before_change=frozenset({"FOLLOW-UP"}))).tables
    assert cells(made["VS"], "EPOCH") == ["TREATMENT", "TREATMENT", "FOLLOW-UP"]


def test_times_tell_what_the_day_of_change_leaves_open():
    se = table(
        "USUBJID|EPOCH|SESTDTC|SEENDTC", "A|SCREENING|2020-01-01|2020-01-10", "A|TREATMENT|2020-01-10T08:00|2020-02-01"
    )
    vs = table("USUBJID|VSTESTCD|VSDTC", "A|PULSE|2020-01-10T09:00")
    made = derive({"SE": se, "VS": vs}, StudyDesign(before_change=frozenset({"VS"}))).tables
    assert cells(made["VS"], "EPOCH") == ["TREATMENT"]


def test_answers_get_the_scores_of_the_study_and_else_those_of_other_records():
    study = StudyDesign(scores={"QSPH": {"Several days": "1"}, "PHQ02": {"Several days": "9"}})
    qs = table(
        "USUBJID|QSTESTCD|QSORRES|QSSTRESC|QSSTRESN",
        "A|PHQ01|Several days||",
        "A|PHQ02|Several days||",
        "A|PHQ03|Never|0|0",
        "A|PHQ03|Never||",
        "A|PHQ04|Never||",
        "A|PHQ05|Never|0|0",
        "A|PHQ05|Never|1|1",
        "A|PHQ05|Never||",
    )
    made = derive({"QSPH": qs}, study).tables["QSPH"]
    assert cells(made, "QSSTRESC", "QSSTRESN") == ["1|1", "9|9", "0|0", "0|0", "Never|-", "0|0", "1|1", "Never|-"]


def test_a_test_keeps_the_one_unit_that_its_results_came_with():
    lb = table(
        "USUBJID|LBTESTCD|LBORRES|LBORRESU|LBSTRESC|LBSTRESN|LBSTRESU",
        "A|GLUC|90|mg/dL|90|90|mg/dL",
        "A|GLUC|5.50|mmol/L|||",
        "A|TSH|2.90|mIU/L|2.90|2.9|mU/L",
        "A|TSH|1.68|mIU/L|||",
    )
    made = derive({"LB": lb}).tables["LB"]
    assert cells(made, "LBSTRESC", "LBSTRESU") == ["90|mg/dL", "99.086|mg/dL", "2.90|mU/L", "1.68|mU/L"]


def test_baseline_flags_follow_the_groups_of_the_study():
    study = StudyDesign(baseline_flags=("LOBXFL", "BLFL"), baseline_tests={"VS": ("VSTESTCD",)})
    dm = table("USUBJID|RFXSTDTC", "A|2020-01-10")
    vs = table(
        "USUBJID|VSTESTCD|VSPOS|VSORRES|VSDTC", "A|PULSE|SITTING|60|2020-01-08", "A|PULSE|STANDING|61|2020-01-09"
    )
    made = derive({"DM": dm, "VS": vs}, study).tables["VS"]
    assert cells(made, "VSLOBXFL", "VSBLFL") == ["-|-", "Y|Y"]
    apart = derive({"DM": dm, "VS": vs}).tables["VS"]
    assert cells(apart, "VSLOBXFL", "VSBLFL") == ["Y|-", "Y|-"]


@pytest.mark.parametrize(
    ("variable", "given", "derived", "same"),
    [("VISITNUM", "1.2000000000000002", "1.2", True), ("VISITNUM", "1.2", "1.201", False), ("LBSTRESN", "99.1", "99.086", True),
     ("LBSTRESN", "99.1", "98", False), ("LBSTRESU", "10^3/uL", "10^9/L", True), ("LBSTRESU", "mg/dL", "mmol/L", False),
     ("RFPENDTC", "2020-01-01", "2020-01-01T10:00", True), ("RFPENDTC", "2020-01-01", "2020-01-02", False), ("AGE", "64", "65", False),
     ("LBDY", "0", "0.0", True), ("EPOCH", "SCREENING", "TREATMENT", False), ("LBSTRESN", "0", "0", True)],
)  # fmt: skip
def test_values_agree_as_far_as_both_say_something(variable, given, derived, same):
    assert agree(variable, given, derived) is same


RULES = """
reference: {end: DSSTDTC}
day of change: {Findings: before, EX: after}
scores: {QSPH: {Not at all: 0}}
baseline: {flags: [BLFL], VS: [VSTESTCD]}
"""


def test_the_rules_of_a_study_are_read(tmp_path):
    (tmp_path / "study.yaml").write_text(RULES, "utf-8")
    assert load_study(tmp_path / "study.yaml") == StudyDesign(
        reference_end="DSSTDTC",
        before_change=frozenset({"Findings"}),
        scores={"QSPH": {"Not at all": "0"}},
        baseline_flags=("BLFL",),
        baseline_tests={"VS": ("VSTESTCD",)},
    )


@pytest.mark.parametrize(
    "text",
    ["reference: {start: DSSTDTC}", "day of change: {VS: earlier}", "day of change: [VS]", "scores: {QS: [a]}", "scores: x",
     "scores: {QS: {a: [b]}}", "baseline: {flags: [XFL]}", "baseline: {VS: [[a]]}", "baseline: {VS: {a: {b: c}}, flags: [{a: b}]}",
     "units: {LB: {GLUC: [a]}}", "units: {LB: {GLUC: {a: b}}}", "day of change: {VS: [before]}"],
)  # fmt: skip
def test_wrong_rules_are_refused(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text, "utf-8")
    with pytest.raises(UsageError) as caught:
        load_study(tmp_path / "study.yaml")
    assert caught.value.code == "FS703"
