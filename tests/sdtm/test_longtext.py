"""Long texts: how they are cut, where the parts go, and that they come back exactly out of a real transport file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fhirspace.sdtm import layout as shape
from fhirspace.sdtm.longtext import rules as longtext
from fhirspace.sdtm.longtext.check import lossy_cells
from fhirspace.sdtm.longtext.divide import divide
from fhirspace.sdtm.longtext.rejoin import join
from fhirspace.sdtm.longtext.rules import divisible, part_name, parts
from fhirspace.study.metadata.written import by_guide
from fhirspace.tables import compare, xpt
from fhirspace.tables.text import data_columns, from_columns

Cell = str | None

# -- cutting

WORDS = " ".join(f"word{number}" for number in range(100))
CUTS: dict[str, tuple[str, list[int]]] = {
    "exactly 200 bytes": ("x" * 200, [200]),
    "201 bytes, no blank": ("x" * 201, [200, 1]),
    "200 letters of two bytes": ("é" * 200, [100, 100]),
    "a letter of four bytes across the limit": ("x" * 198 + "\U0001f9ea" + "y", [198, 2]),
    "a blank at the limit": ("x" * 200 + " y", [200, 2]),
    "a blank before the limit": ("x" * 150 + " " + "y" * 100, [150, 101]),
    "a run of blanks at the limit": ("x" * 195 + " " * 20 + "y", [195, 21]),
    "a long word after a short one": ("a " + "x" * 300, [1, 200, 101]),
    "a formula at the cut": ("x" * 200 + "=1+1", [199, 5]),
    "line breaks": ("x" * 199 + "\n" * 5 + "y", [199, 6]),
    "thousands of bytes": ("x" * 5000, [200] * 25),
    "more blanks than a part has bytes": ("x" + " " * 300 + "y", []),
    "more parts than there are numbers": ("x" * 20_001, []),
    "as many parts as there are numbers": ("x" * 20_000, [200] * 100),
}


@pytest.mark.parametrize("name", CUTS)
def test_a_text_is_cut(name: str) -> None:
    text, lengths = CUTS[name]
    assert [len(part) for part in parts(text)] == lengths


def test_a_text_is_cut_before_the_last_word_that_does_not_fit() -> None:
    first, second, *_ = parts(WORDS)
    assert first.endswith(" word29")
    assert second.startswith(" word30 ")


_WORD = st.text(st.sampled_from("abcdéü漢\U0001f9ea=+(@-\t\n\u00a0"), min_size=1, max_size=260)
TEXTS = st.lists(
    st.one_of(_WORD, st.sampled_from(["x" * 199, "x" * 200, "x" * 201, "é" * 100, " " * 7])), max_size=8
).map(" ".join)


@given(TEXTS)
@settings(deadline=None, derandomize=True)
def test_the_parts_are_the_text(text: str) -> None:
    found = parts(text)
    assert "".join(found) in (text, "")
    assert all(len(part.encode()) <= longtext.MAX_BYTES for part in found)
    assert all(part[-1:].strip() for part in found[:-1])
    assert all(part[0] not in "=@\t\r" for part in found[1:])
    assert found or longtext.is_long(text) or not text
    if found:
        assert parts("".join(found)) == found


@pytest.mark.parametrize(
    ("variable", "number", "name"),
    [("AETERM", 1, "AETERM1"), ("AEACNOTH", 1, "AEACNOT1"), ("AETERM", 10, "AETERM10"), ("AEACNOTH", 10, "AEACNO10")],
)
def test_names_have_eight_characters(variable: str, number: int, name: str) -> None:
    assert part_name(variable, number) == name


@pytest.mark.parametrize(
    ("dataset", "columns"),
    [
        ("AE", "AETERM AEACNOTH AEREL AEDECOD SHOE"),
        ("LB", "LBORRES LBSTRESC LBREASND"),
        ("DM", "ACTARMUD"),
        ("SV", "SVUPDES"),
        ("QSPH", "QSORRES"),
        ("XB", "XBTERM XBORRES"),
        ("TS", "TSVAL"),
        ("CO", "COVAL"),
        ("SUPPAE", "QVAL"),
    ],
)
def test_free_text_may_be_cut(dataset: str, columns: str) -> None:
    assert [column for column in columns.split() if not divisible(dataset, column)] == []


@pytest.mark.parametrize(
    ("dataset", "columns"),
    [
        ("AE", "STUDYID USUBJID AESPID AESER AESTDTC AEPTCD EPOCH"),
        ("LB", "LBTESTCD LBTEST LBSPEC LBSTRESN LBREFID LBLOINC VISIT"),
        ("TI", "IETEST TIRL"),
        ("TS", "TSPARM TSVALCD"),
        ("CO", "COREF"),
        ("SUPPAE", "QNAM QLABEL IDVARVAL"),
        ("RELREC", "RELID"),
        ("DI", "DIVAL"),
    ],
)
def test_identifiers_codes_and_times_may_not(dataset: str, columns: str) -> None:
    assert [column for column in columns.split() if divisible(dataset, column)] == ["LBLOINC"] * ("LBLOINC" in columns)


# -- there and back, through a real file


def study(**tables: list[dict[str, Cell]]) -> dict[str, pa.Table]:
    """Tabulations in their final form, out of rows."""
    made = {}
    for name, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        cells = {column: [row.get(column) for row in rows] for column in columns}
        made[name] = shape.tabulate(from_columns(cells, file=f"{name.lower()}.csv"), name)
    return made


def ae(number: int, **cells: Cell) -> dict[str, Cell]:
    return {"STUDYID": "S", "DOMAIN": "AE", "USUBJID": "S-1", "AESEQ": str(number), "AETERM": "Rash", **cells}


def supp(number: int, name: str, value: str, label: str = "A Label") -> dict[str, Cell]:
    ids = {"STUDYID": "S", "RDOMAIN": "AE", "USUBJID": "S-1", "IDVAR": "AESEQ", "IDVARVAL": str(number)}
    return {**ids, "QNAM": name, "QLABEL": label, "QVAL": value, "QORIG": "CRF"}


def ts(number: int, value: str, **cells: Cell) -> dict[str, Cell]:
    ids = {"STUDYID": "S", "DOMAIN": "TS", "TSSEQ": str(number), "TSPARMCD": "TITLE", "TSPARM": "Trial Title"}
    return {**ids, "TSVAL": value, **cells}


def through_files(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """What transport files give back."""
    with TemporaryDirectory() as scratch:
        return dict(_written(tables, Path(scratch)))


def _written(tables: dict[str, pa.Table], folder: Path) -> Iterator[tuple[str, pa.Table]]:
    for name, table in tables.items():
        path = folder / f"{name.lower()}.xpt"
        variables = [by_guide(name, column) for column in data_columns(table)]
        xpt.write(table, path, name=name, label=name, variables=variables)
        yield name, xpt.read(path)[0]


def comes_back(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Asserts that tabulations come back cell by cell, and gives them as they were written."""
    written = divide(tables).whole()
    again = join(through_files(written)).tables
    assert set(again) == set(tables)
    for name, table in tables.items():
        assert compare.compare(table, again[name], []) == [], name
    return written


