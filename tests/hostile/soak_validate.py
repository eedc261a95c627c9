"""Ten thousand files that are no right FHIR, judged by ``fhirspace validate``: ``pytest -m soak -s`` on this file.

Each file is broken in one certain way: cut off, wrongly encoded, spoilt in its syntax, nested deeply, huge, packed
badly, or something else altogether. Each has to have an error; no process may end by itself, take long or much memory.
The seed is fresh, or FHIRSPACE_SEED.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.inputs import lines
from tests.hostile.measured import CHILD

FILES, SLICE = 10_000, 500
MOST_MB, SECONDS = 700, 300
"""The most memory and time of a process, which judges a slice."""
Break = Callable[[bytes, random.Random], bytes]


def _outside(line: bytes, rng: random.Random) -> int:
    """A place of a text that is in no string."""
    while True:
        place = rng.randrange(1, len(line))
        if line[:place].replace(b'\\"', b"").count(b'"') % 2 == 0:
            return place


def _inserted(*parts: bytes) -> Break:
    """Something that may not be there is put between the tokens."""

    def change(line: bytes, rng: random.Random) -> bytes:
        place = _outside(line, rng)
        return line[:place] + rng.choice(parts) + line[place:]

    return change


def _in_text(*parts: bytes) -> Break:
    """Something that no text may have is put into one."""

    def change(line: bytes, rng: random.Random) -> bytes:
        place = rng.choice([at for at in range(len(line)) if line.startswith(b'":"', at)]) + 3
        return line[:place] + rng.choice(parts) + line[place:]

    return change


def _member(make: Callable[[random.Random], str]) -> Break:
    """A member is added at the beginning."""
    return lambda line, rng: b"{" + make(rng).encode() + b"," + line[1:]


def _deep(rng: random.Random) -> str:
    depth = rng.choice((300, 3_000, 30_000, 300_000))
    opening, closing = rng.choice((("[", "]"), ('{"extension":[', "]}"), ('{"contained":', "}"), ('{"item":[', "]}")))
    return f'"extension":{opening * depth}1{closing * depth}'


def _huge(rng: random.Random) -> str:
    size = rng.choice((10_000, 100_000, 1_000_000))
    return rng.choice(
        (
            f'"big":{"9" * size}',
            f'"big":0.{"0" * size}1',
            f'"big":1e{"9" * size}',
            f'"language":"{"a" * size}"',
            f'"{"a" * size}":1',
            f'"contained":[{",".join(["{}"] * (size // 100))}]',
            f'"implicitRules":"{"% " * size}"',
            f'"language":"{"a-" * (size // 2)}"',
        )
    )


def _packed_badly(line: bytes, rng: random.Random) -> bytes:
    packed = gzip.compress(line, mtime=0)
    return rng.choice(
        (
            packed[: rng.randrange(3, len(packed) - 1)],
            packed[:-8] + rng.randbytes(8),
            gzip.compress(packed),
            packed + b"rest",
        )
    )


_ELSE = (
    b"",
    b" \n\t\n",
    b"\xef\xbb\xbf",
    b"null",
    b"[]",
    b"{}",
    b"[[[]]]",
    b'"Patient"',
    b'<Patient xmlns="http://hl7.org/fhir"/>',
    b"<!DOCTYPE html><html></html>",
    b"PK\x03\x04",
    b"resourceType,id\nPatient,1\n",
    b"%PDF-1.7\n",
    b'{"resourceType":"Pateint"}',
    b'{"resourceType":["Patient"]}',
    b'{"resourceType":null,"id":"a"}',
    b'{"resourceType":"Bundle","type":"collection","entry":[null]}',
    b'{"resourceType":"Patient","id":"' + b"a" * 65 + b'"}',
)
BREAKS: dict[str, Break] = {
    "cut off": lambda line, rng: line[: rng.randrange(1, len(line))],
    "begun late": lambda line, rng: line[rng.randrange(1, len(line)) :],
    "syntax": _inserted(b",", b":", b"}", b"]", b"/**/", b"'", b"#", b"\x00", b"\xa0", b"NaN", b"\\"),
    "text": _in_text(
        b"\xe9", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\x1b", b"\\ud800", b"\\x", b"\\u12 ", b"\t"
    ),
    "number": _member(
        lambda rng: f'"x":{rng.choice(("01", "+1", ".5", "1.", "NaN", "-Infinity", "0x1", "1_0", "1e"))}'
    ),
    "twice": _member(lambda rng: '"resourceType":"Patient"'),
    "deep": _member(_deep),
    "huge": _member(_huge),
    "encoded": lambda line, rng: line.decode().encode(rng.choice(("utf-16", "utf-16-be", "utf-32", "cp037")))[
        rng.randrange(2) :
    ],
    "packed": _packed_badly,
    "noise": lambda line, rng: rng.randbytes(rng.randrange(1, 5_000)),
    "something else": lambda line, rng: rng.choice(_ELSE),
}


@pytest.mark.soak
def test_each_has_a_finding(tmp_path: Path) -> None:
    seed = int(os.environ.get("FHIRSPACE_SEED") or random.SystemRandom().randrange(10**6))
    rng, good = random.Random(seed), lines()
    made, silent, slowest, peak = Counter[str](), list[str](), 0.0, 0
    for start in range(0, FILES, SLICE):
        folder = tmp_path / str(start)
        folder.mkdir()
        for number in range(start, start + SLICE):
            kind = rng.choice(list(BREAKS))
            suffix = ".json.gz" if kind == "packed" else rng.choice((".json", ".ndjson"))
            (folder / f"{number} {kind}{suffix}").write_bytes(BREAKS[kind](rng.choice(good), rng))
            made[kind] += 1
        begun = time.monotonic()
        missed, most = _judged(folder)
        slowest, peak = max(slowest, time.monotonic() - begun), max(peak, most)
        silent += missed
        for path in folder.iterdir():
            if path.name not in missed:
                path.unlink()
    print(f"\nseed {seed}: {made.total():,} files, {dict(made)}")
    print(f"{SLICE} files in at most {slowest:.0f} s and {peak} MB; without an error: {silent}")
    assert silent == []
    assert peak < MOST_MB


def _judged(folder: Path) -> tuple[list[str], int]:
    """The files without an error, and the peak of memory in MB."""
    command = [sys.executable, "-c", CHILD, "validate", str(folder), "--format", "ndjson"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL)
    assert done.returncode in (1, 3), (done.returncode, done.stderr[-2_000:])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    named = {row["file"] for row in rows if row["level"] == "error"}
    names = [path.name for path in sorted(folder.iterdir())]
    return [name for name in names if not any(each.endswith(name) for each in named)], int(
        done.stderr.rpartition(b"peak ")[2]
    )
