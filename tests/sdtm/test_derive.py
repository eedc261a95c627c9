from datetime import date, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from fhirspace.sdtm.derive.derive import derive
from fhirspace.sdtm.derive.design import Element, StudyDesign, Visit
from tests.sdtm.sdtm_tables import cells, table

DM = table("STUDYID|USUBJID|RFSTDTC", "X|A|2020-01-10", "X|B|", "X|C|2020-01")


def methods(result):
    return {(item.dataset, item.variable) for item in result.derived}


def test_study_days_have_no_zero_and_need_complete_dates():
    ae = table(
        "USUBJID|AESTDTC|AEENDTC|AESTDY",
        "A|2020-01-09|2020-01-10|",
        "A|2020-01|2020-01-11T10:00|",
        "B|2020-01-01||",
        "C|2020-01-01||",
        "A|2020-01-09||77",
    )
    result = derive({"DM": DM, "AE": ae})
    assert cells(result.tables["AE"], "AESTDY", "AEENDY") == ["-1|1", "-|2", "-|-", "-|-", "77|-"]
    assert ("AE", "AESTDY") in methods(result)


@pytest.mark.slow
@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(-400, 400))
def test_a_study_day_is_never_zero_and_counts_days(reference, apart):
    dm = table("USUBJID|RFSTDTC", f"A|{reference}")
    ae = table("USUBJID|AESTDTC", f"A|{reference + timedelta(days=apart)}")
    assert cells(derive({"DM": dm, "AE": ae}).tables["AE"], "AESTDY") == [str(apart + 1 if apart >= 0 else apart)]


def test_the_domain_code_is_filled_in_but_not_overwritten():
    qs = table("DOMAIN|USUBJID|QSTESTCD", "|A|X", "ZZ|A|Y")
    result = derive({"QSPH": qs, "NOTSDTM": qs, "SUPPQS": qs})
    assert cells(result.tables["QSPH"], "DOMAIN") == ["QS", "ZZ"]
    assert result.tables["NOTSDTM"] is qs
    assert result.tables["SUPPQS"] is qs


def test_sequences_follow_the_natural_keys_with_numbers_by_size():
    vs = table("USUBJID|VSTESTCD|VISITNUM", "B|SYSBP|10", "A|SYSBP|10", "A|SYSBP|9", "A|DIABP|12", "B|SYSBP|x")
    assert cells(derive({"VS": vs}).tables["VS"], "VSSEQ") == ["1", "3", "2", "1", "2"]


def test_new_sequences_follow_those_that_came_in():
    ae = table("USUBJID|AETERM|AESEQ", "A|b|", "A|a|", "A|c|7", "B|c|", "B|d|odd")
    assert cells(derive({"AE": ae}).tables["AE"], "AESEQ") == ["9", "8", "7", "1", "odd"]


def test_split_datasets_are_numbered_as_one_domain():
    result = derive({
        "QSPH": table("USUBJID|QSCAT|QSTESTCD", "A|PHQ|P2", "A|PHQ|P1"),
        "QSSL": table("USUBJID|QSCAT|QSTESTCD", "A|SWLS|S1"),
    })  # fmt: skip
    assert cells(result.tables["QSPH"], "QSSEQ") == ["2", "1"]
    assert cells(result.tables["QSSL"], "QSSEQ") == ["3"]


def test_trial_summary_is_numbered_within_its_parameter():
    ts = table("TSPARMCD|TSVAL", "INDIC|a", "TITLE|b", "INDIC|c")
    assert cells(derive({"TS": ts}).tables["TS"], "TSSEQ") == ["1", "1", "2"]


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["", "1", "2", "10"]), st.text("xy", max_size=2))))
def test_sequences_are_unique_and_complete_whatever_comes(rows):
    lb = pa.table({
        "USUBJID": pa.array([row[0] for row in rows], pa.string()),
        "VISITNUM": pa.array([row[1] or None for row in rows], pa.string()),
        "LBTESTCD": pa.array([row[2] or None for row in rows], pa.string()),
    })  # fmt: skip
    once = derive({"LB": lb}).tables["LB"]
    for subject in "ABC":
        numbers = [int(n) for s, n in (line.split("|") for line in cells(once, "USUBJID", "LBSEQ")) if s == subject]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert derive({"LB": once}).tables["LB"].equals(once)


