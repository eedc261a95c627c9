"""Every line that `validate --rules` prints of a real package, each judged against its data, define.xml and the guide.

The package is the sample of the CDISC Metadata Submission Guidelines 2.0 (SDTMIG 3.3).
"""

from pathlib import Path

import pytest

from fhirspace.cli.findings import grouped
from fhirspace.study.inputs import Opened
from fhirspace.study.rules.judging import judge
from fhirspace.study.validate import validate

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "msg20"
CODES = ("AELLTCD", "AEPTCD", "AEHLTCD", "AEHLGTCD", "AEBDSYCD", "AESOCCD")
JUDGED = {
    ("FS767", "di.xpt", ""): "DI is of SDTMIG-MD 1.1, as the define.xml says; it is mapped by its class.",
    **{("FS164", "ae.xpt", name): "Num in the guide, Char in the file (and in all rows empty)." for name in CODES},
    ("FS737", "ae.xpt", "AEDECOD"): "The column is there; all 52 cells are empty, and the guide says Req.",
    ("FS771", "define.xml", "FT"): "IG.FT is defined; there is no ft.xpt.",
    ("FS776", "dm.xpt", "BRTHDTC"): "Defined as `date`, which is a whole day; the cells are years, `partialDate`.",
    ("FS778", "fa.xpt", "FAOBJ"): "PRURITIS in the data, PRURITUS in CL.FAOBJ.",
    ("FS778", "lb.xpt", "LBTEST"): "Anisocytes in the data, `Anisocytes; Anisocytosis` in CL.LBTEST.",
    ("FS777", "lb.xpt", "LBSTRESC"): "NORMAL is 6 characters; COLOR has Length 1.",
    ("FS778", "oe.xpt", "OELOC"): "ANTERIOR CHAMBER in the data, `EYE, ANTERIOR CHAMBER` in CL.LOC_OE.",
    ("FS778", "qsph.xpt", "QSORRES"): "Question 10 has `Not difficult at all`, but the answer is `Not at all`.",
    ("FS778", "qsph.xpt", "QSSTRESC"): "The same answer, standardised.",
    ("FS777", "rs.xpt", "RSORRES"): "The answer to question 16B is 53 characters; the Length is 42.",
    ("FS778", "rs.xpt", "RSORRES"): "Question 16B has the list of actual weights, but the answers are of 16A.",
    ("FS776", "ts.xpt", "TSVAL"): "AGEMIN is P50Y; value level says integer.",
    ("FS777", "ts.xpt", "TSVAL"): "SEXPOP is BOTH; value level says Length 1.",
    ("FS778", "ts.xpt", "TSVAL"): "SEXPOP is BOTH; CL.SEX has F and M.",
    ("FS783", "define.xml", ""): "The define.xml names terminology 2020-12-18.",
    ("FS729", "lb.xpt", "LBDTC"): "Times of day without an offset, all 3,457.",
    ("FS724", "oe.xpt", "OETESTCD"): "ABDETAIL is no term of C117743, which has INTP.",
    ("FS724", "oe.xpt", "OETEST"): "Abnormality Detail is no term of C117742.",
    ("FS724", "oe.xpt", "OELOC"): "ANTERIOR CHAMBER is no term of LOC; EYE, ANTERIOR CHAMBER is.",
    ("FS724", "ts.xpt", "TSVCDREF"): "CDISC, ISO 8601, ISO 3166-1 alpha-3, clinicaltrials.gov: none is in DICTNAM.",
    ("FS-FIND-016", "LB", ""): "Record 1189: 148.7, range from 149, NORMAL; the four others alike.",
    ("FS-STRUCT-005", "OE", ""): "OEORRESU, OESTRESN and OESTRESU are expected by the guide and not there.",
    ("FS-TIME-012", "CM", ""): "Records 28 to 30, 48 to 52: EPOCH is SCREENING, by CMSTDTC they start in TREATMENT.",
    ("FS-EVENT-062", "CM", ""): "Record 49: CMDOSU is ng; there is no CMDOSE, and no CMDOSTXT.",
    ("FS-TIME-020", "LB", ""): "Record 1156: LBDTC is 2013-02-21, the visit starts on 2013-02-25; a note.",
    ("FS-TS-036", "TS", ""): "There is no CURTRT; a note.",
}
"""By code or rule, file or dataset, and variable: why the line is right."""


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.is_dir(), reason="the real sample package is not here")
def test_each_line_is_judged_and_none_is_false(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_DATA", str(tmp_path))  # no rules but ours
    opened = Opened([FOLDER])
    report = judge(opened)
    found = grouped(problem for problem in validate([FOLDER], opened=opened) if not report.has(problem))
    places = {(each.first.code, each.first.place.file, each.first.place.column or "") for each in found}
    rules = {(each.rule.id, each.dataset, "") for each in report.groups}
    assert places | rules == set(JUDGED)
    assert report.unjudged == {}
