"""The SPACE sample through its source mappings: every form, both ways, and the published figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fhirspace.forms.library import SourceLibrary, SourceRows
from fhirspace.forms.scaffold import make_form_skeleton
from fhirspace.standards import sdtm, terminology
from fhirspace.tables import csv
from fhirspace.tables.text import ROW, data_columns, from_columns

RECORDS = Path(__file__).parents[2] / "samples" / "space" / "records"
FORMS = sorted(path.stem for path in RECORDS.glob("*.csv"))


@pytest.fixture(scope="module")
def library() -> SourceLibrary:
    return SourceLibrary("space")


@pytest.fixture(scope="module")
def records() -> dict[str, pa.Table]:
    return {name: csv.read(RECORDS / f"{name}.csv")[0] for name in FORMS}


@pytest.fixture(scope="module")
def made(library: SourceLibrary, records: dict[str, pa.Table]) -> SourceRows:
    return library.to_rows(records)


def cells(table: pa.Table) -> list[tuple[str | None, ...]]:
    """The records in any order: each as its cells by column name."""
    names = sorted(data_columns(table))
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    return sorted(rows, key=lambda row: tuple(cell or "" for cell in row))


def rows(made: SourceRows, dataset: str) -> Iterator[dict[str, str | None]]:
    yield from made.tables[dataset].to_pylist()


def test_each_form_has_a_mapping(library: SourceLibrary) -> None:
    assert sorted(library.forms) == FORMS


def test_nothing_is_found_and_nobody_is_quarantined(made: SourceRows) -> None:
    assert made.problems == []
    assert made.quarantined == {}


def test_all_datasets_are_made(library: SourceLibrary, made: SourceRows) -> None:
    subjects = {"DM", "SV", "DS", "AE", "EX", "CM", "MH", "SU", "PR", "VS", "LB"}
    disease = {"RS", "TU", "TR", "MI", "MB", "CP", "IS"}
    design = {"TS", "TA", "TE", "TV", "TI"}
    assert set(made.tables) == subjects | disease | design | {"IE"}
    assert set(library.datasets) == set(made.tables) | {"CO", "RELREC"}  # made of columns of the others


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_form_comes_back_cell_by_cell(
    form: str, library: SourceLibrary, records: dict[str, pa.Table], made: SourceRows
) -> None:
    back = library.to_records(made.tables)
    assert back.problems == []
    assert sorted(data_columns(back.records[form])) == sorted(data_columns(records[form]))
    assert cells(back.records[form]) == cells(records[form])


NASTY = st.sampled_from(
    [None, "0", "1", "2", "3", "9", "007", "<0.5", "5,5", "2.50", "UN JUN 2017", "UN UNK 2014", "14 JUN 2017",
     "31 FEB 2017", "7:30", "Yes", "No", "NE", "CR", "Checked", "Unchecked", "Screening", "Unscheduled 2", "kg", "a-b",
     "\\", "x ", "\x07"]
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_records_with_nasty_cells_come_back_exactly_or_are_quarantined(
    data: st.DataObject, library: SourceLibrary, records: dict[str, pa.Table]
) -> None:
    form = data.draw(st.sampled_from(FORMS))
    table = records[form].slice(data.draw(st.integers(0, max(0, records[form].num_rows - 8))), 8)
    names = data_columns(table)
    columns = {name: table[name].to_pylist() for name in names}
    changes = st.tuples(st.sampled_from(names), st.integers(0, table.num_rows - 1), NASTY)
    for name, at, cell in data.draw(st.lists(changes, min_size=1, max_size=12)):
        columns[name][at] = cell
    changed = from_columns(columns, file=f"{form}.csv")
    made = library.to_rows({form: changed})
    back = library.to_records(made.tables, made.labels)
    held = set(made.quarantined[form][ROW].to_pylist()) if made.quarantined else set()
    assert held == {problem.place.row for problem in made.problems if problem.level == "error"}
    assert back.problems == []
    kept = changed.filter(pa.array([row not in held for row in changed[ROW].to_pylist()], pa.bool_()))
    assert cells(back.records[form] if form in back.records else kept.slice(0, 0)) == cells(kept)


def test_every_cell_has_a_home_of_its_own(library: SourceLibrary, made: SourceRows) -> None:
    declared: dict[str, dict[str, str]] = {}
    for form in library.forms.values():
        for document in form.mapping.documents:
            declared.setdefault(document.dataset, {}).update(document.supplemental)
    assert {name: labels for name, labels in made.labels.items() if set(labels) - set(declared[name])} == {}


def test_rows_say_which_cell_they_came_from(made: SourceRows) -> None:
    table = made.tables["AE"]
    assert table["@file"].to_pylist()[0] == "adverse_events.csv"
    assert table["@row"].to_pylist()[:3] == [2, 3, 4]


def test_test_codes_and_names_are_those_of_cdisc(made: SourceRows) -> None:
    # What is not CDISC's is the sponsor's, and there for a reason: CDISC has no such term.
    sponsor = {
        "LBALL",
        "VSALL",
        "CPALL",
        "MBALL",
        "ISALL",
        "OX40POS",
        "OX40RESP",
        "HSILIND",
        "OCTANTS",
        "OCTSUM",
        "HPVMULT",
    }
    for dataset, table in made.tables.items():
        code, name = f"{dataset}TESTCD", f"{dataset}TEST"
        if code not in table.column_names:
            continue
        short_names, long_names = sdtm.variable(dataset, code), sdtm.variable(dataset, name)
        assert short_names is not None
        assert long_names is not None
        if not short_names.codelists:
            continue  # criteria (IE, TI) are the study's own
        codes = terminology.codelist(short_names.codelists[0]).terms
        names = terminology.codelist(long_names.codelists[0]).by_code
        for short, long in {(row[code], row[name]) for row in table.to_pylist()}:
            if short in sponsor:
                assert short not in codes
            else:
                assert names[codes[short].code].value == long


def test_units_routes_and_frequencies_are_terms_of_cdisc(made: SourceRows) -> None:
    for dataset, table in made.tables.items():
        for name in table.column_names:
            variable = sdtm.variable(dataset, name)
            if variable is None or not name.endswith(("ORRESU", "DOSU", "ROUTE", "DOSFRQ", "DOSFRM", "SPEC", "POS")):
                continue
            terms = {term for code in variable.codelists for term in terminology.codelist(code).terms}
            assert set(table[name].to_pylist()) - {None} <= terms, name


def responses(made: SourceRows, time: str) -> dict[str, str]:
    return {
        row["USUBJID"]: row["RSORRES"]
        for row in rows(made, "RS")
        if row["RSTPT"] == time and row["RSORRES"] != "NE" and row["USUBJID"] and row["RSORRES"]
    }


def share(responses: list[str]) -> tuple[int, int]:
    return sum(response in ("CR", "PR") for response in responses), len(responses)


@pytest.mark.parametrize(
    ("time", "counts", "shares"),
    [
        ("END OF THERAPY", {"CR": 8, "PR": 4}, ((12, 23), (5, 9), (7, 14))),
        ("MONTH 12", {"CR": 8, "PR": 7}, ((15, 24), (6, 9), (9, 15))),
    ],
)
def test_the_published_responses(
    made: SourceRows, time: str, counts: dict[str, int], shares: tuple[tuple[int, int], ...]
) -> None:
    found = responses(made, time)
    hiv = {row["USUBJID"] for row in rows(made, "MH") if row["MHCAT"] == "HIV" and row["MHOCCUR"] == "Y"}
    assert counts.items() <= Counter(found.values()).items()
    positive = [response for subject, response in found.items() if subject in hiv]
    negative = [response for subject, response in found.items() if subject not in hiv]
    assert (share([*found.values()]), share(positive), share(negative)) == shares


def test_the_published_events_and_subjects(made: SourceRows) -> None:
    assert sum(row["AESER"] == "Y" for row in rows(made, "AE")) == 3
    assert sum(row["AESTOP"] == "Y" or row["AEACN"] == "DRUG WITHDRAWN" for row in rows(made, "AE")) == 0
    assert sum(row["DSDECOD"] == "ADVERSE EVENT" or row["DSSTOPAE"] == "Y" for row in rows(made, "DS")) == 0
    ages = sorted(int(row["AGE"] or 0) for row in rows(made, "DM"))
    assert (len(ages), ages[0], (ages[12] + ages[13]) / 2, ages[-1]) == (26, 41, 54, 74)
    assert {row["RACE"] for row in rows(made, "DM")} == {"WHITE", "ASIAN", "MULTIPLE"}


def test_synthetic_data_says_so(made: SourceRows) -> None:
    assert [row["TSVAL"] for row in rows(made, "TS") if row["TSPARMCD"] == "SYNTHDTA"] == ["Y"]


def test_origins_name_form_and_column(library: SourceLibrary) -> None:
    origins = library.origins()
    assert origins["LB"]["LBORRES"][0] == "blood_count.haemoglobin_g_l"
    assert origins["DM"]["ARM"] == ("eligibility.study_arm",)
    assert library.study is not None and library.study.name == "study.yaml"


@pytest.mark.parametrize("form", [name for name in FORMS if name != "study"])
def test_a_skeleton_loads_and_loses_nothing(form: str, tmp_path: Path, records: dict[str, pa.Table]) -> None:
    (tmp_path / f"{form}.yaml").write_text(make_form_skeleton(RECORDS / f"{form}.csv"), "utf-8")
    library = SourceLibrary(tmp_path)
    made = library.to_rows({form: records[form]})
    assert (made.problems, made.quarantined) == ([], {})
    back = library.to_records(made.tables, made.labels)
    assert cells(back.records[form]) == cells(records[form])


@pytest.mark.slow
def test_the_skeletons_of_all_forms_load_together_and_lose_nothing(
    tmp_path: Path, records: dict[str, pa.Table]
) -> None:
    forms = [name for name in FORMS if name != "study"]
    for form in forms:
        (tmp_path / f"{form}.yaml").write_text(make_form_skeleton(RECORDS / f"{form}.csv"), "utf-8")
    library = SourceLibrary(tmp_path)
    made = library.to_rows({form: records[form] for form in forms})
    assert (made.problems, made.quarantined) == ([], {})
    back = library.to_records(made.tables, made.labels)
    assert back.problems == []
    assert {form: cells(back.records[form]) for form in forms} == {form: cells(records[form]) for form in forms}
