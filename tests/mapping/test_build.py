"""What a wrong mapping is told: the file, the line, the key, and what would fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.errors import MappingError
from fhirspace.mapping.library import Library

GOOD = """\
domain: ZZ
key: [STUDYID, USUBJID, ZZSEQ]
Observation:
  id: <USUBJID id>-ZZ-<ZZSEQ integer>
  meta: {tag: {system: $fs/study, code: <STUDYID>}}
  identifier: {system: $fs/ZZ, value: <USUBJID>|<ZZSEQ integer>}
  status: final
  code: {text: <ZZTEST>}
  valueString: <ZZORRES>
  extension: [<carried>]
"""


def load(
    tmp_path: Path, text: str, *, release: str = "R4", codes: dict[str, str] | None = None, more: str = ""
) -> Library:
    (tmp_path / "domains").mkdir()
    (tmp_path / "codes").mkdir()
    (tmp_path / "common.yaml").write_text("let: {fs: https://fhirspace.org}\n", "utf-8")
    (tmp_path / "domains" / "zz.yaml").write_text(text, "utf-8")
    if more:
        (tmp_path / "domains" / "yy.yaml").write_text(more, "utf-8")
    for name, content in (codes or {}).items():
        (tmp_path / "codes" / f"{name}.csv").write_text(content, "utf-8")
    library = Library(release, [tmp_path], bare=True)  # type: ignore[arg-type]
    assert library.mappings
    return library


def test_the_good_one_is_good(tmp_path: Path) -> None:
    assert list(load(tmp_path, GOOD).mappings) == ["ZZ"]


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


WRONG = {
    "not YAML": ("domain: [ZZ", "FS301", None, ""),
    "a list": ("- domain: ZZ", "FS301", 1, "keys and values"),
    "a list as key": ("? [a]\n: b\n", "FS301", 1, "plain text"),
    "a key twice": (changed("  status: final", "  status: final\n  status: final"), "FS302", 8, "once"),
    "two columns on one path": (changed("  valueString:", "  valueString|x: <A>\n  valueString:"), "FS302", 10, "once"),
    "an alias that holds itself": (changed("  code: {text: <ZZTEST>}", "  code: &a {text: *a}"), "FS303", 8, "alias"),
    "a constant that stands for itself": (changed("domain: ZZ", "domain: ZZ\nlet: {a: $b, b: $a}").replace("final", "$a"), "FS303", 2, ""),
    "unclosed slot": (changed("<ZZTEST>", "<ZZTEST"), "FS310", 8, "closed"),
    "slot without column": (changed("<ZZTEST>", "<>"), "FS310", 8, "column"),
    "no such list": (changed("<ZZTEST>", "<ZZTEST codes(NOPE)>"), "FS311", 8, "codes/"),
    "a list misspelt": (changed("<ZZTEST>", "<ZZTEST codes(COLOUR)>"), "FS311", 8, "COLORS"),
    "no such CDISC codelist": (changed("<ZZTEST>", "<ZZTEST codes(C1)>"), "FS311", 8, "terminology"),
    "no such column of a list": (changed("<ZZTEST>", "<ZZTEST codes(COLORS.shade)>"), "FS312", 8, "code"),
    "no such column of a codelist": (changed("<ZZTEST>", "<ZZTEST codes(C66731.shade)>"), "FS312", 8, "ncit"),
    "no such codec": (changed("<ZZTEST>", "<ZZTEST decimale>"), "FS314", 8, "decimal"),
    "codec of a wrong form": (changed("<ZZTEST>", "<ZZTEST 7>"), "FS314", 8, "codec"),
    "form without parts": (changed("domain: ZZ", "domain: ZZ\nforms: {ZZORRES: {number: abc}}"), "FS315", 2, "parts"),
    "form that is no text": (changed("domain: ZZ", "domain: ZZ\nforms: {ZZORRES: {number: [a]}}"), "FS315", 2, "pattern"),
    "three alternatives": (changed("  status:", "  a|b|c: x\n  status:"), "FS316", 7, "event|code"),
    "condition that ends": (changed("  code:", "  method: {when: ZZORRES is, text: x}\n  code:"), "FS317", 8, "middle"),
    "condition with a strange mark": (changed("  code:", "  method: {when: 'A & B', text: x}\n  code:"), "FS317", 8, "condition"),
    "makes nothing": ("domain: ZZ\nkey: [A]\n", "FS320", 1, "Observation"),
    "no domain": (changed("domain: ZZ", "let: {}"), "FS321", 1, "domain"),
    "key of objects": (changed("[STUDYID, USUBJID, ZZSEQ]", "[{a: b}]"), "FS321", 2, "columns"),
    "no such resource": (changed("Observation:", "Observations:"), "FS322", 3, "Observation"),
    "resource as a text": ("domain: ZZ\nkey: [A]\nObservation: x\n", "FS321", 3, "elements"),
    "no id": (changed("  id: <USUBJID id>-ZZ-<ZZSEQ integer>\n", ""), "FS323", 3, "id"),
    "two values for one": (changed("status: final", "status: [final, amended]"), "FS324", 7, "no list"),
    "carried outside extensions": (changed("  code:", "  category: [<carried>]\n  code:"), "FS325", 8, "extensions"),
    "for without lines": (changed("  code:", "  note: [{for: x, text: y}]\n  code:"), "FS326", 8, "variables"),
    "for with a short line": (changed("  code:", "  note: [{for: {A B: [c]}, text: y}]\n  code:"), "FS326", 8, "A B"),
    "object for a primitive": (changed("final", "{a: b}"), "FS327", 7, "code"),
    "text for an object": (changed("{text: <ZZTEST>}", "<ZZTEST>"), "FS327", 8, "CodeableConcept"),
    "codec for another type": (changed("valueString: <ZZORRES>", "valueBoolean: <ZZORRES decimal>"), "FS328", 9, "yes"),
    "two slots in a number": (changed("valueString: <ZZORRES>", "valueInteger: <A integer>.<B integer>"), "FS328", 9, "single"),
    "constant of a wrong type": (changed("valueString: <ZZORRES>", "valueBoolean: maybe"), "FS329", 9, "boolean"),
    "code outside the value set": (changed("final", "finished"), "FS330", 7, "final"),
    "no such constant": (changed("$fs/ZZ", "$fz/ZZ"), "FS331", 6, "$fs"),
    "wrong path": (changed("  code:", "  kode:"), "FS332", 8, "code"),
    "wrong path, another release": (changed("  code:", "  triggeredBy: {}\n  code:"), "FS332", 8, "R4"),
    "required element missing": (changed("  status: final\n", ""), "FS333", 4, "status"),
    "list that can go outside": (changed("status: final", "status: <A codes(COLORS)>"), "FS334", 7, "not red"),
    "any text where codes are required": (changed("status: final", "status: <A>"), "FS334", 7, "codes(LIST)"),
    "reference to a wrong type": (changed("  code:", "  subject: {reference: 'Practitioner/<A id>'}\n  code:"), "FS335", 8, "Patient"),
    "no place for carried cells": (changed("  extension: [<carried>]\n", ""), "FS341", None, "<carried>"),
    "unknown form": (changed("<ZZORRES>", "<ZZORRES.number>"), "FS342", 9, "no forms"),
    "key that cannot be read": (changed("value: <USUBJID>|<ZZSEQ integer>", "value: <ZZSEQ integer>"), "FS343", None, "USUBJID"),
    "slots that touch": (changed("<USUBJID>|<ZZSEQ", "<USUBJID><ZZSEQ"), "FS344", 6, "constant"),
    "items alike": (changed("  code:", "  category: [{text: <A>}, {text: <B>}]\n  code:"), "FS345", 8, "differ"),
    "no identifier": (changed("identifier: {system: $fs/ZZ,", "identifier: {system: <STUDYID>,"), "FS346", 4, "identifier"),
    "unknown dataset nested": (changed("[<carried>]", "[<each QQ>, <carried>]"), "FS340", 4, "QQ"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_mapping_names_file_line_and_what_would_fit(tmp_path: Path, name: str) -> None:
    text, code, line, hint = WRONG[name]
    with pytest.raises(MappingError) as caught:
        load(tmp_path, text, codes={"COLORS": "value,code\nRED,red\n"})
    found = caught.value.problem
    assert found.code == code, found
    assert found.place.file == "zz.yaml"
    assert line is None or found.place.row == line, found
    assert hint in f"{found.detail} {found.expected}"


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("code\nx\n", "value"),
        ("value,code\na,b,c\n", "fields"),
        ("value,code\n\xff", "UTF-8"),
        ("value,code\na,b\na,c\n", "each value once"),
    ],
)
def test_a_wrong_code_list_names_its_file(tmp_path: Path, content: str, hint: str) -> None:
    (tmp_path / "zz").mkdir()
    with pytest.raises(MappingError) as caught:
        text = changed("<ZZTEST>", "<ZZTEST codes(BAD)>")
        (tmp_path / "codes").mkdir()
        (tmp_path / "codes" / "BAD.csv").write_bytes(content.encode("latin-1"))
        (tmp_path / "domains").mkdir()
        (tmp_path / "domains" / "zz.yaml").write_text(text.replace("$fs", "https://x.example"), "utf-8")
        Library("R4", [tmp_path], bare=True).mappings  # noqa: B018
    assert (caught.value.code, caught.value.problem.place.file) == ("FS313", "BAD.csv")
    assert hint in f"{caught.value.problem.detail} {caught.value.problem.expected}"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir()
    (tmp_path / "domains" / "zz.yaml").write_bytes(b"domain: \xff\xfe")
    with pytest.raises(MappingError) as caught:
        Library("R4", [tmp_path], bare=True).mappings  # noqa: B018
    assert caught.value.code == "FS300"


CHILD = """\
domain: YY
key: [STUDYID, USUBJID, YYSEQ]
attach: {to: ZZ, on: [STUDYID, USUBJID], order: YYSEQ}
item Observation.extension:
  url: $fs/yy
  extension: [{url: seq, valueInteger: <YYSEQ integer>}, <carried>]
"""


@pytest.mark.parametrize(
    ("parent", "child", "hint"),
    [
        (changed("[<carried>]", "[<each YY>, <carried>]"), CHILD.replace("to: ZZ", "to: QQ"), "mapping"),
        (GOOD, CHILD, "a place <each YY>"),
        (
            changed("[<carried>]", "[<each YY>, <carried>]"),
            CHILD.replace("attach: {to: ZZ", "attach: {to: YY"),
            "leads from YY to YY",
        ),
    ],
)
def test_attached_rows_need_a_place_and_no_circle(tmp_path: Path, parent: str, child: str, hint: str) -> None:
    with pytest.raises(MappingError) as caught:
        load(tmp_path, parent, more=child)
    assert caught.value.code in {"FS340", "FS303"}
    assert hint in f"{caught.value.problem.detail} {caught.value.problem.expected}"
