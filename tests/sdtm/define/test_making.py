"""The definitions of small datasets: codelists, value-level metadata, keys, origins, methods."""

import pyarrow as pa
import pytest

from fhirspace.sdtm.define import making
from fhirspace.sdtm.define.document import reading, writing
from fhirspace.sdtm.define.making import Column, Dataset, Known
from fhirspace.sdtm.define.origins import Cell
from fhirspace.sdtm.derive.work import Derived
from fhirspace.standards import sdtm
from tests.support.define_schema import faults

VS: dict[str, list[str | None]] = {
    "STUDYID": ["S1", "S1", "S1"],
    "DOMAIN": ["VS", "VS", "VS"],
    "USUBJID": ["1", "1", "2"],
    "VSSEQ": ["1", "2", "1"],
    "VSTESTCD": ["WEIGHT", "OWN", "WEIGHT"],
    "VSTEST": ["Weight", "Our Own Test", "Weight"],
    "VSORRES": ["70.5", "of a patient", "81"],
    "VSORRESU": ["kg", None, "kg"],
    "VSPOS": ["SITTING", "HANGING", None],
    "VSBLFL": [None, None, None],
}


def dataset(name, cells, file=""):
    table = pa.table({column: pa.array(values, pa.string()) for column, values in cells.items()})
    columns = []
    for column, values in cells.items():
        known = sdtm.variable(name, column)
        longest = max((len(value.encode()) for value in values if value), default=1)
        columns.append(Column(column, known.label if known else column, known.type if known else "Char", longest))
    return Dataset(table, columns, sdtm.domain(name).label, file or f"{name.lower()}.xpt")


def made(known=None, **datasets):
    return making.make({name: dataset(name, cells) for name, cells in datasets.items()}, known)


def item(define, group, name):
    return next(each for _, each in define.variables(define.dataset(group)) if each.name == name)


def terms(define, group, name):
    codelist = define.codelists[item(define, group, name).codelist]
    return {term.value: (term.decode, term.code, term.extended) for term in codelist.terms}


def test_only_terms_in_use_are_listed_and_extensions_are_marked():
    define = made(VS=VS)
    assert terms(define, "VS", "VSPOS") == {
        "SITTING": ("Sitting", "C62122", False),
        "HANGING": ("HANGING", "", True),
    }
    assert terms(define, "VS", "VSTESTCD") == {
        "OWN": ("Our Own Test", "", True),
        "WEIGHT": ("Weight", "C25208", False),
    }


def test_a_value_beside_a_closed_list_is_not_listed():
    define = made(VS=VS | {"VSBLFL": ["Y", "perhaps", None]})
    assert list(terms(define, "VS", "VSBLFL")) == ["Y"]


def test_a_code_without_a_name_is_listed_too():
    ta: dict[str, list[str | None]] = {"STUDYID": ["S1"], "DOMAIN": ["TA"], "ETCD": ["SCRN"], "ELEMENT": ["Screening"]}
    se: dict[str, list[str | None]] = {"STUDYID": ["S1"], "DOMAIN": ["SE"], "USUBJID": ["1"], "ETCD": ["UNPLAN"]}
    define = made(TA=ta, SE=se)
    assert terms(define, "SE", "ETCD") == {"SCRN": ("Screening", "", False), "UNPLAN": (None, "", False)}


@pytest.mark.parametrize(("number", "kind", "listed"), [("3.01", "float", ["1", "3.01"]), ("3", "integer", ["1", "3"])])
def test_the_list_of_a_number_has_its_type(number, kind, listed):
    sv: dict[str, list[str | None]] = {
        "STUDYID": ["S1", "S1"],
        "DOMAIN": ["SV", "SV"],
        "USUBJID": ["1", "1"],
        "VISITNUM": ["1", number],
        "VISIT": ["BASELINE", "UNSCHEDULED"],
    }
    define = made(SV=sv)
    codelist = define.codelists[item(define, "SV", "VISITNUM").codelist]
    assert (codelist.type, item(define, "SV", "VISITNUM").type) == (kind, kind)
    assert [term.value for term in codelist.terms] == listed


def test_free_text_has_no_codelist():
    define = made(VS=VS)
    assert item(define, "VS", "VSORRES").codelist == ""
    assert b"of a patient" not in writing.as_bytes(define)


def test_results_are_described_by_test():
    define = made(VS=VS)
    values = define.value_lists[item(define, "VS", "VSORRES").values]
    described = {}
    for ref in values.refs:
        (check,) = define.wheres[ref.where[0]].checks
        assert define.items[check.item].name == "VSTESTCD" and check.comparator == "EQ"
        found = define.items[ref.item]
        described[check.values] = (found.type, found.length, found.digits, found.label)
    assert described == {("OWN",): ("text", 12, None, "Our Own Test"), ("WEIGHT",): ("float", 3, 1, "Weight")}


