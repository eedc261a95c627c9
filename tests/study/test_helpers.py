"""Helper columns: each is computed from the study, stays out of the way of what is there, and travels light."""

from __future__ import annotations

import pickle
from typing import Any

import pyarrow as pa
import pytest

from fhirspace.mapping.library import Library
from fhirspace.study.dataset import InMemory
from fhirspace.study.helper_columns import Helpers, record_texts, with_records
from fhirspace.study.summary import StudySummary, for_rendering, needed
from tests.small_study import table

LIBRARY = Library("R4")

DM = """STUDYID,USUBJID,RFICDTC,RFSTDTC,RFXSTDTC
S,1,2024-01-01,2024-01-02,2024-01-03
S,2,2024-01-01,2024-01-02,
S,3,2024-01-01,,
S,4,,,"""
DS = "STUDYID,USUBJID,DSSEQ,DSCAT,DSDECOD,DSSTDTC\n"


def helpers(**datasets: str) -> Helpers:
    given = {name: InMemory(table(text)) for name, text in datasets.items()}
    return Helpers(for_rendering(given, LIBRARY.complete().values()))


def column(name: str, domain: str, rows: str, of: Helpers) -> list[Any]:
    (batch,) = table(rows).to_batches()
    return list(of.add(LIBRARY.mappings[domain], batch).column(name).to_pylist())


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("TSPARMCD,TSVAL\nSYNTHDTA,Y", "HTEST"),
        ("TSPARMCD,TSVAL\nSYNTHDTA,N", None),
        ("TSPARMCD,TSVAL\nTITLE,Y", None),
        ("TSPARMCD,TSVAL\n,Y\nSYNTHDTA,", None),
    ],
)
def test_a_synthetic_study_says_so_in_every_row(summary: str, expected: str | None) -> None:
    assert column("_SYNTHETIC", "DM", DM, helpers(TS=summary)) == [expected] * 4


def test_without_a_trial_summary_nothing_is_said() -> None:
    assert column("_SYNTHETIC", "DM", DM, helpers()) == [None] * 4


def test_the_first_value_of_a_parameter_is_taken() -> None:
    name = next(each for each in needed(LIBRARY.mappings["DM"]) if each.startswith("_TS_"))
    code = name.removeprefix("_TS_")
    found = column(name, "DM", DM, helpers(TS=f"TSPARMCD,TSVAL\n{code},\n{code},one\n{code},two"))
    assert found == ["one"] * 4


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("", ["on-study-intervention", "on-study", "candidate", "screening"]),
        (
            "S,1,1,DISPOSITION EVENT,COMPLETED,2024-05-01\nS,2,1,DISPOSITION EVENT,ADVERSE EVENT,2024-05-01\n"
            "S,3,1,DISPOSITION EVENT,SCREEN FAILURE,2024-05-01\nS,4,1,PROTOCOL MILESTONE,COMPLETED,2024-05-01",
            ["off-study", "withdrawn", "ineligible", "screening"],
        ),
        (
            "S,1,2,DISPOSITION EVENT,ADVERSE EVENT,2024-06-01\nS,1,1,DISPOSITION EVENT,COMPLETED,2024-05-01",
            ["withdrawn", "on-study", "candidate", "screening"],
        ),
    ],
)
def test_the_state_of_a_subject_follows_from_its_events_and_dates(events: str, expected: list[str]) -> None:
    study = helpers(DM=DM, DS=DS + events) if events else helpers(DM=DM)
    assert column("_STATUS", "DM", DM, study) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("HCT,BLOOD,,fraction of 1", True),
        ("HCT,,,", True),
        ("HGB,BLOOD,DIPSTICK MEASUREMENT METHOD,g/dL", False),
        ("HCT,BLOOD,,%", True),
        ("GLUC,CEREBROSPINAL FLUID,,nothing", False),
        ("NOSUCH,,,", False),
        (",,,", False),
    ],
)
def test_a_loinc_code_is_given_where_just_one_is_left(row: str, expected: bool) -> None:
    (found,) = column("_LOINC", "LB", f"LBTESTCD,LBSPEC,LBMETHOD,LBORRESU\n{row}", helpers())
    assert (found is not None) is expected
    if found:
        digits = found.replace("-", "")
        assert digits.isdigit()


def visits() -> tuple[str, str]:
    """A dataset and its column that looks whether the subject's visit is there."""
    for domain, mapping in LIBRARY.complete().items():
        for name in needed(mapping):
            if name == "_has_SV_USUBJID_VISITNUM":
                return domain, name
    raise AssertionError("no mapping looks at SV")


def test_a_row_knows_whether_another_dataset_has_its_visit() -> None:
    domain, name = visits()
    rows = "STUDYID,USUBJID,VISITNUM\nS,1,1\nS,1,2\nS,2,1\nS,,1"
    study = helpers(SV="USUBJID,VISITNUM\n1,1\n1,3\n,1")
    assert column(name, domain, rows, study) == ["Y", None, None, None]
    assert column(name, domain, rows, study) == ["Y", None, None, None]
    assert column(name, domain, rows, helpers()) == [None] * 4


def test_a_helper_column_that_is_there_is_left_as_it_is() -> None:
    (batch,) = table(DM).to_batches()
    batch = batch.append_column("_STATUS", pa.array(["mine"] * 4))
    assert helpers(DM=DM).add(LIBRARY.mappings["DM"], batch).column("_STATUS").to_pylist() == ["mine"] * 4


def test_a_helper_column_that_nobody_knows_is_empty() -> None:
    found = Helpers(StudySummary()).column("_NONSENSE", LIBRARY.mappings["DM"], table(DM).to_batches()[0])
    assert found.null_count == 4


@pytest.mark.parametrize("domain", sorted(LIBRARY.mappings))
def test_what_a_mapping_needs_travels_light_and_says_the_same(domain: str) -> None:
    large = "USUBJID,VISITNUM,SVTERM\n" + "\n".join(f"{n % 50},{n % 9},some long text {n}" for n in range(5_000))
    study = helpers(
        DM=DM, DS=DS + "S,1,1,DISPOSITION EVENT,COMPLETED,2024-05-01", SV=large, TS="TSPARMCD,TSVAL\nSYNTHDTA,Y"
    )
    mapping = LIBRARY.mappings[domain]
    data = pickle.dumps(study.alone(mapping))
    assert len(data) <= len(pickle.dumps(study)) < 30_000  # a summary holds no dataset
    rows = table(f"STUDYID,USUBJID,VISITNUM,{domain}TESTCD\nS,1,1,GLUC\nS,77,1,\nS,3,3,HCT")
    (batch,) = rows.to_batches()
    assert pickle.loads(data).add(mapping, batch).to_pydict() == study.add(mapping, batch).to_pydict()


def test_each_row_has_a_record_text_also_without_a_filled_cell() -> None:
    given = pa.table({"B": pa.array(["1", None, ""]), "A": pa.array([None, None, "2"]), "@row": [2, 3, 4]})
    assert record_texts(given) == ["B=1", "", "A=2"]
    assert with_records(given)["_RECORD"].null_count == 0
    assert record_texts(given.select(["@row"])) == ["", "", ""]
    assert record_texts(given.slice(0, 0)) == []
