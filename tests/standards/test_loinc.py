"""LOINC codes of tests: only where specimen or category, method and unit leave one."""

from __future__ import annotations

import csv
import re
import tomllib
from importlib.resources import files

import pytest

from fhirspace.standards import terminology
from fhirspace.standards.loinc import Cells, code, coded_tests

DATA = files("fhirspace.standards").joinpath("data")
COMMON = list(csv.DictReader(DATA.joinpath("loinc-common.csv").read_text("utf-8").splitlines()))
AXES = tomllib.loads(DATA.joinpath("loinc-axes.toml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        # mass and amount of the same analyte; the category says what the specimen is
        ("CREAT,CHEMISTRY,,,mg/dL", "2160-0"),
        ("CREAT,CHEMISTRY,,,umol/L", "14682-9"),
        ("CREAT,CHEMISTRY,URINE,,mg/dL", "2161-8"),  # the specimen before the category
        ("CREAT,,,,mg/dL", None),  # serum or urine?
        ("CREAT,CHEMISTRY,,,", None),  # mass or amount?
        ("CREAT,CHEMISTRY,,,%", None),
        ("CREAT,CHEMISTRY,SALIVA,,mg/dL", None),
        # a test that is hardly made in anything else needs neither
        ("ALT,,,,U/L", "1742-6"),
        ("ALT,,,,", "1742-6"),
        ("TSH,OTHER,,,uIU/mL", "3016-3"),
        ("TSH,,,,mIU/L", "3016-3"),
        ("HBA1C,,,,%", "4548-4"),
        ("HBA1C,,,,mmol/mol", "59261-8"),
        # spellings of units
        ("WBC,HEMATOLOGY,,,THOU/uL", "26464-8"),
        ("WBC,,,,10^9/L", None),  # blood or urine?
        ("SODIUM,CHEMISTRY,,,mEq/L", "2951-2"),
        ("HCT,HEMATOLOGY,,,%", "20570-8"),
        ("HCT,HEMATOLOGY,,,L/L", "20570-8"),
        ("MCH,HEMATOLOGY,,,pg", "28539-5"),
        ("MCH,HEMATOLOGY,,,fmol", "59468-9"),
        # a clotting test filed under haematology is made in plasma
        ("PT,HEMATOLOGY,,,s", "5902-2"),
        ("PT,,PLASMA,,s", "5902-2"),
        # no unit: presence, a ratio
        ("GLUC,,URINE,,", "2349-9"),
        ("KETONES,URINALYSIS,,,NO UNITS", "33903-6"),
        ("INR,COAGULATION,,,RATIO", "6301-6"),
        # CDISC's own rows: by the category's specimens, and by a method of their own
        ("MACROCY,HEMATOLOGY,,,", "30424-6"),
        ("MACROCY,,,,", None),
        ("GLUC,,URINE,TEST STRIP,", None),
        ("HGB,,BLOOD,DIPSTICK MEASUREMENT METHOD,g/dL", None),
        ("HGB,,BLOOD,SPECTROPHOTOMETRY,g/dL", "718-7"),
        ("ALBCREAT,,URINE,,g/mol", None),  # three codes in one cell
        ("NOSUCH,CHEMISTRY,SERUM,,g/L", None),
        (",,,,", None),
    ],
)
def test_the_code_of_a_laboratory_test(cells: str, expected: str | None) -> None:
    assert code("LB", Cells(*(cell or None for cell in cells.split(",")))) == expected


@pytest.mark.parametrize(
    ("test", "unit", "expected"),
    [("PULSE", "beats/min", "8867-4"), ("HR", "beats/min", "8867-4"), ("SYSBP", "mmHg", "8480-6")],
)
def test_the_code_of_a_vital_sign(test: str, unit: str, expected: str) -> None:
    assert code("VS", Cells(test, None, None, None, unit)) == expected


@pytest.mark.parametrize("row", COMMON, ids=lambda row: "-".join(row.values()))
def test_a_row_of_the_common_analytes_is_one_that_can_be_found(row: dict[str, str]) -> None:
    assert re.fullmatch(r"\d{1,6}-\d", row["loinc"])
    assert _check_digit(row["loinc"])
    assert row["property"] in AXES["properties"]
    known = {each for made in (*AXES["specimens"].values(), *AXES["categories"].values()) for each in made}
    assert set(row["system"].split()) <= known
    if row["testcd"] != "BUN":  # until 2018
        assert row["testcd"] in terminology.submission_values(row["domain"] + "TESTCD")
    unit = AXES["properties"][row["property"]][0]
    specimen = next((name for name, made in AXES["specimens"].items() if made == row["system"].split()[:1]), None)
    assert code(row["domain"], Cells(row["testcd"], None, specimen, None, unit)) == row["loinc"]


def _check_digit(found: str) -> bool:
    """LOINC's check digit: modulo 10 by Luhn."""
    number, digit = found.split("-")
    total = sum(sum(divmod(int(each) * (2 - at % 2), 10)) for at, each in enumerate(reversed(number)))
    return (10 - total % 10) % 10 == int(digit)


def test_only_tests_that_are_listed_have_codes() -> None:
    every = {row.testcd for row in terminology.loinc_rows()} | {row["testcd"] for row in COMMON}
    for domain in ("LB", "VS", "QS"):
        with_codes = {testcd for testcd in every if code(domain, Cells(testcd, None, None, None, None))}
        assert with_codes <= coded_tests(domain)
    assert not coded_tests("QS")
