"""Resources of usual shapes: what is read of them at once is what is read of each distinct text, in all cases."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fhirspace.fhir.files import FhirFile
from fhirspace.standards.fhir import definitions
from fhirspace.tables.text import decode
from fhirspace.views.flatten import flatten
from fhirspace.views.notation.library import view_set
from fhirspace.views.plan import Plan, plans
from fhirspace.views.reading.blocks import Block
from fhirspace.views.reading.columns import Columns
from tests.views.ehr import lab
from tests.views.test_same_as_fhirpath import TYPES, Maker


def plan(kind: str) -> Plan:
    return plans(view_set("us-core"), definitions("R4"))[kind]


def one_by_one(kind: Plan, lines: Sequence[bytes]) -> Block:
    return Columns(kind, one_by_one=True).block(lines)


def unmapped(block: Block) -> Counter[tuple[int, str]]:
    return Counter(
        (row, path)
        for lists, numbers in block.unmapped
        for row, at in enumerate(numbers.to_pylist())
        for path in lists[at]
    )


def everything(block: Block) -> dict[str, Any]:
    """All that a block has of its resources, as plain values."""
    none = [False] * block.count
    return {
        "values": {name: decode(each.texts).to_pylist() for name, each in block.values.items()},
        "many": {name: each.many.to_pylist() if each.many else none for name, each in block.values.items()},
        "items": {
            name: (each.rows.to_pylist(), {at: decode(cells.texts).to_pylist() for at, cells in each.values.items()})
            for name, each in block.items.items()
        },
        "unmapped": unmapped(block),
        "rest": (block.faults, block.verdicts, block.contained),
    }


@pytest.mark.parametrize("kind", TYPES)
def test_generated_resources_are_read_alike(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps(Maker(kind, seed).resource()).encode() for seed in range(60)]
    monkeypatch.setattr("fhirspace.fhir.patterns.match._FEW", 1)
    monkeypatch.setattr("fhirspace.views.reading.elements._MOST", 25)  # some elements are forgotten between blocks
    at_once = Columns(plan(kind))
    for start in (0, 30):  # the second block has what the first one did not have
        part = lines[start : start + 30]
        assert everything(at_once.block(part)) == everything(one_by_one(plan(kind), part))


GOOD = json.dumps(lab("a", "Patient/p1", "2026-02-02"), separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "odd",
    [
        GOOD.replace(b'"id":"a"', b'"id":null'),
        GOOD.replace(b'"id":"a"', b'"id":""'),
        GOOD.replace(b'"id":"a"', b'"id":7'),
        GOOD.replace(b'"id":"a"', b'"id":"a","id":"b"'),
        GOOD.replace(b'"id":"a"', b'"id":"\\u0061\\u00e4"'),
        GOOD.replace(b'"id":"a"', b'"id":"\\ud800"'),
        GOOD.replace(b'"id":"a"', b'"id":"a","unknown":{"x":1}'),
        GOOD.replace(b'"value":12.5', b'"value":12.50,"value":1'),
        GOOD.replace(b'"value":12.5', b'"value":1e3'),
        GOOD.replace(b'"value":12.5', b'"value":"12"'),
        GOOD.replace(b'"value":12.5', b'"value":-0.50,"comparator":"<","extra":[1]'),
        GOOD.replace(b'{"reference":"Patient/p1"}', b'{"identifier":{"system":"s","value":"1"}}'),
        GOOD.replace(b'{"reference":"Patient/p1"}', b'[{"reference":"Patient/p1"}]'),
        GOOD.replace(b'"status":"final"', b'"status":"entered-in-error"'),
        GOOD.replace(b'"status":"final"', b'"status":"final","modifierExtension":[{"url":"http://x"}]'),
        GOOD.replace(b'"status":"final"', b'"status":"final","\\u006dodifierExtension":[{"url":"http://x"}]'),
        GOOD.replace(b'"status":"final"', b'"status":"final","contained":[{"resourceType":"Specimen","id":"s"}]'),
        GOOD[:-1],
        GOOD.replace(b'"id"', b'"i\xff"'),
        b"[1]",
        b'"text"',
        b" " + GOOD.replace(b":", b" : "),
    ],
)
@pytest.mark.parametrize("place", [0, 110])
def test_an_unusual_resource_among_others_is_read_alike(odd: bytes, place: int) -> None:
    lines = [GOOD.replace(b'"id":"a"', b'"id":"%d"' % number) for number in range(120)]
    lines[place] = odd
    kind = plan("Observation")
    assert everything(Columns(kind).block(lines)) == everything(one_by_one(kind, lines))


PLAIN = [b'"', b"\\", b"\\u0041", b"e5", b"{", b"", b"null", b"0", b'"id":"a",', b'"modifierExtension":[],', b"\n\n"]
RAW = [*PLAIN, b"\xff", b"\x01", b"\t", b"\r"]
"""With one of the last four no line of a file is read at once."""


def damaged(chosen: random.Random, line: bytes, signs: list[bytes]) -> bytes:
    raw = bytearray(line)
    at = chosen.randrange(len(raw))
    end = at + chosen.randrange(9)
    raw[at:end] = chosen.choice([*signs, bytes(raw[at:end]) * 2])
    return bytes(raw)


@pytest.mark.parametrize(("seed", "signs"), [(0, PLAIN), (1, PLAIN), (2, PLAIN), (3, RAW)])
def test_files_with_damaged_lines_are_flattened_alike(
    seed: int, signs: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, path = random.Random(seed), tmp_path / "Observation.ndjson"
    lines = [GOOD.replace(b'"id":"a"', b'"id":"a%d"' % number) for number in range(60)]
    path.write_bytes(b"\n".join(damaged(chosen, each, signs) if chosen.random() < 0.2 else each for each in lines))
    views, made = view_set("us-core"), list[Any]()
    for one_by_one in (False, True):
        monkeypatch.setattr("fhirspace.views.store.Columns", partial(Columns, one_by_one=one_by_one))
        found = flatten([FhirFile(path, "ndjson")], views)
        records = {name: sorted(map(str, table.to_pylist())) for name, table in found.records.items()}
        counts = (found.taken, found.left, found.quarantined, found.unclaimed, found.unmapped)
        made.append((records, counts, found.lines, sorted(map(str, found.problems)), sorted(map(str, found.faults))))
    assert made[0] == made[1]
    assert made[0][1][0]["Observation"] > 30
