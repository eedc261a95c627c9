"""Circles of references, targets first."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from fhirspace.delivery.push.graph import components


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({}, []),
        ({"a": set()}, [["a"]]),
        ({"a": {"a"}}, [["a"]]),
        ({"obs": {"pat"}, "pat": {"org"}, "org": set()}, [["org"], ["pat"], ["obs"]]),
        ({"enc": {"con", "pat"}, "con": {"enc"}, "pat": set()}, [["pat"], ["con", "enc"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"], ["d"]]),
    ],
)
def test_circles_come_after_what_they_point_to(graph: dict[str, set[str]], expected: list[list[str]]) -> None:
    assert list(components(graph)) == expected


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from("abcdefgh"))))
def test_every_node_once_and_no_arrow_points_forward(drawn: dict[str, set[str]]) -> None:
    graph = {node: targets & drawn.keys() for node, targets in drawn.items()}
    found = list(components(graph))
    place = {node: number for number, circle in enumerate(found) for node in circle}
    assert sorted(place) == sorted(graph)
    assert all(place[target] <= place[node] for node, targets in graph.items() for target in targets)
    for circle in found:
        assert all(_reaches(graph, a, b) for a in circle for b in circle if a != b)


def _reaches(graph: dict[str, set[str]], start: str, goal: str) -> bool:
    seen, edge = set(), [start]
    while edge:
        node = edge.pop()
        if node not in seen:
            seen.add(node)
            edge.extend(graph[node])
    return goal in seen


def test_a_long_chain_needs_no_recursion() -> None:
    graph = {f"{number:06}": {f"{number + 1:06}"} for number in range(5000)} | {"005000": set()}
    assert len(list(components(graph))) == 5001