LB = "USUBJID|LBTESTCD|LBORRES|LBORRESU|LBORNRLO|LBORNRHI|LBSTAT|LBSTRESC"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("A|HGB|14.90|g/dL|13|17||", "149.0|149.0|g/L|130|170|NORMAL"),
        ("A|HGB|<3|g/dL|13|||", "<30|-|g/L|130|-|-"),
        ("A|HGB||g/dL|13||NOT DONE|", "-|-|-|-|-|-"),
        ("A|NEUT|5.50|10^3/uL|6|7||", "5.50|5.50|10^9/L|6|7|LOW"),
        ("A|HIVVL|<20|copies/mL||20||", "<20|-|copies/mL|-|20|-"),
        ("A|COLOR|YELLOW|||||", "YELLOW|-|-|-|-|-"),
        ("A|PH|5|||4||", "5|5|-|-|4|HIGH"),
        ("A|GLUC|5|foo|3|4||", "5|5|foo|3|4|HIGH"),
        ("A|GLUC|neg|foo|a|4||", "neg|-|foo|-|4|-"),
        ("A|GLUC|5|mmol/L|a|7||", "5|5|mmol/L|-|7|-"),
        ("A||5|mg/dL||||", "5|5|mg/dL|-|-|-"),
        ("A|GLUC|5|mg/dL||||7", "-5"),
        ("|||||||", "-|-|-|-|-|-"),
    ],
)
def test_standard_results(row, expected):
    result = derive({"LB": table(LB, row)}).tables["LB"]
    names: tuple[str, ...] = ("LBSTRESC", "LBSTRESN", "LBSTRESU", "LBSTNRLO", "LBSTNRHI", "LBNRIND")
    if expected == "-5":  # what came in stays, and only the number is taken from it
        names, expected = names[:3], "7|7|-"
    assert cells(result, *names) == [expected]


def test_the_study_says_which_unit_is_standard():
    study = StudyDesign(units={"LB": {"HGB": "mmol/L"}})
    result = derive({"LB": table(LB, "A|HGB|14.9|g/dL||||")}, study)
    assert cells(result.tables["LB"], "LBSTRESC", "LBSTRESU") == ["9.2463|mmol/L"]


def test_a_result_that_cannot_be_carried_is_noted_once_a_test_and_unit():
    lb = table(LB, "A|GLUC|5|foo||||", "A|GLUC|6|foo||||", "A|GLUC|high|foo||||")
    result = derive({"LB": lb})
    assert [(p.code, p.place.row, p.place.column) for p in result.problems] == [("FS710", 2, "LBORRESU")]


def test_last_observation_before_exposure():
    dm = table("USUBJID|RFXSTDTC", "A|2020-01-10T09:00", "B|", "C|2020-01-10")
    vs = table(
        "USUBJID|VSTESTCD|VSPOS|VSORRES|VSDTC|VSSTAT|VSLOBXFL",
        "A|SYSBP|SITTING|1|2020-01-08||",
        "A|SYSBP|SITTING|2|2020-01-10T08:00||",
        "A|SYSBP|SITTING|3|2020-01-10T10:00||",
        "A|SYSBP|STANDING|4|2020-01-10||",
        "A|DIABP|SITTING|5|2020-01-09||",
        "A|DIABP|SITTING||2020-01-10|NOT DONE|",
        "A|PULSE||7|2020-01||",
        "B|PULSE||8|2020-01-01||",
        "C|PULSE||9|2020-01-01||Y",
        "C|PULSE||10|2020-01-02||",
        "C|TEMP||11|2020-01-02||",
        "C|TEMP||12|2020-01-02||",
    )
    flags = cells(derive({"DM": dm, "VS": vs}).tables["VS"], "VSLOBXFL")
    assert flags == ["-", "Y", "-", "Y", "Y", "-", "-", "-", "Y", "-", "-", "Y"]


