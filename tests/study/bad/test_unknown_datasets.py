"""Datasets that SDTMIG 3.4 does not have, beside such as it has: carried, or held if they are no tabulations."""
# ruff: noqa: F401 - fixtures that are imported

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fhirspace.errors import UsageError
from fhirspace.study.convert import convert
from fhirspace.study.inputs import recognise
from fhirspace.study.roundtrip import roundtrip
from fhirspace.study.validate import validate
from fhirspace.tables import xpt
from tests import small_study
from tests.study.bad.bad_runs import mappings_once, table

DI = "STUDYID,DOMAIN,SPDEVID,DISEQ,DIPARMCD,DIPARM,DIVAL\nTINY,DI,D1,1,MANUF,Manufacturer,Acme\nTINY,DI,D2,1,MANUF,Maker,Bee\n"
XB = f"""STUDYID,DOMAIN,USUBJID,XBSEQ,XBTESTCD,XBTEST,XBORRES,XBDTC
TINY,XB,TINY-1,1,GLOW,Glow,5.50,2024-02-01
TINY,XB,TINY-2,1,GLOW,Glow,{"very bright " * 40}indeed,2024-02
"""
OTHERS = {
    "DI": DI,
    "SUPPDI": "STUDYID,RDOMAIN,USUBJID,IDVAR,IDVARVAL,QNAM,QLABEL,QVAL,QORIG\nTINY,DI,,DISEQ,1,A,B,c,CRF\n",
}
MAPPINGS = {
    "xb": """
domain: XB
key: [STUDYID, USUBJID, XBSEQ]

Observation:
  id: <USUBJID id>-XB-<XBSEQ integer>
  identifier: [{system: $fs/XB, value: <USUBJID>|<XBSEQ integer>}]
  meta: $meta
  status: final
  code: {coding: [{system: $fs/testcd, code: <XBTESTCD>}], text: <XBTEST>}
  subject: $patient
  effectiveDateTime: <XBDTC datetime>
  valueString: <XBORRES>
  extension:
    - <each SUPP-->
    - <carried>
""",
    "di": """
domain: DI
key: [STUDYID, SPDEVID, DISEQ]

Basic:
  id: <SPDEVID id>-DI-<DISEQ integer>
  identifier: [{system: $fs/DI, value: <SPDEVID>|<DISEQ integer>}]
  meta: $meta
  code: {coding: [{system: $fs/diparmcd, code: <DIPARMCD>}], text: <DIPARM>}
  extension:
    - {url: $fsx/device-value, valueString: <DIVAL>}
    - <carried>
""",
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own" / "domains"
    folder.mkdir(parents=True)
    for name, text in MAPPINGS.items():
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    return folder.parent


def as_parquet(path: Path) -> None:
    header, *rows = table(path)
    pq.write_table(
        pa.table(dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))), path.with_suffix(".parquet")
    )
    path.unlink()


def as_xpt(path: Path) -> None:
    header, *rows = table(path)
    cells = pa.table(dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)))
    variables: list[xpt.Variable] = [(name, name, "Char", None) for name in header]
    xpt.write(cells, path.with_suffix(".xpt"), name=path.stem.upper(), label="x", variables=variables)
    path.unlink()


