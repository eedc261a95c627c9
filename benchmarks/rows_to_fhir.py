"""Rows to FHIR: LB and AE rows a CPU second out of a Parquet file, beside fhir.resources on the same resources.

The rows are generated, none like another: subjects x visits x tests with values drawn at random. The kernel's share is
measured with and without reading the file; fhir.resources builds (`model_validate`) and dumps (`model_dump_json`) a
sample of the same resources in turns with the kernel, so that both see the same machine.
"""

# ruff: noqa: E501 - rows of a table

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fhirspace.idkey import DEMO_KEY
from fhirspace.mapping.library import Library
from fhirspace.mapping.write.kernel import Kernel

BATCH = 32_768
_TESTS = [
    # code, name, category, specimen, unit, standard unit, factor, low, high, decimals, LOINC
    ("ALB", "Albumin", "CHEMISTRY", "SERUM", "g/dL", "g/L", 10, 3.5, 5.2, 1, "1751-7"),
    ("ALP", "Alkaline Phosphatase", "CHEMISTRY", "SERUM", "U/L", "U/L", 1, 40, 129, 0, "6768-6"),
    ("ALT", "Alanine Aminotransferase", "CHEMISTRY", "SERUM", "U/L", "U/L", 1, 7, 56, 0, "1742-6"),
    ("AST", "Aspartate Aminotransferase", "CHEMISTRY", "SERUM", "U/L", "U/L", 1, 10, 40, 0, "1920-8"),
    ("BILI", "Bilirubin", "CHEMISTRY", "SERUM", "mg/dL", "umol/L", 17.1, 0.1, 1.2, 2, "1975-2"),
    ("BUN", "Blood Urea Nitrogen", "CHEMISTRY", "SERUM", "mg/dL", "mmol/L", 0.357, 7, 20, 1, "3094-0"),
    ("CA", "Calcium", "CHEMISTRY", "SERUM", "mg/dL", "mmol/L", 0.2495, 8.6, 10.3, 2, "17861-6"),
    ("CHOL", "Cholesterol", "CHEMISTRY", "SERUM", "mg/dL", "mmol/L", 0.02586, 125, 200, 0, "2093-3"),
    ("CREAT", "Creatinine", "CHEMISTRY", "SERUM", "mg/dL", "umol/L", 88.42, 0.6, 1.3, 2, "2160-0"),
    ("GGT", "Gamma Glutamyl Transferase", "CHEMISTRY", "SERUM", "U/L", "U/L", 1, 9, 48, 0, "2324-2"),
    ("GLUC", "Glucose", "CHEMISTRY", "SERUM", "mg/dL", "mmol/L", 0.0555, 70, 100, 0, "2345-7"),
    ("K", "Potassium", "CHEMISTRY", "SERUM", "mmol/L", "mmol/L", 1, 3.5, 5.1, 2, "2823-3"),
    ("SODIUM", "Sodium", "CHEMISTRY", "SERUM", "mmol/L", "mmol/L", 1, 136, 145, 1, "2951-2"),
    ("BASO", "Basophils", "HEMATOLOGY", "BLOOD", "10^9/L", "10^9/L", 1, 0.0, 0.1, 3, "26444-0"),
    ("EOS", "Eosinophils", "HEMATOLOGY", "BLOOD", "10^9/L", "10^9/L", 1, 0.0, 0.5, 3, "26449-9"),
    ("HCT", "Hematocrit", "HEMATOLOGY", "BLOOD", "%", "%", 1, 36, 50, 1, "20570-8"),
    ("HGB", "Hemoglobin", "HEMATOLOGY", "BLOOD", "g/dL", "g/L", 10, 12.0, 17.5, 2, "718-7"),
    ("LYM", "Lymphocytes", "HEMATOLOGY", "BLOOD", "10^9/L", "10^9/L", 1, 1.0, 4.8, 3, "26474-7"),
    ("PLAT", "Platelets", "HEMATOLOGY", "BLOOD", "10^9/L", "10^9/L", 1, 150, 400, 1, "26515-7"),
    ("WBC", "Leukocytes", "HEMATOLOGY", "BLOOD", "10^9/L", "10^9/L", 1, 4.0, 11.0, 3, "26464-8"),
]
_VISITS = [(1, "SCREENING", "SCREENING", -14), (2, "BASELINE", "TREATMENT", 1)] + [
    (number, f"WEEK {(number - 2) * 2}", "TREATMENT" if number < 13 else "FOLLOW-UP", (number - 2) * 14 + 1)
    for number in range(3, 15)
]
_TERMS = [f"{grade} {part} {sign}".strip().capitalize() for grade in ("", "worsening", "intermittent", "acute", "chronic")
          for part in ("abdominal", "back", "chest", "eye", "head", "joint", "muscle", "nasal", "skin", "throat")
          for sign in ("pain", "swelling", "discomfort", "inflammation", "itching", "injury")]  # fmt: skip


