"""Small right inputs of each kind, the file of them that is broken, and the commands that read it."""

from __future__ import annotations

import atexit
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fhirspace.delivery.bulk import export
from fhirspace.forms import library as source
from fhirspace.mapping import library
from fhirspace.study import pipeline
from fhirspace.study.demo.run import sample
from fhirspace.study.inspect import forms as views_forms
from fhirspace.tables import xpt
from fhirspace.tables.text import from_columns
from fhirspace.testing.settings import TYPES
from tests.hostile import dataset_inputs, study_inputs
from tests.hostile.kinds import AE, DM, Files, Kind
from tests.hostile.offline import URL

_FEW = ("dm", "ae", "ds", "ta", "te", "ti", "ts", "tv", "td", "tm", "supp")
_RUN = "dead/20260501T101500Z-3f1c"
_SEEDS = Path(__file__).parent / "seeds"
_MAPPINGS = Path(__file__).parents[2] / "mappings"


@cache
def few_mappings() -> Path:
    """The shipped mappings of DM and AE, of what is attached to them, and the source of the sample."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in (*(f"domains/{each}.yaml" for each in _FEW), "common.yaml", "classes", "codes"):
        (folder / name).parent.mkdir(exist_ok=True)
        copy = shutil.copyfile if "." in name else shutil.copytree
        copy(_MAPPINGS / name, folder / name)
    shutil.copytree(_MAPPINGS / "sources/space", folder / "sources/space")
    return folder


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """The shipped mappings are those of this folder."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (library, source, pipeline, views_forms):
            patch.setattr(module, "shipped", lambda: folder)
        yield


def lines() -> list[bytes]:
    """A study of two subjects as resources."""
    return (_SEEDS / "study.ndjson").read_bytes().splitlines()


def _forms() -> Files:
    return {f"{name}.csv": _head(f"{name}.csv", 4) for name in ("vitals", "demographics")}


def _head(name: str, rows: int) -> bytes:
    with (sample() / "records" / name).open("rb") as stream:
        return b"".join(stream.readline() for _ in range(rows))


def _datasets() -> Files:
    return {"dm.csv": DM, "ae.csv": AE}


def _table(text: bytes) -> pa.Table:
    header, *rows = (line.split(",") for line in text.decode().splitlines())
    return from_columns({name: [row[at] for row in rows] for at, name in enumerate(header)}, file="x")


def _parquet() -> Files:
    found = {}
    for name, text in (("dm", DM), ("ae", AE)):
        sink = pa.BufferOutputStream()
        table = _table(text)
        data = table.select([column for column in table.column_names if not column.startswith("@")])
        pq.write_table(data, sink)
        found[f"{name}.parquet"] = sink.getvalue().to_pybytes()
    return found


@cache
def _xpt() -> Files:
    with TemporaryDirectory() as folder:
        found = {}
        for name, text in (("dm", DM), ("ae", AE)):
            path, table = Path(folder) / f"{name}.xpt", _table(text)
            numbers = {"AGE", "AESEQ"}
            variables: list[xpt.Variable] = [
                (column, column, "Num" if column in numbers else "Char", None)
                for column in text.decode().partition("\n")[0].split(",")
            ]
            xpt.write(table, path, name=name.upper(), label=name, variables=variables)
            found[path.name] = path.read_bytes()
        return found


def _ndjson() -> Files:
    return {"fhir/study.ndjson": b"\n".join(lines()) + b"\n"}


def _gzip() -> Files:
    return {"fhir/study.ndjson.gz": b"\n".join(lines()) + b"\n"}


def _bundle() -> Files:
    entries = b",".join(b'{"fullUrl":"urn:uuid:e%d","resource":%b}' % (at, line) for at, line in enumerate(lines()))
    return {"study.json": b'{"resourceType":"Bundle","type":"collection","entry":[' + entries + b"]}"}


def _resource() -> Files:
    return {"Observation.json": next(line for line in lines() if b'"Observation"' in line)}


def _domain() -> Files:
    return {**_datasets(), "my/domains/ae.yaml": (_MAPPINGS / "domains/ae.yaml").read_bytes()}


def _codes() -> Files:
    text = b"value,code,r4\nMILD,mild,Mild\nMODERATE,moderate,\nSEVERE,severe,Severe\n"
    return {**_datasets(), "my/codes/AESEV.csv": text, "my/common.yaml": b"let: {}\n"}


def _common() -> Files:
    return {**_datasets(), "my/common.yaml": (_MAPPINGS / "common.yaml").read_bytes()}


def _source(*names: str) -> Files:
    folder = _MAPPINGS / "sources/space"
    kept = {f"my/{name}.yaml": (folder / f"{name}.yaml").read_bytes() for name in ("vitals", "common", "study", *names)}
    return {"records/vitals.csv": _head("vitals.csv", 4), **kept}


def _profiles() -> Files:
    return {**_ndjson(), "my/country.json": (_MAPPINGS / "profiles/country.json").read_bytes()}


def _servers() -> Files:
    text = f"""# Servers.
[servers.hospital]
url = "{URL}"
fhir = "R4"
connections = 4
size = 50
rate = 10.5
sign_in = "basic"
user = "x"
password_env = "HOME"

[servers.other]
url = "https://fhir.example.org/fhir"
sign_in = "oauth2"
token_url = "https://auth.example.org/token"
client_id = "me"
client_secret_file = "/nowhere"
scope = ["system/*.read"]
"""
    return {**_ndjson(), "servers.toml": text.encode()}