@pytest.mark.parametrize("form", ["csv", "parquet", "xpt"])
def test_an_unknown_dataset_is_carried_whole(form: str, tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in", **OTHERS)
    if form != "csv":
        (as_parquet if form == "parquet" else as_xpt)(source / "di.csv")
    done = convert(source, to="fhir", out=tmp_path / "out")
    assert done.exit_code == 0
    assert done.tables["DI"] == {"in": 2, "out": 2, "quarantined": 0}
    assert done.tables["SUPPDI"] == {"in": 1, "out": 1, "quarantined": 0}
    assert {json.loads(line)["code"]["coding"][0]["code"] for line in _lines(done.out, "Basic")} == {"DI"}
    back = convert(done.out / "fhir", to="sdtm", out=tmp_path / "back", formats=("csv",))
    assert sorted(table(back.out / "sdtm" / "di.csv")) == sorted(line.split(",") for line in DI.splitlines())
    assert roundtrip(source).exit_code == 0


def _lines(out: Path, kind: str) -> list[str]:
    return (out / "fhir" / f"{kind}.ndjson").read_text("utf-8").splitlines()


@pytest.mark.parametrize("form", ["parquet", "xpt"])
def test_what_is_no_tabulation_is_held_whole_and_the_others_go_on(form: str, tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in")
    (source / "adsl.csv").write_text("STUDYID,USUBJID,TRT01P\nTINY,TINY-1,A\nTINY,TINY-2,B\n", "utf-8")
    (as_parquet if form == "parquet" else as_xpt)(source / "adsl.csv")
    if form == "parquet":
        with pytest.raises(UsageError):
            convert(source, to="fhir", out=tmp_path / "out")
        return
    done = convert(source, to="fhir", out=tmp_path / "out")
    assert done.exit_code == 3
    assert done.tables["ADSL"] == {"in": 2, "out": 0, "quarantined": 2}
    assert done.tables["AE"] == {"in": 3, "out": 3, "quarantined": 0}
    assert {(each.code, str(each.place)) for each in done.problems if each.level == "error"} == {("FS753", "adsl.xpt")}
    assert len(table(tmp_path / "out" / "quarantine" / "ADSL.csv")) == 3


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_a_sponsors_own_domain_is_mapped_by_its_class(release: Any, tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in", XB=XB)
    done = convert(source, to="fhir", out=tmp_path / "out", fhir=release)
    assert (done.exit_code, done.tables["XB"]) == (0, {"in": 2, "out": 2, "quarantined": 0})
    (number, text) = (json.loads(line) for line in _lines(done.out, "Observation"))
    assert number["valueQuantity"] == {"value": 5.50}
    assert text["code"]["text"] == "Glow"
    assert roundtrip(source, fhir=release).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_a_mapping_of_ones_own_carries_them_there_and_back(release: Any, own: Path, tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in", XB=XB, DI=DI)
    fhir = convert(source, to="fhir", out=tmp_path / "fhir", mappings=[own], fhir=release)
    assert (fhir.exit_code, {name for name, row in fhir.tables.items() if row["quarantined"]}) == (0, set())
    made = convert(fhir.out, to="sdtm", out=tmp_path / "made", mappings=[own], fhir=release)
    assert made.exit_code == 0
    names = {path.name for path in (made.out / "sdtm").iterdir()}
    assert names == {"ae.xpt", "di.xpt", "dm.xpt", "suppxb.xpt", "xb.xpt"}
    for given in (source, made.out / "sdtm"):
        proof = roundtrip(given, mappings=[own], fhir=release)
        assert (proof.exit_code, proof.losses) == (0, [])
        assert {leg.table: leg.rows for leg in proof.legs} == {"AE": 3, "DI": 2, "DM": 2, "XB": 2}
    again = convert(made.out, to="fhir", out=tmp_path / "again", mappings=[own], fhir=release)
    for name in ("Basic.ndjson", "Observation.ndjson"):
        assert (again.out / "fhir" / name).read_bytes() == (fhir.out / "fhir" / name).read_bytes()
    _, numbered = [
        json.loads(line) for line in (fhir.out / "fhir" / "Observation.ndjson").read_text("utf-8").splitlines()
    ]
    assert numbered["valueString"].endswith("very bright indeed")


def test_a_faulty_row_of_a_sponsors_own_domain_is_found(own: Path, tmp_path: Path) -> None:
    faulty = XB.replace("TINY-1,1", "TINY-9,1").replace("2024-02\n", "soon\n")
    done = convert(
        small_study.write(tmp_path / "in", XB=faulty), to="fhir", out=tmp_path / "out", mappings=[own], strict=True
    )
    assert done.tables["XB"] == {"in": 2, "out": 0, "quarantined": 2}
    found = {(each.code, str(each.place)) for each in done.problems if each.level == "error"}
    assert found == {("FS727", "xb.csv:2:USUBJID"), ("FS728", "xb.csv:3:XBDTC")}


def test_validation_tells_what_a_conversion_does_with_it(tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in", DI=DI, XB=XB)
    (source / "adsl.csv").write_text("STUDYID,USUBJID,TRT01P\nTINY,TINY-1,A\n", "utf-8")
    as_xpt(source / "adsl.csv")
    found = [problem for problem in validate([source]) if problem.code in {"FS753", "FS767"}]
    assert {(problem.code, problem.level, problem.table) for problem in found} == {
        ("FS753", "error", "ADSL"),
        ("FS767", "warning", "DI"),
    }


@pytest.mark.parametrize("text", ["subject,glow\n1,2\n", "STUDYID,SUBJECT\nTINY,1\n"])
def test_forms_beside_datasets_are_refused(text: str, tmp_path: Path) -> None:
    source = small_study.write(tmp_path / "in", XB=text)
    with pytest.raises(UsageError) as caught:
        recognise([source])
    assert caught.value.code == "FS610"


def test_forms_of_such_names_stay_forms(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("xr", "visits"):
        (tmp_path / "in" / f"{name}.csv").write_text("STUDYID,SUBJECT\nTINY,1\n", "utf-8")
    assert recognise([tmp_path / "in"]).kind == "records"


def test_the_sample_submission_package_goes_in_as_it_is(msg20: Path, tmp_path: Path) -> None:
    done = convert([msg20 / f"{name}.xpt" for name in ("di", "dm", "ae")], to="fhir", out=tmp_path / "out")
    assert done.exit_code == 1  # AEDECOD is missing
    for name in ("DI", "AE"):
        assert done.tables[name]["out"] == done.tables[name]["in"] > 0