def _lb_subject(number: int, rng: random.Random) -> Iterator[dict[str, str | None]]:
    start = date(2019, 1, 7) + timedelta(days=rng.randrange(900))
    sequence = 0
    for visit, name, epoch, planned in _VISITS:
        day = planned + rng.randint(-2, 3)
        when = start + timedelta(days=day - 1)
        clock = f"T{rng.randrange(7, 17):02}:{rng.randrange(60):02}"
        for code, test, category, specimen, unit, standard, factor, low, high, decimals, loinc in _TESTS:
            sequence += 1
            value = max(rng.gauss((low + high) / 2, (high - low) / 3), 0.001)
            text = f"{value:.{decimals}f}"
            converted = text if factor == 1 else f"{float(text) * factor:.{max(decimals - 1, 1)}f}"
            below = low == 0 and value < 0.02
            dated = when.isoformat()
            yield {
                "STUDYID": "BENCH-01", "DOMAIN": "LB", "USUBJID": f"BENCH-01-{number % 97:03}-{number:05}", "LBSEQ": str(sequence),
                "LBTESTCD": code, "LBTEST": test, "LBCAT": category, "LBORRES": f"<{text}" if below else text,
                "LBORRESU": unit, "LBORNRLO": str(low), "LBORNRHI": str(high),
                "LBSTRESC": f"<{converted}" if below else converted, "LBSTRESN": None if below else converted,
                "LBSTRESU": standard, "LBSTNRLO": f"{low * factor:g}", "LBSTNRHI": f"{high * factor:g}",
                "LBNRIND": "LOW" if value < low else "HIGH" if value > high else "NORMAL", "LBSPEC": specimen,
                "LBLOINC": loinc, "LBLOBXFL": "Y" if visit == 2 else None, "VISITNUM": str(visit), "VISIT": name,
                "EPOCH": epoch, "LBDTC": dated[:7] if rng.random() < 0.005 else dated + clock,
                "LBDY": str(day if day > 0 else day - 1),
                "_SYNTHETIC": "HTEST", "_has_SV_USUBJID_VISITNUM": "Y",
            }  # fmt: skip


