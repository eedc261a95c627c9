"""Rules about the define.xml of a study, and rules that say what the engine does not do."""

from typing import Any

import pytest

from fhirspace.sdtm.define.model import Codelist, Define, Item, ItemGroup, ItemRef, Standard, Term
from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.results import results
from fhirspace.sdtm.rules.study import Study
from tests.sdtm.rules.rules_data import dataset, rule

KIND = "Define Item Metadata Check against Library Metadata"
CHECK = """
all:
  - {name: define_variable_ccode, operator: equal_to, value: C66734}
  - {name: define_variable_codelist_coded_codes, operator: is_not_contained_by, value: $codes}
"""
CODES = {"id": "$codes", "operator": "codelist_terms", "codelists": ["DOMAIN"], "level": "term", "returntype": "code"}


def define(code: str) -> Define:
    names = ("STUDYID", "DOMAIN", "AETERM")
    items = {f"IT.{name}": Item(f"IT.{name}", name, codelist="CL" if name == "DOMAIN" else "") for name in names}
    refs = tuple(ItemRef(oid, order=at, mandatory=True) for at, oid in enumerate(items, 1))
    return Define(
        "S",
        standards={"STD": Standard("STD", "CDISC/NCI", "CT", "2025-03-28", "SDTM")},
        groups={"IG.AE": ItemGroup("IG.AE", "AE", refs=refs)},
        items=items,
        codelists={"CL": Codelist("CL", "Domain", terms=(Term("AE", "Adverse Events", code),), code="C66734")},
    )


def found(code: str) -> list[tuple[str, ...]]:
    output = {"Output Variables": ["define_variable_name", "define_variable_codelist_coded_codes"]}
    judge = rule(CHECK, **{"Rule Type": KIND, "Operations": [CODES], "Outcome": output})
    outcome = Engine(Study([dataset("AE", {"DOMAIN": ["AE"]})], define=define(code))).run(judge)
    assert outcome.errors == {}
    return list(results(outcome))


def test_a_code_of_define_that_is_none_of_the_codelist() -> None:
    assert found("C49562") == []
    assert found("C1") == [
        ("AE", "2", "define_variable_name", "DOMAIN"),
        ("AE", "2", "define_variable_codelist_coded_codes", "['C1']"),
    ]


COLUMNS: list[tuple[str, str, Any, int]] = [
    ("define_variable_mandatory", "equal_to", "'Yes'", 3),
    ("define_variable_has_codelist", "equal_to", True, 1),
    ("define_variable_order_number", "greater_than", 1, 2),
    ("define_variable_label", "empty", None, 3),
    ("library_variable_core", "equal_to", "Req", 3),
    ("library_variable_role", "equal_to", "Topic", 1),
]


@pytest.mark.parametrize(("name", "operator", "value", "count"), COLUMNS)
def test_a_column_about_define(name: str, operator: str, value: Any, count: int) -> None:
    judge = rule(f"all: [{{name: {name}, operator: {operator}, value: {value}}}]", **{"Rule Type": KIND})
    outcome = Engine(Study([dataset("AE", {"DOMAIN": ["AE"]})], define=define("C49562"))).run(judge)
    assert sum(fault.count for fault in outcome.faults) == count


def test_a_study_without_define_is_not_judged_by_it() -> None:
    outcome = Engine(Study([dataset("AE", {"DOMAIN": ["AE"]})])).run(rule(CHECK, **{"Rule Type": KIND}))
    assert outcome.skipped == {"AE": "no dataset AE in define.xml"}


@pytest.mark.parametrize(
    ("part", "content", "reason"),
    [
        ("Sensitivity", "Group", "not supported: Sensitivity: Group"),
        ("Scope", {"Data Structures": {"Include": ["ALL"]}}, "not supported: Scope: Data Structures"),
        ("Scope", {"Entities": {"Include": ["ALL"]}}, "not supported: Scope: Entities"),
    ],
)
def test_a_rule_that_says_what_is_not_done_here(part: str, content: Any, reason: str) -> None:
    outcome = Engine(Study([dataset("AE", {"DOMAIN": ["AE"]})])).run(
        rule("all: [{name: DOMAIN, operator: non_empty}]", **{part: content})
    )
    assert outcome.errors == {"*": reason}
    assert outcome.faults == []
