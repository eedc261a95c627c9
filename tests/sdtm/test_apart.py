"""Comments and relationships: in columns beside their records, in CO and RELREC, and back."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fhirspace.sdtm.apart import Annotations, put_together, take_apart

ANNOTATIONS = Annotations(
    {"CM": {"CMAENO": "Event", "CMCMNO": "Other Drug"}},
    {"AE": {"AENOTE": "Note", "AEMORE": "More"}, "DM": {"DMNOTE": "Subject"}},
    {"CM": {"CMAENO": "AESPID", "CMCMNO": "CMSPID"}},
    "CRF",
)


def rows(text: str) -> pa.Table:
    """A table of lines of cells; a dot is an empty one."""
    names, *lines = (line.split() for line in text.strip().splitlines())
    cells = [[None if cell == "." else cell for cell in line] for line in lines]
    return pa.table(
        {name: pa.array(column, pa.string()) for name, column in zip(names, zip(*cells, strict=True), strict=True)}
    )


def study() -> dict[str, pa.Table]:
    """Two subjects with events and drugs: S1's drug 1 names event 2, drug 3 two events, drug 4 none, drug 2 drug 1."""
    return {
        "DM": rows("STUDYID USUBJID DMNOTE\nS S1 late\nS S2 ."),
        "AE": rows(
            "STUDYID USUBJID AESEQ AESPID AENOTE AEMORE\nS S1 1 2 a b\nS S1 2 3 . c\nS S1 3 3 . .\nS S2 1 2 d .",
        ),
        "CM": rows(
            "STUDYID USUBJID CMSEQ CMSPID CMAENO CMCMNO\nS S1 1 1 2 .\nS S1 2 2 . 1\nS S1 3 3 3 .\nS S1 4 4 9 4"
        ),
    }


def column(table: pa.Table, name: str) -> list[str | None]:
    return table[name].to_pylist()


def test_comments_are_rows_of_co() -> None:
    co = take_apart(study(), ANNOTATIONS).tables["CO"]
    found = list(
        zip(*(column(co, name) for name in ("USUBJID", "RDOMAIN", "IDVARVAL", "COREF", "COVAL", "COSEQ")), strict=True)
    )
    assert found == [
        ("S1", "AE", "1", "More", "b", "1"),
        ("S1", "AE", "1", "Note", "a", "2"),
        ("S1", "AE", "2", "More", "c", "3"),
        ("S1", "DM", None, "Subject", "late", "4"),
        ("S2", "AE", "1", "Note", "d", "1"),
    ]


def test_one_record_of_the_name_is_related() -> None:
    made = take_apart(study(), ANNOTATIONS)
    relrec = made.tables["RELREC"]
    found = set(
        zip(*(column(relrec, name) for name in ("USUBJID", "RELID", "RDOMAIN", "IDVAR", "IDVARVAL")), strict=True)
    )
    assert found == {
        ("S1", "CMAENO1", "AE", "AESEQ", "1"),
        ("S1", "CMAENO1", "CM", "CMSEQ", "1"),
        ("S1", "CMCMNO2", "CM", "CMSEQ", "1"),
        ("S1", "CMCMNO2", "CM", "CMSEQ", "2"),
    }


def test_a_name_of_no_record_of_several_and_of_itself_stays_a_qualifier() -> None:
    made = take_apart(study(), ANNOTATIONS)
    supp = made.tables["SUPPCM"]
    found = set(zip(*(column(supp, name) for name in ("IDVARVAL", "QNAM", "QVAL")), strict=True))
    assert found == {("3", "CMAENO", "3"), ("4", "CMAENO", "9"), ("4", "CMCMNO", "4")}
    assert [(each.code, each.place.row, each.place.column) for each in made.problems] == [
        ("FS266", 4, "CMAENO"), ("FS266", 5, "CMAENO"), ("FS266", 5, "CMCMNO"),
    ]  # fmt: skip


