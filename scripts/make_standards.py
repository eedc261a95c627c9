"""Reshape the reference facts (SDTMIG 3.4, controlled terminology, units, LOINC) into the package's data files.

Run from the repository: ``python scripts/make_standards.py ../shared/reference``. The output is deterministic; the
files it writes are committed, so nobody needs the reference folder to use or build fhirspace.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "src" / "fhirspace" / "standards" / "data"

# Natural keys: who, what, when, and what tells two measurements of one moment apart. "--" is the domain's prefix;
# a candidate which the domain does not have is left out.
CLASS_KEYS = {
    "Interventions": "--TRT --MOOD --STDTC --ENDTC --TPTNUM --LOC --LAT --DOSE",
    "Events": "--CAT --DECOD --TERM --STDTC --ENDTC --LOC --LAT",
    "Findings": "FOCID --CAT --TESTCD --SPEC --LOC --LAT --DIR --POS --METHOD VISITNUM --DTC --TPTNUM --REPNUM"
    " --EVAL --EVALID",
    "Findings About": "--CAT --OBJ --TESTCD --LOC --LAT VISITNUM --DTC --TPTNUM --EVAL --LNKGRP",
}
DOMAIN_KEYS = {
    # A substance is asked about at each visit: a report that gives no start is known by its own date.
    "SU": "SUTRT SUSTDTC SUENDTC SUDOSE SUDTC",
    "DS": "DSSTDTC DSCAT DSSCAT DSDECOD DSTERM",
    "MH": "MHCAT MHTERM MHSTDTC MHEVDTYP",
    "EX": "EXTRT EXSTDTC EXENDTC EXTPTNUM EXLOC EXLAT EXDOSE",
    "HO": "HOTERM HOSTDTC HOENDTC",
    "TU": "TULNKID TUREFID TUTESTCD TULOC TULAT VISITNUM TUDTC TUEVAL TUEVALID",
    "TR": "TRLNKID TRTESTCD TRGRPID TRREFID VISITNUM TRDTC TRMETHOD TREVAL TREVALID",
    "MS": "MSGRPID MSTESTCD MSAGENT MSCONC MSSPEC MSMETHOD VISITNUM MSDTC",
    "PP": "PPCAT PPTESTCD PPSPEC PPRFTDTC PPGRPID PPTPTREF",
    "GF": "GFREFID GFTESTCD GFSYM GFGENLOC GFSPEC GFRUNID GFREPNUM VISITNUM GFDTC",
    "BS": "BSREFID BSTESTCD BSSPEC BSDTC",
    "BE": "BEREFID BETERM BESTDTC",
    "CP": "CPCAT CPTESTCD CPSBMRKS CPCELSTA CPGATE CPSPEC CPREFID VISITNUM CPDTC CPTPTNUM CPREPNUM",
    "IS": "ISCAT ISTESTCD ISBDAGNT ISSPEC ISMETHOD VISITNUM ISDTC ISTPTNUM",
    "MB": "MBCAT MBTESTCD MBTSTDTL MBSPEC MBLOC MBGRPID MBMETHOD VISITNUM MBDTC MBTPTNUM",
    "IE": "IECAT IETESTCD IEDTC",
    "CO": "RDOMAIN IDVAR IDVARVAL COREF CODTC COVAL",
    "DM": "",
    "SE": "SESTDTC TAETORD ETCD",
    "SM": "MIDS SMSTDTC",
    "SV": "VISITNUM SVSTDTC",
    "TA": "ARMCD TAETORD",
    "TD": "TDORDER",
    "TE": "ETCD",
    "TI": "IETESTCD TIVERS",
    "TM": "MIDSTYPE",
    "TS": "TSPARMCD TSSEQ TSGRPID",
    "TV": "ARMCD VISITNUM",
    "OI": "NHOID OISEQ OIPARMCD",
    "RELREC": "RELID RDOMAIN IDVAR IDVARVAL",
    "RELSPEC": "REFID",
    "RELSUB": "RSUBJID SREL",
    "SUPPQUAL": "RDOMAIN IDVAR IDVARVAL QNAM",
}

# Instruments (questionnaires, functional tests, clinical classifications) hold half of the terminology and no facts
# about a tabulation's own variables; a study that uses one brings its own codelist.
INSTRUMENT = re.compile(r"(Questionnaire|Functional Test|Clinical Classification|Index|Scale|Score|Inventory)\b")
DETAIL = re.compile(r"(Test Code|Test Name|Original Result|Standardized (Character|Numeric) Result)")

# COSMoS proposes one standard unit a concept. Some are not what a trial's reviewers read: enzymes in katal, haemoglobin
# indices and C reactive protein in moles, saturation as a fraction. Kept conventional here; a study may say otherwise.
CONVENTIONAL = {
    **{("LB", code): "U/L" for code in ("ALP", "ALT", "AST", "CK", "GGT", "LDH")},
    ("LB", "MCH"): "pg",
    ("LB", "MCHC"): "g/L",
    ("LB", "CRP"): "mg/L",
    ("VS", "OXYSAT"): "%",
    ("VS", "TEMP"): "C",
    ("VS", "WEIGHT"): "kg",
    ("VS", "HEIGHT"): "cm",
    ("VS", "DIABP"): "mmHg",
    ("VS", "SYSBP"): "mmHg",
}


# Spellings of laboratories and forms which NCI does not list; each of the same size as its CDISC unit.
SPELLINGS = {
    **dict.fromkeys(("K/uL", "K/µL", "x10^9/L", "x10E9/L", "10E9/L", "10*9/L", "10*3/uL", "thou/uL"), "10^9/L"),
    **dict.fromkeys(("M/uL", "M/µL", "x10^12/L", "x10E12/L", "10E12/L", "10*12/L", "10*6/uL", "mill/uL"), "10^12/L"),
    **dict.fromkeys(("cells/uL", "cells/µL", "cells/mm3", "/µL"), "10^6/L"),
    **{"°C": "C", "degC": "C", "°F": "F", "degF": "F", "µmol/L": "umol/L", "µg/L": "ug/L", "µg/dL": "ug/dL"},
    **{"lbs": "LB", "inch": "in", "inches": "in", "mm Hg": "mmHg", "bpm": "beats/min", "µg/mL": "ug/mL"},
}


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as dictionaries."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def dump(value: object) -> str:
    """Compact JSON text, non-ASCII kept."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def keys_of(name: str, klass: str, names: list[str]) -> list[str]:
    """The natural keys of a domain: study and subject, then the candidates it has."""
    wanted = DOMAIN_KEYS.get(name, CLASS_KEYS.get(klass, ""))
    candidates = ["STUDYID", "USUBJID", *wanted.replace("--", name).split()]
    if name in {"RELREC", "RELSUB"} or name.startswith("SUPP"):
        candidates = ["STUDYID", *wanted.split()[:1], "USUBJID", *wanted.split()[1:]]
    lent = {f"{name}REPNUM", f"{name}DTC"}
    return [key for key in candidates if key in names or key in lent]


