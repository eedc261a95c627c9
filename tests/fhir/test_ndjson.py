"""NDJSON read some lines at a time is what it is line by line."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from fhirspace.errors import InputError
from fhirspace.fhir import ndjson

PARTS = [b'{"a":1}', b"", b" ", b"\t{} ", b"{}\r", b"x" * 50, ndjson.BOM + b"{}", b"\x0b", b"\x1c"]


def gathered(lines: Iterable[tuple[int, bytes]]) -> tuple[list[tuple[int, bytes]], tuple[str, int | None] | None]:
    found = []
    try:
        for line in lines:
            found.append(line)
    except InputError as fault:
        return found, (fault.code, fault.problem.place.row)
    return found, None


def both(path: Path) -> None:
    batches = (pair for batch in ndjson.batches(path) for pair in batch.lines())
    assert gathered(batches) == gathered(ndjson.read(path))


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 21])
@pytest.mark.parametrize("most", [20, 1000])
def test_any_lines_in_parts_of_any_size(tmp_path: Path, chunk: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirspace.fhir.ndjson._CHUNK", chunk)
    chosen, path = random.Random(chunk), tmp_path / "a.ndjson"
    monkeypatch.setattr("fhirspace.fhir.ndjson.limit", lambda _: most)
    for turn in range(40):
        path.write_bytes(b"\n".join(chosen.choices(PARTS, k=chosen.randrange(12))) + b"\n" * (turn % 2))
        both(path)


@pytest.mark.parametrize("length", range(17, 24))
def test_a_line_that_gets_too_long_with_its_last_part(
    tmp_path: Path, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirspace.fhir.ndjson._CHUNK", 7)
    monkeypatch.setattr("fhirspace.fhir.ndjson.limit", lambda _: 20)
    path = tmp_path / "a.ndjson"
    for ending in (b"", b"\n", b"\n{}\n"):
        path.write_bytes(b"{}\n" + b"x" * length + ending)
        both(path)


def test_what_comes_before_a_fault_of_a_compressed_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n' * 2_500))
    both(path)
    chosen = random.Random(1)
    noise = b"\n".join(chosen.randbytes(40).hex().encode() for _ in range(5_000))
    path.write_bytes(gzip.compress(noise)[:-3_000])
    both(path)
    assert gathered(ndjson.read(path))[1] is not None
