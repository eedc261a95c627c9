"""The steps of a conversion: what each is given, and that no step is done twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fhirspace.errors import InputError
from fhirspace.mapping.library import Library
from fhirspace.sdtm.longtext import check as longtext_check
from fhirspace.study import convert as conversion, pipeline, screening
from fhirspace.study.accounting import Accounting
from fhirspace.study.convert import convert
from fhirspace.study.dataset import InMemory, Tabulation
from fhirspace.study.inputs import recognise
from fhirspace.study.summary import StudySummary, for_rendering
from fhirspace.study.writing import datasets
from fhirspace.study.writing.datasets import write_sdtm
from fhirspace.tables import xpt
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.xpt import checks
from tests.study.space_study import Space

FORMATS = ("xpt", "parquet", "csv")
LONG = " ".join(["a long story of a headache"] * 12)
VARIABLES: tuple[xpt.Variable, ...] = (("A", "a", "Char", None), ("N", "n", "Num", None))


class Calls(Counter[str]):
    """How often functions are called, wherever a module has them by name."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._patch = patch

    def count(self, name: str, modules: Iterable[Any]) -> None:
        for module in modules:
            self._patch.setattr(module, name, self._counted(name, getattr(module, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            self[name] += 1
            return call(*args, **named)

        return counted


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def study(text: str = "HEADACHE", **cells: str) -> dict[str, pa.Table]:
    """Two datasets of one subject, with a number and a text in each."""
    dm = {"STUDYID": "S", "DOMAIN": "DM", "USUBJID": "S-1", "SUBJID": "1", "SITEID": "1", "COUNTRY": "USA", "SEX": "F"}
    dm |= {"ARMCD": "A", "ARM": "A", "ACTARMCD": "A", "ACTARM": "A", "AGE": "40", "AGEU": "YEARS"}
    ae = {"STUDYID": "S", "DOMAIN": "AE", "USUBJID": "S-1", "AESEQ": "1", "AETERM": text, "AEDECOD": "HEADACHE"}
    rows = {"DM": dm, "AE": ae | cells}
    return {name: pa.table({column: pa.array([cell]) for column, cell in row.items()}) for name, row in rows.items()}


def written(
    folder: Path, tables: dict[str, pa.Table], formats: tuple[str, ...] = FORMATS, **lazy: pa.Table
) -> Accounting:
    """Screens tables, and writes them, and those that were not screened since they are large."""
    accounting = Accounting()
    clean = screening.conforming(tables, accounting, formats)
    tabulations: dict[str, Tabulation] = {name: InMemory(table) for name, table in (clean.tables | lazy).items()}
    for name, table in tables.items():
        accounting.read(name, table.num_rows)
    with OutputFolder(folder) as out:
        write_sdtm(pipeline.Prepared(tabulations, screening=clean), out, accounting, formats)
        accounting.close(out)
    return accounting


def test_long_texts_are_cut_once(tmp_path: Path, calls: Calls) -> None:
    calls.count("divide", (longtext_check, datasets, screening))
    accounting = written(tmp_path / "out", study(LONG))
    assert calls["divide"] == 1
    assert "FS750" in {problem.code for problem in accounting.problems}
    assert xpt.read(tmp_path / "out" / "sdtm" / "suppae.xpt")[0]["QNAM"].to_pylist() == ["AETERM1"]


def test_cells_of_transport_files_are_checked_once(tmp_path: Path, calls: Calls) -> None:
    calls.count("_cells", (checks,))
    calls.count("number_fault", (checks, screening))
    accounting = written(tmp_path / "out", study())
    assert {path.name for path in (tmp_path / "out" / "sdtm").glob("*.xpt")} == {"ae.xpt", "dm.xpt"}
    assert not accounting.quarantined
    assert calls == {"number_fault": 2}  # AESEQ and AGE


def test_long_texts_are_cut_anew_where_screening_did_not_see_all_tables(tmp_path: Path, calls: Calls) -> None:
    calls.count("divide", (longtext_check, datasets, screening))
    calls.count("_cells", (checks,))
    tables = study(LONG)
    written(tmp_path / "out", {"DM": tables["DM"]}, AE=tables["AE"])
    assert calls["divide"] == 2
    assert calls["_cells"] >= tables["AE"].num_columns
    assert xpt.read(tmp_path / "out" / "sdtm" / "suppae.xpt")[0]["QNAM"].to_pylist() == ["AETERM1"]


def test_the_last_look_is_over_the_tables_that_are_left() -> None:
    good, bad = study(), study("a\x01b", AESEQ="2")
    accounting = Accounting()
    both = {"DM": good["DM"], "AE": pa.concat_tables([good["AE"], bad["AE"]])}
    look = screening.conforming(both, accounting, ("xpt",))
    assert look.tables["AE"]["AESEQ"].to_pylist() == ["1"]
    assert look.divided is not None
    assert look.divided.heads["AE"] is look.checked["AE"].table is look.tables["AE"]
    assert look.checked["AE"].columns["AETERM"] == "Char"
    assert accounting.accounts["AE"].quarantined == 1


def test_a_table_without_rows_left_is_not_written_and_texts_are_cut_anew() -> None:
    accounting = Accounting()
    look = screening.conforming(study("a\x01b"), accounting, ("xpt",))
    assert list(look.tables) == ["DM"]
    assert look.divided is None


def table(a: str = "x", n: str = "1") -> pa.Table:
    return pa.table({"A": pa.array([a]), "N": pa.array([n])})


CHECKED: dict[str, tuple[pa.Table, Callable[[pa.Table], xpt.Checked], str]] = {
    "other table": (table("\x01"), lambda made: xpt.Checked(table(), {"A": "Char", "N": "Num"}), "FS106"),
    "other type": (table(n="n"), lambda made: xpt.Checked(made, {"A": "Char", "N": "Char"}), "FS136"),
    "other column": (table(n="n"), lambda made: xpt.Checked(made, {"A": "Char"}), "FS136"),
    "too long": (table("x" * 201), lambda made: xpt.Checked(made, {"A": "Char", "N": "Num"}), "FS135"),
}


@pytest.mark.parametrize("case", CHECKED)
def test_checked_counts_for_its_own_table_and_types(tmp_path: Path, case: str) -> None:
    made, checked, code = CHECKED[case]
    with pytest.raises(InputError) as found:
        xpt.write(made, tmp_path / "t.xpt", name="T", label="t", variables=VARIABLES, checked=checked(made))
    assert found.value.code == code


NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"name": "NOT A NAME", "label": "t"}, "FS133"),
    "label": ({"name": "T", "label": "t" * 41}, "FS134"),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_and_labels_are_checked_always(tmp_path: Path, case: str) -> None:
    made, (named, code) = table(), NAMES[case]
    checked = xpt.Checked(made, {"A": "Char", "N": "Num"})
    with pytest.raises(InputError) as found:
        xpt.write(made, tmp_path / "t.xpt", variables=VARIABLES, checked=checked, **named)
    assert found.value.code == code


BAD_COLUMNS: dict[str, tuple[str, str]] = {
    "control character": ("AETERM", "a\x01b"),
    "not a number": ("AESEQ", "one"),
    "too many digits": ("AESEQ", "1.00000000000000000001"),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_a_column_with_a_fault_is_not_among_the_checked(case: str) -> None:
    column, cell = BAD_COLUMNS[case]
    made = pa.table({"AESEQ": pa.array(["1"]), "AETERM": pa.array(["x"])})
    made = made.set_column(made.column_names.index(column), column, pa.array([cell]))
    good = {"AESEQ": "Num", "AETERM": "Char"}
    del good[column]
    assert screening.screen({"AE": made}, FORMATS).checked["AE"].columns == good


def test_a_summary_has_what_the_mappings_use_and_nothing_else() -> None:
    sv = pa.table({"USUBJID": ["S-1", "S-1", None], "VISITNUM": ["1", "1", "2"]})
    ts = pa.table({"TSPARMCD": ["SYNTHDTA", "TITLE"], "TSVAL": ["Y", "a title"]})
    tabulations = {name: InMemory(each) for name, each in (study() | {"SV": sv, "TS": ts}).items()}
    mappings = Library("R4").mappings
    whole = for_rendering(tabulations, mappings.values())
    assert whole.keys["SV", "USUBJID", "VISITNUM"].to_pylist() == ["S-1\x1f1"]
    assert whole.parameters["SYNTHDTA"] == "Y"
    assert whole.statuses == {"S-1": "screening"}
    assert for_rendering(tabulations, []) == StudySummary()
    lacking = for_rendering({"DM": tabulations["DM"]}, mappings.values())
    assert lacking.keys.keys() == {("DM", "USUBJID")}
    assert not lacking.parameters


def copy(tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    return {name: each.slice(0) for name, each in tables.items()}


@pytest.mark.slow
def test_pure_steps_give_the_same_twice_and_change_nothing(three: Space) -> None:
    sources = pipeline.source_library("space", (), [])
    records = pipeline.read(recognise([three.records]), Accounting(), sources)
    before = copy(records.tables)
    made, again = pipeline.forms(records, sources), pipeline.forms(records, sources)
    assert made.tables == again.tables
    rows = copy(made.tables)
    block, _ = pipeline.derive(made, sources)
    assert pipeline.derive(again, sources).block == block
    assert made.tables == rows
    datasets = copy(block.tables)
    first, second = pipeline.check(block, FORMATS), pipeline.check(block, FORMATS)
    assert first.findings == second.findings
    assert first.tables == second.tables == datasets
    back = pipeline.forms_back(block, sources)
    assert back.records == pipeline.forms_back(block, sources).records
    assert records.tables == before
    assert block.tables == datasets


WAYS: dict[str, tuple[conversion.Target, str]] = {
    "records": ("sdtm", "read forms derive check"),
    "sdtm": ("fhir", "read_sdtm check render"),
    "fhir": ("records", "extract check forms_back"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WAYS)
def test_convert_calls_each_step_once(kind: str, three: Space, tmp_path: Path, calls: Calls) -> None:
    target, steps = WAYS[kind]
    source = {"records": lambda: three.records, "sdtm": lambda: three.sdtm().out, "fhir": lambda: three.fhir().out}
    given = source[kind]()
    for name in ("read", "read_sdtm", "forms", "derive", "check", "render", "extract", "forms_back"):
        calls.count(name, (pipeline,))
    convert(given, to=target, out=tmp_path / "out", source="space" if target == "records" else None)
    assert calls == dict.fromkeys(steps.split(), 1)
