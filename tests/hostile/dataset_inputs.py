"""Right inputs of other formats of datasets, of what describes and finishes them, and of the rules that judge them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyreadstat

from tests.hostile.kinds import AE, DM, Files, Kind
from tests.support.archives import archive
from tests.tables.datasetjson import files as dataset_json

_READ = ("validate {in}", "convert {in} --to fhir --out {out}", "validate {in} --json", "roundtrip {in}")
_FINISH = "convert {in}/sdtm --to sdtm --out {out} --format csv --no-rules"
_JUDGE = "validate {in}/sdtm --rules {in}/my"
_DEFINE = b"""<?xml version="1.0" encoding="UTF-8"?>
<ODM xmlns="http://www.cdisc.org/ns/odm/v1.3" xmlns:def="http://www.cdisc.org/ns/def/v2.1" ODMVersion="1.3.2"
 FileOID="F" FileType="Snapshot" CreationDateTime="2026-01-01T00:00:00">
<Study OID="S"><GlobalVariables><StudyName>TINY</StudyName></GlobalVariables>
<MetaDataVersion OID="M" Name="N" def:DefineVersion="2.1.0">
<def:ValueListDef OID="VL.AE"><ItemRef ItemOID="I.MILD" Mandatory="No"><def:WhereClauseRef WhereClauseOID="WC.1"/>
</ItemRef></def:ValueListDef>
<def:WhereClauseDef OID="WC.1"><RangeCheck Comparator="EQ" SoftHard="Soft" def:ItemOID="I.AESER">
<CheckValue>N</CheckValue></RangeCheck></def:WhereClauseDef>
<ItemGroupDef OID="IG.AE" Name="AE" Repeating="Yes" def:Structure="One record per event">
<ItemRef ItemOID="I.USUBJID" Mandatory="Yes" KeySequence="1" OrderNumber="3"/>
<ItemRef ItemOID="I.AESEQ" Mandatory="Yes" KeySequence="2" OrderNumber="4"/>
<ItemRef ItemOID="I.AESER" Mandatory="Yes" OrderNumber="8"/>
<ItemRef ItemOID="I.AESEV" Mandatory="No" OrderNumber="7" MethodOID="MT.1"/>
</ItemGroupDef>
<ItemDef OID="I.USUBJID" Name="USUBJID" DataType="text" Length="6"/>
<ItemDef OID="I.AESEQ" Name="AESEQ" DataType="integer" Length="1"/>
<ItemDef OID="I.AESER" Name="AESER" DataType="text" Length="1"><CodeListRef CodeListOID="CL.NY"/></ItemDef>
<ItemDef OID="I.AESEV" Name="AESEV" DataType="text" Length="8"><def:ValueListRef ValueListOID="VL.AE"/></ItemDef>
<ItemDef OID="I.MILD" Name="AESEV" DataType="text" Length="8"/>
<CodeList OID="CL.NY" Name="No Yes" DataType="text"><EnumeratedItem CodedValue="N"/><EnumeratedItem CodedValue="Y"/>
</CodeList>
<MethodDef OID="MT.1" Name="M" Type="Computation"><Description><TranslatedText>As given</TranslatedText></Description>
</MethodDef></MetaDataVersion></Study></ODM>
"""
_DESIGN = b"""visits:
  - {number: 1, label: SCREENING, day: -7}
  - {number: 2, label: WEEK 4, day: 28}
units: {all: conventional, LB: {GLUC: mmol/L}}
unscheduled: after
reference: {start: RFICDTC, end: DSSTDTC}
day of change: {Findings: before}
baseline: {flags: [LOBXFL, BLFL], VS: [VSTESTCD, VSPOS]}
zone: {"10": Australia/Sydney}
"""
_RULE = b"""Core: {Id: TINY-001}
Rule Type: Record Data
Sensitivity: Record
Scope: {Domains: {Include: [AE]}}
Match Datasets:
  - {Name: DM, Keys: [USUBJID]}
Operations:
  - {id: $sites, operator: distinct, domain: DM, name: SITEID}
Check:
  all:
    - {name: AESER, operator: equal_to, value: Y}
    - {name: AETERM, operator: matches_regex, value: "F.*"}
    - not: {name: SITEID, operator: is_not_contained_by, value: $sites}
