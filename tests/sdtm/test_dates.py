import random
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import given, strategies as st

from fhirspace.sdtm import dates
from fhirspace.standards import iso8601

DAYS = st.dates(date(1900, 1, 1), date(2100, 1, 1))


@pytest.mark.parametrize(
    "text",
    ["2020", "2020-02", "2020-02-29", "2020-02-29T10", "2020-02-29T10:30", "2020-02-29T10:30:59.5+02:00", "2003---15",
     "--12-15", "-----T07:15", "2003-12-15T-:15", "2020-01-01/2020-01-05", "2020-01-01/P3D", "2020-01-01T24:00"[:10],
     "2020-01-01T10:00Z", "2020-01-01T10:00-0330"],
)  # fmt: skip
def test_legal_dates(text):
    assert iso8601.valid(text)


@pytest.mark.parametrize(
    "text",
    ["2020-02-60", "2019-02-29", "2020-13", "20-01-01", "2020-1-1", "01JAN2020", "2020-01-01T24:00", "2020-01-01T10:60",
     "2020-01-01T10:00+15:00", "2020-01-", "-", "", "2020--", "2020-01-01/x", "2020-01-01 10:00",
     "2020-01-01T10:00:61", "2020-01-0٣"],
)  # fmt: skip
def test_illegal_dates(text):
    assert not iso8601.valid(text)


@pytest.mark.parametrize(
    ("text", "legal"),
    [("P2W", True), ("-P1W", True), ("PT30M", True), ("P1Y2M3DT4H5M6.5S", True), ("P", False), ("PT", False),
     ("P1H", False), ("2W", False), ("P1DT", False)],
)  # fmt: skip
def test_durations(text, legal):
    assert iso8601.valid_duration(text) is legal


@pytest.mark.parametrize(
    ("text", "bare"),
    [("2020-01-01T10:00", True), ("2020-01-01T10:00Z", False), ("2020-01-01", False), ("nonsense", False)],
)
def test_lacks_zone(text, bare):
    assert dates.lacks_zone(text) is bare


@given(DAYS)
def test_only_complete_and_possible_dates_have_a_day(day):
    assert dates.day_of(day.isoformat()) == dates.day_of(day.isoformat() + "T10:00") == day.toordinal()
    assert dates.day_of(day.isoformat()[:7]) is None
    assert dates.day_of(f"{day.isoformat()}T10:00/{day.isoformat()}T12:00") == day.toordinal()
    assert dates.day_of(f"{day.isoformat()}/{(day + timedelta(days=1)).isoformat()}") is None


def test_an_impossible_date_has_no_day():
    assert dates.day_of("2020-02-60") is None


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [("2020-01-01", "2020-01-01T10:00", True), ("2020-01-01T11:00", "2020-01-01T10:00", False),
     ("2020-01-01T11:00", "2020-01-01", True), ("2020-01-02", "2020-01-01", False),
     ("2020-01-01T10:00Z", "2020-01-01T10:00:30+02:00", False), ("2020-01-01T10:00+02:00", "2020-01-01T08:00:30Z", True),
     ("2020-01-01T10:00Z", "2020-01-01T10:00:30", True)],
)  # fmt: skip
def test_at_most(left, right, result):
    assert dates.at_most(left, right) is result


@pytest.mark.parametrize(
    ("birth", "at", "years"),
    [("1960-05-17", "2020-05-17", 60), ("1960-05-18", "2020-05-17", 59), ("1960-04", "2020-05-17", 60),
     ("1960-06", "2020-05-17", 59), ("1960-05", "2020-05-17", None), ("1960", "2020-05-17", None),
     ("1960-05-18", "2020-05", None), ("--05-18", "2020-05-17", None)],
)  # fmt: skip
def test_completed_years_are_only_counted_when_certain(birth, at, years):
    assert dates.completed_years(birth, at) == years


def test_whole_dates_are_read_at_once_as_any_text_is() -> None:
    chosen = random.Random(3)
    start = "2024-02-29T23:59:59.25+13:45"
    texts = {start[:length] for length in range(len(start) + 1)}
    for _ in range(4_000):
        made = list(
            chosen.choice(["2024-02-28T10:15:30Z", start, "2023-02-29T24:00", "0000-01-31", "2024-12-31T00:14:60Z"])
        )
        for _ in range(chosen.randrange(4)):
            made[chosen.randrange(len(made))] = chosen.choice("0123456789-+:.TZ/ ٣")
        texts.add("".join(made))
    seen = Counter[str]()
    for text in sorted(texts):
        wanted = parts_or_none(text, iso8601._parts)
        assert parts_or_none(text, iso8601.parts) == wanted, text
        if "/" not in text:
            assert iso8601.valid(text) == (wanted is not None), text
            whole = wanted is not None and {"year", "month", "day"} <= wanted.keys()
            found = iso8601.days(text)
            if whole and wanted is not None:
                day = date(*(int(wanted[name]) for name in ("year", "month", "day"))).toordinal()
                assert found == (day, day), text
            seen["whole" if whole else "other"] += 1
    assert min(seen.values()) > 100


def parts_or_none(text: str, function: Callable[[str], iso8601.Parts]) -> iso8601.Parts | None:
    try:
        return function(text)
    except iso8601.NotADateError:
        return None
