"""Memory that validation takes for 5 GB of NDJSON, and for one attachment of 50 MB: ``pytest -s`` on this file.

About five minutes of CPU, and 5 GB of disk, which are free again afterwards. Linux only, as `measured`.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.json import encode

from benchmarks.validate_fhir import copy
from fhirspace.study.convert import convert
from fhirspace.study.demo.run import sample
from tests.hostile.measured import measured

SIZE = 5_000_000_000
MOST_MB = 400
ATTACHED = 50_000_000
FINAL, META = b'"status":"final"', b'"meta":{'
UNKNOWN = META + b'"profile":["http://example.org/fhir/StructureDefinition/unknown"],'


@pytest.mark.soak
def test_five_gigabytes_of_lines(tmp_path: Path) -> None:
    """SPACE again and again with ids of its own; in each copy one resource is wrong, and one has an unknown profile."""
    if shutil.disk_usage(tmp_path).free < 3 * SIZE:
        pytest.skip("5 GB need 15 GB of free disk")
    convert(sample() / "records", to="fhir", out=tmp_path / "space")
    lines = [line for path in (tmp_path / "space" / "fhir").glob("*.ndjson") for line in path.read_bytes().splitlines()]
    file = tmp_path / "all.ndjson"
    try:
        copies = written(seeded(lines), file)
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


def written(lines: Sequence[bytes], file: Path) -> int:
    """Writes copies of lines until they are 5 GB. Gives their number."""
    with file.open("wb") as out:
        for number in range(1, SIZE):
            out.write(b"\n".join([*copy(lines, number), b""]))
            if out.tell() >= SIZE:
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
