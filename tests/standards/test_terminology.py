from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, strategies as st

from fhirspace.errors import UsageError
from fhirspace.standards import terminology, units


@pytest.mark.parametrize("name", ["C66731", "SEX", "Sex"])
def test_a_codelist_is_found_by_code_submission_value_or_name(name):
    sex = terminology.codelist(name)
    assert (sex.code, sex.submission_value, sex.extensible) == ("C66731", "SEX", False)
    assert terminology.submission_values(name) == {"F", "M", "U", "INTERSEX"}
    assert repr(sex) == "Codelist(C66731 SEX)"


def test_an_unknown_codelist_is_refused():
    assert not terminology.known("C0")
    with pytest.raises(UsageError) as caught:
        terminology.codelist("C0")
    assert caught.value.code == "FS702"


def test_opening_one_codelist_parses_no_other():
    terminology.codelist.cache_clear()
    race = terminology.codelist("C74457")
    age = terminology.codelist("AGEU")
    assert "YEARS" in age.terms
    assert "terms" not in vars(race)


@pytest.mark.slow
def test_every_codelist_can_be_read_and_has_terms():
    assert terminology.version() == "2025-03-28"
    for code in terminology.codelists():
        held = terminology.codelist(code)
        assert held.terms, code
        assert all(term.code.startswith("C") for term in held.terms.values())


def test_terms_are_found_by_value_and_by_synonym():
    assert getattr(terminology.term("SEX", "M"), "code", None) == "C20197"
    assert terminology.term("SEX", "Male") is None
    sex = terminology.codelist("SEX")
    assert getattr(sex.find("male"), "value", None) == "M"
    assert getattr(sex.find("F"), "value", None) == "F"
    assert sex.find("diverse") is None


def test_test_codes_decode_to_test_names_by_their_shared_code():
    names = terminology.decode("LBTESTCD")
    assert names["HGB"] == "Hemoglobin"
    assert names == terminology.decode("C65047")
    assert len(names) == len(terminology.codelist("LBTESTCD").terms)
    assert terminology.decode("VSTESTCD")["SYSBP"] == "Systolic Blood Pressure"
    assert terminology.decode("TSPARMCD")["TITLE"] == "Trial Title"
    assert terminology.decode("SEX") == {}


def test_loinc_codes_of_a_test():
    assert {row.loinc for row in terminology.loinc("LB", "ALB") if row.spec == "URINE"} == {"1753-3", "1754-1"}
    assert terminology.loinc("LB", "NOPE") == ()


@pytest.mark.parametrize(
    ("spelling", "unit"),
    [
        ("mg/dL", "mg/dL"),
        ("mg/dl", "mg/dL"),
        ("10^3/uL", "10^9/L"),
        (" lb ", "LB"),
        ("K/uL", "10^9/L"),
        ("°C", "C"),
        ("furlong", "furlong"),
    ],
)
def test_canonical(spelling, unit):
    assert units.canonical(spelling) == unit


@pytest.mark.parametrize(
    ("unit", "code"),
    [
        ("10^9/L", "10*9/L"), ("10^3/uL", "10*3/uL"), ("x10^9/L", "10*9/L"), ("mmHg", "mm[Hg]"), ("C", "Cel"),
        ("%", "%"), ("beats/min", "{beats}/min"), ("mEq/L", "meq/L"), ("furlong", None), ("/100 WBC", None), ("", None),
        ("a//b", None), ("K", "K"), ("K/foo", None),
    ],
)  # fmt: skip
def test_ucum(unit, code):
    assert units.ucum(unit) == code


def test_every_shipped_ucum_code_is_understood_or_annotated():
    for unit, code in units._data().ucum.items():
        assert units.convertible(unit) is ("{" not in code), unit


