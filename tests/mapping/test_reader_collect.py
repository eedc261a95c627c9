"""Batches become a study's tables: rows that several resources share are joined, and nothing is lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from fhirspace.mapping.read.reader import CARRIED_PART, Collector, Reader, merge
from fhirspace.mapping.read.witness import is_hidden
from fhirspace.mapping.write.render import render
from tests.mapping.test_laws import library

SUBJECT = {
    "STUDYID": "S1",
    "DOMAIN": "DM",
    "USUBJID": "S1-01",
    "SUBJID": "01",
    "SEX": "F",
    "AGE": "40",
    "AGEU": "YEARS",
}


def subject(**cells: str) -> list[bytes]:
    """The ResearchStudy, the Patient and the ResearchSubject of a DM row, with a TS and a DS row in them."""
    lib = library("R4")
    row = SUBJECT | cells | {"_STATUS": "candidate"}
    summary = render(lib.mappings["TS"], {"STUDYID": "S1", "TSSEQ": "1", "TSPARMCD": "TITLE", "TSVAL": "A study"})[0][1]
    step = render(lib.mappings["DS"], {"STUDYID": "S1", "USUBJID": row["USUBJID"], "DSSEQ": "1", "DSTERM": "DONE"})[0][
        1
    ]
    made = render(lib.mappings["DM"], row, {"TS": [summary], "DS": [step]})
    return [text.encode() for _, text in made]


def collected(*files: tuple[str, list[bytes]]) -> dict[str, list[dict[str, Any]]]:
    reader, collector = Reader(library("R4")), Collector(library("R4"))
    for name, lines in files:
        for batch in reader.read(enumerate(lines, 1), name):
            collector.add(batch)
    return {name: [_filled(row) for row in table.to_pylist()] for name, table in collector.tables().items()}


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in row.items() if cell is not None and not is_hidden(name)}


def test_a_subject_is_one_row_of_two_resources_in_any_order() -> None:
    study, *_, patient, resource = subject(QQ="carried")
    wanted = SUBJECT | {"QQ": "carried", "@file": "p", "@row": 1}
    for files in ([("p", [patient]), ("s", [study, resource])], [("s", [study, resource]), ("p", [patient])]):
        found = collected(*files)
        assert found["DM"] == [wanted]
        assert [(row["TSPARMCD"], row["STUDYID"]) for row in found["TS"]] == [("TITLE", "S1")]
        assert [(row["DSTERM"], row["USUBJID"]) for row in found["DS"]] == [("DONE", "S1-01")]


def test_a_carried_cell_wins_over_the_other_resource_too() -> None:
    _, *_, patient, resource = subject(SEX="UNDIFFERENTIATED", BRTHDTC="1980---01")
    (row,) = collected(("x", [resource, patient]))["DM"]
    assert (row["SEX"], row["BRTHDTC"]) == ("UNDIFFERENTIATED", "1980---01")


def test_a_part_without_its_partner_is_a_row() -> None:
    _, *_, patient, resource = subject()
    _, *_, other, _ = subject(USUBJID="S1-02")
    rows = collected(("x", [patient, other, resource]))["DM"]
    assert [(row["USUBJID"], row.get("AGE"), row["@row"]) for row in rows] == [("S1-01", "40", 1), ("S1-02", None, 2)]


def test_resources_that_come_twice_make_two_rows_not_four() -> None:
    _, *_, patient, resource = subject()
    rows = collected(("x", [patient, resource]), ("y", [patient, resource, patient]))["DM"]
    assert [(row["@file"], row["@row"], row.get("AGE")) for row in rows] == [
        ("x", 1, "40"),
        ("y", 1, "40"),
        ("y", 3, None),
    ]


def test_parts_without_a_key_stay_alone() -> None:
    patient = subject()[-2].replace(b'"identifier":[{"system":"https://fhirspace.org/usubjid","value":"S1-01"}]',
                                    b'"identifier":[{"system":"https://fhirspace.org/usubjid"}]')  # fmt: skip
    rows = collected(("x", [patient, subject()[-1], patient]))["DM"]
    assert [row.get("USUBJID") for row in rows] == [None, None, "S1-01"]


def test_of_two_parts_the_cell_read_verbatim_counts_then_the_first_block() -> None:
    mapping = library("R4").mappings["DM"]
    patient, resource = (index for index, block in enumerate(mapping.blocks) if not block.once)

    def part(**cells: str) -> pa.Table:
        keys = {"STUDYID": ["S"], "USUBJID": ["U"], "@file": pa.array(["f"]).dictionary_encode(), "@row": [1]}
        return pa.table(keys | {name: [cell] for name, cell in cells.items()})

    parts = [(resource, part(SEX="read", ZZ="second", AGE="2")), (patient, part(SEX="M", ZZ="first", AGE="1"))]
    (row,) = merge(parts, mapping).to_pylist()
    assert (row["SEX"], row["ZZ"], row["AGE"]) == ("M", "first", "2")
    (row,) = merge([*parts, (CARRIED_PART, part(SEX="carried"))], mapping).to_pylist()
    assert row["SEX"] == "carried"


def test_batches_with_different_columns_are_one_table() -> None:
    lib = library("R4")
    row = {"STUDYID": "S1", "DOMAIN": "LB", "USUBJID": "S1-01", "LBTESTCD": "HGB", "LBTEST": "Hb"}
    lines = [
        render(lib.mappings["LB"], row | more)[0][1].encode() for more in ({"LBSEQ": "1"}, {"LBSEQ": "2", "LBCAT": "X"})
    ]
    found = collected(("a", lines[:1]), ("b", lines[1:]))["LB"]
    assert [(row["@file"], row["LBSEQ"], row.get("LBCAT")) for row in found] == [("a", "1", None), ("b", "2", "X")]
    assert Collector(SimpleNamespace(mappings={})).tables() == {}  # type: ignore[arg-type]
