from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, strategies as st

from fhirspace.idkey import IdKey
from fhirspace.template.codec import CellError
from fhirspace.template.codecs import NAMES, codec
from fhirspace.template.dates import split_dtc

OUT = [
    ("text", "", "a b", "a b"),
    ("text", "", "line\nbreak", "line\nbreak"),
    ("text", "", "bell\x07", "FS201"),
    ("integer", "", "7", "7"),
    ("integer", "", "007", "7"),
    ("integer", "", "+3", "3"),
    ("integer", "", "-0", "0"),
    ("integer", "", "3.0", "3"),
    ("integer", "", "1234567890", "FS204"),
    ("integer", "", "seven", "FS204"),
    ("decimal", "", "5.50", "5.50"),
    ("decimal", "", "1e-3", "1e-3"),
    ("decimal", "", " 070 ", "70"),
    ("decimal", "", "1e05", "1e5"),
    ("number", "", "1.0", "1"),
    ("number", "", "2.010", "2.01"),
    ("number", "", "1e2", "100"),
    ("number", "", "one", "FS202"),
    ("number", "", "1e-40", None),
    ("integer", "", "1.0", "1"),
    ("integer", "", "2E0", "2"),
    ("integer", "", "1.5", "FS204"),
    ("decimal", "", ".5", "0.5"),
    ("decimal", "", "-.5", "-0.5"),
    ("decimal", "", "5.", "5"),
    ("decimal", "", "007.50", "7.50"),
    ("decimal", "", "1,5", "FS203"),
    ("decimal", "", "1,000.5", "FS203"),
    ("decimal", "", "high", "FS202"),
    ("decimal", "", "NaN", "FS202"),
    ("date", "", "2017-06-14", "2017-06-14"),
    ("date", "", "2017-06", "2017-06"),
    ("date", "", "2017", "2017"),
    ("date", "", "2017-06-14T10:30", "2017-06-14"),
    ("date", "", "2017---14", "2017"),
    ("date", "", "--12-15", None),
    ("date", "", "2003-12-15/2003-12-20", "2003-12"),
    ("date", "", "2020-02-60", "FS206"),
    ("date", "", "2020-02-30", "FS206"),
    ("date", "", "2019-02-29", "FS206"),
    ("date", "", "0000-01-01", "FS206"),
    ("date", "", "2003-12-15/2003-12-40", "FS206"),
    ("date", "", "14 JUN 2017", "FS205"),
    ("datetime", "", "2017-06-14T10:30:05+10:00", "2017-06-14T10:30:05+10:00"),
    ("datetime", "", "2017-06-14T10:30Z", "2017-06-14T10:30:00Z"),
    ("datetime", "", "2017-06-14T10:30", "2017-06-14"),
    ("datetime", "", "2017-06-14T10:30:05", "2017-06-14"),
    ("datetime", "", "2017-06-14T24:00", "FS206"),
    ("datetime", "", "2017-06-14T10:61Z", "FS206"),
    ("datetime", "", "2017-06-14T10:30:00+15:00", "FS206"),
    ("datetime", "", "-----", "FS205"),
    ("yes", "", "Y", "true"),
    ("yes", "", "N", None),
    ("yes", "", "U", None),
    ("yes", "", "yes", "FS207"),
    ("yes/no", "", "N", "false"),
    ("yes/no", "", "NA", None),
    ("comparator", "", "<=", "<="),
    ("comparator", "", "=", "FS208"),
    ("duration", "", "P6M", "P6M"),
    ("duration", "", "PT1H30M", "PT1H30M"),
    ("duration", "", "P", "FS209"),
    ("duration", "", "6 months", "FS209"),
    ("day", "", "14 JUN 2017", "2017-06-14"),
    ("day", "", "4 Jun 2017", "2017-06-04"),
    ("day", "", "UN JUN 2017", "2017-06"),
    ("day", "", "UN UNK 2017", "2017"),
    ("day", "", "14 UNK 2017", "2017---14"),
    ("day", "", "31 JUN 2017", "FS206"),
    ("day", "", "14 JUX 2017", "FS205"),
    ("day", "", "2017-06-14", "FS205"),
    ("day", "", "14 JUN 2017 10:30", "FS205"),
    ("day", "DD/MM/YYYY", "14/06/2017", "2017-06-14"),
    ("day", "DD/MM/YYYY", "UN/UN/2017", "2017"),
    ("day", "DD MON YYYY hh:mm", "14 JUN 2017 09:05", "2017-06-14T09:05"),
    ("day", "DD MON YYYY hh:mm", "14 JUN 2017 25:05", "FS206"),
    ("checkbox", "", "1", "Y"),
    ("checkbox", "", "Checked", "Y"),
    ("checkbox", "Checked/Unchecked", "Unchecked", "N"),
    ("checkbox", "", "maybe", "FS208"),
    ("ucum", "", "g/L", "g/L"),
    ("unit", "", "µg/L", "µg/L"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "argument", "cell", "wanted"), OUT)