@pytest.mark.parametrize(
    ("value", "source", "target", "testcd", "expected"),
    [
        ("5.50", "10^9/L", "10^3/uL", None, "5.50"),
        ("3.90", "g/dL", "g/L", None, "39.0"),
        ("4", "g/L", "mg/L", None, "4000"),
        ("150", "/uL", "10^9/L", None, "0.150"),
        ("46.0", "%", "fraction of 1", None, "0.460"),
        ("97.4", "F", "C", None, "36.33"),
        ("0", "C", "K", None, "273.2"),
        ("71.5", "in", "cm", None, "181.61"),
        ("173.5", "LB", "kg", None, "78.6983"),
        ("93", "U/L", "ukat/L", None, "1.55"),
        ("2", "YEARS", "MONTHS", None, "24"),
        ("0", "LB", "kg", None, "0"),
        ("<0.5", "mg/dL", "umol/L", "CREAT", "<44.2"),
        ("95", "mg/dL", "mmol/L", "GLUC", "5.273"),
        ("14.9", "g/dL", "mmol/L", "HGB", "9.2463"),
        ("8.5", "mEq/L", "mmol/L", "CA", "4.25"),
        ("4.25", "mmol/L", "mEq/L", "CA", "8.5"),
        ("1.0", "mg/dL", "mEq/L", "CA", "0.499"),
        (" 7 ", "mg", "mg", None, "7"),
        # not convertible
        ("1", "mg/dL", "mmol/L", None, None),
        ("1", "mg/dL", "mmol/L", "ALT", None),
        ("1", "mEq/L", "mmol/L", "GLUC", None),
        ("1", "IU/L", "U/L", "ALT", None),
        ("1", "beats/min", "Hz", None, None),
        ("1", "g/L", "g", "GLUC", None),
        ("many", "g", "kg", None, None),
        ("1e3", "g", "kg", None, "1"),
    ],
)
def test_convert(value, source, target, testcd, expected):
    assert units.convert(value, source, target, testcd=testcd) == expected


PAIRS = [("g/L", "mg/dL", None), ("LB", "kg", None), ("in", "cm", None), ("U/L", "ukat/L", None),
         ("mg/dL", "mmol/L", "GLUC"), ("mg/dL", "umol/L", "BILI"), ("mmHg", "kPa", None), ("F", "C", None)]  # fmt: skip


@given(st.decimals("-99999", "99999", places=2), st.sampled_from(PAIRS))
def test_converting_there_and_back_and_rounding_gives_the_original(value, pair):
    source, target, testcd = pair
    assume(value != 0 or source != "F")
    there = units.convert(format(value, "f"), source, target, testcd=testcd)
    back = units.convert(there or "", target, source, testcd=testcd)
    assert Decimal(back or "NaN").quantize(Decimal("0.01")) == value


def test_molar_masses_follow_from_their_formulas():
    weights = {"H": "1.008", "C": "12.011", "N": "14.007", "O": "15.999", "P": "30.974", "Ca": "40.078", "K": "39.098"}
    expected = {"GLUC": (6, 12, 0, 6), "CREAT": (4, 7, 3, 1), "URATE": (5, 4, 4, 3), "BILI": (33, 36, 4, 6)}
    for testcd, counts in expected.items():
        mass = sum(n * Fraction(weights[atom]) for n, atom in zip(counts, "CHNO", strict=True))
        assert units._analytes()[testcd].grams_per_mole == mass
    assert units._analytes()["CA"] == (Fraction("40.078"), 2)


def test_every_analyte_is_a_laboratory_test():
    assert set(units._analytes()) <= terminology.submission_values("LBTESTCD")


@pytest.mark.parametrize(
    ("text", "number"),
    [("062.50", "62.5"), ("1E3", "1000"), ("-0.0", "0"), (".5", "0.5"), ("5.", "5"), ("+7", "7"), ("-1.20", "-1.2"),
     ("1e-2", "0.01"), ("", None), (".", None), ("<5", None), ("1,5", None), ("NaN", None), ("٣", None), ("7", "7")],
)  # fmt: skip
def test_canonical_number(text, number):
    assert units.canonical_number(text) == number


@pytest.mark.parametrize(
    ("domain", "testcd", "specimen", "unit"),
    [("LB", "HGB", None, "g/L"), ("LB", "CREAT", "URINE", "mmol/L"), ("LB", "CREAT", None, None),
     ("LB", "CREAT", "BLOOD", "umol/L"), ("LB", "RBC", "VENOUS BLOOD", "10^12/L"), ("LB", "CREAT", "SALIVA", None),
     ("LB", "ALT", "SERUM", "U/L"), ("VS", "OXYSAT", None, "%"), ("VS", "NOPE", None, None)],
)  # fmt: skip
def test_standard_unit(domain, testcd, specimen, unit):
    assert units.standard_unit(domain, testcd, specimen) == unit
