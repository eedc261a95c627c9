"""What is wrong in a source mapping is refused when it is loaded: file, line, key, and what would fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.errors import MappingError, explain
from fhirspace.forms.library import SourceLibrary

HEAD = "form: f\nkey: [s]\nmakes: LB\n"
ROWS = HEAD + "rows: {STUDYID: T, USUBJID: <s>, LBTESTCD: A, LBORRES: <a>}\n"
EACH = HEAD + "rows: {STUDYID: T, USUBJID: <s>}\neach:\n"

WRONG: dict[str, tuple[str, str, str, str]] = {
    "no form": ("key: [s]\nmakes: LB\nrows: {USUBJID: <s>}", "FS351", "f.yaml:1:form", "`form:`"),
    "no key": ("form: f\nmakes: LB\nrows: {LBORRES: <a>}", "FS351", "f.yaml:1:key", "`key:`"),
    "no dataset": ("form: f\nkey: [s]", "FS351", "f.yaml:1:makes", "`makes:`"),
    "two keys": (ROWS + "---\nkey: [t]\nmakes: LB\nrows: {LBORRES: <a>}", "FS351", "f.yaml:6:key", "the same key"),
    "misspelt key": ("form: f\nkeys: [s]", "FS304", "f.yaml:2:keys", "key"),
    "unknown dataset": ("form: f\nkey: [s]\nmakes: QQQ", "FS352", "f.yaml:1:makes", "a dataset"),
    "unknown variable": (HEAD + "rows: {LBORESS: <a>}", "FS353", "f.yaml:4:LBORESS", "LBORRES"),
    "standard name": (HEAD + "supplemental: {LBORRES: x}\nrows: {LBORRES: <a>}", "FS354", "f.yaml:4:LBORRES", "a name"),
    "long label": (HEAD + f"supplemental: {{LBX: {'x' * 41}}}", "FS354", "f.yaml:4:LBX", "label of at most 40"),
    "comment with a standard name": (ROWS + "comments: {LBREASND: x}", "FS365", "f.yaml:5:LBREASND", "a name"),
    "comment that is a qualifier": (
        ROWS + "supplemental: {LBX: x}\ncomments: {LBX: x}", "FS365", "f.yaml:6:LBX", "`supplemental:`",
    ),
    "comment without subjects": (
        "form: f\nkey: [s]\nmakes: TS\ncomments: {TSX: x}\nrows: {TSPARMCD: <s>, TSX: <a>}", "FS365", "f.yaml:4:TSX", "subjects",
    ),
    "comments that are alike": (
        HEAD + "comments: {LBX: x, LBY: x}\nrows: {USUBJID: <s>, LBX: <a>, LBY: <b>}", "FS365", "f.yaml:1:LBY", "one reference",
    ),
    "relation without a label": (ROWS + "related: {LBX: AESPID}", "FS366", "f.yaml:5:LBX", "`supplemental:`"),
    "relation to no variable": (
        ROWS + "supplemental: {LBX: x}\nrelated: {LBX: AESPIDS}", "FS366", "f.yaml:6:LBX", "such as AESPID",
    ),
    "relation to a dataset without numbers": (
        ROWS + "supplemental: {LBX: x}\nrelated: {LBX: DMDTC}", "FS366", "f.yaml:6:LBX", "such as AESPID",
    ),
    "relation of a dataset without numbers": (
        "form: f\nkey: [s]\nmakes: DM\nrows: {USUBJID: <s>, DMX: <a>}\nsupplemental: {DMX: x}\nrelated: {DMX: AESPID}",
        "FS366", "f.yaml:6:DMX", "--SEQ",
    ),
    "relation to what no form writes": (
        HEAD + "supplemental: {LBX: x}\nrelated: {LBX: AESPID}\nrows: {USUBJID: <s>, LBX: <a>}",
        "FS366", "f.yaml:1:LBX", "a form that writes AESPID",
    ),
    "key not read": (HEAD + "rows: {USUBJID: T, LBORRES: <a>}", "FS355", "f.yaml:1:LB", "<s>"),
    "alike": (
        EACH + "  - {LBTESTCD: A, LBORRES: <a>}\n  - {LBTESTCD: A, LBORRES: <b>}", "FS356", "f.yaml:6:LB", "line 7",
    ),
    "alike but for a derived variable": (
        EACH + "  - {LBTESTCD: A, LBORRES: <a>, EPOCH: X}\n  - {LBTESTCD: A, LBORRES: <b>}", "FS356", "f.yaml:6:LB", "",
    ),
    "number": (
        "form: f\nkey: [s]\nmakes: DM\nrows: {USUBJID: <s>, AGE: <age>}", "FS358", "f.yaml:4:AGE", "a number",
    ),
    "constant number": (
        "form: f\nkey: [s]\nmakes: DM\nrows: {USUBJID: <s>, AGE: old}", "FS358", "f.yaml:4:AGE", "a number",
    ),
    "codec of FHIR": (HEAD + "rows: {USUBJID: <s>, LBORRES: <a yes/no>}", "FS358", "f.yaml:4:yes/no", "a codec"),
    "not a term": (
        "form: f\nkey: [s]\nmakes: DM\nrows: {USUBJID: <s>, SEX: MALE, ARM: <a>}", "FS359", "f.yaml:1:SEX", "one of F",
    ),
    "code that is no term": (
        "form: f\nkey: [s]\nmakes: DM\ncodes: {S: {'1': MAN}}\nrows: {USUBJID: <s>, SEX: <x codes(S)>}",
        "FS359", "f.yaml:1:SEX", "one of F",
    ),
    "empty": (HEAD + "rows: {USUBJID: <s>, LBORRES: ''}", "FS360", "f.yaml:4:LBORRES", "a text"),
    "no alternatives": (HEAD + "rows: {LBORRES: {one of: x}}", "FS360", "f.yaml:4:LBORRES", "`one of:`"),
    "alternative without text": (
        HEAD + "rows: {LBORRES: {one of: [{when: a}]}}", "FS360", "f.yaml:4:LBORRES", "`text:`",
    ),
    "reserved column": (HEAD + "rows: {LBORRES: <_a>}", "FS360", "f.yaml:4:_a", "reserved"),
    "never stands": (EACH + "  - {LBTESTCD: A}", "FS360", "f.yaml:6", "`always: true`"),
    "no variables": (HEAD, "FS320", "f.yaml:1", "variables"),
    "slots that touch": (HEAD + "rows: {LBORRES: <a><b>}", "FS344", "f.yaml:4:LBORRES", "a constant"),
    "shape of each": (HEAD + "each: {LBTESTCD: A}", "FS321", "f.yaml:4:each", "a list"),
    "shape of rows": (HEAD + "rows: x", "FS321", "f.yaml:4:rows", "keys and values"),
    "shape of key": ("form: f\nkey: [{a: b}]", "FS321", "f.yaml:1:key", "a list"),
    "shape of form": ("form: [f]", "FS321", "f.yaml:1:form", "a text"),
    "shape of codes": (ROWS + "codes: {X: [a]}", "FS321", "f.yaml:5:X", "cells and codes"),
    "always": (EACH + "  - {always: maybe, LBTESTCD: A}", "FS321", "f.yaml:6:always", "`always: true`"),
    "condition": (ROWS + "when: a is", "FS317", "f.yaml:5:a is", "a condition"),
    "shape of when": (ROWS + "when: [a]", "FS317", "f.yaml:5:when", "a condition"),
    "has": (ROWS + "when: SV has USUBJID", "FS317", "f.yaml:5:when", "columns of the form"),
    "skip when": (ROWS + "skip when: a in X", "FS317", "f.yaml:5:a in X", "a list"),
    "skip when of datasets": (ROWS + "skip when: SV has USUBJID", "FS317", "f.yaml:5:skip when", "columns of the form"),
    "drop of a list": (ROWS + "drop: [[a]]", "FS321", "f.yaml:5:drop", "a list of texts"),
    "drop of nothing": (ROWS + "drop: ['']", "FS321", "f.yaml:5:drop", "not empty"),
    "drop of a column in use": (ROWS + "drop: [x, s]", "FS362", "f.yaml:5:s", "uses nowhere else"),
    "drop of a column to carry": (ROWS + "columns: [x]\ndrop: [x]", "FS362", "f.yaml:6:x", "a pattern"),
    "missing of nothing": (ROWS + "missing: ''", "FS321", "f.yaml:5:missing", "not empty"),
    "missing in a condition": (
        ROWS + "missing: [NA]\nwhen: not (a and b in [1, NA])", "FS363", "f.yaml:1:b", "the condition `not b`",
    ),
    "missing in given": (ROWS + "missing: NA\ngiven: {a: NA}", "FS363", "f.yaml:1:a", "without this text"),
    "several texts given": (
        ROWS + "given:\n  a: [x, y]", "FS321", "f.yaml:6:a", "several ones are a condition: `when: a in [A, B]`",
    ),
    "empty part of a key that must be filled": (
        HEAD + "given: {s: ''}\nrows: {LBTESTCD: A, LBORRES: <a>}", "FS355", "f.yaml:1:LB", "<s>",
    ),
    "zone": (ROWS + "zone: Europe/Berln", "FS364", "f.yaml:5:zone", "Europe/Berlin"),
    "zone that is no name": (ROWS + "zone: ../etc", "FS364", "f.yaml:5:zone", "such as Europe/Berlin"),
    "zone of nothing": (ROWS + "zone: ''", "FS321", "f.yaml:5:zone", "a text"),
    "two zones": (
        ROWS + "zone: Europe/Rome\n---\nzone: Europe/Paris\nmakes: LB\nrows: {STUDYID: T, USUBJID: <s>, LBTESTCD: B, LBORRES: <b>}",
        "FS351", "f.yaml:7:zone", "Europe/Rome",
    ),
    "carry unmapped": (ROWS + "carry unmapped: maybe", "FS321", "f.yaml:5:carry unmapped", "`carry unmapped: true`"),
    "misspelt drop": (ROWS + "drops: [x]", "FS304", "f.yaml:5:drops", "drop"),
    "constant that is not there": (
        HEAD + "let: {subject: x}\nrows: {LBORRES: $subjct}", "FS331", "f.yaml:5:$subjct", "$subject",
    ),
    "constant in a text": (HEAD + "rows: {LBORRES: x$y}", "FS331", "f.yaml:4:$y", "a constant"),
    "constant of itself": (HEAD + "let: {a: $b, b: $a}\nrows: {LBORRES: $a}", "FS303", "f.yaml:4:$a", "$a refers to itself through $b"),
    "form of a cell": (
        HEAD + "forms: {a: {number: <value decimal>}}\nrows: {LBORRES: <a.text>}", "FS342", "f.yaml:5:a.text", "number",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "code", "place", "expected"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_mapping_is_refused_where_it_is_wrong(
    tmp_path: Path, text: str, code: str, place: str, expected: str
) -> None:
    (tmp_path / "f.yaml").write_text(text, "utf-8")
    with pytest.raises(MappingError) as caught:
        SourceLibrary(tmp_path).forms  # noqa: B018
    problem = caught.value.problem
    assert (problem.code, str(problem.place)) == (code, place)
    assert expected in f"{problem.detail} {problem.expected}"
    assert explain(code).fix


ONE = "form: {form}\nkey: [s]\nmakes: DM\none per: [{on}]\nrows: {{STUDYID: T, USUBJID: {who}, {more}}}\n"

APART: dict[str, tuple[str, str, str]] = {
    "a variable in both": (
        ONE.format(form="a", on="USUBJID", who="<s>", more="SEX: <x>"),
        ONE.format(form="b", on="USUBJID", who="<s>", more="SEX: <y>"),
        "SEX in one of the forms only",
    ),
    "different variables to meet by": (
        ONE.format(form="a", on="USUBJID", who="<s>", more="SEX: <x>"),
        ONE.format(form="b", on="STUDYID, USUBJID", who="<s>", more="ARM: <y>"),
        "the same `one per:`",
    ),
    "different spellings of who it is": (
        ONE.format(form="a", on="USUBJID", who="T-<s>", more="SEX: <x>"),
        ONE.format(form="b", on="USUBJID", who="U-<s>", more="ARM: <y>"),
        "USUBJID in one of the forms only",
    ),
    "a variable to meet by that is not there": (
        ONE.format(form="a", on="SUBJID", who="<s>", more="SEX: <x>"), "", "SUBJID under `rows:`",
    ),
    "two lines of one form": (
        ONE.format(form="a", on="USUBJID", who="<s>", more="SEX: <x>"),
        ONE.format(form="a", on="USUBJID", who="<s>", more="ARM: <y>"),
        "one line of a form",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("one", "two", "expected"), APART.values(), ids=list(APART))
def test_forms_that_cannot_make_a_row_together_are_refused(tmp_path: Path, one: str, two: str, expected: str) -> None:
    (tmp_path / "a.yaml").write_text(one, "utf-8")
    if two:
        (tmp_path / "b.yaml").write_text(two, "utf-8")
    with pytest.raises(MappingError, match="FS357") as caught:
        SourceLibrary(tmp_path).forms  # noqa: B018
    assert expected in caught.value.problem.expected


def test_two_columns_that_come_to_one_supplemental_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirspace.forms.supplemental.hashed_name", lambda form, column: "SAME")
    (tmp_path / "f.yaml").write_text(ROWS + "columns: [first column, second column]\n", "utf-8")
    with pytest.raises(MappingError, match="FS361"):
        SourceLibrary(tmp_path).forms  # noqa: B018


def test_a_folder_without_forms_is_refused(tmp_path: Path) -> None:
    for library in (SourceLibrary(tmp_path), SourceLibrary("no such source")):
        with pytest.raises(MappingError, match="FS350"):
            library.forms  # noqa: B018


def test_common_files_hold_constants_and_code_lists_only(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(ROWS, "utf-8")
    (tmp_path / "common.yaml").write_text("rows: {A: b}\n", "utf-8")
    with pytest.raises(MappingError, match="FS321"):
        SourceLibrary(tmp_path).forms  # noqa: B018


@pytest.mark.parametrize(("text", "origin"), [("", "CRF"), ("origin: Collected\n", "Collected"), ("origin: EHR\n", "")])
def test_the_origin_of_qualifiers_is_a_term(tmp_path: Path, text: str, origin: str) -> None:
    (tmp_path / "f.yaml").write_text(ROWS, "utf-8")
    (tmp_path / "common.yaml").write_text(text or "codes: {}\n", "utf-8")
    library = SourceLibrary(tmp_path)
    if not origin:
        with pytest.raises(MappingError, match=r"FS321 common.yaml:1:origin.*Collected"):
            library.forms  # noqa: B018
    else:
        assert library.origin == origin
