"""Tables of hashes: in memory, in a file, and without room for one, they say the same."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from typing import Any

import pytest

from fhirspace.fhir.validation import hashes

NUMBERS = [*range(-50, 50), -3, 7, 7, 2**63 - 1, -(2**63), -(2**63)]


@pytest.fixture(params=["in memory", "in a file", "without room", "half written"], autouse=True)
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "in memory":
        monkeypatch.setattr(hashes, "_ROOM", 40)
    if request.param == "without room":
        monkeypatch.setattr(tempfile, "TemporaryFile", _full)
    if request.param == "half written":
        monkeypatch.setattr(tempfile, "TemporaryFile", _Short)
    return str(request.param)


def _full(**_: Any) -> None:
    raise OSError(28, "No space left on device")


class _Short:
    """A file on a disk that is almost full."""

    def __init__(self, **_: Any) -> None:
        self.tell = int

    def close(self) -> None:
        """As that of any file."""

    def write(self, rows: bytes) -> int:
        return len(rows) // 2


def table(rows: Iterable[tuple[int, ...]], width: int) -> hashes.Table:
    found = hashes.Table(width)
    for row in rows:
        found.add(*row)
    return found


def ids(keys: Iterable[int]) -> hashes.Table:
    return table(((key, 2 * place, 0) for place, key in enumerate(keys)), 3)


def test_rows_go_to_a_file(kept: str) -> None:
    found = ids([64] * 100)
    assert len(found._parts[0]) == {"in memory": 2400, "in a file": 0}.get(kept, 2400)
    assert found._room == (sys.maxsize if kept in ("without room", "half written") else hashes._ROOM)
    assert [len(keys) for keys, *_ in found.parts()] == [100, *[0] * 63]


def test_those_that_repeat() -> None:
    assert list(hashes.repeated(ids(NUMBERS))) == [200, 202, 204, 210]
    assert list(hashes.repeated(ids(range(20)))) == []
    assert list(hashes.repeated(ids([]))) == []
    in_bundles = [(3, 2, 0), (3, 5, 0), (4, 7, 0), (4, 8, 0), (3, 10, 0)]
    assert list(hashes.repeated(table(in_bundles, 3))) == [10]


def test_those_that_the_other_table_does_not_have() -> None:
    wanted = table([(7, 0), (99, 1), (-(2**63), 2), (99, 3), (100, 4), (0, 5), (61, 6)], 2)
    assert list(hashes.first_places(wanted, ids(NUMBERS))) == [1, 4, 6]
    assert list(hashes.first_places(wanted, ids([]))) == [0, 1, 2, 4, 5, 6]
    assert list(hashes.first_places(table([], 2), ids(NUMBERS))) == []
    assert {key: place for part in hashes.missing(wanted, ids(NUMBERS)) for key, place in part.items()} == {
        99: 1,
        100: 4,
        61: 6,
    }


def test_those_of_somebody_else() -> None:
    owned = [*((key, 0, 5) for key in range(100, 120)), (1, 0, 5), (2, 0, 0), (3, 0, 6), (3, 0, 7)]
    links = table([(1, 5, 1), (1, 6, 2), (2, 5, 3), (3, 6, 4), (3, 7, 5), (4, 5, 6)], 3)
    assert list(hashes.of_others(links, table(owned, 3))) == [2, 5]
    assert list(hashes.of_others(table([], 3), table(owned, 3))) == []
    assert list(hashes.of_others(links, ids([]))) == []


def test_pairs_that_are_not_there_where_others_are() -> None:
    links = table([(1, 7, 9), (1, 8, 6), (2, 7, 5), (65, 7, 4), (3, 9, 3)], 3)
    assert list(hashes.not_among(links, table([(1, 8), (65, 9), (3, 9)], 2))) == [4, 9]