def _ae_subject(number: int, rng: random.Random) -> Iterator[dict[str, str | None]]:
    start = date(2019, 1, 7) + timedelta(days=rng.randrange(900))
    for sequence in range(1, rng.randrange(3, 18)):
        place = min(int(rng.expovariate(1 / 60)), len(_TERMS) - 1)
        first = start + timedelta(days=rng.randrange(200))
        last = first + timedelta(days=rng.randrange(30))
        serious = "Y" if rng.random() < 0.06 else "N"
        term = _TERMS[place] if rng.random() < 0.7 else f"{_TERMS[place].lower()}, {rng.choice(('left', 'right'))} side"
        yield {
            "STUDYID": "BENCH-01", "DOMAIN": "AE", "USUBJID": f"BENCH-01-{number % 97:03}-{number:05}", "AESEQ": str(sequence),
            "AETERM": term, "AELLT": _TERMS[place], "AELLTCD": str(10_050_000 + place), "AEDECOD": _TERMS[place // 2],
            "AEPTCD": str(10_000_000 + place // 2), "AEHLT": f"{_TERMS[place // 6]} symptoms", "AEHLTCD": str(10_020_000 + place // 6),
            "AEHLGT": f"{_TERMS[place // 24]} disorders NEC", "AEHLGTCD": str(10_030_000 + place // 24),
            "AESOC": f"{_TERMS[place // 30]} disorders", "AESOCCD": str(10_040_000 + place // 30),
            "AEBODSYS": f"{_TERMS[place // 30]} disorders", "AEBDSYCD": str(10_040_000 + place // 30),
            "AESEV": rng.choice(("MILD", "MODERATE", "SEVERE")), "AESER": serious,
            "AEACN": rng.choice(("DOSE NOT CHANGED", "DOSE REDUCED", "DRUG INTERRUPTED", "DRUG WITHDRAWN")),
            "AEREL": rng.choice(("NOT RELATED", "POSSIBLY RELATED", "RELATED")),
            "AEOUT": rng.choice(("RECOVERED/RESOLVED", "NOT RECOVERED/NOT RESOLVED", "RECOVERING/RESOLVING")),
            "AESDTH": "N" if serious == "Y" else None, "AESHOSP": "Y" if serious == "Y" and rng.random() < 0.7 else None,
            "AESLIFE": "N" if serious == "Y" else None, "AETOXGR": str(rng.randint(1, 4)),
            "EPOCH": "TREATMENT" if first - start < timedelta(days=170) else "FOLLOW-UP",
            "AESTDTC": first.isoformat()[:7] if rng.random() < 0.05 else first.isoformat(),
            "AEENDTC": last.isoformat() if rng.random() < 0.9 else None,
            "AESTDY": str((first - start).days + 1), "AEENDY": str((last - start).days + 1), "_SYNTHETIC": "HTEST",
        }  # fmt: skip


_SUBJECT = {"LB": _lb_subject, "AE": _ae_subject}


def made(domain: str, rows: int, folder: Path) -> Path:
    """A Parquet file of generated rows of a domain; one made before is used again."""
    path = folder / f"{domain.lower()}_{rows}.parquet"
    if path.exists():
        return path
    rng = random.Random(20240501)
    names = list(next(_SUBJECT[domain](0, random.Random(1))))
    schema = pa.schema([(name, pa.string()) for name in names])
    building = path.with_suffix(".part")
    written, subject, waiting = 0, 0, []
    with pq.ParquetWriter(building, schema, compression="zstd") as writer:
        while written < rows:
            waiting += list(_SUBJECT[domain](subject, rng))
            subject += 1
            if len(waiting) >= 4 * BATCH or written + len(waiting) >= rows:
                waiting = waiting[: rows - written]
                writer.write_table(pa.Table.from_pylist(waiting, schema))
                written, waiting = written + len(waiting), []
    building.rename(path)
    return path


def _apart(domain: str, rows: int, folder: Path) -> Path:
    """The file, made by another process so that its memory does not count."""
    if not (folder / f"{domain.lower()}_{rows}.parquet").exists():
        child = multiprocessing.get_context("spawn").Process(target=made, args=(domain, rows, folder))
        child.start()
        child.join()
    return made(domain, rows, folder)


def _beside(kind: Any, lines: list[bytes]) -> float:
    """CPU seconds that fhir.resources takes to build and dump resources."""
    given = [json.loads(line) for line in lines]
    begun = time.process_time()
    for each in given:
        kind.model_validate(each).model_dump_json()
    return time.process_time() - begun


def _measured(domain: str, kind: Any, rows: int, folder: Path, sample: int) -> dict[str, float]:
    path = _apart(domain, rows, folder)
    kernel = Kernel(Library("R4", key=DEMO_KEY).mappings[domain])
    names = pq.read_schema(path).names
    spent = read = other = 0.0
    done = size = compared = bad = 0
    turns = max(rows // BATCH, 1)
    share = max(sample // min(turns, 10), 1)
    with Path(os.devnull).open("wb", buffering=0) as sink:
        begun = time.process_time()
        batches = pq.ParquetFile(path, read_dictionary=names).iter_batches(BATCH, use_threads=False)
        for turn, batch in enumerate(batches):
            middle = time.process_time()
            rendered = kernel.run(batch)
            lines = rendered.lines(0)
            sink.write(lines)
            end = time.process_time()
            read, spent = read + middle - begun, spent + end - middle
            done, size, bad = done + len(batch), size + lines.size, bad + len(rendered.faults)
            if kind is not None and not compared:
                _beside(kind, rendered.texts[0].slice(0, 20).to_pylist())  # models are finished on their first use
            if sample and turn % max(turns // 10, 1) == 0 and compared < sample:
                some = rendered.texts[0].slice(len(batch) // 3, share).to_pylist()
                other, compared = other + _beside(kind, some), compared + len(some)
            del rendered, lines  # as an engine does: two batches of lines are never in memory
            begun = time.process_time()
    figures = {
        "rows": done, "bad": bad, "bytes a row": size / done, "rows a CPU second": done / spent,
        "rows a CPU second, reading the file too": done / (spent + read),
        "peak MB" if kind is None else "peak MB, fhir.resources loaded": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip
    if compared:
        figures["fhir.resources a CPU second"] = compared / other
        figures["ratio"] = (done / spent) / (compared / other)
        figures["ratio, reading the file too"] = (done / (spent + read)) / (compared / other)
    return figures


def _model(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"fhir.resources.R4B.{module}"), name)


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / "fhirspace-benchmarks"
    folder.mkdir(exist_ok=True)
    return folder


def lb_rows(n: int = 1_000_000, sample: int = 3000) -> dict[str, float]:
    """Figures of `n` LB rows; `sample` resources go through fhir.resources (0: none, nor does it count in the peak)."""
    return _measured("LB", _model("observation", "Observation") if sample else None, n, _folder(), sample)


def ae_rows(n: int = 500_000, sample: int = 3000) -> dict[str, float]:
    """Figures of `n` AE rows (see `lb_rows`)."""
    return _measured("AE", _model("adverseevent", "AdverseEvent") if sample else None, n, _folder(), sample)


def main() -> None:
    """Prints the figures of LB and AE."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lb", type=int, default=1_000_000)
    parser.add_argument("--ae", type=int, default=500_000)
    parser.add_argument("--sample", type=int, default=3000)
    chosen = parser.parse_args()
    pa.set_cpu_count(1)
    for name, figures in (("LB", lb_rows(chosen.lb, chosen.sample)), ("AE", ae_rows(chosen.ae, chosen.sample))):
        print(name, ", ".join(f"{key} {value:,.0f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