def test_reference_dates_come_from_exposure_and_disposition():
    dm = table("USUBJID|BRTHDTC|RFICDTC|ARM", "A|1960-05-17||P", "B|1960||P", "C|||")
    ex = table("USUBJID|EXSTDTC|EXENDTC", "A|2020-02-01|2020-02-20", "A|2020-01-10|", "B|2020-03|", "|2020-01-01|")
    ds = table(
        "USUBJID|DSDECOD|DSSTDTC",
        "A|INFORMED CONSENT OBTAINED|2020-01-02",
        "B|INFORMED CONSENT OBTAINED|2020-01-03",
        "B|DEATH|2020-04-01",
        "A|COMPLETED|2020-06-01T10:00",
    )
    lb = table("USUBJID|LBTESTCD|LBDTC", "A|X|2020-06-30T09:00", "A|X|2021")
    ae = table("USUBJID|AEOUT", "C|FATAL")
    study = StudyDesign(actual_arm_as_planned=True)
    result = derive({"DM": dm, "EX": ex, "DS": ds, "LB": lb, "AE": ae}, study)
    names = (
        "RFICDTC",
        "RFSTDTC",
        "RFENDTC",
        "RFXSTDTC",
        "RFXENDTC",
        "RFPENDTC",
        "DTHDTC",
        "DTHFL",
        "AGE",
        "AGEU",
        "ACTARM",
    )
    assert cells(result.tables["DM"], *names) == [
        "2020-01-02|2020-01-10|2020-02-20|2020-01-10|2020-02-20|2021|-|-|59|YEARS|P",
        "2020-01-03|2020-03|2020-03|2020-03|2020-03|2020-04-01|2020-04-01|Y|-|-|P",
        "-|-|-|-|-|-|-|Y|-|-|-",
    ]
    notes = [(p.code, p.place.row, p.place.column) for p in result.problems]
    partial = [("FS713", 3, "RFXSTDTC"), ("FS713", 3, "RFXENDTC"), ("FS713", 2, "RFPENDTC")]
    assert notes == [*partial, ("FS712", 3, "AGE")]


def test_the_reference_start_may_be_consent():
    dm = table("USUBJID|RFICDTC", "A|2020-01-02")
    study = StudyDesign(reference_start="RFICDTC", reference_end="RFENDTC")
    assert cells(derive({"DM": dm}, study).tables["DM"], "RFSTDTC", "RFENDTC") == ["2020-01-02|-"]


ELEMENTS = (
    Element("SCRN", "Screening", "SCREENING", "RFICDTC"),
    Element("TRT", "Treatment", "TREATMENT", "RFXSTDTC"),
    Element("FU", "Follow-up", "FOLLOW-UP", "RFXENDTC", 1),
)


def test_elements_and_epochs_come_from_the_design():
    dm = table(
        "STUDYID|USUBJID|RFICDTC|RFXSTDTC|RFXENDTC|RFPENDTC|@file",
        "X|A|2020-01-01|2020-01-10T09:00|2020-02-10T09:00|2020-03-01|dm.csv",
        "X|B|2020-01-01|2020-01-10|2020-02-10|2020-02-10|dm.csv",
        "X|C|2020-01||||dm.csv",
        "X||2020-01-01||||dm.csv",
    )
    ae = table(
        "USUBJID|AESTDTC",
        "A|2019-12-31",
        "A|2020-01-09",
        "A|2020-01-10T08:00",
        "A|2020-02-11",
        "A|2020-03-02",
        "A|2020",
        "C|2020-01-01",
        "A|",
    )
    lb = table("USUBJID|LBTESTCD|LBDTC", "B|X|2020-02-10")
    result = derive({"DM": dm, "AE": ae, "LB": lb}, StudyDesign(elements=ELEMENTS))
    assert cells(result.tables["SE"], "USUBJID", "SESEQ", "ETCD", "SESTDTC", "SEENDTC", "@file") == [
        "A|1|SCRN|2020-01-01|2020-01-10T09:00|dm.csv",
        "A|2|TRT|2020-01-10T09:00|2020-02-11|dm.csv",
        "A|3|FU|2020-02-11|2020-03-01|dm.csv",
        "B|1|SCRN|2020-01-01|2020-01-10|dm.csv",
        "B|2|TRT|2020-01-10|2020-02-10|dm.csv",
        "C|1|SCRN|2020-01|-|dm.csv",
    ]
    expected = ["-", "SCREENING", "SCREENING", "FOLLOW-UP", "-", "-", "-", "-"]
    assert cells(result.tables["AE"], "EPOCH") == expected
    assert cells(result.tables["LB"], "EPOCH") == ["TREATMENT"]


