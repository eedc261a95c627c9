"""Rules that every check of datasets asks: the findings of the catalogue's codes, and that they always run."""

import re

import pyarrow as pa

from fhirspace.errors import catalogue
from fhirspace.sdtm.conformance import check
from fhirspace.sdtm.rules.catalogue import own
from fhirspace.sdtm.rules.checks import CODE, conflicts
from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.study import Study
from tests.sdtm.rules.test_published import datasets
from tests.sdtm.sdtm_tables import table


def test_each_rule_has_one_code_of_the_catalogue_of_errors() -> None:
    codes = [[name for name in rule.ids if CODE.fullmatch(name)] for rule in own.consistency()]
    assert all(len(each) == 1 and each[0] in catalogue() for each in codes)
    assert {f"FS{number}" for number in range(754, 765)} == {each[0] for each in codes}
    assert {rule.id for rule in own.consistency()} < {rule.id for rule in own.rules()}


def test_they_run_over_every_dataset_of_the_guide() -> None:
    engine = Engine(Study(datasets(every=0, empty=False)))
    outcomes = [engine.run(rule) for rule in own.consistency()]
    assert {each.rule.id: each.errors for each in outcomes if each.errors} == {}
    assert [each.rule.id for each in outcomes if not each.judged] == []


def test_a_text_in_a_numeric_variable_hides_no_other_finding() -> None:
    dm = table("USUBJID|AGE|COUNTRY", "A|old|GBR", "B|-5|GBR")
    assert [(each.code, each.column, each.rows) for each in conflicts({"DM": dm})["DM"]] == [("FS755", "AGE", [1])]


def test_a_dataset_is_judged_as_the_one_that_it_is_named_for() -> None:
    ae = table("DOMAIN|USUBJID|AESTDTC|AEENDTC", "XX|A|2020-02-02|2020-02-01")
    bare = ae.drop_columns(["DOMAIN"])
    for each in (ae, bare):
        assert [(found.code, found.column) for found in conflicts({"AE": each})["AE"]] == [("FS754", "AEENDTC")]


def test_parts_of_a_split_domain_are_judged_together_and_reported_apart() -> None:
    one = table("DOMAIN|USUBJID|QSTESTCD|QSTEST", "QS|A|T1|Mood", "QS|A|T2|Sleep")
    two = table("DOMAIN|USUBJID|QSTESTCD|QSTEST", "QS|A|T3|Fear", "QS|A|T1|Hope")
    found = conflicts({"QSPH": one, "QSSL": two})
    assert {name: [(each.code, each.column, each.rows) for each in some] for name, some in found.items()} == {
        "QSSL": [("FS763", "QSTEST", [1])]
    }


def test_a_finding_names_the_rule_and_no_value() -> None:
    ae = table("DOMAIN|USUBJID|AESEQ|AETERM|AESTDTC|AEENDTC", "AE|A|1|Rash|2020-02-02|2020-02-01")
    dm = table("USUBJID", "A")
    (problem,) = [each for each, _ in check({"AE": ae, "DM": dm}) if each.code == "FS754"]
    assert re.search(r"The record ends before it starts \(FS-EVENT-001\)", str(problem))
    assert "2020" not in str(problem)


def test_nothing_is_found_in_nothing() -> None:
    assert conflicts({"AE": pa.table({})}) == {}