LONG = WORDS[:450]
STUDIES: dict[str, tuple[dict[str, pa.Table], list[str]]] = {
    "a topic": (study(AE=[ae(1, AETERM=LONG), ae(2)]), ["AETERM1", "AETERM2"]),
    "a name of eight characters": (study(AE=[ae(1, AEACNOTH="x" * 201)]), ["AEACNOT1"]),
    "more than nine parts": (
        study(AE=[ae(1, AETERM="x" * 2001)]),
        [f"AETERM{number}" for number in range(1, 10)] + ["AETERM10"],
    ),
    "a column of one's own": (study(AE=[ae(1, SHOE=LONG)]), ["SHOE1", "SHOE2"]),
    "a qualifier": (
        study(AE=[ae(1), ae(2)], SUPPAE=[supp(2, "SHOE", LONG), supp(1, "SHOE", "red")]),
        ["SHOE1", "SHOE2"],
    ),
    "two qualifiers whose names end alike": (
        study(AE=[ae(1)], SUPPAE=[supp(1, "LONGNAMA", LONG, "One"), supp(1, "LONGNAMB", LONG, "Two")]),
        ["LONGNAM1", "LONGNAM2", "LONGNAM3", "LONGNAM4"],
    ),
    "the name is taken in the row": (
        study(AE=[ae(1, AETERM=LONG)], SUPPAE=[supp(1, "AETERM1", "mine")]),
        ["AETERM2", "AETERM3"],
    ),
    "the name is taken in another row": (
        study(AE=[ae(1, AETERM=LONG), ae(2)], SUPPAE=[supp(2, "AETERM1", "mine")]),
        ["AETERM2", "AETERM3"],
    ),
    "the name is that of a column": (study(AE=[ae(1, AETERM=LONG, AETERM1="mine")]), ["AETERM2", "AETERM3"]),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_long_text_goes_on_in_supplemental_qualifiers(name: str) -> None:
    tables, names = STUDIES[name]
    written = comes_back(tables)
    assert list(lossy_cells(tables)) == []
    before = set(tables["SUPPAE"]["QNAM"].to_pylist()) if "SUPPAE" in tables else set()
    added = set(written["SUPPAE"]["QNAM"].to_pylist()) - before
    assert added == set(names)
    assert max(len(cell.encode()) for cell in written["SUPPAE"]["QVAL"].to_pylist()) <= 200


def test_the_further_parts_say_whose_they_are() -> None:
    written = comes_back(study(AE=[ae(1), ae(2, AETERM=LONG)]))["SUPPAE"].to_pylist()
    assert [row["QVAL"] for row in written] == parts(LONG)[1:]
    assert {(row["RDOMAIN"], row["IDVAR"], row["IDVARVAL"], row["QLABEL"]) for row in written} == {
        ("AE", "AESEQ", "2", "Reported Term for the Adverse Event")
    }


def test_a_trial_summary_goes_on_beside() -> None:
    written = comes_back(study(TS=[ts(1, LONG), ts(2, "short")]))["TS"]
    at = written.column_names.index("TSVAL")
    assert written.column_names[at : at + 3] == ["TSVAL", "TSVAL1", "TSVAL2"]
    assert by_guide("TS", "TSVAL2")[1] == "Parameter Value 2"


def test_a_comment_goes_on_beside() -> None:
    row: dict[str, Cell] = {
        "STUDYID": "S",
        "DOMAIN": "CO",
        "RDOMAIN": "DM",
        "USUBJID": "S-1",
        "COSEQ": "1",
        "COVAL": LONG,
    }
    assert "COVAL2" in comes_back(study(CO=[row]))["CO"].column_names


def test_a_study_without_long_texts_stays_as_it_is() -> None:
    tables = study(AE=[ae(1)], SUPPAE=[supp(1, "SHOE", "red")], TS=[ts(1, "t")])
    divided = divide(tables)
    assert (divided.heads, divided.more, divided.cuts, divided.whole()) == (tables, {}, [], tables)
    assert join(tables).tables == tables


OTHERS = {
    "the blank at the cut left out": ["x" * 150, "y" * 100],
    "cut inside a word": ["a " + "x" * 198, "y"],
    "short parts": ["one", " two"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_others_cut_otherwise_is_not_joined(name: str) -> None:
    first, second = OTHERS[name]
    label = longtext.label("AE", "AETERM")
    tables = study(
        AE=[ae(1, AETERM=first)], SUPPAE=[supp(1, "AETERM1", second, label)], TS=[ts(1, first, TSVAL1=second)]
    )
    assert join(tables).joins == []
    assert list(lossy_cells(tables)) == []
    comes_back(tables)


def test_what_others_cut_as_we_do_is_joined() -> None:
    first, second, third = parts(LONG)
    label = longtext.label("AE", "AETERM")
    tables = study(
        AE=[ae(1, AETERM=first)], SUPPAE=[supp(1, "AETERM2", third, label), supp(1, "AETERM1", second, label)]
    )
    made = join(tables)
    assert made.tables["AE"]["AETERM"].to_pylist() == [LONG]
    assert "SUPPAE" not in made.tables
    assert (made.joins, made.removed) == ([("AE", "AETERM", [0])], {"SUPPAE": 2})
    assert divide(made.tables).whole()["SUPPAE"].select(["QNAM", "QVAL"]).to_pylist() == [
        {"QNAM": "AETERM1", "QVAL": second},
        {"QNAM": "AETERM2", "QVAL": third},
    ]


def _gap_qualifiers() -> dict[str, pa.Table]:
    first, second, third = parts(LONG)
    label = longtext.label("AE", "AETERM")
    return study(AE=[ae(1, AETERM=first)], SUPPAE=[supp(1, "AETERM1", second, label), supp(1, "AETERM3", third, label)])


def _gap_own() -> dict[str, pa.Table]:
    first, second, third = parts(LONG)
    return study(AE=[ae(1)], SUPPAE=[supp(1, "SHOE", first), supp(1, "SHOE1", second), supp(1, "SHOE3", third)])


def _gap_beside() -> dict[str, pa.Table]:
    first, second, third = parts(LONG)
    return study(TS=[ts(1, first, TSVAL1=second, TSVAL2=None, TSVAL3=third)])


@pytest.mark.parametrize("tables", [_gap_qualifiers(), _gap_own(), _gap_beside()], ids=["variable", "QVAL", "TSVAL"])
def test_parts_with_a_gap_in_their_numbers_are_not_joined(tables: dict[str, pa.Table]) -> None:
    """The part between may have been lost: two parts that would fit by themselves are not taken for the whole text."""
    made = join(tables)
    assert (made.joins, made.removed) == ([], {})
    assert made.tables == tables


UNKEPT: dict[str, tuple[dict[str, pa.Table], tuple[str, str]]] = {
    "an identifier": (study(AE=[ae(1, AESPID="x" * 201)]), ("AE", "AESPID")),
    "too many blanks": (study(AE=[ae(1, AETERM="x" + " " * 300 + "y")]), ("AE", "AETERM")),
    "too many parts": (study(AE=[ae(1, AETERM="x" * 30_000)]), ("AE", "AETERM")),
    "a qualifier that looks like a part": (
        study(AE=[ae(1, AETERM="x" * 200)], SUPPAE=[supp(1, "AETERM1", "y", longtext.label("AE", "AETERM"))]),
        ("AE", "AETERM"),
    ),
    "qualifiers that look like parts of one another": (
        study(AE=[ae(1)], SUPPAE=[supp(1, "SHOE", "x" * 200), supp(1, "SHOE1", "y")]),
        ("SUPPAE", "QVAL"),
    ),
}


@pytest.mark.parametrize("name", UNKEPT)
def test_what_would_not_come_back_is_known_before(name: str) -> None:
    tables, place = UNKEPT[name]
    assert place in {(dataset, column) for dataset, column, _ in lossy_cells(tables)}


_NASTY = st.one_of(st.just("Rash"), TEXTS.map(lambda text: text.strip() or "x"))


@pytest.mark.slow
@given(
    terms=st.lists(_NASTY, min_size=1, max_size=3),
    actions=st.lists(_NASTY, min_size=3, max_size=3),
    qualifiers=st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from(["AETERM1", "AETERM2", "AEACNOT1", "SHOE", "SHOE1"]), _NASTY),
        max_size=4,
        unique_by=lambda each: each[:2],
    ),
    values=st.lists(_NASTY, max_size=2),
    label=st.sampled_from(["A Label", longtext.label("AE", "AETERM")]),
)
@settings(deadline=None, derandomize=True, max_examples=20, database=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_study_comes_back_or_is_told(
    terms: list[str], actions: list[str], qualifiers: list[tuple[int, str, str]], values: list[str], label: str
) -> None:
    rows = [
        ae(at, AETERM=term, AEACNOTH=action) for at, (term, action) in enumerate(zip(terms, actions, strict=False), 1)
    ]
    more = [supp(at, name, value, label) for at, name, value in qualifiers if at <= len(rows)]
    tables = study(
        AE=rows, **({"SUPPAE": more} if more else {}), **({"TS": [ts(1, v) for v in values]} if values else {})
    )
    tables = join(tables).tables
    if not list(lossy_cells(tables)):
        comes_back(tables)