def variable_row(variable: dict[str, Any]) -> list[Any]:
    """One variable as the array that `standards.sdtm.Variable` reads."""
    attributes = [variable[key] for key in ("name", "label", "type", "role", "core", "codelist_codes", "order")]
    return [*attributes, variable["described_value_domain"] or ""]


def make_sdtm(reference: Path) -> None:
    """``sdtm.json``: per dataset label, class, structure, keys and variables; one dataset a line."""
    source = json.loads((reference / "sdtmig34.json").read_text("utf-8"))
    lines = []
    for name, dataset in sorted(source["datasets"].items()):
        variables = sorted(dataset["variables"], key=lambda item: item["order"])
        fields = [variable_row(variable) for variable in variables]
        keys = keys_of(name, dataset["class"], [v["name"] for v in variables])
        body = [name, dataset["label"], dataset["class"], dataset["structure"].rstrip("."), keys, fields]
        lines.append(f'"{name}":{dump(body)}')
    text = '{"version":"' + source["version"] + '","datasets":{\n' + ",\n".join(lines) + "\n}}\n"
    (TARGET / "sdtm.json").write_text(text, "utf-8")


def wanted_codelists(reference: Path) -> dict[str, dict[str, Any]]:
    """All codelists which SDTMIG 3.4 names, and every other one that is not part of an instrument."""
    named = json.loads((reference / "ct.json").read_text("utf-8"))["codelists"]
    with gzip.open(reference / "ct_full.json.gz", "rt", encoding="utf-8") as stream:
        everything: dict[str, dict[str, Any]] = json.load(stream)["codelists"]
    return {
        code: entry
        for code, entry in sorted(everything.items())
        if code in named or not (DETAIL.search(entry["name"]) or INSTRUMENT.search(entry["name"]))
    }


