"""Observations as the shipped views read them: panels, results of each type, codes of other systems, reports."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.standards import sdtm, terminology
from fhirspace.template.folders import shipped
from tests.views.ehr import CATEGORY, LOINC, SCT, coded, lab, patient, write

ENROLMENT = "patient,STUDYID,SUBJID\np1,S,1\n"
UCUM = "http://unitsofmeasure.org"
WHEN = "2026-02-03"
REASON = "http://terminology.hl7.org/CodeSystem/data-absent-reason"


def made(
    tmp_path: Path, given: list[dict[str, Any]], dataset: str, *options: str, **codes: str
) -> tuple[int, list[dict[str, str]]]:
    """The exit code and the rows of a dataset."""
    views = tmp_path / "views"
    (views / "codes").mkdir(parents=True)
    (views / "common.yaml").write_text("extends: us-core\nsubjects: enrolment.csv\n")
    (views / "enrolment.csv").write_text(ENROLMENT)
    for name, text in codes.items():
        (views / "codes" / f"{name}+.csv").write_text(text)
    folder = write(tmp_path / "in", [patient("p1"), *given])
    run = ["convert", str(folder), "--to", "sdtm", "--views", str(views), "--source", "ehr", "--format", "csv"]
    code = main([*run, *options, "--out", str(tmp_path / "out")])
    path = tmp_path / "out" / "sdtm" / f"{dataset}.csv"
    if not path.exists():
        return code, []
    with path.open(newline="") as stream:
        return code, list(csv.DictReader(stream))


def result(name: str, **more: Any) -> dict[str, Any]:
    """A laboratory Observation, without a value unless one is given."""
    found = {**lab(name, "Patient/p1", WHEN), **more}
    if any(key.startswith("value") for key in more) or not more.keys().isdisjoint({"dataAbsentReason", "component"}):
        found.pop("valueQuantity") if "valueQuantity" not in more else None
    return found


def quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "system": UCUM, "code": unit}


def sign(name: str, code: dict[str, Any], **more: Any) -> dict[str, Any]:
    return result(name, category=[coded(CATEGORY, "vital-signs")], code=code, **more)


@pytest.mark.parametrize(
    ("value", "text", "unit"),
    [
        ({"valueInteger": 0}, "0", ""),
        ({"valueBoolean": True}, "true", ""),
        ({"valueTime": "10:30:00"}, "10:30:00", ""),
        ({"valueDateTime": "2026-01-02"}, "2026-01-02", ""),
        ({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 128}}}, "1:128", ""),
        ({"valueRatio": {"numerator": quantity(5, "mg"), "denominator": quantity(2, "mL")}}, "5 mg:2 mL", ""),
        ({"valueRange": {"low": quantity(4, "g/dL"), "high": quantity(6, "g/dL")}}, "4 to 6", "g/dL"),
        ({"valueQuantity": {**quantity(7, "mmol/l"), "comparator": "<"}}, "<7", "mmol/L"),
        ({"valueCodeableConcept": {"coding": [{"system": SCT, "code": "260385009"}]}}, f"{SCT}|260385009", ""),
    ],
)
def test_a_result_of_each_type_is_one(tmp_path: Path, value: dict[str, Any], text: str, unit: str) -> None:
    code, rows = made(tmp_path, [result("l1", **value)], "lb")
    assert code in (0, 1)
    assert [(row["LBORRES"], row["LBORRESU"]) for row in rows] == [(text, unit)]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"hasMember": [{"reference": "Observation/x"}]}, "without a result of its own"),
        ({"valueSampledData": {"origin": {"value": 0}, "period": 10, "dimensions": 1}}, "a series of samples"),
        ({"valuePeriod": {"start": "2026-01-01"}}, "a series of samples"),
        ({"dataAbsentReason": coded(REASON, "masked")}, "a result that the source does not show"),
    ],
)
def test_what_is_no_result_makes_no_row(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    given = result("l1", **more)
    if "hasMember" in more:
        del given["valueQuantity"]
    code, rows = made(tmp_path, [given, result("l2")], "lb")
    assert (code in (0, 1), [row["LBSPID"] for row in rows]) == (True, ["l2"])
    assert reason in (tmp_path / "out" / "problems.ndjson").read_text()


def test_a_panel_has_its_own_result_and_those_of_its_components(tmp_path: Path) -> None:
    oxygen = [{"code": coded(LOINC, "3150-0"), "valueQuantity": quantity(21, "%")}]
    pulse = sign("s1", coded(LOINC, "59408-5"), valueQuantity=quantity(96, "%"), component=oxygen)
    count = [{"code": coded(LOINC, "6690-2"), "valueQuantity": quantity(5, "10*9/L")}]
    blood = result("l1", code=coded(LOINC, "58410-2"), component=count)
    _, rows = made(tmp_path, [pulse, blood], "vs")
    assert [(row["VSTESTCD"], row["VSORRES"], row["VSMETHOD"]) for row in rows] == [
        ("FIO2", "21", ""),
        ("OXYSAT", "96", "PULSE OXIMETRY"),
    ]
    with (tmp_path / "out/sdtm/lb.csv").open(newline="") as stream:
        assert [(row["LBSPID"], row["LBTESTCD"]) for row in csv.DictReader(stream)] == [("l1", "WBC")]


def test_codes_of_other_systems_are_listed_like_those_of_loinc(tmp_path: Path) -> None:
    given = [
        sign("s1", coded(SCT, "364075005"), valueQuantity=quantity(70, "/min")),
        result("l1", code=coded("urn:lab", "K+")),
        result("l2", code={"text": "Sodium"}),
        result("l3", code={"coding": [{"system": "urn:lab", "code": "HB"}, *coded(LOINC, "718-7")["coding"]]}),
    ]
    lists = "value,code,test,cat,spec,method\nurn:lab|K+,K,Potassium,CHEMISTRY,,\nSodium,SODIUM,Sodium,CHEMISTRY,,\n"
    _, rows = made(tmp_path, given, "lb", LOINCLB=lists)
    assert sorted((row["LBSPID"], row["LBTESTCD"], row["LBLOINC"]) for row in rows) == [
        ("l1", "K", ""),
        ("l2", "SODIUM", ""),
        ("l3", "HGB", "718-7"),
    ]
    with (tmp_path / "out/sdtm/supplb.csv").open(newline="") as stream:
        assert [row["QVAL"] for row in csv.DictReader(stream) if row["QNAM"] == "LBCODE"] == ["urn:lab|K+", "Sodium"]
    with (tmp_path / "out/sdtm/vs.csv").open(newline="") as stream:
        assert [(row["VSTESTCD"], row["VSORRESU"]) for row in csv.DictReader(stream)] == [("HR", "beats/min")]


def test_what_a_variable_has_is_not_carried_beside_it(tmp_path: Path) -> None:
    cloudy, cells = coded(SCT, "7766007", "Cloudy urine"), coded(LOINC, "26464-8")
    given = [
        result("l1", code=coded(LOINC, "5767-9"), valueCodeableConcept=cloudy),
        result("l2", code=cells, valueQuantity=quantity(4.5, "10*3/uL")),
    ]
    _, rows = made(tmp_path, given, "lb")
    assert {(row["LBORRES"], row["LBORRESU"]) for row in rows} == {("Cloudy urine", ""), ("4.5", "10^9/L")}
    with (tmp_path / "out/sdtm/supplb.csv").open(newline="") as stream:
        assert [row["QNAM"] for row in csv.DictReader(stream)] == ["LBRESCD"]


def test_a_code_that_no_list_has_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = made(tmp_path, [result("l1", code=coded("urn:lab", "X")), result("l2")], "lb")
    assert code == 3
    assert "FS208 all.ndjson:2:code" in capsys.readouterr().err


def test_of_several_codes_of_a_temperature_the_one_with_the_place_counts(tmp_path: Path) -> None:
    both = {"coding": [coded(LOINC, each)["coding"][0] for each in ("8310-5", "8329-5", "8328-7")]}
    _, rows = made(tmp_path, [sign("s1", both, valueQuantity=quantity(37, "Cel"))], "vs")
    assert [(row["VSTESTCD"], row["VSLOINC"]) for row in rows] == [("TEMP", "8328-7")]


def test_results_know_their_report_their_specimen_and_their_ranges(tmp_path: Path) -> None:
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"text": "Blood count"},
        "effectiveDateTime": "2026-02-01",
        "result": [{"reference": "Observation/l1"}, {"reference": "Observation/l2"}],
    }
    wrong = {**report, "id": "r0", "status": "entered-in-error"}
    specimen = {"resourceType": "Specimen", "id": "s1", "accessionIdentifier": {"value": "A-77"}}
    specimen["collection"] = {"collectedDateTime": "2026-02-02"}
    normal = [{"type": {"coding": [{"code": "normal"}]}, "low": {"value": 12}}, {"low": {"value": 7}}]
    bare = result("l2", referenceRange=[{"text": "above 12"}])
    del bare["effectiveDateTime"]
    member = {**bare, "id": "l3", "specimen": {"reference": "Specimen/s1"}}
    panel = result("l4", hasMember=[{"reference": "Observation/l3"}], effectiveDateTime=WHEN)
    del panel["valueQuantity"]
    given = [report, wrong, specimen, panel, result("l1", referenceRange=normal), bare, member]
    _, rows = made(tmp_path, given, "lb")
    names = ("LBSPID", "LBGRPID", "LBSCAT", "LBREFID", "LBDTC", "LBORNRLO", "LBSTNRC")
    assert sorted(tuple(row[name] for name in names) for row in rows) == [
        ("l1", "r1", "Blood count", "", WHEN, "12", ""),
        ("l2", "r1", "Blood count", "", "2026-02-01", "", "above 12"),
        ("l3", "l4", "", "A-77", "2026-02-02", "", "above 12"),
    ]


PAIN = ("72514-3", quantity(4, "{score}"))
OTHER_INSTRUMENT = "value,code,test,cat\n72514-3,PAIN01,Pain Now,NUMERIC PAIN\n"


@pytest.mark.parametrize(
    ("codes", "test", "method"),
    [({}, "PI0101", "NUMERICAL RATING SCALE 11-POINT"), ({"LOINCQS": OTHER_INSTRUMENT}, "PAIN01", None)],
)
def test_a_rating_of_pain_is_an_item_of_an_instrument(
    tmp_path: Path, codes: dict[str, str], test: str, method: str | None
) -> None:
    _, rows = made(tmp_path, [sign("s1", coded(LOINC, PAIN[0]), valueQuantity=PAIN[1])], "qs", **codes)
    assert [(row["QSTESTCD"], row["QSORRES"], row["QSSTRESN"], row.get("QSMETHOD")) for row in rows] == [
        (test, "4", "4", method)
    ]
    assert not (tmp_path / "out/sdtm/vs.csv").exists()
    assert not (tmp_path / "out/sdtm/suppqs.csv").exists()  # a score has no unit


def test_a_study_may_have_a_rating_of_pain_as_a_vital_sign(tmp_path: Path) -> None:
    pain = sign("s1", coded(LOINC, PAIN[0]), valueQuantity=PAIN[1])
    _, rows = made(tmp_path, [pain], "vs", LOINCVS="value,code,test,extended\n72514-3,PAIN,Pain,Yes\n")
    assert [row["VSTESTCD"] for row in rows] == ["PAIN"]
    assert not (tmp_path / "out/sdtm/qs.csv").exists()


def test_a_study_may_leave_what_a_shipped_list_has(tmp_path: Path) -> None:
    lost = sign("s1", coded(LOINC, "74006-8"), valueQuantity=quantity(2, "kg"))
    _, rows = made(tmp_path, [lost], "vs", LOINCVS="value,code\n74006-8,\n", NOTVITAL="value,code\n74006-8,Not asked\n")
    assert (rows, (tmp_path / "out/quarantine").exists()) == ([], False)


def test_an_extended_test_is_one_in_define_xml_and_in_a_note(tmp_path: Path) -> None:
    lost = sign("s1", coded(LOINC, "74006-8"), valueQuantity=quantity(2, "kg"))
    _, rows = made(
        tmp_path, [lost, sign("s2", coded(LOINC, "29463-7"), valueQuantity=quantity(70, "kg"))], "vs", "--define"
    )
    assert [row["VSTESTCD"] for row in rows] == ["WEIGHT", "WTDIFDIA"]
    define = (tmp_path / "out/sdtm/define.xml").read_text()
    assert re.findall(r'CodedValue="(\w+)" [^>]*def:ExtendedValue="Yes"', define)[0] == "WTDIFDIA"
    notes = [json.loads(line) for line in (tmp_path / "out/problems.ndjson").read_text().splitlines()]
    assert {"VSTESTCD", "VSTEST"} == {each["column"] for each in notes if each["code"] == "FS724"}


def test_an_instrument_among_the_vital_signs_makes_no_row(tmp_path: Path) -> None:
    score = [{"code": coded(LOINC, "86924-8"), "valueQuantity": quantity(60, "{score}")}]
    code, rows = made(tmp_path, [sign("s1", coded(LOINC, "86923-0"), component=score)], "vs")
    assert (code, rows) == (1, [])  # the patient without a reference date, and nothing of s1
    assert not (tmp_path / "out/quarantine").exists()


@pytest.mark.parametrize(
    ("loinc", "test"), [("65750-2", "DRUGSCR"), ("24467-3", ""), ("7917-8", ""), ("22577-1", ""), ("20447-9", "")]
)
def test_a_result_of_the_category_laboratory_is_of_lb_or_of_the_dataset_that_it_is_for(
    tmp_path: Path, loinc: str, test: str
) -> None:
    found = result("l1", code=coded(LOINC, loinc), valueCodeableConcept={"text": "Negative"})
    code, rows = made(tmp_path, [found], "lb")
    assert (code, [(row["LBTESTCD"], row["LBORRES"]) for row in rows]) == (1, [(test, "Negative")] * bool(test))


def test_each_shipped_test_has_a_category_since_panels_are_subcategories() -> None:
    with (shipped() / "codes" / "LOINCLB.csv").open(newline="") as stream:
        assert [row["value"] for row in csv.DictReader(stream) if not row["cat"]] == []


@pytest.mark.parametrize(
    ("code", "text", "standard"),
    [("260385009", "Negative (qualifier value)", "NEGATIVE"), ("167289004", "Urine ketone test = +", None)],
)
def test_a_coded_result_is_a_term_where_its_code_is_known(
    tmp_path: Path, code: str, text: str, standard: str | None
) -> None:
    found = result("l1", code=coded(LOINC, "2514-8"), valueCodeableConcept=coded(SCT, code, text))
    _, rows = made(tmp_path, [found], "lb")
    assert [(row["LBORRES"], row["LBSTRESC"]) for row in rows] == [(text, standard or text)]
    with (tmp_path / "out/sdtm/supplb.csv").open(newline="") as stream:
        assert [(row["QNAM"], row["QVAL"]) for row in csv.DictReader(stream)] == [("LBRESCD", code)]


def test_each_shipped_result_is_a_term() -> None:
    with (shipped() / "codes" / "LBRESULT.csv").open(newline="") as stream:
        assert {row["code"] for row in csv.DictReader(stream)} <= terms("LB", "LBSTRESC").keys()


@pytest.mark.parametrize(("name", "dataset"), [("LOINCLB", "LB"), ("LOINCVS", "VS"), ("LOINCSC", "SC")])
def test_each_shipped_test_is_one_of_cdisc_or_says_that_it_is_not(name: str, dataset: str) -> None:
    """A code and a name of one C-code, or a row with `extended` and neither of both."""
    codes, names = (terms(dataset, f"{dataset}{suffix}") for suffix in ("TESTCD", "TEST"))
    with (shipped() / "codes" / f"{name}.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {row["value"]: (codes.get(row["code"]), names.get(row["test"])) for row in rows}
    extended = {row["value"] for row in rows if row.get("extended") == "Yes"}
    assert {value for value, pair in found.items() if pair[0] is None or pair[0] != pair[1]} == extended
    assert all(found[value] == (None, None) for value in extended)


def terms(dataset: str, variable: str) -> dict[str, str]:
    """The terms that a variable may have, with their C-codes."""
    known = sdtm.variable(dataset, variable)
    assert known is not None and known.codelists
    return {term.value: term.code for code in known.codelists for term in terminology.codelist(code).terms.values()}
