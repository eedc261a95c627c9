"""Files whose names are not UTF-8, as old archives have them: what a run writes about them can be read again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirspace import json as jsontext
from fhirspace.cli import main
from fhirspace.foreign import as_strict_json
from tests import small_study

ODD = b"v\xff\xe9"
STRANGERS = {
    "form": (b".csv", b"a,b\n1,2\n"),
    "form with a broken row": (b".csv", b"a,b\n1,2\n1,2,3\n"),
    "resources": (b".ndjson", b'{"resourceType":"Patient","id":"1"}\n'),
    "broken resources": (b".ndjson", b"{nonsense\n"),
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody has to find by its name: pytest could not remove what is in it."""
    yield tmp_path
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        if "\udcff" in path.name and path.is_file():
            path.unlink()


@pytest.mark.parametrize("named", STRANGERS)
@pytest.mark.parametrize("to", ["sdtm", "fhir", "records"])
def test_a_name_that_is_not_utf8_leaves_no_half_output(folder: Path, named: str, to: str) -> None:
    suffix, content = STRANGERS[named]
    given = folder / "in" if "resources" in named else small_study.write(folder / "in")
    given.mkdir(exist_ok=True)
    (given / os.fsdecode(ODD + suffix)).write_bytes(content)
    run = ["convert", str(given), "--to", to, "--out", str(folder / "out"), "--id-key", "demo"]
    code = main(run)
    assert code in (0, 1, 2, 3)
    assert main(run) == code
    assert not (folder / "out" / ".fhirspace-staging").exists()
    for name in ("manifest.json", "problems.ndjson", "unread.ndjson"):
        path = folder / "out" / name
        lines = path.read_bytes().splitlines() if path.is_file() else []
        for text in [b"".join(lines)] if name == "manifest.json" and lines else lines:
            jsontext.parse(text)


def test_half_a_surrogate_pair_becomes_a_text_that_strict_readers_take() -> None:
    value = {"a\udcff": ["\ud83d\udcff", "é\x1b", "\\"]}
    assert as_strict_json(value) == b'{"a\\\\udcff":["\\\\ud83d\\\\udcff","\xc3\xa9\\u001b","\\\\"]}\n'
    assert jsontext.decode(as_strict_json(value)) == {r"a\udcff": [r"\ud83d\udcff", "é\x1b", "\\"]}
