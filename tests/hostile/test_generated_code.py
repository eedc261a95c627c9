"""Readers are generated source: no text of a mapping, whoever wrote it, becomes code in them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fhirspace.errors import MappingError
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Arr, Attach, Block, Each, Mapping, Obj
from fhirspace.mapping.read.program import compiled, repeated
from fhirspace.mapping.read.reader import Reader
from fhirspace.mapping.read.rows import Part
from fhirspace.mapping.read.shapes import attr
from fhirspace.template.codecs import codec
from fhirspace.template.slots import Leaf, Slot
from tests.mapping.reader_cases import taken, told

EVIL = {
    "call": "PWNED()",
    "single quote": "'); PWNED('",
    "double quote": '"); PWNED("',
    "three quotes": "'''\nPWNED()\n'''",
    "backslash": "\\",
    "backslash and quote": "\\'); PWNED() #",
    "new line": "a\n    PWNED()\n",
    "carriage return": "a\rPWNED()",
    "line separator": "\u2028PWNED()",
    "escaped new line": "a\\nPWNED()",
    "braces": "{PWNED}",
    "format": "{x.__class__.__init__.__globals__[PWNED]}",
    "percent": "%(PWNED)s",
    "walrus": "a:=PWNED()",
    "attribute": "__class__",
    "keyword": "class",
    "comment": "# PWNED",
    "null": "a\0PWNED()",
    "backtick": "`PWNED()`",
}
PARTS = re.compile(r"[a-zA-Z]{1,13}\d*|read_[a-z]?\d+|x[0-9a-f]+|_")
OWN = {"class_"}


def harmless(source: str) -> None:
    """Every name of the source is one that the generator makes, or an element's; foreign text is in constants only."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        assert not isinstance(
            node, ast.Import | ast.ImportFrom | ast.Global | ast.Lambda | ast.NamedExpr | ast.JoinedStr
        )
        for name in (
            getattr(node, "id", ""),
            getattr(node, "attr", ""),
            getattr(node, "name", ""),
            getattr(node, "arg", ""),
        ):
            assert not name or name in OWN or PARTS.fullmatch(name), name
            assert "PWNED" not in str(name)


def _name(evil: str) -> str:
    """The text as an element's name, as far as msgspec takes it (no name of FHIR's has such letters anyway)."""
    return re.sub(r'[\x00-\x1f"\\]', "-", evil)


def _text(column: str) -> Slot:
    """A slot; a dot would make the column a part of another (a file with such a one is refused: FS342)."""
    found = codec("text")
    assert found
    return Slot(column.replace(".", ""), found)


def _leaf(*parts: str | Slot, type_: str = "string") -> Leaf:
    return Leaf(parts, type_, 1)


def _obj(**fields: Any) -> Obj:
    return Obj(tuple(fields.items()), 1, "Basic")


def _tree(evil: str) -> tuple[Obj, Obj]:
    """A resource and the item of another dataset, with the text wherever a mapping can have one."""
    tagged = [_obj(url=_leaf(url), valueString=_leaf(_text(f"{evil}{url}"))) for url in (evil, "b", f"{evil}c")]
    told_apart = [_obj(a=_leaf(text), b=_obj(c=_leaf(text)), v=_leaf(_text(text))) for text in (evil, f"{evil}2")]
    deeper = [_obj(b=_obj(c=_leaf(text)), v=_leaf(_text(f"{text}.6"))) for text in (evil, f"{evil}2")]
    pairs = [("s", evil), ("s", f"{evil}2"), ("t", evil)]
    grouped = [_obj(system=_leaf(one), code=_leaf(two), v=_leaf(_text(f"{one}{two}"))) for one, two in pairs]
    root = _obj(
        resourceType=_leaf("Basic"),
        identifier=Arr((_obj(system=_leaf("https://x.org/k"), value=_leaf(_text("KEY"))),), 1),
        extension=Arr(tuple(tagged), 1),
        one=_leaf(evil),
        two=_leaf(f"{evil}/", _text(evil), evil, _text(f"{evil}.1")),
        three=Arr(tuple(told_apart), 1),
        four=Arr((Each("YY"),), 1),
        five=_leaf("true", type_="boolean"),
        six=Arr(tuple(deeper), 1),
        seven=Arr(tuple(grouped), 1),
        **{_name(evil): _obj(**{_name(evil): _leaf(_text("IN")), "own": _leaf(evil)})},
    )
    return root, _obj(text=_leaf(_text(evil)), code=_leaf(evil))


