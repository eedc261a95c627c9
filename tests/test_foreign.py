"""Text of others: escaped where it is shown, safe where a file is called after it, unchanged in value as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from fhirspace import foreign
from fhirspace.foreign import COLOURS, as_json, column, counted, file_name, in_utf8, listed, member, printable, shown

ANY = st.text(st.characters(), max_size=40)
"""Any characters, halves of surrogate pairs among them."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Émile 日本 ≥ 5 µg", "Émile 日本 ≥ 5 µg"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x07\x7f\x9b", r"\x1b[2J\x07\x7f\x9b"),
        ("\u202egnp\u2066\u200b\ufeff\u2028\u2029", r"\u202egnp\u2066\u200b\ufeff\u2028\u2029"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),
        (r"C:\data\x1b", r"C:\data\x1b"),
        ("", ""),
        (None, "None"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text: object, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("count", "nouns", "expected"),
    [
        (0, ("finding",), "0 findings"),
        (1, ("finding",), "1 finding"),
        (2, ("finding",), "2 findings"),
        (1, ("entry", "entries"), "1 entry"),
        (1_000, ("entry", "entries"), "1,000 entries"),
        (1, ("text is", "texts are"), "1 text is"),
    ],
)
def test_a_count_has_its_noun_in_the_right_number(count: int, nouns: tuple[str, ...], expected: str) -> None:
    assert counted(count, *nouns) == expected


def test_no_message_makes_the_plural_by_itself() -> None:
    by_hand = re.compile(r"\{(?:len\([^{}]*\)|[\w.]*count\w*|self\._done|moved|findings)(?::,)?\} (?!bytes)[a-z]+s\b")
    sources = sorted(Path(foreign.__file__).parent.rglob("*.py"))
    found = [
        f"{source.name}:{number}"
        for source in sources
        if source.parent.name != "testing"
        for number, line in enumerate(source.read_text("utf-8").splitlines(), 1)
        if by_hand.search(line) and "counted(" not in line
    ]
    assert len(sources) > 100
    assert not found, "write it with `foreign.counted`"


@given(ANY, st.integers(10, 50))
def test_what_is_shown_is_one_line_and_no_longer_than_asked(text: str, longest: int) -> None:
    told = shown(text, longest)
    assert told.isprintable()
    assert len(told) <= longest
    assert told == text or not text.isprintable() or len(text) > longest


def test_of_long_texts_both_ends_are_shown() -> None:
    assert shown("/very" * 100 + "/journal.db", 30) == "/very/very/very/v...journal.db"
    assert listed(["a\n", "b", "c"], 2) == r"a\n, b, ..."


@pytest.mark.slow
@given(st.recursive(ANY | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(ANY, inner)))
@pytest.mark.parametrize("options", [{}, {"indent": 2}, {"encoding": "ascii"}, {"encoding": "latin-1", "indent": 1}])
def test_json_holds_the_same_value_in_printable_characters(options: dict[str, object], value: object) -> None:
    text = as_json(value, **options)  # type: ignore[arg-type]
    assert json.loads(text) == value
    assert text.replace("\n", "" if "indent" in options else "\n").isprintable()
    text.encode(str(options.get("encoding", "utf-8")))


def test_only_our_colours_pass_and_only_when_asked() -> None:
    red, end, other = f"\x1b[{COLOURS['error']}m", "\x1b[0m", "\x1b[5m"
    assert printable(f"a{red}b{end}\nc{other}", colours=True) == f"a{red}b{end}\nc\\x1b[5m"
    assert printable(f"a{red}\nb") == "a\\x1b[1;31m\nb"
    assert printable("é日", encoding="latin-1") == r"é\u65e5"


@pytest.mark.parametrize("name", ["AESTDTC", "subject_no", "Start date", "visit no.", "Größe", "race___1", "x"])
def test_names_of_columns_are_quoted(name: str) -> None:
    assert column(name, 3) == name


@pytest.mark.parametrize(
    "name",
    [
        "2024-03-01",
        "12",
        "SP-001",
        "Grade 2",
        "SP0012",
        "a" * 65,
        "",
        " ",
        "x\x1b",
        "x\u202e",
        "fell, hip broken",
        "<5",
    ],
)
def test_what_may_be_a_value_is_named_by_its_number(name: str) -> None:
    assert column(name, 3) == "column 3"


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("birthDate", True),
        ("_gender", True),
        ("Jan Jansen", False),
        ("19600501", False),
        ("p0012", False),
        ("x\n", False),
    ],
)
def test_members_of_json_are_named_if_fhir_could_have_them(name: str, fits: bool) -> None:
    assert member(name, 2) == (name if fits else "<member 2>")


@pytest.mark.parametrize("text", ["ae", "é日本", "a.b", "vital signs", "Patient.ndjson"])
def test_a_name_that_is_fit_names_its_file(text: str) -> None:
    assert file_name(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "../x",
        "/abs",
        "a/b",
        "a\\b",
        "C:x",
        ".hidden",
        "-rf",
        "~x",
        "CON",
        "nul.csv",
        "Lpt1",
        "x.",
        "x ",
        "a\nb",
    ],
)
def test_other_names_become_safe_ones_of_their_own(text: str) -> None:
    made = file_name(text)
    assert not set(made) & set('/\\:<>"|?*\n')
    assert made[0] not in ".-~"
    assert made[-1] not in ". "
    assert made.split(".")[0].upper() not in ("CON", "NUL", "LPT1")


@given(ANY)
def test_no_two_texts_share_a_file_and_none_is_too_long(text: str) -> None:
    made = file_name(text)
    assert made.isprintable()
    assert len(f"{made}.csv".encode()) < 230
    assert file_name(text + "\x00") != made != file_name(text + "/")


def test_half_a_surrogate_pair_can_be_written_as_utf8() -> None:
    assert in_utf8("ae\udcff.csv").encode() == rb"ae\udcff.csv"
    assert in_utf8("é") == "é"
