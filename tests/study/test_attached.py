"""Rows that are nested in another row's resource: found by their key, in order, each once, none lost."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fhirspace.mapping.model import Attach
from fhirspace.study.dataset import InMemory
from fhirspace.study.nested import NestedRows
from tests.small_study import table

SUPP = Attach("AE", ("STUDYID", "USUBJID"), ("QNAM",), ("IDVAR", "IDVARVAL"))
STEPS = Attach("DM", ("STUDYID", "USUBJID"), ("DSSEQ",))
STUDY = Attach("DM", ("STUDYID",), ("TSPARMCD", "TSSEQ"))

AE = table("""STUDYID,USUBJID,AESEQ,VISITNUM
S,1,1,1
S,1,2,2.0
S,1,3,2.0
S,2,1,
""")


def hung(
    attach: Attach, rows: pa.Table, parents: pa.Table, *, shared: bool = False, size: int = 99
) -> list[str | None]:
    """What hangs into each parent row."""
    nested = items(attach, rows, shared=shared)
    return [text for batch in parents.to_batches(max_chunksize=size) for text in nested.texts(batch).to_pylist()]


def items(attach: Attach, rows: pa.Table, *, shared: bool = False) -> NestedRows:
    """The rows with items named by their row: a, b, c ..."""
    return NestedRows(attach, rows, pa.array([chr(97 + row) for row in range(rows.num_rows)]), shared=shared)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["S,1,AESEQ,2,X"], [None, "a", None, None]),
        (["S,1,AESEQ,2.0,X"], [None, "a", None, None]),
        (["S,1,AESEQ,2,Z", "S,1,AESEQ,2,A", "S,2,AESEQ,1,B"], [None, "b,a", None, "c"]),
        (["S,1,VISITNUM,2,X"], [None, "a", None, None]),
        (["S,1,VISITNUM,2,X", "S,1,AESEQ,2,Y"], [None, "b,a", None, None]),
        (["S,1,,,X"], ["a", None, None, None]),
        (["S,2,,,X", "S,2,AESEQ,1,Y"], [None, None, None, "b,a"]),
        (["S,1,AESEQ,9,X", "S,3,,,Y", "S,1,AESPID,7,Z"], [None] * 4),
    ],
    ids=["by sequence", "as a number", "in order", "by visit, once", "two ways", "by subject", "both", "orphans"],
)
@pytest.mark.parametrize("size", [99, 1])
def test_qualifiers_find_their_row(lines: list[str], expected: list[str | None], size: int) -> None:
    rows = table("\n".join(["STUDYID,USUBJID,IDVAR,IDVARVAL,QNAM", *lines]))
    found = hung(SUPP, rows, AE, size=size)
    assert [set(text.split(",")) if text else None for text in found] == [
        set(text.split(",")) if text else None for text in expected
    ]


@pytest.mark.parametrize("size", [99, 1])
def test_a_value_is_found_letter_by_letter_before_its_other_spellings(size: int) -> None:
    parents = table("STUDYID,USUBJID,AESPID\nS,1,01\nS,1,1\nS,1,2.0")
    rows = table("STUDYID,USUBJID,IDVAR,IDVARVAL,QNAM\nS,1,AESPID,1,X\nS,1,AESPID,01,X\nS,1,AESPID,2,X\nS,1,AESPID,3,X")
    nested = NestedRows(SUPP, rows, pa.array(["a", "b", "c", "d"]), parents=InMemory(parents))
    batches = parents.to_batches(max_chunksize=size)
    assert [text for batch in batches for text in nested.texts(batch).to_pylist()] == ["b", "a", "c"]
    assert list(nested.orphans()) == [3]


def test_items_stand_in_the_order_of_their_key_whatever_the_order_of_rows() -> None:
    rows = table("STUDYID,USUBJID,DSSEQ\nS,1,10\nS,1,9\nS,2,1\nS,1,2.5\nS,1,x\nS,1,")
    assert hung(STEPS, rows, table("STUDYID,USUBJID\nS,1\nS,2")) == ["d,b,a,e,f", "c"]


def test_an_item_that_is_bad_leaves_no_comma() -> None:
    rows = table("STUDYID,USUBJID,DSSEQ\nS,1,1\nS,1,2\nS,2,1")
    nested = NestedRows(STEPS, rows, pa.array([None, "b", None]))
    parents = table("STUDYID,USUBJID\nS,1\nS,2").to_batches()[0]
    assert nested.texts(parents).to_pylist() == ["b", None]
    assert list(nested.orphans()) == []


def test_study_level_rows_are_given_to_every_parent_row_of_a_resource_that_is_made_once() -> None:
    rows = table("STUDYID,TSPARMCD,TSSEQ\nS,B,2\nS,B,1\nS,A,1\nT,A,1")
    parents = table("STUDYID,USUBJID\nS,1\nS,2\nS,3")
    assert hung(STUDY, rows, parents, shared=True, size=2) == ["c,b,a"] * 3
    assert hung(STUDY, rows, parents, size=2) == ["c,b,a", None, None]


@pytest.mark.parametrize("size", [99, 1])
def test_orphans_are_what_met_no_parent_in_any_batch(size: int) -> None:
    rows = table("STUDYID,USUBJID,IDVAR,IDVARVAL,QNAM\nS,1,AESEQ,1,X\nS,1,AESEQ,9,X\nS,9,,,X\nS,2,AESPID,1,X")
    nested = items(SUPP, rows)
    for batch in AE.to_batches(max_chunksize=size):
        nested.texts(batch)
    assert sorted(nested.orphans()) == [1, 2, 3]


def test_rows_fall_with_their_parent_unless_it_is_shared() -> None:
    rows = table("STUDYID,USUBJID,IDVAR,IDVARVAL,QNAM\nS,1,AESEQ,1,X\nS,1,AESEQ,2,X\nS,1,AESEQ,2,Y\nS,2,,,X")
    (batch,) = AE.to_batches()
    assert sorted(items(SUPP, rows).rows_at(batch, [1])) == [1, 2]
    assert sorted(items(SUPP, rows).rows_at(batch, [3])) == [3]
    assert list(items(SUPP, rows).rows_at(batch, [2])) == []
    assert list(items(SUPP, rows, shared=True).rows_at(batch, [1])) == []


def test_no_rows_hang_nowhere() -> None:
    rows = table("STUDYID,USUBJID,IDVAR,IDVARVAL,QNAM\nS,1,AESEQ,1,X").slice(1)
    assert hung(SUPP, rows, AE) == [None] * 4