def _manifest() -> Files:
    text = {
        "versions": {"fhirspace": "0.1.0", "mappings": "x", "fhir": "R4"},
        "tables": {"AE": {"in": 3, "out": 3, "quarantined": 0}},
        "files": {
            "fhir/study.ndjson": {"sha256": "0" * 64, "size": 10},
            "sdtm/ae.xpt": {"sha256": "1" * 64, "size": 1},
        },
    }
    return {**_ndjson(), **_datasets(), "manifest.json": json.dumps(text, indent=2).encode()}


def _letters() -> Files:
    heads = [
        {"key": "Patient/p-1", "file": "Patient.ndjson", "row": 1, "status": 422, "outcome": {"issue": []}},
        {"key": "Basic/b", "file": "x.ndjson", "row": 2, "status": 400, "outcome": "<html>"},
    ]
    return {
        f"{_RUN}.ndjson": b'{"resourceType":"Patient","id":"p-1"}\n{"resourceType":"Basic","id":"b"}\n',
        f"{_RUN}.outcomes.ndjson": b"".join(json.dumps(head).encode() + b"\n" for head in heads),
    }


def _export() -> Files:
    asked = export._Asked("TINY", tuple(sorted(TYPES.split())), None, "")
    state = {
        "request": asked.digest(URL),
        "status": f"{URL}/jobs/1",
        "manifest": {"output": [{"url": f"{URL}/files/1", "type": "Patient", "count": 1, "size": 3, "sha256": "0"}]},
    }
    return {"out/.bulk-export/state.json": json.dumps(state).encode(), "out/.bulk-export/000000.ndjson": b"{}\n"}


_READ_FHIR = (
    "validate {in}",
    f"push {{in}} --server {URL}",
    f"plan {{in}} --server {URL} --out {{out}}.db",
    "plan {in}",
    "convert {in} --to sdtm --out {out} --format csv",
    "validate {in} --json --fhir R5",
    f"push {{in}} --server {URL} --way batch",
    "roundtrip {in}",
)
_READ_SDTM = ("validate {in}", "convert {in} --to fhir --out {out}", "validate {in} --json", "roundtrip {in}")
_READ_FORMS = ("convert {in} --to sdtm --out {out} --source space --format csv", "roundtrip {in} --source space")
_SHOW = "mapping show AE --mappings {in}/my"
_OWN = (
    *[_SHOW, "mapping show AE --mappings {in}/my --fhir R5", _SHOW] * 3,
    "convert {in}/dm.csv {in}/ae.csv --to fhir --out {out} --mappings {in}/my",
    "mapping check --mappings {in}/my",
)
_BY_FORM = "convert {in}/records --to sdtm --out {out} --source {in}/my --format csv"
_OWN_SOURCE = (*["mapping show vitals --source {in}/my"] * 4, _BY_FORM, "mapping check --source {in}/my")

KINDS = {
    "form in CSV": Kind("text", "vitals.csv", _forms, ("mapping new {in}/vitals.csv", *_READ_FORMS), 2),
    "SDTM in CSV": Kind("text", "ae.csv", _datasets, _READ_SDTM, 2),
    "Parquet": Kind("bytes", "ae.parquet", _parquet, _READ_SDTM, 2, few=True),
    "XPT": Kind("bytes", "ae.xpt", _xpt, _READ_SDTM, 2, few=True),
    "NDJSON": Kind("ndjson", "fhir/study.ndjson", _ndjson, _READ_FHIR, 4),
    "NDJSON in gzip": Kind("gzip", "fhir/study.ndjson.gz", _gzip, _READ_FHIR, 4),
    "Bundle": Kind("json", "study.json", _bundle, _READ_FHIR, 4),
    "resource": Kind("json", "Observation.json", _resource, _READ_FHIR, 4),
    "domain mapping": Kind("text", "my/domains/ae.yaml", _domain, _OWN, few=True),
    "code list": Kind("text", "my/codes/AESEV.csv", _codes, _OWN, few=True),
    "common definitions": Kind("text", "my/common.yaml", _common, _OWN, few=True),
    "source form": Kind("text", "my/vitals.yaml", _source, _OWN_SOURCE),
    "source definitions": Kind("text", "my/common.yaml", _source, _OWN_SOURCE),
    "study design": Kind("text", "my/study.yaml", _source, (_BY_FORM, "mapping check --source {in}/my")),
    "profile": Kind("json", "my/country.json", _profiles, ("validate {in}/fhir --profile {in}/my",)),
    "servers": Kind("text", "servers.toml", _servers, ("plan {in}/fhir --server hospital --config {in}/servers.toml",)),
    "manifest": Kind(
        "json",
        "manifest.json",
        _manifest,
        (f"push {{in}} --server {URL}", "convert {in}/dm.csv {in}/ae.csv --to fhir --out {in}", "validate {in}"),
        tolerant=True,
    ),
    "dead letters": Kind("ndjson", f"{_RUN}.ndjson", _letters, (f"retry {{in}} --server {URL}",)),
    "outcomes of dead letters": Kind(
        "ndjson", f"{_RUN}.outcomes.ndjson", _letters, (f"retry {{in}} --server {URL}",), tolerant=True
    ),
    "state of an export": Kind(
        "json",
        "out/.bulk-export/state.json",
        _export,
        (f"pull --bulk --server {URL} --study TINY --out {{in}}/out",),
        tolerant=True,
    ),
    **dataset_inputs.KINDS,
    **study_inputs.KINDS,
}