def test_a_cell_becomes_an_element_text_or_is_refused(name: str, argument: str, cell: str, wanted: str | None) -> None:
    made = codec(name, argument)
    assert made is not None
    try:
        assert made.out(cell) == wanted
    except CellError as error:
        assert error.code == wanted
        assert len(cell) < 4 or cell not in error.expected, "no value in the talk"


BACK = [
    ("day", "", "2017-06-14", "14 JUN 2017"),
    ("day", "", "2017-06", "UN JUN 2017"),
    ("day", "", "2017", "UN UNK 2017"),
    ("day", "", "2017-06-14T10:30", None),
    ("day", "", "soon", None),
    ("day", "", "--06-14", None),
    ("day", "DD/MM/YYYY hh:mm", "2017-06-14T10:30", "14/06/2017 10:30"),
    ("day", "DD/MM/YYYY hh:mm", "2017-06-14T10:30:00", None),
    ("checkbox", "Checked/Unchecked", "Y", "Checked"),
    ("checkbox", "", "U", None),
    ("yes", "", "true", "Y"),
    ("yes", "", "false", None),
    ("yes/no", "", "false", "N"),
    ("id", "", "x", None),
    ("ucum", "", "g/L", None),
    ("unit", "", "µg/L", "ug/L"),
    ("unit", "", "mg/dL", "mg/dL"),
]


@pytest.mark.parametrize(("name", "argument", "text", "wanted"), BACK)
def test_an_element_text_is_read_back(name: str, argument: str, text: str, wanted: str | None) -> None:
    made = codec(name, argument)
    assert made is not None
    assert made.back(text) == wanted


def test_the_list_of_names_is_the_list_of_codecs() -> None:
    assert all(codec(name) is not None for name in NAMES if name != "codes")
    assert codec("nonsense") is None


@given(st.text(min_size=1))
def test_an_id_is_a_legal_one_and_the_same_again(cell: str) -> None:
    import re

    made, other = codec("id"), codec("id", key=IdKey(b"another key than that"))
    assert made is not None
    assert other is not None
    text = made.out(cell)
    assert text is not None
    assert re.fullmatch(r"[a-f][0-9a-f]{31}", text)
    assert text == made.out(cell) != other.out(cell)


@given(st.dates(date(1583, 1, 1)))
def test_whole_dates_come_back(day: object) -> None:
    for name in ("date", "datetime"):
        made = codec(name)
        assert made is not None
        assert made.back(made.out(str(day)) or "") == str(day)
    edc = codec("day")
    assert edc is not None
    assert edc.out(edc.back(str(day)) or "") == str(day)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,6})?", fullmatch=True))
def test_numbers_keep_their_spelling(cell: str) -> None:
    made = codec("decimal")
    assert made is not None
    assert made.back(made.out(cell) or "") == cell


def test_parts_of_a_date_that_are_unknown_are_left_out() -> None:
    assert split_dtc("2017---14") == {"year": "2017", "day": "14"}
