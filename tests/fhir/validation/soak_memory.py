"""Memory that validation takes for gigabytes of NDJSON, and for one attachment of 50 MB: ``pytest -s`` on this file.

Ten minutes of CPU, and 5 GB of disk, which are free again afterwards. Linux only, as `measured`.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import decode, encode

from benchmarks.validate_fhir import copy
from fhirspace.fhir.validation.check import compiled, judged
from fhirspace.json import parse
from fhirspace.study.convert import convert
from fhirspace.study.demo.run import sample
from tests.fhir.validation.random_resources import resources
from tests.hostile.measured import measured

SIZE = 5_000_000_000
MOST_MB = 400
ATTACHED = 50_000_000
FINAL, META = b'"status":"final"', b'"meta":{'
SEED, MADE = 1, 3_000
REFERENCE, NOBODY = re.compile(rb'("reference":")([A-Za-z]+)/1'), cycle(["none"])
UNKNOWN = META + b'"profile":["http://example.org/fhir/StructureDefinition/unknown"],'


def of_space(folder: Path) -> list[bytes]:
    """The resources of SPACE, of which one is wrong, and one has an unknown profile."""
    convert(sample() / "records", to="fhir", out=folder / "space")
    return seeded([line for path in folder.glob("space/fhir/*.ndjson") for line in path.read_bytes().splitlines()])


def of_all_types(_: Path) -> list[bytes]:
    """Right random resources of every type, which refer to one another; and one that is wrong."""
    checker = compiled("R4", full=True)
    made: list[dict[str, Any]] = []
    for line in resources("R4", SEED, MADE):
        if not judged(parse(line), checker):
            made.append({**decode(line), "id": f"r{len(made)}"})
    ids: dict[str, list[str]] = {}
    for resource in made:
        ids.setdefault(resource["resourceType"], []).append(resource["id"])
    names = {kind: cycle(known) for kind, known in ids.items()}

    def other(found: re.Match[bytes]) -> bytes:
        return b"%b%b/%b" % (found[1], found[2], next(names.get(found[2].decode(), NOBODY)).encode())

    made.append({"resourceType": "Observation", "id": "wrong", "status": "done", "code": {"text": "x"}})
    return [REFERENCE.sub(other, encode(first(resource))) for resource in made]


def first(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource with its type and its id before all others, as `copy` takes it."""
    return {"resourceType": resource["resourceType"], "id": resource["id"], **resource}


@pytest.mark.soak
@pytest.mark.parametrize(("made", "size"), [(of_space, SIZE), (of_all_types, 2 * SIZE // 5)])
def test_gigabytes_of_lines(tmp_path: Path, made: Callable[[Path], list[bytes]], size: int) -> None:
    """The same resources again and again, with ids and references of their own in each copy."""
    if shutil.disk_usage(tmp_path).free < 3 * size:
        pytest.skip("5 GB need 15 GB of free disk")
    lines = made(tmp_path)
    file = tmp_path / "all.ndjson"
    try:
        copies = written(lines, file, size)
        done = measured("validate", file, "--full", seconds=3_600)
    finally:
        file.unlink(missing_ok=True)
    print(f"{copies * len(lines):,} resources, {done.peak} MB: {done.said}")
    assert done.code == 1
    assert "error: FS417 all.ndjson" in done.printed
    assert f"({copies:,} times" in done.printed
    assert done.peak < MOST_MB


def seeded(lines: Sequence[bytes]) -> list[bytes]:
    """The lines, of which the status of one Observation is no code of FHIR, and another declares a profile."""
    found = list(lines)
    first, second = [at for at, line in enumerate(lines) if META in line and FINAL in line][:2]
    found[first] = found[first].replace(FINAL, b'"status":"done"')
    found[second] = found[second].replace(META, UNKNOWN)
    return found


def written(lines: Sequence[bytes], file: Path, size: int) -> int:
    """Writes copies of lines until they have so many bytes. Gives their number."""
    with file.open("wb") as out:
        for number in range(1, size):
            out.write(b"\n".join([*copy(lines, number), b""]))
            if out.tell() >= size:
                return number
    raise AssertionError


@pytest.mark.soak
@pytest.mark.parametrize("broken", [False, True])
def test_an_attachment_of_fifty_megabytes(tmp_path: Path, broken: bool) -> None:
    """Random bytes, as a line and as a document; one letter that base64 does not have is seen."""
    text = base64.b64encode(os.urandom(ATTACHED)).decode()
    text = f"{text[:-5]}!{text[-4:]}" if broken else text
    content = {"contentType": "application/pdf", "data": text}
    whole = {"resourceType": "DocumentReference", "id": "a", "status": "current", "content": [{"attachment": content}]}
    for name in ("document.json", "line.ndjson"):
        (tmp_path / name).write_bytes(encode(whole))
        done = measured("validate", tmp_path / name, "--full")
        print(f"{name}, {len(text):,} letters, {done.peak} MB: {done.said}")
        assert done.code == int(broken), done.printed
        assert done.peak < MOST_MB
