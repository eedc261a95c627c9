"""The law of accounting over generated folders: good, broken, foreign, empty, nested and compressed files together.

Whatever a folder holds, each of its entries is read, quarantined, not read or passed over, and each row and resource is
written, quarantined, left out by declaration or not converted. What came in is counted here, from the folder.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from fhirspace.cli import main
from tests.study.bad.bad_runs import table

DATASETS = {
    "dm": "STUDYID,DOMAIN,USUBJID,SUBJID,SITEID,SEX,COUNTRY\nS,DM,S-1,1,10,F,GBR\nS,DM,S-2,2,10,M,GBR\n",
    "ae": "STUDYID,DOMAIN,USUBJID,AESEQ,AETERM,AEDECOD\nS,AE,S-1,1,Rash,Rash\nS,AE,S-9,1,Rash,Rash\nS,AE,,2,Rash,Rash\n",
    "vs": "STUDYID,DOMAIN,USUBJID,VSSEQ,VSTESTCD,VSTEST,VSORRES\nS,VS,S-1,1,WEIGHT,Weight,70\nS,VS,S-1,1,WEIGHT,Weight\n",
    "cm": "STUDYID,DOMAIN,USUBJID,CMSEQ,CMTRT\nS,CM,S-2,1,Aspirin\n\nS,CM,S-2,2,\n",
    "suppae": "STUDYID,RDOMAIN,USUBJID,IDVAR,IDVARVAL,QNAM,QLABEL,QVAL\nS,AE,S-1,AESEQ,1,AEX,X,1\nS,AE,S-1,AESEQ,7,AEX,X,1\n",
    "relrec": "STUDYID,RDOMAIN,USUBJID,IDVAR,IDVARVAL,RELTYPE,RELID\nS,AE,S-1,AESEQ,1,,1\nS,AE,S-1,AESEQ,1,,1\n",
    "ts": "STUDYID,DOMAIN,TSSEQ,TSPARMCD,TSPARM,TSVAL\nS,TS,1,TITLE,Trial Title,T\n",
}
FORMS = {
    "demog": "site,subject,sex\n10,1,F\n10,2,M\n10,,M\n10,2,F\n",
    "events": "subject,no,term,start\n1,1,Rash,2024-03-05\n1,2,Rash,soon\n2,1,,\n",
    "other": "subject,no,q\n1,1,x\n",
}
MAPPINGS = {
    "demog": "form: demog\nkey: [site, subject]\nmakes: DM\nalways: true\nskip when: sex is X\nrows:\n  STUDYID: S\n"
    "  USUBJID: S-<site>-<subject>\n  SEX: <sex>\n",
    "events": "form: events\nkey: [subject, no]\nmakes: AE\nrows:\n  STUDYID: S\n  USUBJID: S-10-<subject>\n  AESPID: <no>\n"
    "  AETERM: <term>\n  AESTDTC: <start date>\n",
}
PATIENT = (
    '{"resourceType":"Patient","id":"p%d","identifier":[{"system":"https://fhirspace.org/usubjid","value":"S-%d"}]}'
)
RESOURCES = {
    "Patient": "".join(PATIENT % (number, number) + "\n" for number in (1, 2)),
    "Observation": '{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"x"}}\n'
    '{"resourceType":"Observation","id":"o2","status":"entered-in-error","code":{"text":"x"}}\n',
    "Broken": PATIENT % (3, 3) + '\n{"resourceType":"Patient",\n[]\n\n"x"\n' + PATIENT % (4, 4),
    "Foreign": '{"resourceType":"Slot","id":"s1"}\n{"resourceType":"Nonsense","id":"n1"}\n',
}
BUNDLE = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [{"resource": json.loads(PATIENT % (n, n))} for n in (7, 8)],
}


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "a,b\n1,2\n")


def _nested(path: Path) -> None:
    path.mkdir()
    (path / "dm.csv").write_text(DATASETS["dm"], "utf-8")
    (path / "deeper").mkdir()
    (path / "deeper" / "x.bin").write_bytes(b"\x00")


BESIDE: dict[str, Callable[[Path], object]] = {
    "notes.txt": lambda path: path.write_text("For the record.\n", "utf-8"),
    "table.txt": lambda path: path.write_text("a\tb\n1\t2\n3\t4\n", "utf-8"),
    "README.md": lambda path: path.write_text("# hello\n", "utf-8"),
    "book.xlsx": lambda path: path.write_bytes(b"PK\x03\x04 no workbook"),
    "scan.pdf": lambda path: path.write_bytes(b"%PDF"),
    "image.png": lambda path: path.write_bytes(b"\x89PNG"),
    "old.zip": _zip,
    "data.sas7bdat": lambda path: path.write_bytes(b"\x00" * 64),
    "unknown": lambda path: path.write_bytes(b""),
    "archive": _nested,
    "nothing": lambda path: path.mkdir(),
    ".hidden": lambda path: path.write_text("x", "utf-8"),
}
BROKEN: dict[str, Callable[[Path], object]] = {
    "lb.csv": lambda path: path.write_bytes(b"STUDYID,DOMAIN\n\xff\xfe\x00\n"),
    "mh.csv": lambda path: path.write_bytes(b""),
    "ex.csv": lambda path: path.write_text("STUDYID,DOMAIN,USUBJID,EXSEQ\n", "utf-8"),
    "eg.xpt": lambda path: path.write_bytes(b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!"),
    "pc.parquet": lambda path: path.write_bytes(b"PAR1 no"),
    "ds.csv": lambda path: path.write_text('STUDYID,DOMAIN\n"S,DS\n', "utf-8"),
}
LOST: dict[str, Callable[[Path], object]] = {
    "cut.ndjson.gz": lambda path: path.write_bytes(gzip.compress(RESOURCES["Patient"].encode())[:-9]),
    "noise.ndjson.gz": lambda path: path.write_bytes(b"no gzip"),
    "empty.ndjson": lambda path: path.write_bytes(b""),
    "blank.ndjson": lambda path: path.write_text("\n\n", "utf-8"),
    "list.json": lambda path: path.write_text("[1, 2]", "utf-8"),
    "half.json": lambda path: path.write_text('{"resourceType": "Pat', "utf-8"),
    "bundle.json": lambda path: path.write_text(json.dumps(BUNDLE), "utf-8"),
}


class Folder(NamedTuple):
    """A generated folder: the entries in it, and how many records each good file of it has."""

    entries: list[str]
    records: dict[str, int]


def folder(path: Path, kind: str, rng: Random) -> Folder:
    """Writes a folder of SDTM datasets, of forms or of FHIR, with all sorts of other entries."""
    path.mkdir(parents=True)
    good, bad = {"sdtm": (DATASETS, BROKEN), "records": (FORMS, BROKEN), "fhir": (RESOURCES, LOST)}[kind]
    records: dict[str, int] = {}
    for name in rng.sample(sorted(good), rng.randint(1, len(good))):
        text = good[name]
        if kind != "fhir":
            (path / f"{name}.csv").write_text(text, "utf-8")
            records[name] = sum(1 for line in text.splitlines()[1:] if line)
        elif rng.random() < 0.5:
            (path / f"{name}.ndjson").write_text(text, "utf-8")
            records[f"{name}.ndjson"] = sum(1 for line in text.splitlines() if line)
        else:
            (path / f"{name}.ndjson.gz").write_bytes(gzip.compress(text.encode()))
            records[f"{name}.ndjson.gz"] = sum(1 for line in text.splitlines() if line)
    more = {**bad, **BESIDE}
    for name in rng.sample(sorted(more), rng.randint(0, 7)):
        more[name](path / name)
        if name == "bundle.json" and kind == "fhir":
            records[name] = 2
    entries = sorted(each.name for each in path.iterdir() if each.name != "nothing")  # an empty folder is nothing
    return Folder(entries, records)


def _files(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text("utf-8"))
    return found


def problems(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "problems.ndjson").read_text("utf-8").splitlines()]


def converted(made: Folder, out: Path, code: int) -> list[str]:
    """Where the counts of a conversion do not balance, or are not those of the folder."""
    manifest, found = _files(out), problems(out)
    wrong: list[str] = []
    files = manifest["input_files"]
    if files["in"] != len(made.entries) or files["in"] != sum(files.values()) - files["in"]:
        wrong.append(f"files {files}, entries {made.entries}")
    for name, counts in manifest["tables"].items():
        if counts["rows_in"] != sum(counts.values()) - counts["rows_in"] - counts["derived"]:
            wrong.append(f"{name}: {counts}")
        written = out / "sdtm" / f"{name.lower()}.csv"
        if written.exists() and len(table(written)) - 1 != counts["rows_out"] + counts["derived"]:
            wrong.append(f"{name}: {len(table(written)) - 1} rows are written, counted {counts}")
    tables = {name.removesuffix(" (form)").casefold(): counts for name, counts in manifest["tables"].items()}
    for name, records in made.records.items():
        if tables.get(name.casefold(), {"rows_in": 0})["rows_in"] != records:
            wrong.append(f"{name}: {records} records, counted {tables.get(name.casefold())}")
    left = sum(each["quarantined"] + each.get("not_converted", 0) for each in manifest["tables"].values())
    if (code == 3) != bool(left or files["quarantined"] or files["not_read"]):
        wrong.append(f"exit code {code}: {left} {files}")
    whole = [each["file"] for each in found if each["code"] in ("FS180", "FS181")]
    if Counter(whole).most_common(1)[:1] and Counter(whole).most_common(1)[0][1] > 1:
        wrong.append(f"reported twice: {whole}")
    return wrong


def hold(kind: str, seed: int, where: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    rng = Random(f"{kind}{seed}")
    made = folder(where / "in", kind, rng)
    source: list[str] = []
    if kind == "records":
        for name, text in MAPPINGS.items():
            (where / "m" / "sources" / "s").mkdir(parents=True, exist_ok=True)
            (where / "m" / "sources" / "s" / f"{name}.yaml").write_text(text, "utf-8")
        source = ["--mappings", str(where / "m"), "--source", "s"]
    wrong: list[str] = []
    codes = set()
    for target in ("sdtm",) if kind == "fhir" else ("sdtm", "fhir"):
        out = where / target
        arguments = ["--format", "csv"] if target == "sdtm" else ["--id-key", "demo"]
        code = main(["convert", str(where / "in"), "--to", target, "--out", str(out), *arguments, *source])
        capsys.readouterr()
        codes.add(code)
        if code in (2, 3) and not (out / "manifest.json").exists():
            continue  # nothing at all could be read
        wrong += [f"to {target}: {each}" for each in converted(made, out, code)]
        if code not in (0, 1, 3):
            wrong.append(f"to {target}: exit code {code}")
        wrong += also(where / "in", out, code, lambda: capsys.readouterr().out, source) if target == "sdtm" else []
    return wrong


def also(given: Path, out: Path, code: int, printed: Callable[[], str], source: list[str]) -> list[str]:
    """Where a check or a round trip accounts for a folder otherwise than its conversion to `out` did."""
    files, found = _files(out)["input_files"], problems(out)
    unread = {each["file"] for each in found if each["code"] == "FS180"}
    wrong: list[str] = []
    if not source:
        checked = main(["validate", str(given), "--json"])
        findings = json.loads(printed())["findings"]
        if (checked == 3) != bool(files["not_read"] or files["quarantined"]):
            wrong.append(f"validate: exit code {checked}, {files}")
        if {each["file"] for each in findings if each["code"] == "FS180"} != unread:
            wrong.append(f"validate: not read are {findings}, in a conversion {unread}")
    back = main(["roundtrip", str(given), "--json", *source])
    proof = json.loads(printed() or "{}")
    left = proof.get("quarantined") or proof.get("not_converted") or proof.get("not_read")
    if proof and proof["not_read"] != files["not_read"]:
        wrong.append(f"roundtrip: {proof['not_read']} not read, in a conversion {files}")
    if proof and (
        (back == 3) != bool(left) or (proof["exact"] and back != 0) or (proof["exact"] and not proof["compared"])
    ):
        wrong.append(f"roundtrip: exit code {back}, {proof}")
    if code == 3 and back not in (2, 3):
        wrong.append(f"roundtrip: exit code {back}, that of a conversion is {code}: {files}")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sdtm", "records", "fhir"])
@pytest.mark.parametrize("seed", range(4))
def test_the_counts_of_a_generated_folder_balance(
    kind: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hold(kind, seed, tmp_path / "run", capsys) == []