def test_elements_that_came_in_stay():
    se = table("USUBJID|ETCD|SESTDTC|SEENDTC|EPOCH", "A|Z|2020-01-01|2020|RUN-IN", "A|Y|2020||W")
    dm = table("USUBJID|RFICDTC", "A|2020-01-01")
    ae = table("USUBJID|AESTDTC", "A|2021-01-01")
    result = derive({"DM": dm, "SE": se, "AE": ae}, StudyDesign(elements=ELEMENTS))
    assert cells(result.tables["SE"], "ETCD") == ["Z", "Y"]
    assert cells(result.tables["AE"], "EPOCH") == ["W"]
    no_dates = derive({"DM": table("USUBJID", "A")}, StudyDesign(elements=ELEMENTS))
    assert "SE" not in no_dates.tables


def test_visits_get_their_numbers_and_unscheduled_ones_decimals():
    study = StudyDesign(visits=(Visit("1", "SCREENING", "-14"), Visit("2", "WEEK 1", "8"), Visit("3.5", "WEEK 2")))
    vs = table(
        "USUBJID|VSTESTCD|VISIT|VISITNUM|VSDTC",
        "A|X|SCREENING||2020-01-01",
        "A|X|WEEK 1||2020-01-20",
        "A|X|Unscheduled||2020-01-22",
        "A|X|Unscheduled||2020-01-21",
        "A|X|Unscheduled||2019-01-21",
        "A|X|WEEK 2||2020-02-01",
        "A|X|Unscheduled||2020-02-02",
        "A|X||2.0|2020-02-01",
        "A|X|WEEK X||2020-02-01",
        "A|X|WEEK X||2020-02-02",
        "A|X|Unscheduled||2020",
    )
    result = derive({"VS": vs}, study)
    assert cells(result.tables["VS"], "VISITNUM", "VISIT", "VISITDY") == [
        "1|SCREENING|-14",
        "2|WEEK 1|8",
        "2.02|Unscheduled|-",
        "2.01|Unscheduled|-",
        "0.01|Unscheduled|-",
        "3.5|WEEK 2|-",
        "3.501|Unscheduled|-",
        "2.0|WEEK 1|8",
        "-|WEEK X|-",
        "-|WEEK X|-",
        "-|Unscheduled|-",
    ]
    assert {p.code for p in result.problems} == {"FS711", "FS716"}


def test_visits_of_tv_and_sv_serve_where_the_study_says_nothing():
    tv = table("VISIT|VISITNUM|VISITDY", "WEEK 1|1|8")
    sv = table(
        "USUBJID|VISIT|VISITNUM|SVSTDTC",
        "A|WEEK 1|1|2020-01-08",
        "A|UNSCHEDULED|1.7|2020-01-09",
        "B|UNSCHEDULED|1.1|2020-01-08",
        "B|UNSCHEDULED|1.2|2020-01-09",
        "B|||",
    )
    lb = table("USUBJID|LBTESTCD|VISIT|LBDTC", "A|X|WEEK 1|2020-01-08", "A|X|UNSCHEDULED|2020-01-09")
    result = derive({"TV": tv, "SV": sv, "LB": lb})
    assert cells(result.tables["LB"], "VISITNUM", "VISITDY") == ["1|8", "1.7|-"]


def test_nothing_is_derived_from_nothing():
    empty = table("USUBJID|LBTESTCD|LBORRES|LBDTC")
    result = derive({"LB": empty, "DM": table("STUDYID", "X"), "TA": table("ARMCD|VISIT", "P|1")})
    assert result.tables["LB"].num_rows == 0
    assert methods(result) == {("DM", "DOMAIN"), ("TA", "DOMAIN")}


def test_what_came_in_is_never_changed():
    ae = table("USUBJID|AESTDTC|AESTDY|EPOCH|AESEQ|DOMAIN", "A|2020-01-09|5|WRONG|9|ZZ")
    result = derive({"DM": DM, "AE": ae}, StudyDesign(elements=ELEMENTS))
    assert result.tables["AE"].select(ae.column_names).equals(ae)


def test_dictionary_columns_are_read_as_text():
    ae = table("USUBJID|AESTDTC", "A|2020-01-11", "A|")
    encoded = pa.table({name: ae[name].combine_chunks().dictionary_encode() for name in ae.column_names})
    assert cells(derive({"DM": DM, "AE": encoded}).tables["AE"], "AESTDY") == ["2", "-"]
