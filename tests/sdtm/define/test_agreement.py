"""A define.xml against its datasets: green for our own, one finding for each seeded difference."""

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest

from fhirspace.sdtm.define import agreement
from fhirspace.sdtm.define.conditions import meets
from fhirspace.sdtm.define.model import Check, Codelist, Define, Term, Where
from tests.sdtm.define.test_making import VS, dataset, item, made

AE: dict[str, list[str | None]] = {
    "STUDYID": ["S1", "S1"],
    "DOMAIN": ["AE", "AE"],
    "USUBJID": ["1", "2"],
    "AESEQ": ["1", "1"],
    "AETERM": ["Headache", "Nausea"],
    "AESEV": ["MILD", "SEVERE"],
    "AESTDTC": ["2024-01-02", "2024-01-03"],
}
Tables = dict[str, pa.Table]
Change = Callable[[Define, Tables], None]


def package() -> tuple[Define, Tables]:
    tables = {}
    for name, cells in (("AE", AE), ("VS", VS)):
        made_of = dataset(name, cells)
        about = {each.name: {"label": each.label, "type": each.type} for each in made_of.columns}
        fields = [field.with_metadata(about[field.name]) for field in made_of.table.schema]
        tables[name] = pa.Table.from_arrays(made_of.table.columns, schema=pa.schema(fields))
    return made(AE=AE, VS=VS), tables


def change_item(group: str, name: str, **changes: object) -> Change:
    def change(define: Define, _: Tables) -> None:
        found = item(define, group, name)
        define.items[found.oid] = replace(found, **changes)

    return change


def change_group(name: str, **changes: object) -> Change:
    def change(define: Define, _: Tables) -> None:
        found = define.dataset(name)
        assert found
        define.groups[found.oid] = replace(found, **changes)  # type: ignore[arg-type]

    return change


def drop_dataset(_: Define, tables: Tables) -> None:
    del tables["AE"]


def add_dataset(_: Define, tables: Tables) -> None:
    tables["CM"] = tables["AE"]


def drop_column(_: Define, tables: Tables) -> None:
    tables["AE"] = tables["AE"].drop_columns(["AESEV"])


def add_column(_: Define, tables: Tables) -> None:
    tables["AE"] = tables["AE"].append_column("AEOWN", tables["AE"]["AETERM"])


def exchange_columns(_: Define, tables: Tables) -> None:
    names = tables["AE"].column_names
    tables["AE"] = tables["AE"].select([*names[:-2], names[-1], names[-2]])


def put(dataset_name: str, column: str, cells: list[str | None]) -> Change:
    def change(_: Define, tables: Tables) -> None:
        table = tables[dataset_name]
        at = table.schema.get_field_index(column)
        tables[dataset_name] = table.set_column(at, table.schema.field(at), pa.array(cells, pa.string()))

    return change


def repeat_rows(_: Define, tables: Tables) -> None:
    tables["AE"] = pa.concat_tables([tables["AE"], tables["AE"].slice(0, 1)])


def lose_codelist(define: Define, _: Tables) -> None:
    define.codelists.clear()


SEEDED: dict[str, tuple[Change, set[tuple[str, str | None]]]] = {
    "dataset missing": (drop_dataset, {("FS771", "AE")}),
    "dataset not described": (add_dataset, {("FS772", "CM")}),
    "variable missing": (drop_column, {("FS773", "AESEV")}),
    "variable not described": (add_column, {("FS774", "AEOWN")}),
    "label": (change_item("AE", "AETERM", label="Another"), {("FS775", "AETERM")}),
    "number said to be text": (change_item("AE", "AESEQ", type="text"), {("FS776", "AESEQ")}),
    "text said to be a number": (change_item("AE", "AETERM", type="integer"), {("FS776", "AETERM")}),
    "no such date": (put("AE", "AESTDTC", ["2024-01-02", "2024"]), {("FS776", "AESTDTC")}),
    "text too long": (change_item("AE", "AETERM", length=7), {("FS777", "AETERM")}),
    "not in the codelist": (put("AE", "AESEV", ["MILD", "LIGHT"]), {("FS778", "AESEV")}),
    "key": (repeat_rows, {("FS779", "AESTDTC")}),
    "order": (exchange_columns, {("FS780", None)}),
    "result of a test": (put("VS", "VSORRES", ["heavy", "of a patient", "8"]), {("FS776", "VSORRES")}),
    "unit of a test": (put("VS", "VSORRESU", ["kg", None, "LB"]), {("FS778", "VSORRESU")}),
}


