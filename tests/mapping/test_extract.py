"""The interpretive reader: what its rules say, case by case (the laws over all mappings are in test_laws)."""

from __future__ import annotations

from typing import Any

import pytest

from fhirspace.json import Number, parse
from fhirspace.mapping.model import CARRIED_URL, Arr, Attach, Block, Carried, Each, Mapping, Node, Obj, OneOf
from fhirspace.mapping.read.extract import extract, firm, fits, marks
from fhirspace.template.codecs import codec
from fhirspace.template.slots import Leaf, Slot


def slot(column: str, name: str = "text") -> Slot:
    found = codec(name)
    assert found is not None
    return Slot(column, found)


def leaf(*parts: str | Slot, type_: str = "string") -> Leaf:
    return Leaf(parts, type_, 1)


def obj(*, always: bool = False, **fields: Node) -> Obj:
    return Obj(tuple(fields.items()), 1, "Basic", always=always)


def arr(*items: Any) -> Arr:
    return Arr(items, 1)


def read(root: Obj, resource: Any, items: dict[str, Mapping] | None = None) -> tuple[dict[str, str], list[str]]:
    block = Block("Basic", root)
    found = extract(Mapping("ZZ", "z", "R4", (), (block,), {}, ()), block, resource, items)
    return {name: cell for name, cell in found.cells.items() if name != "DOMAIN"}, found.unmapped


A, B = slot("A"), slot("B")
CODED = arr(obj(system=leaf("s1"), code=leaf(A)), obj(system=leaf("s2"), code=leaf(B)))


def test_numbers_are_parsed_by_their_spelling() -> None:
    assert parse(b'[5.50, 1e3, -0, "5", true]') == ["5.50", "1e3", "-0", "5", True]
    assert [isinstance(each, Number) for each in parse(b"[5.50, 7, true]")] == [True, True, False]


@pytest.mark.parametrize(
    ("template", "resource", "cells", "unmapped"),
    [
        (obj(x=leaf(A)), {"x": "a"}, {"A": "a"}, []),
        (obj(x=leaf(A)), {"x": Number("1")}, {}, ["Basic.x"]),
        (obj(x=leaf(A, type_="decimal")), {"x": Number("5.50")}, {"A": "5.50"}, []),
        (obj(x=leaf(A, type_="decimal")), {"x": "5.50"}, {}, ["Basic.x"]),
        (obj(x=leaf("k")), {"x": "other"}, {}, ["Basic.x"]),
        (obj(x=leaf(A)), {"x": None, "y": 1}, {}, ["Basic.x", "Basic.y"]),
        (obj(x=obj(y=leaf(A))), {"x": "a"}, {}, ["Basic.x"]),
        (obj(x=arr(leaf(A))), {"x": "a"}, {}, ["Basic.x"]),
        (obj(x=arr(leaf(A))), {"x": ["a", "b"]}, {"A": "a"}, ["Basic.x[1]"]),
        (obj(x=CODED), {"x": [{"system": "s2", "code": "b"}, {"system": "s1", "code": "a"}]}, {"A": "a", "B": "b"}, []),
        (obj(x=CODED), {"x": [{"system": "s1", "code": "a"}] * 2}, {"A": "a"}, ["Basic.x[1]"]),
        (obj(x=CODED), {"x": [{"code": "a"}, 5]}, {}, ["Basic.x[0]", "Basic.x[1]"]),
        (obj(x=CODED), {"x": [{"system": "s1", "code": "a", "z": "?"}]}, {"A": "a"}, ["Basic.x[0].z"]),
    ],
)
def test_what_a_resource_gives(template: Obj, resource: Any, cells: dict[str, str], unmapped: list[str]) -> None:
    assert read(template, resource) == (cells, unmapped)


@pytest.mark.parametrize(
    ("meta", "unmapped"),
    [
        ({"versionId": "1", "lastUpdated": "2024", "source": "#a"}, []),
        ({"versionId": "1", "profile": ["p"]}, ["Basic.meta"]),
        ({}, []),
        ("x", ["Basic.meta"]),
    ],
)
def test_what_a_server_adds_to_meta_is_no_content(meta: Any, unmapped: list[str]) -> None:
    assert read(obj(x=leaf(A)), {"meta": meta, "x": "a"}) == ({"A": "a"}, unmapped)


