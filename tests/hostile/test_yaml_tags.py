"""Tags of YAML that make objects or run functions where they are believed: in mappings they are plain text."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.cli import main

TAGS = {
    "a function": '!!python/object/apply:os.mkdir ["{trace}"]',
    "a new object": "!!python/object/new:pathlib.Path.mkdir {{args: ['{trace}']}}",
    "a name": '!!python/name:os.mkdir ""',
    "a module": '!!python/module:antigravity ""',
    "bytes": "!!binary aGk=",
    "a set": "!!set {{a}}",
    "a tag of nobody": "!x/y z",
}
PLACES = {
    "a dataset": ("domains", "domain: {}\nkey: [ZZSEQ]\n"),
    "a key": ("domains", "{}: x\n"),
    "a whole file": ("domains", "{}\n"),
    "a form": ("sources/own", "form: {}\nkey: [subject]\nmakes: AE\nrows:\n  STUDYID: S\n"),
}


@pytest.mark.parametrize(("folder", "text"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_a_tag_makes_nothing(
    tag: str, folder: str, text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place, trace = tmp_path / "own" / folder, tmp_path / "trace"
    place.mkdir(parents=True)
    (place / "own.yaml").write_text(text.format(tag.format(trace=trace)), "utf-8")
    where = ["--source", str(place)] if folder.startswith("sources") else ["--mappings", str(tmp_path / "own")]
    assert main(["mapping", "show", "ZZ", *where]) == 2
    assert "error: FS3" in capfd.readouterr().err
    assert not trace.exists()
