"""The proof: exact where everything comes back, exit code 1 where anything does not, 3 where rows are quarantined."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhirspace.standards import sdtm
from fhirspace.study import pipeline, roundtrip as module
from fhirspace.study.convert import convert
from fhirspace.study.reading.from_fhir import FromFhir, from_fhir
from fhirspace.study.roundtrip import roundtrip
from fhirspace.tables.compare import Difference
from tests import small_study
from tests.study.space_study import Space


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R4B", "R5"])
def test_the_sample_is_exact(release: Any, space: Space, three: Space) -> None:
    # R4 is tried with the whole sample and starts with the records, the others with datasets of three subjects: that is
    # quicker, and most of the way is the same.
    space, least = (space, 200_000) if release == "R4" else (three, 20_000)
    proof = roundtrip(space.records if release == "R4" else space.sdtm().out, fhir=release)
    assert (proof.exit_code, proof.differences, proof.losses, proof.quarantined) == (0, 0, [], 0)
    ways = {"SDTM > FHIR > SDTM"} | ({"records > SDTM > FHIR > records"} if release == "R4" else set())
    assert {leg.way for leg in proof.legs} == ways
    assert sum(leg.cells for leg in proof.legs) > least
    assert {leg.table for leg in proof.legs} >= set(space.sdtm().tables) - set(_forms(space))
    assert "exact: every cell came back" in proof.summary()


def _forms(space: Space) -> list[str]:
    return [path.stem for path in space.records.glob("*.csv")]


@pytest.mark.slow
def test_the_sample_as_resources_is_exact(space: Space) -> None:
    proof = roundtrip(space.fhir("R5").out, fhir="R5")
    assert (proof.exit_code, proof.losses) == (0, [])
    assert {leg.way for leg in proof.legs} == {"FHIR > SDTM > FHIR"}
    assert sum(leg.rows for leg in proof.legs) == sum(
        path.read_bytes().count(b"\n") for path in (space.fhir("R5").out / "fhir").iterdir()
    )


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_the_sample_submission_package_is_exact_for_all_that_has_a_mapping(release: Any, msg20: Path) -> None:
    # DI stands outside SDTMIG 3.4 (it is of the device guide), so that it is no dataset that we know.
    files = [path for path in sorted(msg20.glob("*.xpt")) if sdtm.known(path.stem.upper())]
    proof = roundtrip(files, fhir=release)
    assert proof.differences == sum(leg.rows for leg in proof.legs if leg.table in _held(proof))
    assert proof.losses == []
    assert {leg.table for leg in proof.legs} - _held(proof) >= {"AE", "CM", "DM", "DS", "EX", "LB", "MH", "TS", "VS"}


def _held(proof: module.Proof) -> set[str]:
    """The datasets that no mapping makes yet: they are in quarantine whole, and said to be."""
    return {problem.table for problem in proof.problems if problem.code == "FS212"}


def test_a_lost_cell_ends_with_1(tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in")
    proof = _losing(source)
    assert proof.exit_code == 1
    found = next(leg for leg in proof.as_dict()["tables"] if leg["table"] == "AE")
    assert [each["column"] for each in found["differences"]] == ["AEDECOD"] * 2
    assert [each["row"] for each in found["differences"]] == [3, 4]
    assert "NOT exact: 2 differences" in proof.summary()
    assert "Rash" not in proof.summary() + json.dumps(proof.as_dict())


def _losing(source: Path) -> module.Proof:
    """A round trip whose reader forgets AEDECOD of all rows but the first."""
    read = from_fhir

    def forgetful(*args: Any) -> FromFhir:
        found = read(*args)
        table = found.tables["AE"]
        place = table.column_names.index("AEDECOD")
        cells = table["AEDECOD"].cast("string").to_pylist()
        found.tables["AE"] = table.set_column(place, "AEDECOD", [[cells[0], *[None] * (len(cells) - 1)]])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "from_fhir", forgetful)
        return roundtrip(source)


def test_a_lost_row_and_a_lost_dataset_end_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small_study.write(tmp_path / "in")
    read = from_fhir

    def forgetful(*args: Any) -> FromFhir:
        found = read(*args)
        del found.tables["DM"]
        found.tables["AE"] = found.tables["AE"].slice(1)
        return found

    monkeypatch.setattr(module, "from_fhir", forgetful)
    proof = roundtrip(source)
    assert {leg.table: len([each for each in leg.differences if each.kind == "only left"]) for leg in proof.legs} == {
        "AE": 1,
        "DM": 2,
    }
    assert proof.exit_code == 1


def test_rows_that_cannot_go_are_no_proof(tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in", AE=small_study.AE.replace("2024-02-01", "soon"))
    proof = roundtrip(source, strict=True)
    assert (proof.exit_code, proof.quarantined) == (3, 1)
    (verdict,) = (line for line in proof.summary().splitlines() if "exact" in line)
    assert verdict == "NOT complete: 1 row or file is quarantined; only the carried rows are exact (R4)"
    assert [problem["code"] for problem in proof.as_dict()["problems"]].count("FS728") == 1
    assert proof.as_dict() | {"tables": [], "problems": []} == {
        "fhir": "R4",
        "exact": False,
        "problems": [],
        "differences": 0,
        "compared": 4,
        "quarantined": 1,
        "not_converted": 0,
        "not_read": 0,
        "declared_losses": [],
        "tables": [],
    }


@pytest.mark.parametrize(
    ("quarantined", "differences", "code", "verdict"),
    [
        (0, 0, 0, "exact: every cell came back"),
        (0, 1, 1, "NOT exact: 1 difference"),
        (2, 0, 3, "NOT complete: 2 rows or files are quarantined; only the carried rows are exact"),
        (2, 2, 3, "NOT exact: 2 differences; 2 rows or files are quarantined"),
    ],
)
def test_the_verdict_says_exact_of_what_was_compared_only(
    quarantined: int, differences: int, code: int, verdict: str
) -> None:
    lost = [Difference("only left", "", None, 2, None)] * differences
    proof = module.Proof("R4", [module.Leg("SDTM > FHIR > SDTM", "AE", 3, 9, lost)], quarantined=quarantined)
    assert proof.exit_code == code
    assert f"{verdict} (R4)" in proof.summary().splitlines()


def test_a_proof_over_nothing_is_none() -> None:
    assert module.Proof("R4").exit_code == 1
    assert "NOT exact: nothing was compared (R4)" in module.Proof("R4").summary()


@pytest.fixture
def resources(tmp_path: Path) -> Path:
    convert(small_study.write(tmp_path / "in"), to="fhir", out=tmp_path / "out")
    return tmp_path / "out" / "fhir"


def test_content_that_no_mapping_reads_is_a_declared_loss(resources: Path) -> None:
    file = resources / "AdverseEvent.ndjson"
    first, *rest = file.read_text("utf-8").splitlines()
    extra = json.dumps(json.loads(first) | {"location": {"display": "SECRET"}})
    foreign = '{"resourceType":"Basic","id":"x","code":{"text":"SECRET"}}'
    file.write_text("\n".join([extra, *rest, foreign]) + "\n", "utf-8")
    proof = roundtrip(resources)
    assert (proof.exit_code, proof.differences) == (3, 0)
    assert proof.losses == [
        "AdverseEvent.ndjson: AdverseEvent.location is read by no mapping",
        "AdverseEvent.ndjson:4 is a resource that no mapping claims",
    ]
    assert "SECRET" not in proof.summary() + json.dumps(proof.as_dict())


def test_an_undeclared_difference_of_resources_ends_with_1(resources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = pipeline.render

    def careless(prepared: Any, library: Any, folder: Any, accounting: Any) -> None:
        left = {name: each for name, each in prepared.tabulations.items() if name != "AE"}
        write(replace(prepared, tabulations=left), library, folder, accounting)

    monkeypatch.setattr(pipeline, "render", careless)
    proof = roundtrip(resources)
    assert proof.exit_code == 1
    different = {leg.table: len(leg.differences) for leg in proof.legs if leg.differences}
    assert different == {"AdverseEvent.ndjson": 3, "Library.ndjson": 1}  # its metadata are gone with it


def test_the_scratch_folder_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    roundtrip(resources)
    assert list(scratch.iterdir()) == []
    shutil.rmtree(scratch)


SPELT = (".94", "070", "+7", "7.", "1E2", "1e-3", "-.5", "-0", "00", "7.50", "0.10", "-007.0")


@pytest.mark.parametrize(
    ("name", "columns", "number"),
    [
        ("VS", "VSSEQ,VSTESTCD,VSTEST,VSORRES,VSORRESU,VSSTRESC,VSSTRESN,VSSTRESU,VISITNUM,VSDTC,VSDY",
         "TEMP,Temperature,{0},C,{0},{0},C,{0},2024-01-02,{0}"),
        ("LB", "LBSEQ,LBTESTCD,LBTEST,LBORRES,LBORRESU,LBSTRESC,LBSTRESN,LBSTRESU,LBSTNRLO,LBSTNRHI,LBDTC",
         "GLUC,Glucose,{0},mmol/L,{0},{0},mmol/L,{0},{0},2024-01-02"),
        ("EX", "EXSEQ,EXTRT,EXDOSE,EXDOSU,EXDOSFRM,VISITNUM,EXSTDTC,EXVAMT,EXVAMTU",
         "A,{0},mg,TABLET,{0},2024-01-02,{0},mL"),
        ("CM", "CMSEQ,CMTRT,CMDOSE,CMDOSU,CMSTDTC", "A,{0},mg,2024-01-02"),
    ],
)  # fmt: skip
def test_numbers_come_back_as_they_are_spelt(name: str, columns: str, number: str, tmp_path: Path) -> None:
    rows = (f"TINY,{name},TINY-1,{at},{number.format(spelt)}" for at, spelt in enumerate(SPELT, 1))
    text = "\n".join([f"STUDYID,DOMAIN,USUBJID,{columns}", *rows, ""])
    proof = roundtrip(small_study.write(tmp_path / "in", **{name: text}))
    assert {leg.table: leg.differences for leg in proof.legs}[name] == []
    assert proof.quarantined == 0