@pytest.mark.parametrize("attack", EVIL)
@pytest.mark.parametrize("notice", [True, False])
def test_a_tree_with_evil_texts_compiles_to_harmless_source(attack: str, notice: bool) -> None:
    evil = EVIL[attack]
    root, item = _tree(evil)
    block = Block("Basic", root)
    mappings = {
        "ZZ": Mapping(evil, "zz.yaml", "R4", ("KEY", evil), (block,), {}, (evil,)),
        "YY": Mapping(
            "YY", "yy.yaml", "R4", ("KEY",), (), {}, (), attach=Attach("ZZ", (evil, "KEY"), (), None), item=item
        ),
    }
    kept = repeated(root, [b"{}"] * 100)
    made = compiled(mappings["ZZ"], 0, mappings, lambda *_: Part(("KEY",)), notice=notice, kept=[*kept, evil])
    harmless(made.source)


@pytest.mark.parametrize("attack", EVIL)
def test_an_element_of_any_name_is_an_attribute(attack: str) -> None:
    assert re.fullmatch("class_|x[0-9a-f]+", attr(EVIL[attack]))


@pytest.mark.parametrize("attack", EVIL)
def test_what_is_read_by_it_is_what_the_plain_reader_reads(attack: str) -> None:
    evil = EVIL[attack]
    root = _tree(evil)[0]
    fields = tuple((name, node) for name, node in root.fields if name != "four")
    mapping = Mapping("ZZ", "zz.yaml", "R4", ("KEY",), (Block("Basic", Obj(fields, 1, "Basic")),), {}, ())
    content = {
        "resourceType": "Basic",
        "identifier": [{"system": "https://x.org/k", "value": "1"}],
        "extension": [{"url": evil, "valueString": evil}, {"url": "b", "valueString": "t"}],
        "one": evil,
        "two": f"{evil}/head{evil}tail",
        "seven": [{"system": "s", "code": evil, "v": evil}],
        "six": [{"b": {"c": evil}, "v": evil}],
        "three": [{"a": evil, "b": {"c": evil}, "v": evil}],
        _name(evil): {_name(evil): evil, "own": evil},
    }
    lines = [(1, json.dumps(content).encode()), (2, json.dumps({**content, "one": "x"}).encode())]
    library: Any = SimpleNamespace(mappings={"ZZ": mapping})
    got, wanted = taken(Reader(library).read(lines, "x")), told(lines, library, notice=True)
    assert (got.rows, sorted(got.unmapped)) == (wanted.rows, sorted(wanted.unmapped))
    assert got.rows["ZZ", 0]


FILE = """
domain: {domain}
key: [STUDYID, USUBJID, {key}]
carried: [{carried}]
codes: {{ {list}: {{ {cell}: {code} }} }}
let: {{ {let}: text }}
forms: {{ZZORRES: {{ {form}: {pattern}, other: <text> }}}}
Observation:
  id: <USUBJID id>-ZZ-<ZZSEQ integer>
  identifier: {{system: "https://x.org/zz", value: <STUDYID>|<USUBJID>|<ZZSEQ integer>}}
  status: final
  code: {{coding: [{{system: {constant}, code: {column}}}, {{system: "https://y", code: <ZZQ>}}], text: <USUBJID>}}
  note: [{{text: <ZZORRES.range.low>}}]
  extension: [{{url: {constant}, valueString: {coded}}}, {{url: "https://z", valueString: <ZZL>}}, <carried>]
  {element}: <ZZX>
"""
USUAL = {
    "domain": "ZZ",
    "key": "ZZSEQ",
    "carried": "ZZW",
    "list": "k",
    "cell": "X",
    "code": "Y",
    "let": "name",
    "form": "range",
    "pattern": "<low decimal>-<high decimal>",
    "constant": "https://x",
    "column": '<"ZZTESTCD">',
    "coded": "<ZZX codes(k)>",
    "element": "comment|valueString",
}
AROUND = {"column": '<"{}">', "coded": "<ZZX codes({})>", "pattern": "{}<low decimal>-<high decimal>"}


@pytest.mark.parametrize("place", USUAL)
def test_a_file_with_evil_texts_is_refused_or_harmless(place: str, tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir()
    for evil in (*EVIL.values(), "a\ud800"):
        texts = {**USUAL, "element": "valueString", place: AROUND.get(place, "{}").replace("{}", evil)}
        quoted = {name: json.dumps(text) for name, text in texts.items()}
        (tmp_path / "domains" / "zz.yaml").write_text(FILE.format(**quoted), "utf-8")
        try:
            library = Library("R4", [tmp_path], bare=True)
            mapping = library.mappings["ZZ"]
        except MappingError:
            continue
        part = Part(mapping.key)
        harmless(compiled(mapping, 0, library.mappings, lambda *_, part=part: part, notice=True).source)


def test_a_file_without_evil_texts_compiles(tmp_path: Path) -> None:
    """The template of the test above is a mapping; else all of it would be refused for another reason."""
    (tmp_path / "domains").mkdir()
    quoted = {name: json.dumps(text) for name, text in {**USUAL, "element": "valueString"}.items()}
    (tmp_path / "domains" / "zz.yaml").write_text(FILE.format(**quoted), "utf-8")
    assert list(Library("R4", [tmp_path], bare=True).mappings) == ["ZZ"]