def findings(define: Define, tables: Tables) -> set[tuple[str, str | None]]:
    return {(each.code, each.place.column) for each in agreement.check(define, tables)}


def test_our_own_agrees():
    assert findings(*package()) == set()


@pytest.mark.parametrize("seeded", SEEDED)
def test_a_difference_is_found_and_nothing_else(seeded):
    define, tables = package()
    change, expected = SEEDED[seeded]
    change(define, tables)
    assert findings(define, tables) == expected


def test_no_value_of_the_data_is_in_a_finding():
    define, tables = package()
    put("AE", "AESEV", ["MILD", "of a patient"])(define, tables)
    texts = [str(each) for each in agreement.check(define, tables)]
    assert texts and not any("of a patient" in text for text in texts)


def test_a_reference_that_leads_nowhere_is_found():
    define, tables = package()
    lose_codelist(define, tables)
    found = list(agreement.check(define, tables))
    assert {each.code for each in found} == {"FS781"} and len(found) > 3


def test_what_has_no_data_by_the_define_may_be_missing():
    define, tables = package()
    group = define.dataset("AE")
    assert group
    change_group("AE", refs=tuple(replace(ref, no_data=True) for ref in group.refs), no_data=True)(define, tables)
    drop_column(define, tables)
    assert findings(define, tables) == set()
    drop_dataset(define, tables)
    assert findings(define, tables) == set()


def test_comparisons_have_a_bound(monkeypatch):
    monkeypatch.setattr(agreement, "_MOST", 1)
    assert {code for code, _ in findings(*package())} == {"FS782"}


def test_no_value_is_the_empty_text_of_a_where_clause():
    define = made(AE=AE)
    check = Check(item(define, "AE", "AESEV").oid, "NE", ("",))
    assert not meets(define, [Where("WC", (check,))], ["AESEV"], (None,))
    assert meets(define, [Where("WC", (replace(check, comparator="EQ"),))], ["AESEV"], (None,))


def test_the_place_is_a_row_that_the_value_level_item_is_about():
    define, tables = package()
    put("VS", "VSORRES", ["81", "heavy", "heavy"])(define, tables)
    assert [(each.code, each.place.row) for each in agreement.check(define, tables)] == [("FS776", 4)]


@pytest.mark.parametrize(
    ("comparator", "values", "met"),
    [
        ("EQ", ("1.0",), {"1"}),
        ("NE", ("1",), {"2", "10"}),
        ("IN", ("1", "2"), {"1", "2"}),
        ("NOTIN", ("1", "2"), {"10"}),
        ("LT", ("10",), {"1", "2"}),
        ("LE", ("2",), {"1", "2"}),
        ("GT", ("2",), {"10"}),
        ("GE", ("2",), {"2", "10"}),
        ("GE", ("x",), set()),
        ("NE", ("",), {"1", "2", "10"}),
        ("EQ", ("",), set()),
    ],
)
def test_conditions_of_where_clauses(comparator, values, met):
    cells: dict[str, list[str | None]] = VS | {"VSSEQ": ["1", "2", "10"], "VSORRES": ["1", "2", "10"]}
    define = made(VS=cells)
    sequence, result = item(define, "VS", "VSSEQ"), item(define, "VS", "VSORRES")
    refs = define.value_lists[result.values].refs[:1]
    define.wheres["WC"] = Where("WC", (Check(sequence.oid, comparator, values),))
    define.value_lists[result.values] = replace(
        define.value_lists[result.values], refs=(replace(refs[0], where=("WC",)),)
    )
    define.codelists["CL"] = Codelist("CL", "none of them", terms=(Term("none"),))
    define.items[refs[0].item] = replace(define.items[refs[0].item], type="text", length=None, codelist="CL")
    found = [each for each in agreement.check(define, {"VS": dataset("VS", cells).table}) if each.code == "FS778"]
    assert [each.detail.split()[0] for each in found] == ([str(len(met))] if met else [])