def test_each_variable_has_relationships_of_its_own() -> None:
    """CMAENO of drug 11 and CMAENO1 of drug 1; AENO of a drug and of a dose."""
    names = {"CM": {"CMAENO": "AESPID", "CMAENO1": "AESPID", "AENO": "AESPID"}, "EX": {"AENO": "AESPID"}}
    given = {
        "AE": rows("STUDYID USUBJID AESEQ AESPID\nS S1 1 a\nS S1 2 b\nS S1 3 c"),
        "CM": rows("STUDYID USUBJID CMSEQ CMAENO CMAENO1 AENO\nS S1 1 . a c\nS S1 11 b . ."),
        "EX": rows("STUDYID USUBJID EXSEQ AENO\nS S1 1 a"),
    }
    annotations = Annotations(names, {}, names, "CRF")
    apart = take_apart(given, annotations).tables
    relations = column(apart["RELREC"], "RELID")
    assert set(relations) == {"CM.AENO1", "CMAENO1-1", "CMAENO11", "EX.AENO1"}
    assert {relations.count(each) for each in relations} == {2}
    back, _ = put_together(apart, annotations)
    assert [column(back["CM"], name) for name in names["CM"]] == [[None, "b"], ["a", None], ["c", None]]
    assert column(back["EX"], "AENO") == ["a"]


def test_what_was_taken_apart_is_put_together() -> None:
    given = study()
    back, _ = put_together(take_apart(given, ANNOTATIONS).tables, ANNOTATIONS)
    for name, table in given.items():
        for each in table.column_names:
            assert column(back[name], each) == column(table, each), each
    assert back["CO"].num_rows == back["RELREC"].num_rows == 0


def test_an_edited_relationship_and_comment_are_read() -> None:
    tables = take_apart(study(), ANNOTATIONS).tables
    numbers = [
        "2" if (relation, domain) == ("CMAENO1", "CM") else number
        for relation, domain, number in zip(
            *(column(tables["RELREC"], name) for name in ("RELID", "RDOMAIN", "IDVARVAL")), strict=True
        )
    ]
    tables["CO"] = tables["CO"].set_column(tables["CO"].column_names.index("COVAL"), "COVAL", pa.array([*"xxxxx"]))
    relrec = tables["RELREC"]
    at = relrec.column_names.index("IDVARVAL")
    moved, _ = put_together(tables | {"RELREC": relrec.set_column(at, "IDVARVAL", pa.array(numbers))}, ANNOTATIONS)
    assert column(moved["AE"], "AENOTE") == ["x", None, None, "x"]
    assert column(moved["CM"], "CMAENO")[:2] == [None, None]  # its RELID says another record: it is left in RELREC
    assert moved["RELREC"].num_rows == 2


@pytest.mark.parametrize(
    "row",
    [
        "S CO S1 AE AESEQ 1 Elsewhere z",
        "S CO S1 AE AESPID 2 Note z",
        "S CO S1 AE AESEQ 7 Note z",
        "S CO S1 AE AESEQ 1 Note z",
    ],
    ids=["another reference", "another variable", "no such record", "a second one"],
)
def test_comments_that_are_no_form_s_are_left(row: str) -> None:
    tables = take_apart(study(), ANNOTATIONS).tables
    more = rows(f"STUDYID DOMAIN USUBJID RDOMAIN IDVAR IDVARVAL COREF COVAL\n{row}")
    back, _ = put_together(
        tables | {"CO": pa.concat_tables([tables["CO"], more], promote_options="default")}, ANNOTATIONS
    )
    assert column(back["CO"], "COVAL") == ["z"]
    assert column(back["AE"], "AENOTE") == ["a", None, None, "d"]


def test_numbers_of_comments_that_are_there_stay() -> None:
    there = rows("STUDYID DOMAIN USUBJID RDOMAIN COSEQ COVAL\nS CO S2 . 5 z")
    co = take_apart(study() | {"CO": there}, ANNOTATIONS).tables["CO"]
    assert sorted(zip(column(co, "USUBJID"), column(co, "COSEQ"), strict=True))[-2:] == [("S2", "5"), ("S2", "6")]


@pytest.mark.parametrize("ends", [("9", "1"), ("1", "9")], ids=["no such drug", "no such event"])
def test_relationships_of_records_that_are_not_there_are_left(ends: tuple[str, str]) -> None:
    tables = take_apart(study(), ANNOTATIONS).tables
    lines = [f"S S2 CM CMSEQ {ends[0]} CMAENO{ends[0]}", f"S S2 AE AESEQ {ends[1]} CMAENO{ends[0]}"]
    more = rows("\n".join(["STUDYID USUBJID RDOMAIN IDVAR IDVARVAL RELID", *lines]))
    drugs = rows("STUDYID USUBJID CMSEQ CMSPID\nS S2 1 1")
    back, _ = put_together(tables | {"RELREC": more, "CM": drugs}, ANNOTATIONS)
    assert back["RELREC"].num_rows == 2
    assert column(back["CM"], "CMAENO") == [None]
