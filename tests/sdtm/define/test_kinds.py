"""Data types, lengths and significant digits out of values."""

import pytest

from fhirspace.sdtm.define import kinds
from fhirspace.sdtm.define.kinds import Kind
from fhirspace.standards import sdtm


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-12"], Kind("integer", 2)),
        (["1", "12.50"], Kind("float", 4, 2)),
        ([".5"], Kind("float", 1, 1)),
        ([], Kind("integer", 8)),
        (["1", "x"], Kind("text", 3)),
    ],
)
def test_numeric_variable(values, expected):
    assert kinds.of_variable(values, sdtm.variable("LB", "LBSTRESN"), numeric=True, length=3) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2024-01-02"], "date"),
        (["2024-01-02", "2024-01"], "partialDate"),
        (["2024-01-02T10:00", "2024-01-02T10:00:01Z"], "datetime"),
        (["2024-01-02T10:00", "2024-01"], "partialDatetime"),
        (["2024---02"], "incompleteDatetime"),
        (["2024-01/2024-02"], "intervalDatetime"),
        ([], "datetime"),
        (["yesterday"], "text"),
    ],
)
def test_date_variable(values, expected):
    assert kinds.of_variable(values, sdtm.variable("AE", "AESTDTC"), numeric=False, length=9).type == expected


def test_duration_and_text_variables():
    assert kinds.of_variable(["P2W"], sdtm.variable("AE", "AEDUR"), numeric=False, length=3) == Kind("durationDatetime")
    assert kinds.of_variable(["12"], sdtm.variable("LB", "LBORRES"), numeric=False, length=2) == Kind("text", 2)
    assert kinds.of_variable([], None, numeric=False, length=0) == Kind("text", 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"5.50", "12"}, Kind("float", 3, 2)),
        ({"070"}, Kind("integer", 3)),
        ({"<5", "6"}, Kind("text", 2)),
        ({"2024-01-02"}, Kind("date")),
        ({"2024"}, Kind("integer", 4)),
        ({"µg"}, Kind("text", 3)),
    ],
)
def test_values_of_one_test(values, expected):
    assert kinds.of_values(values) == expected


@pytest.mark.parametrize("kind", ["integer", "float", "date", "datetime", "partialDate", "durationDatetime"])
def test_a_word_fits_no_such_type(kind):
    assert not kinds.fits(kind, "word")


def test_each_value_is_text():
    assert kinds.fits("text", "anything")
