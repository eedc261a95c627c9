"""`convert(validate=...)`: what is written is judged, findings are problems of the run, and nothing is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.errors import UsageError
from fhirspace.fhir.judging import Judging
from fhirspace.study.convert import Conversion, convert
from tests import small_study

MAPPING = Path("mappings/domains/ae.yaml")
RIGHT = "  severity|-: {coding: {system: $thoc/adverse-event-severity, code: <AESEV codes+(AESEV)>}}\n"
WRONG = "  severity|-: {coding: {system: $thoc/adverse-event-severity, code: much}, text: <AESEV>}\n"
"""What the checks of a mapping let pass: they do not look into code systems."""


@pytest.fixture
def mappings(tmp_path: Path) -> Path:
    text = MAPPING.read_text("utf-8")
    assert text.count(RIGHT) == 1
    own = tmp_path / "own"
    (own / "domains").mkdir(parents=True)
    (own / "domains" / "ae.yaml").write_text(text.replace(RIGHT, WRONG), "utf-8")
    return own


def run(tmp_path: Path, mappings: Path | None, judging: Judging | None, *, gzip: bool = False) -> Conversion:
    given = small_study.write(tmp_path / "in")
    own = [mappings] if mappings else []
    out = tmp_path / "out"
    return convert(given, to="fhir", out=out, id_key="demo", mappings=own, validate=judging, gzip=gzip)


@pytest.mark.parametrize("gzip", [False, True])
def test_what_is_written_is_judged(tmp_path: Path, mappings: Path, gzip: bool) -> None:
    done = run(tmp_path, mappings, "errors", gzip=gzip)
    wrong = [problem for problem in done.problems if problem.code == "FS426"]
    name = "AdverseEvent.ndjson.gz" if gzip else "AdverseEvent.ndjson"
    places = [(problem.place.file, problem.place.row, problem.place.column) for problem in wrong]
    assert places == [(name, row, "AdverseEvent.severity.coding[0].code") for row in (1, 2, 3)]
    assert done.exit_code == 1
    assert done.tables["AE"] == {"in": 3, "out": 3, "quarantined": 0}, "findings inform, and delete nothing"
    listed = [json.loads(line)["code"] for line in (tmp_path / "out/problems.ndjson").read_bytes().splitlines()]
    assert listed.count("FS426") == 3


def test_nobody_asked(tmp_path: Path, mappings: Path) -> None:
    done = run(tmp_path, mappings, None)
    assert done.exit_code == 0
    assert not any(problem.code.startswith("FS4") for problem in done.problems)


def test_full_also_looks_for_what_is_only_recommended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    from fhirspace.fhir.validation import check

    compiled = check.compiled
    monkeypatch.setattr(check, "compiled", lambda release, *, full: asked.append(full) or compiled(release, full=full))
    assert [run(tmp_path, None, each).exit_code for each in ("errors", "full")] == [0, 0]
    assert asked == [False, True]


def test_other_output_is_not_judged_by_fhir(tmp_path: Path) -> None:
    given = small_study.write(tmp_path / "in")
    with pytest.raises(UsageError, match="FS641"):
        convert(given, to="sdtm", out=tmp_path / "out", validate="errors")
    assert not (tmp_path / "out").exists()


def test_on_the_command_line(tmp_path: Path, mappings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = small_study.write(tmp_path / "in")
    command = ["convert", str(given), "--to", "fhir", "--out", str(tmp_path / "out"), "--id-key", "demo"]
    assert main([*command, "--mappings", str(mappings), "--validate"]) == 1
    assert (
        "FS426 AdverseEvent.ndjson:1:AdverseEvent.severity.coding[0].code (3 times; rows 1, 2, 3)"
        in capsys.readouterr().err
    )
    assert main([*command, "--validate", "full"]) == 0
