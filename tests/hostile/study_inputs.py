"""Right inputs of views of other people's FHIR, of packages of profiles, and of the key of ids."""

from __future__ import annotations

import json

from tests.fhir.validation import test_packages as profiles
from tests.hostile.kinds import DM, Files, Kind
from tests.support.archives import archive
from tests.views import ehr

_VIEW = b"""view: lab
of: Observation
when: category.coding[system=$cat].code is laboratory
columns:
  id: id
  loinc: code.coding[system=$loinc].code
  value: valueQuantity
  when: effectiveDateTime | effectivePeriod.start
  specimen: specimen -> Specimen.type.text
  first: first interpretation.coding.code
  visit: {visit: when}
  phase: {phase: when}
left:
  outside participation: phase in [BEFORE, AFTER]
never: {status: [preliminary]}
"""
_LOINC = b"value,code,test,cat,spec,method\n718-7,HGB,Hemoglobin,HEMATOLOGY,BLOOD,\n99999-9,MARKX,Marker X,CHEMISTRY,SERUM,\n"
_RECORDS = "convert {in}/ehr --to records --views {in}/my --format csv --out {out}"
_SDTM = "convert {in}/ehr --to sdtm --views {in}/my --source ehr --format csv --out {out} --no-rules"
_BY_ENROLMENT = (
    "convert {in}/ehr --to records --views us-core --enrolment {in}/my/enrolment.csv --format csv --out {out}"
)
_PACKAGE = "validate {in}/one.json --profile {in}/own.tgz"


def _ehr() -> Files:
    lines = b"".join(json.dumps(each).encode() + b"\n" for each in ehr.resources() if each["resourceType"] != "Basic")
    return {
        "ehr/all.ndjson": lines,
        "my/common.yaml": ehr.COMMON.encode(),
        "my/enrolment.csv": ehr.ENROLMENT.encode(),
        "my/visits.csv": ehr.VISITS.encode(),
        "my/codes/STUDYDRUG.csv": ehr.DRUG.encode(),
        "my/codes/LOINCLB+.csv": _LOINC,
    }


def _view() -> Files:
    return _ehr() | {"my/lab.yaml": _VIEW}


def _package() -> Files:
    made = {f"package/{name}": json.dumps(content).encode() for name, content in profiles.DEFINITIONS.items()}
    return {"one.json": json.dumps(profiles.GOOD).encode(), "own.tgz": archive(made)}


def _definition() -> Files:
    made = {f"own/{name}": json.dumps(content).encode() for name, content in profiles.DEFINITIONS.items()}
    return {"one.json": json.dumps(profiles.GOOD).encode(), **made}


def _key() -> Files:
    return {"dm.csv": DM, "key": b"5f0c3a9d17b24e6880f1c2d3b4a59687"}


KINDS = {
    "FHIR of others": Kind("ndjson", "ehr/all.ndjson", _ehr, (_RECORDS, "mapping profile {in}/ehr", _SDTM), 2),
    "view": Kind("text", "my/lab.yaml", _view, (_RECORDS,)),
    "study of views": Kind("text", "my/common.yaml", _ehr, (_RECORDS, _SDTM)),
    "enrolment": Kind("text", "my/enrolment.csv", _ehr, (_RECORDS, _BY_ENROLMENT), 2),
    "windows of visits": Kind("text", "my/visits.csv", _ehr, (_RECORDS, _SDTM)),
    "code list of views": Kind("text", "my/codes/LOINCLB+.csv", _ehr, (_SDTM,)),
    "package of profiles": Kind("archive", "own.tgz", _package, (_PACKAGE,)),
    "profile in a folder": Kind("json", "own/a.json", _definition, ("validate {in}/one.json --profile {in}/own",)),
    "key of ids": Kind("text", "key", _key, ("convert {in}/dm.csv --to fhir --out {out} --id-key {in}/key",)),
}
