import pytest

from fhirspace.errors import explain
from fhirspace.sdtm.conformance import check
from tests.sdtm.sdtm_tables import table

DM = table("STUDYID|DOMAIN|USUBJID|SUBJID|SITEID|SEX|COUNTRY", "X|DM|A|1|01|M|AUS", "X|DM|B|2|01|F|AUS")


def found(tables, *, table_level=False):
    return [
        (finding.problem.code, finding.problem.place.column, finding.row)
        for finding in check(tables)
        if table_level or finding.row is not None
    ]


LB = "STUDYID|DOMAIN|USUBJID|LBSEQ|LBTESTCD|LBTEST|LBORRES|LBSTRESC|LBSTRESN|LBSPEC|LBDTC|LBPDUR|LBLOBXFL"
GOOD = "X|LB|A|1|HGB|Hemoglobin|15|15|15|BLOOD|2020-01-01T10:00Z|P2D|Y"


def changed(**cells):
    row = dict(zip(LB.split("|"), GOOD.split("|"), strict=True)) | cells
    return "|".join(row.values())


def test_a_clean_study_has_no_finding_about_a_row():
    assert found({"DM": DM, "LB": table(LB, GOOD, changed(LBSEQ="2", LBTESTCD="WBC", LBTEST="Leukocytes"))}) == []


@pytest.mark.parametrize(
    ("cells", "code", "column"),
    [
        ({"USUBJID": "Z"}, "FS727", "USUBJID"),
        ({"LBTESTCD": ""}, "FS720", "LBTESTCD"),
        ({"LBTEST": ""}, "FS736", "LBTEST"),
        ({"LBORRES": "é" * 101}, "FS722", "LBORRES"),
        ({"LBLOBXFL": "yes"}, "FS723", "LBLOBXFL"),
        ({"LBSPEC": "MOONDUST"}, "FS724", "LBSPEC"),
        ({"LBDTC": "2020-02-60"}, "FS728", "LBDTC"),
        ({"LBPDUR": "two days"}, "FS728", "LBPDUR"),
        ({"LBDTC": "2020-02-01T10:00"}, "FS729", "LBDTC"),
        ({"LBSTRESN": "<15"}, "FS730", "LBSTRESN"),
        ({"LBSTRESC": "ODD WORD"}, "FS724", "LBSTRESC"),
        ({"DOMAIN": "VS"}, "FS734", "DOMAIN"),
        ({"LBSEQ": "1", "LBTESTCD": "WBC"}, "FS726", "LBSEQ"),
        ({"LBSEQ": "2", "LBTESTCD": "HGB", "LBTEST": "Hemoglobin"}, "FS725", "LBDTC"),
    ],
)
def test_each_fault_is_found_where_it_stands(cells, code, column):
    second = changed(**({"LBSEQ": "2", "LBTESTCD": "WBC", "LBTEST": "Leukocytes"} | cells))
    assert found({"DM": DM, "LB": table(LB, GOOD, second)}) == [(code, column, 1)]


def test_names_and_labels_have_lengths():
    second = changed(LBTESTCD="1TOOLONGCODE", LBTEST="x" * 41, LBSEQ="2")
    codes = {code for code, _, _ in found({"LB": table(LB, GOOD, second)})}
    assert {"FS731", "FS733"} <= codes
    assert ("FS740", "LONGCOLUMN", None) in found({"LB": table("LONGCOLUMN|@file", "1|f")}, table_level=True)


def test_an_instrument_is_not_judged_by_the_codelist_of_others():
    cells = "DOMAIN|RSSEQ|USUBJID|RSTESTCD|RSTEST|RSCAT|RSORRES|RSSTRESC|VISITNUM|RSDTC"
    rows = ("RS|1|A|HAMD101|HAMD1-Depressed Mood|HAMD 17|0|0|1|2020", "RS|2|A|MINE|My Test|RECIST 1.1|0|0|1|2020")
    places = {each for each in found({"RS": table(cells, *rows)}) if each[1] in ("RSTESTCD", "RSTEST")}
    assert places == {("FS724", "RSTESTCD", 1), ("FS724", "RSTEST", 1)}


def test_missing_and_strange_columns_are_told_once():
    codes = found({"LB": table("USUBJID|SHOE|LBTEST|_X", "A|1||1")}, table_level=True)
    assert ("FS721", "LBTESTCD", None) in codes
    assert ("FS737", "LBTEST", None) in codes
    assert ("FS732", "SHOE", None) in codes
    assert not any(column == "_X" for _, column, _ in codes)


def test_a_note_is_told_once_a_value_and_names_the_first_row():
    rows = [changed(LBSEQ=str(at), LBSPEC=spec, LBTESTCD="HGB") for at, spec in enumerate("PQPQ", 1)]
    assert [f for f in found({"LB": table(LB, *rows)}) if f[0] == "FS724"] == [
        ("FS724", "LBSPEC", 0),
        ("FS724", "LBSPEC", 1),
    ]


def test_an_orphan_qualifier_is_found():
    supp = table("STUDYID|RDOMAIN|USUBJID|IDVAR|IDVARVAL|QNAM|QLABEL|QVAL|QORIG", "X|LB|A|LBSEQ|9|Q|Label|v|CRF")
    assert found({"DM": DM, "LB": table(LB, GOOD), "SUPPLB": supp}) == [("FS735", "IDVARVAL", 0)]
    assert found({"DM": DM, "SUPPLB": supp}) == [("FS735", "IDVARVAL", 0)]  # no dataset LB at all


def test_trial_summary_numbers_repeat_only_within_a_parameter():
    ts = "STUDYID|DOMAIN|TSSEQ|TSPARMCD|TSPARM|TSVAL"
    rows = ("X|TS|1|TITLE|Trial Title|a", "X|TS|1|INDIC|Trial Disease/Condition Indication|b")
    assert found({"TS": table(ts, *rows)}) == []
    assert ("FS726", "TSSEQ", 2) in found({"TS": table(ts, *rows, rows[0])})


def test_datasets_the_guide_does_not_know_are_still_looked_over():
    assert found({"DM": DM, "DI": table("USUBJID|DIVAL", "Z|1", f"A|{'x' * 201}")}) == [
        ("FS722", "DIVAL", 1),
        ("FS727", "USUBJID", 0),
    ]


def test_places_come_from_the_reserved_columns_and_no_value_is_told():
    lb = table(LB + "|@file", changed(LBDTC="secret") + "|lb.csv")
    (finding,) = [finding for finding in check({"LB": lb}) if finding.problem.code == "FS728"]
    assert (finding.problem.place.file, finding.problem.table) == ("lb.csv", "LB")
    assert "secret" not in str(finding.problem)


def test_every_code_raised_is_in_the_catalogue():
    codes = [701, 702, 703, 710, 711, 712, *range(720, 738), *range(750, 754)]
    assert {explain(f"FS{code}").level for code in codes} == {"error", "warning", "note"}