def make_terminology(reference: Path) -> None:
    """``ct.jsonl`` (one codelist a line) and ``ct-index.json`` (where each line starts, in bytes)."""
    version = json.loads((reference / "ct.json").read_text("utf-8"))["version"]
    index, lines, offset = {}, [], 0
    for code, entry in wanted_codelists(reference).items():
        terms = [[t["value"], t["code"], t["preferred"], *t["synonyms"]] for t in entry["terms"]]
        line = (dump(terms) + "\n").encode("utf-8")
        index[code] = [entry["submission_value"], entry["name"], entry["extensible"], offset, len(line)]
        lines.append(line)
        offset += len(line)
    (TARGET / "ct.jsonl").write_bytes(b"".join(lines))
    body = ",\n".join(f'"{code}":{dump(entry)}' for code, entry in index.items())
    (TARGET / "ct-index.json").write_text('{"version":"' + version + '","codelists":{\n' + body + "\n}}\n", "utf-8")


def standard_units(reference: Path) -> dict[str, str]:
    """``DOMAIN/TESTCD[/SPEC]`` -> unit, where COSMoS names exactly one; no specimen where all specimens agree."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows_of(reference / "dss_all.csv"):
        unit = "kg" if row["stresu"] == "Kg" else row["stresu"]
        if row["testcd"] and unit and ";" not in unit and not re.fullmatch(r"C\d+", unit):
            found.setdefault((row["domain"], row["testcd"]), {})[row["spec"]] = unit
    units: dict[str, str] = {}
    for (domain, testcd), by_spec in found.items():
        if (domain, testcd) in CONVENTIONAL:
            continue
        if len(set(by_spec.values())) == 1:
            units[f"{domain}/{testcd}"] = next(iter(by_spec.values()))
        else:
            units.update({f"{domain}/{testcd}/{spec}": unit for spec, unit in by_spec.items() if spec})
    units.update({f"{domain}/{testcd}": unit for (domain, testcd), unit in CONVENTIONAL.items()})
    return dict(sorted(units.items()))


def make_units(reference: Path) -> None:
    """``units.json``: synonyms of CDISC units, their UCUM codes (annotations left out), standard units of tests."""
    synonyms = {
        r["spelling"]: r["canonical_cdisc"]
        for r in rows_of(reference / "unit_synonyms.csv")
        if r["n_candidates"] == "1"
    }
    synonyms |= SPELLINGS
    ucum_rows = rows_of(reference / "maps" / "map_unit_ucum.csv")
    values = sorted({row["cdisc_value"] for row in ucum_rows})
    ucum = {row["cdisc_value"]: row["ucum"] for row in ucum_rows if row["method"] != "annotation"}
    content = {
        "values": values,
        "synonyms": dict(sorted((k, v) for k, v in synonyms.items() if k != v)),
        "ucum": dict(sorted(ucum.items())),
        "standard": standard_units(reference),
    }
    text = json.dumps(content, ensure_ascii=False, indent=0, separators=(",", ":"))
    (TARGET / "units.json").write_text(text + "\n", "utf-8")


def make_loinc(reference: Path) -> None:
    """``loinc.csv``: LOINC codes of test codes with specimen and method, as COSMoS publishes them."""
    columns = ["domain", "testcd", "spec", "method", "loc", "fast", "orresu", "stresu", "loinc"]
    rows = {tuple(row[c] for c in columns) for row in rows_of(reference / "loinc_sdtm.csv") if row["loinc"]}
    with (TARGET / "loinc.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(sorted(rows))


def main() -> None:
    """Write every file."""
    reference = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/reference")
    for make in (make_sdtm, make_terminology, make_units, make_loinc):
        make(reference)


if __name__ == "__main__":
    main()