def test_of_alternatives_one_that_knows_all_names_comes_first() -> None:
    root = Obj((("", OneOf((obj(x=obj(v=leaf(A))), obj(x=obj(v=leaf(B), w=leaf("k")))))),), 1, "Basic")
    assert read(root, {"x": {"v": "1"}}) == ({"A": "1"}, [])
    assert read(root, {"x": {"v": "1", "w": "k"}}) == ({"B": "1"}, [])
    assert read(root, {"x": {"v": "1", "z": "?"}}) == ({"A": "1"}, ["Basic.x.z"])
    assert read(root, {"x": "text"}) == ({}, ["Basic.x"])


def test_of_alternative_texts_the_first_that_can_have_written_it() -> None:
    root = Obj((("", OneOf((obj(x=leaf("k-", A)), obj(x=leaf(B))))),), 1, "Basic")
    assert read(root, {"x": "k-1"})[0] == {"A": "1"}
    assert read(root, {"x": "1"})[0] == {"B": "1"}


def test_carried_cells_win_and_odd_ones_are_unread() -> None:
    root = obj(x=leaf(A), extension=arr(Carried()))
    parts = [
        {"url": "A", "valueString": "c"},
        {"url": "Q", "valueString": "q"},
        {"url": "Z"},
        7,
        {"url": [], "valueString": ""},
    ]
    assert read(root, {"x": "a", "extension": [{"url": CARRIED_URL, "extension": parts}]}) == (
        {"A": "c", "Q": "q"},
        [f"Basic.extension[0].extension[{place}]" for place in (2, 3, 4)],
    )
    assert read(root, {"extension": [{"url": CARRIED_URL, "extension": 5}]})[1] == ["Basic.extension[0].extension"]
    assert read(root, {"extension": [{"url": CARRIED_URL}]}) == ({}, [])


def test_attached_rows_share_columns_with_their_parent_at_any_depth() -> None:
    deep = Mapping("YY", "y", "R4", (), (), {}, (), Attach("XX", ("A",), ()), obj(url=leaf("y"), v=leaf(slot("D"))))
    item = obj(url=leaf("x"), v=leaf(B), extension=arr(Each("YY")))
    child = Mapping("XX", "x", "R4", (), (), {}, (), Attach("ZZ", ("A", "MISSING"), ()), item)
    root = obj(a=leaf(A), extension=arr(Each("XX"), Each("ELSEWHERE")))
    block = Block("Basic", root)
    resource = {
        "a": "1",
        "extension": [{"url": "x", "v": "b", "extension": [{"url": "y", "v": "d", "q": 0}]}, {"url": "z"}],
    }
    found = extract(Mapping("ZZ", "z", "R4", (), (block,), {}, ()), block, resource, {"XX": child, "YY": deep})
    assert found.nested == {
        "XX": [{"DOMAIN": "XX", "B": "b", "A": "1"}],
        "YY": [{"DOMAIN": "YY", "D": "d", "A": "1"}],
    }
    assert found.unmapped == ["Basic.extension[0].extension[0].q", "Basic.extension[1]"]


def test_marks_are_the_constants_that_always_stand() -> None:
    always = obj(always=True, k=leaf("1"))
    cases: list[tuple[Obj, list[str]]] = [
        (obj(k=leaf("1"), x=leaf(A)), ["k"]),
        (obj(x=obj(k=leaf("1"), y=leaf(A))), ["x"]),
        (obj(x=obj(k=leaf("1"), y=leaf(A)), z=leaf(B)), []),
        (obj(x=arr(always, obj(y=leaf(A))), z=leaf(B)), ["x"]),
        (obj(x=arr(leaf("k"), leaf(A))), ["x"]),
    ]
    assert [[mark.name for mark in marks(template)] for template, _ in cases] == [names for _, names in cases]
    assert firm(arr(always, leaf("k"), leaf(A), obj(y=leaf(A))), False) == (always, leaf("k"))
    assert fits(cases[4][0], {"x": ["k"]})
    assert not fits(cases[4][0], {"x": ["a"]})
    assert not fits(cases[0][0], [])