Outcome:
  Severity: error
  Message: A serious event is a fall
  Output Variables: [AESER, AETERM]
"""
_EXPLAINED = b"""explained:
  - {rule: TINY-001, scope: AE, records: 8, reason: It was a fall., by: "J. Doe, data manager"}
  - rule: FS-TIME-012
    scope: [AE, DM]
    reason: As the protocol says.
    by: J. Doe
"""


def _ae() -> dict[str, object]:
    names, *rows = (line.split(",") for line in AE.decode().splitlines())
    numbers = {"AESEQ"}
    columns = [dataset_json.column(name, "integer" if name in numbers else "string") for name in names]
    return dataset_json.dataset(
        columns,
        [[int(cell) if name in numbers else cell for name, cell in zip(names, row, strict=True)] for row in rows],
    )


def _json() -> Files:
    return {"dm.csv": DM, "ae.json": json.dumps(_ae()).encode()}


def _lines() -> Files:
    return {"dm.csv": DM, "ae.ndjson": dataset_json.lines(_ae())}


def _packed() -> Files:
    return {"dm.csv": DM, "ae.dsjc": dataset_json.lines(_ae())}


@cache
def _xpt8() -> Files:
    names, *rows = (line.split(",") for line in AE.decode().splitlines())
    frame = pd.DataFrame({name: [row[at] for row in rows] for at, name in enumerate(names)})
    frame["AESEQ"] = frame["AESEQ"].astype(float)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ae.xpt"
        labels = ["A label of more than the forty bytes that version 5 has", *names[1:]]
        pyreadstat.write_xport(frame, path, table_name="AE", column_labels=labels, file_format_version=8)
        return {"dm.csv": DM, "ae.xpt": path.read_bytes()}


def _sdtm(**more: bytes) -> Files:
    return {"sdtm/dm.csv": DM, "sdtm/ae.csv": AE} | {name.replace("__", "/"): text for name, text in more.items()}


def _define() -> Files:
    return _sdtm() | {"sdtm/define.xml": _DEFINE}


def _design() -> Files:
    return _sdtm() | {"sdtm/study.yaml": _DESIGN}


def _rule() -> Files:
    case = {
        "data/ae.csv": AE,
        "data/dm.csv": DM,
        "results/results.csv": b"Dataset,Record,Variable,Value\nAE,3,AESER,Y\nAE,3,AETERM,Fall\n",
    }
    cases = {f"my/TINY-001/negative/01/{name}": text for name, text in case.items()}
    return _sdtm() | {"my/TINY-001/rule.yml": _RULE} | cases


def _explained() -> Files:
    return _rule() | {"sdtm/explained.yaml": _EXPLAINED}


def _rules() -> Files:
    return {"rules.tar.gz": archive({"open-rules/TINY-001/rule.yml": _RULE})}


KINDS = {
    "Dataset-JSON": Kind("json", "ae.json", _json, _READ),
    "Dataset-JSON in lines": Kind("ndjson", "ae.ndjson", _lines, _READ),
    "Dataset-JSON compressed": Kind("zlib", "ae.dsjc", _packed, _READ),
    "XPT of version 8": Kind("bytes", "ae.xpt", _xpt8, _READ, few=True),
    "define.xml": Kind(
        "text", "sdtm/define.xml", _define, ("validate {in}/sdtm", f"{_FINISH} --define", "validate {in}/sdtm --json")
    ),
    "design beside datasets": Kind("text", "sdtm/study.yaml", _design, (_FINISH, f"{_FINISH} --guide")),
    "rule": Kind("text", "my/TINY-001/rule.yml", _rule, ("rules test {in}/my", _JUDGE), 2),
    "results of a rule": Kind("text", "my/TINY-001/negative/01/results/results.csv", _rule, ("rules test {in}/my",)),
    "explanations": Kind(
        "text", "sdtm/explained.yaml", _explained, (_JUDGE, f"{_JUDGE} --overwrite --report {{out}}.html")
    ),
    "archive of rules": Kind("archive", "rules.tar.gz", _rules, ("rules add {in}/rules.tar.gz",)),
}
