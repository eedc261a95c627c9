import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from fhirspace.errors import UsageError
from fhirspace.sdtm import columns
from fhirspace.sdtm.layout import QUALIFIER_COLUMNS, join_supplementals, orphans, split_supplementals, tabulate
from fhirspace.standards import sdtm
from tests.sdtm.sdtm_tables import cells, table


def test_columns_stand_in_the_order_of_the_guide_and_rows_in_that_of_the_keys():
    vs = table(
        "SHOE|@file|VSORRES|VISITNUM|VSTESTCD|USUBJID|VSSEQ|VSTPT|_HELP",
        "42|a|1|10|SYSBP|A|03||h",
        "41||2|9|SYSBP|A|2.0||h",
        "40||3|x|DIABP|A|1||h",
    )
    shaped = tabulate(vs, "VS")
    needed = [v.name for v in sdtm.domain("VS").variables if v.core != "Perm"]
    assert shaped.column_names == [*needed, "SHOE", "@file", "_HELP"]
    assert cells(shaped, "VSTESTCD", "VISITNUM", "VSSEQ", "SHOE") == ["DIABP|x|1|40", "SYSBP|9|2|41", "SYSBP|10|3|42"]


def test_permissible_columns_stay_only_when_filled():
    filled = tabulate(table("USUBJID|VSPOS|VSREPNUM", "A|SITTING|01"), "VS")
    assert {"VSPOS", "VSREPNUM"} <= set(filled.column_names)
    assert "VSPOS" not in tabulate(table("USUBJID|VSPOS", "A|"), "VS").column_names


def test_an_unknown_dataset_has_no_form():
    with pytest.raises(UsageError):
        tabulate(table("A", "1"), "DI")


AE = table(
    "STUDYID|USUBJID|AESEQ|AETERM|SHOE|HAT|@file|@row", "X|A|1|a|42||f|2", "X|A|2|b||red|f|3", "X|B|1|c|41|blue|f|4"
)


def test_columns_that_are_not_standard_become_qualifiers():
    parent, supp = split_supplementals(
        AE, "AE", {"SHOE": "Shoe size"}, {"SHOE": "DERIVED"}, evaluators={"HAT": "INVESTIGATOR"}
    )
    assert parent.column_names == ["STUDYID", "USUBJID", "AESEQ", "AETERM", "@file", "@row"]
    assert supp is not None
    assert supp.column_names == [*QUALIFIER_COLUMNS, "@file", "@row"]
    assert cells(supp, *QUALIFIER_COLUMNS, "@row") == [
        "X|AE|A|AESEQ|1|SHOE|Shoe size|42|DERIVED|-|2",
        "X|AE|A|AESEQ|2|HAT|HAT|red|CRF|INVESTIGATOR|3",
        "X|AE|B|AESEQ|1|HAT|HAT|blue|CRF|INVESTIGATOR|4",
        "X|AE|B|AESEQ|1|SHOE|Shoe size|41|DERIVED|-|4",
    ]


def test_qualifiers_of_demographics_need_no_record():
    dm = table("STUDYID|USUBJID|RACE1", "X|A|ASIAN", "X|B|")
    parent, supp = split_supplementals(dm, "DM", {})
    assert cells(supp, "RDOMAIN", "IDVAR", "IDVARVAL", "QVAL") == ["DM|-|-|ASIAN"]
    assert join_supplementals(parent, supp).equals(dm)


def test_a_standard_column_moves_when_it_has_a_label():
    parent, supp = split_supplementals(table("USUBJID|AESEQ|AETERM", "A|1|x"), "AE", {"AETERM": "Term"})
    assert parent.column_names == ["USUBJID", "AESEQ"]
    assert supp is not None
    assert supp.num_rows == 1


def test_without_other_columns_there_are_no_qualifiers():
    plain = table("USUBJID|AESEQ|SHOE", "A|1|")
    assert split_supplementals(plain, "AE", {})[1] is None
    assert split_supplementals(plain.drop_columns(["SHOE"]), "AE", {}) == (plain.drop_columns(["SHOE"]), None)


def test_qualifiers_meet_their_rows_whatever_the_spelling_of_the_number_and_the_key_used():
    parent = table("USUBJID|AESEQ|AEGRPID", "A|1|g", "A|2|g", "B|1|g")
    supp = table(
        "USUBJID|IDVAR|IDVARVAL|QNAM|QVAL",
        "A|AESEQ|1.0|Q|one",
        "A|AEGRPID|g|Q|all",
        "B|AEGRPID|g|R|b",
        "A|AESEQ|9|Q|lost",
        "Z|||Q|lost",
        "A||||none",
    )
    assert cells(join_supplementals(parent, supp), "Q", "R") == ["all|-", "all|-", "-|b"]
    assert orphans(parent, supp, "AE") == [3, 4, 5]


CELL = st.none() | st.text("abcxyzé<|/ 0", min_size=1, max_size=5)


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("AB"), CELL, CELL), min_size=1, max_size=12))
def test_splitting_and_joining_are_exact_both_ways(rows):
    ae = pa.table({
        "STUDYID": pa.array(["X"] * len(rows), pa.string()),
        "USUBJID": pa.array([row[0] for row in rows], pa.string()),
        "AESEQ": pa.array([str(at) for at, _ in enumerate(rows, 1)], pa.string()),
        "AONE": pa.array([row[1] for row in rows], pa.string()),
        "ATWO": pa.array([row[2] for row in rows], pa.string()),
    })  # fmt: skip
    parent, supp = split_supplementals(ae, "AE", {})
    if supp is None:
        assert all(row[1] is None and row[2] is None for row in rows)
        return
    joined = join_supplementals(parent, supp)
    for name in ("AONE", "ATWO"):
        assert columns.text(joined, name).equals(columns.text(ae, name))
    again = split_supplementals(joined, "AE", {})
    assert again[0].equals(parent)
    assert again[1] is not None
    assert again[1].equals(supp)