def test_units_of_a_test_are_a_codelist():
    define = made(VS=VS)
    (ref,) = define.value_lists[item(define, "VS", "VSORRESU").values].refs
    assert [term.value for term in define.codelists[define.items[ref.item].codelist].terms] == ["kg"]


def test_an_empty_variable_has_no_data_and_no_codelist():
    define = made(VS=VS)
    ref = next(ref for ref, each in define.variables(define.dataset("VS")) if each.name == "VSBLFL")
    assert ref.no_data and item(define, "VS", "VSBLFL").codelist == ""


@pytest.mark.parametrize("again", [False, True])
def test_key_has_the_sequence_number_only_where_it_needs_it(again):
    cells = VS | ({"VSTESTCD": ["WEIGHT"] * 3, "VSPOS": ["SITTING"] * 3} if again else {})
    keys = {each.name: ref.key for ref, each in made(VS=cells).variables(made(VS=cells).dataset("VS")) if ref.key}
    assert ("VSSEQ" in keys) == again
    assert sorted(keys.values()) == list(range(1, len(keys) + 1))


def test_origins_name_form_and_field():
    cells = [
        Cell("VS", "VSORRES", "WEIGHT", (("vitals", "weight"),)),
        Cell("VS", "VSORRES", "OWN", (("own", "result"),)),
        Cell("VS", "VSTESTCD", "WEIGHT", ()),
    ]
    define = made(Known(cells), VS=VS)
    assert [each.text for each in item(define, "VS", "VSORRES").origins] == ["Form vitals: weight; Form own: result"]
    assert item(define, "VS", "VSTESTCD").origins[0].type == "Assigned"
    values = define.value_lists[item(define, "VS", "VSORRES").values]
    assert [define.items[ref.item].origins[0].text for ref in values.refs] == [
        "Form own: result",
        "Form vitals: weight",
    ]


def test_nothing_is_guessed_without_a_mapping():
    define = made(VS=VS)
    assert item(define, "VS", "VSORRES").origins[0].type == "Not Available"
    assert item(define, "VS", "STUDYID").origins[0].type == "Protocol"


def test_a_derived_variable_has_its_method():
    known = Known([Cell("VS", "VSORRES", "", (("vitals", "w"),))], [Derived("VS", "VSSEQ", "Whole numbers from 1.")])
    define = made(known, VS=VS)
    ref = next(ref for ref, each in define.variables(define.dataset("VS")) if each.name == "VSSEQ")
    assert define.methods[ref.method].text == "Whole numbers from 1."
    assert item(define, "VS", "VSSEQ").origins[0].type == "Derived"


def test_qualifiers_are_described_by_name():
    supp = {
        "STUDYID": ["S1", "S1"],
        "RDOMAIN": ["AE", "AE"],
        "USUBJID": ["1", "2"],
        "IDVAR": ["AESEQ", "AESEQ"],
        "IDVARVAL": ["1", "1"],
        "QNAM": ["AEOTHER", "AEGRADE"],
        "QLABEL": ["Other Reason", "Grade"],
        "QVAL": ["a private text", "3"],
        "QORIG": ["CRF", "DERIVED"],
        "QEVAL": [None, None],
    }
    define = made(SUPPAE=supp)
    values = define.value_lists[item(define, "SUPPAE", "QVAL").values]
    found = {define.items[ref.item].name: define.items[ref.item] for ref in values.refs}
    assert {name: (each.type, each.label, each.origins[0].type) for name, each in found.items()} == {
        "AEOTHER": ("text", "Other Reason", "Collected"),
        "AEGRADE": ("integer", "Grade", "Derived"),
    }
    assert b"private" not in writing.as_bytes(define)


@pytest.mark.parametrize("name", ["VS", "XV"])
def test_written_is_valid_and_read_the_same(name, tmp_path):
    cells = {
        column.replace("VS", name): [value.replace("VS", name) if value else None for value in values]
        for column, values in VS.items()
    }
    define = made(Known(remark='Control \x01 and & < " signs'), **{name: cells})
    content = writing.as_bytes(define)
    assert faults(content) == []
    path = tmp_path / "define.xml"
    path.write_bytes(content)
    again = reading.read(path)
    assert writing.as_bytes(again) == content
    (group,) = again.groups.values()
    assert (group.nonstandard, group.klass) == (name == "XV", "FINDINGS")
