"""Strongly connected components of a graph of references, targets first (Tarjan's algorithm, without recursion)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def components(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """The circles of `graph` (a lone node is a circle of one), each after all that it points to.

    Args:
        graph: node -> the nodes that it points to; every node is a key. Order depends on names only.

    Yields:
        The nodes of one circle, sorted.
    """
    search = _Search(graph)
    for root in sorted(graph):
        if root not in search.index:
            yield from search.from_root(root)


class _Search:
    def __init__(self, graph: Mapping[str, set[str]]) -> None:
        self.graph = graph
        self.index: dict[str, int] = {}
        self.low: dict[str, int] = {}
        self.open: list[str] = []
        self.is_open: set[str] = set()

    def from_root(self, root: str) -> Iterator[list[str]]:
        path = [(root, self._enter(root))]
        while path:
            node, targets = path[-1]
            for target in targets:
                if target not in self.index:
                    path.append((target, self._enter(target)))
                    break
                if target in self.is_open:
                    self.low[node] = min(self.low[node], self.index[target])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    self.low[above] = min(self.low[above], self.low[node])
                if self.low[node] == self.index[node]:
                    yield self._close(node)

    def _enter(self, node: str) -> Iterator[str]:
        self.index[node] = self.low[node] = len(self.index)
        self.open.append(node)
        self.is_open.add(node)
        return iter(sorted(self.graph[node]))

    def _close(self, root: str) -> list[str]:
        members: list[str] = []
        while not members or members[-1] != root:
            members.append(self.open.pop())
        self.is_open.difference_update(members)
        return sorted(members)
