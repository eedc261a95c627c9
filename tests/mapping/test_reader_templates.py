"""Templates that no shipped mapping has (yet), each with resources that fit and that do not: Reader equals `extract`.

What the generator cannot compile is read by `extract`, never wrongly.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from fhirspace.mapping.model import Arr, Block, Mapping, Node, Obj, OneOf
from fhirspace.mapping.read.program import keepable
from fhirspace.mapping.read.reader import Reader
from fhirspace.template.codecs import codec
from fhirspace.template.slots import Leaf, Slot
from tests.mapping.reader_cases import taken, told


def slot(column: str, name: str = "text") -> Slot:
    found = codec(name)
    assert found is not None
    return Slot(column, found)


def leaf(*parts: str | Slot, type_: str = "string") -> Leaf:
    return Leaf(parts, type_, 1)


def obj(**fields: Node) -> Obj:
    return Obj(tuple((name, node) for name, node in fields.items()), 1, "Basic")


def one_of(*options: Obj) -> Node:
    return OneOf(options)


def arr(*items: Any) -> Arr:
    return Arr(items, 1)


A, B, C = slot("A"), slot("B"), slot("C")
NUMBER = slot("N", "decimal")
CONSTANT = {"system": leaf("s1")}

TEMPLATES: dict[str, tuple[Obj, list[Any]]] = {
    "list of one text": (obj(x=arr(leaf(A))), [{"x": ["a"]}, {"x": ["a", "b"]}, {"x": []}, {"x": [1]}, {"x": "a"}]),
    "list of texts": (obj(x=arr(leaf(A), leaf("k"))), [{"x": ["a", "k"]}, {"x": ["k"]}]),
    "texts and objects in a list": (obj(x=arr(leaf(A), obj(y=leaf(B)))), [{"x": ["a", {"y": "b"}]}]),
    "constants of all kinds": (
        obj(x=leaf("true", type_="boolean"), y=leaf("1.50", type_="decimal"), z=leaf("k")),
        [{"x": True, "y": json, "z": "k"}, {"x": False}, {"x": "true"}, {"z": "other"}, {"y": 7}, {"y": "1.50"}],
    ),
    "three parts": (
        obj(x=leaf("p/", A, "-", B, "-", slot("N", "integer"), "/q")),
        [{"x": "p/a-b-1/q"}, {"x": "p/a-b-c-1/q"}, {"x": "p/a-1/q"}, {"x": ""}],
    ),
    "two parts": (
        obj(x=leaf("p/", A, "-", NUMBER)),
        [{"x": "p/a-1"}, {"x": "p/a--1"}, {"x": "p/a-b"}, {"x": "q/a-1"}, {"x": "p/-1"}, {"x": "p/a-"}],
    ),
    "two parts that need a table": (
        obj(x=leaf(slot("A", "yes/no"), "|", slot("B", "id"), type_="string")),
        [{"x": "true|z"}, {"x": "no|z"}, {"x": "true|"}],
    ),
    "one way": (
        obj(x=leaf("Patient/", slot("A", "id")), y=leaf(slot("A", "id"))),
        [{"x": "Patient/1", "y": "2"}, {"x": "1"}],
    ),
    "one way number and truth": (
        obj(x=leaf(slot("_X", "decimal"), type_="decimal"), y=leaf(slot("_Y", "yes/no"), type_="boolean")),
        [{"x": 1, "y": True}, {"x": "1", "y": False}, {"x": [1]}],
    ),
    "yes only": (obj(x=leaf(slot("A", "yes"), type_="boolean")), [{"x": True}, {"x": False}, {"x": "true"}]),
    "alternative texts": (
        obj(**{"": one_of(obj(x=leaf("k", A)), obj(x=leaf(slot("N", "integer"), "/", B)), obj(x=leaf("z")))}),
        [{"x": "kx"}, {"x": "1/b"}, {"x": "z"}, {"x": "other"}],
    ),
    "alternative constants": (
        obj(**{"": one_of(obj(x=leaf("1", type_="integer")), obj(x=leaf("2", type_="integer")))}),
        [{"x": 1}, {"x": 2}, {"x": 3}],
    ),
    "alternative truths": (
        obj(**{"": one_of(obj(x=leaf("true", type_="boolean")), obj(x=leaf("false", type_="boolean")))}),
        [{"x": True}, {"x": False}],
    ),
    "alternatives of two kinds": (
        obj(**{"": one_of(obj(x=leaf(A)), obj(x=leaf(NUMBER, type_="decimal")))}),
        [{"x": "a"}, {"x": 1}],
    ),
    "alternatives of two natures": (
        obj(**{"": one_of(obj(x=leaf(A)), obj(x=obj(y=leaf(B))))}),
        [{"x": "a"}, {"x": {"y": "b"}}],
    ),
    "alternative objects by a constant": (
        obj(**{"": one_of(obj(x=obj(system=leaf("s1"), v=leaf(A))), obj(x=obj(system=leaf("s2"), v=leaf(B))))}),
        [{"x": {"system": "s1", "v": "a"}}, {"x": {"system": "s2", "v": "b"}}, {"x": {"v": "b"}}],
    ),
    "alternative objects by a field": (
        obj(**{"": one_of(obj(x=obj(v=leaf(A), w=leaf(B))), obj(x=obj(u=leaf("k"))))}),
        [{"x": {"v": "a"}}, {"x": {"u": "k"}}, {"x": {"u": "k", "v": "a"}}, {"x": {}}],
    ),
    "alternative objects that nothing tells apart": (
        obj(**{"": one_of(obj(x=obj(v=leaf(A))), obj(x=obj(v=leaf(B), w=leaf(C))))}),
        [{"x": {"v": "a"}}, {"x": {"v": "b", "w": "c"}}, {"x": {"w": "c"}}],
    ),
    "alternative lists": (
        obj(**{"": one_of(obj(x=arr(obj(system=leaf("s1")))), obj(x=arr(obj(system=leaf("s2")))))}),
        [{"x": [{"system": "s1"}]}, {"x": [{"system": "s2"}]}, {"x": [{"system": "s3"}]}, {"x": []}],
    ),
    "alternative lists that nothing tells apart": (
        obj(**{"": one_of(obj(x=arr(obj(v=leaf(A)))), obj(x=arr(obj(v=leaf(B), w=leaf(C)))))}),
        [{"x": [{"v": "a"}]}, {"x": [{"v": "b", "w": "c"}]}],
    ),
    "alternative lists of several": (
        obj(**{"": one_of(obj(x=arr(obj(u=leaf("1")), obj(u=leaf("2")))), obj(x=arr(obj(u=leaf("3")))))}),
        [{"x": [{"u": "1"}, {"u": "2"}]}, {"x": [{"u": "3"}]}],
    ),
    "a column in two places": (
        obj(x=leaf(A), y=obj(z=leaf(A), w=leaf(B)), n=leaf(slot("A", "date"))),
        [{"x": "a", "y": {"z": "a"}}, {"y": {"z": "1", "w": "b"}, "x": "2"}, {"n": "3"}, {"n": "3", "y": {"z": "1"}}],
    ),
    "a keyword and odd names": (obj(**{"class": leaf(A), "_x": leaf(B)}), [{"class": "a", "_x": "b"}]),
    "items that nothing tells apart": (
        obj(x=arr(obj(v=leaf(A)), obj(v=leaf(B)))),
        [{"x": [{"v": "a"}, {"v": "b"}]}, {"x": [{"v": "a"}]}],
    ),
    "items by a deep constant": (
        obj(x=arr(*(obj(c=arr(obj(**CONSTANT, code=leaf(name))), v=leaf(slot(name.upper()))) for name in "abc"))),
        [
            {"x": [{"c": [{"system": "s1", "code": "b"}], "v": "1"}, {"c": [{"system": "s1", "code": "a"}], "v": "2"}]},
            {"x": [{"c": [{"system": "s1", "code": "a"}], "v": "1"}, {"c": [{"system": "s1", "code": "a"}], "v": "2"}]},
            {"x": [{"c": [{"system": "s1", "code": "d"}], "v": "1"}]},
            {"x": [{"c": [], "v": "1"}]},
            {"x": [{"v": "1"}]},
        ],
    ),
}


class Keeping(Reader):
    def _kept(self, template: Obj, lines: list[bytes]) -> list[str]:
        return keepable(template)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("notice", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
def test_reads_as_extract(name: str, notice: bool, kept: bool) -> None:
    template, given = TEMPLATES[name]
    identifier = arr(obj(system=leaf("https://x.org/k"), value=leaf(slot("KEY"))))
    typed: Any = (("resourceType", leaf("Basic")), ("identifier", identifier), *template.fields)
    block = Block("Basic", Obj(typed, 1, "Basic"))
    library: Any = SimpleNamespace(mappings={"ZZ": Mapping("ZZ", "zz.yaml", "R4", ("KEY",), (block,), {}, ())})
    lines = [(number, line(number, content)) for number, content in enumerate(given, 1)]
    got = taken((Keeping if kept else Reader)(library, notice=notice).read(lines, "x"))
    wanted = told(lines, library, notice=notice)
    if not notice:  # what nobody notes is looked for only where a slot reads
        got.empty = []
    got.unmapped.sort()
    wanted.unmapped.sort()
    assert got == wanted
    assert len(got.rows["ZZ", 0]) == len(given)


def line(number: int, content: dict[str, Any]) -> bytes:
    head = {"resourceType": "Basic", "identifier": [{"system": "https://x.org/k", "value": str(number)}]}
    return json.dumps(head | content, default=lambda _: 0).replace(": 0,", ": 1.50,").encode()
