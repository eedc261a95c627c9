"""FHIR to rows: LB Observations on disk read into tabulation rows, beside fhir.resources' parse of the same lines.

``lb_lines(n)`` gives the figures; ``python benchmarks/fhir_to_rows.py [n]`` prints them. Both sides start from the
same NDJSON file and are timed in turns, in CPU seconds of this process. The Reader's side includes reading the lines
from the file and ends with Arrow tables; that of fhir.resources has its lines in memory and ends with its models (no
row is made).
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from fhirspace.fhir import ndjson
from fhirspace.idkey import DEMO_KEY
from fhirspace.mapping.library import Library
from fhirspace.mapping.read.reader import Reader
from fhirspace.mapping.write.render import render

Row = dict[str, str]

# test code, test, category, unit, low, high, decimals, LOINC
_TESTS = [
    ("HGB", "Hemoglobin", "HEMATOLOGY", "g/L", 120, 175, 0, "718-7"),
    ("WBC", "Leukocytes", "HEMATOLOGY", "10^9/L", 4, 11, 2, "6690-2"),
    ("PLAT", "Platelets", "HEMATOLOGY", "10^9/L", 150, 400, 0, "777-3"),
    ("NEUT", "Neutrophils", "HEMATOLOGY", "10^9/L", 2, 7, 2, "751-8"),
    ("ALT", "Alanine Aminotransferase", "CHEMISTRY", "U/L", 7, 56, 0, "1742-6"),
    ("AST", "Aspartate Aminotransferase", "CHEMISTRY", "U/L", 10, 40, 0, "1920-8"),
    ("BILI", "Bilirubin", "CHEMISTRY", "umol/L", 3, 21, 1, "14631-6"),
    ("CREAT", "Creatinine", "CHEMISTRY", "umol/L", 60, 110, 1, "14682-9"),
    ("GLUC", "Glucose", "CHEMISTRY", "mmol/L", 4, 6, 2, "14749-6"),
    ("K", "Potassium", "CHEMISTRY", "mmol/L", 3, 5, 2, "2823-3"),
    ("SODIUM", "Sodium", "CHEMISTRY", "mmol/L", 135, 145, 0, "2951-2"),
    ("CRP", "C Reactive Protein", "CHEMISTRY", "mg/L", 0, 10, 2, "1988-5"),
]


def lb_rows(count: int, seed: int = 7) -> Iterator[Row]:
    """Clean LB rows with their helper columns: 12 tests at 8 visits a subject, each value drawn anew."""
    rng = random.Random(seed)
    for number in range(count):
        subject, place = divmod(number, len(_TESTS) * 8)
        visit, test = divmod(place, len(_TESTS))
        yield _row(rng, f"BENCH-{subject % 40:03d}-{subject:06d}", place + 1, visit + 1, test)


def _row(rng: random.Random, subject: str, sequence: int, visit: int, test: int) -> Row:
    code, name, category, unit, low, high, digits, loinc = _TESTS[test]
    value = f"{max(0.01, rng.gauss((low + high) / 2, (high - low) / 2)):.{digits}f}"
    flag = "LOW" if float(value) < low else "HIGH" if float(value) > high else "NORMAL"
    day = f"{2019 + visit // 6}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    return {
        "STUDYID": "BENCH", "DOMAIN": "LB", "USUBJID": subject, "LBSEQ": str(sequence), "LBTESTCD": code,
        "LBTEST": name, "LBCAT": category, "LBORRES": value if rng.random() < 0.98 else f"<{value}", "LBORRESU": unit,
        "LBORNRLO": str(low), "LBORNRHI": str(high), "LBSTRESC": value, "LBSTRESN": value, "LBSTRESU": unit,
        "LBNRIND": flag, "LBSPEC": "BLOOD", "VISITNUM": str(visit), "VISIT": f"VISIT {visit}", "LBDTC": day,
        "_LOINC": loinc, "_SYNTHETIC": "HTEST", "_has_SV_USUBJID_VISITNUM": "Y",
    }  # fmt: skip


def lb_lines(count: int = 100_000, rounds: int = 7, sample: int = 400) -> dict[str, float]:
    """Rows per CPU second of both sides and their ratios.

    Args:
        count: lines of the file; rounds: turns that each side has; sample: lines a turn of fhir.resources.
    """
    library = Library("R4", key=DEMO_KEY)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Observation.ndjson"
        size = ndjson.write(path, _lines(library, count))
        bytes_a_line = path.stat().st_size / size
        rates = _race(path, library, rounds, sample)
    ignored, noticed, models = rates["notice=False"], rates["notice=True"], rates["fhir.resources"]
    return {
        "lines": size,
        "bytes a line": bytes_a_line,
        "rows/s, unknown elements ignored": median(ignored),
        "rows/s, unknown elements noticed": median(noticed),
        "resources/s, fhir.resources": median(models),
        "ratio, ignored": median(mine / theirs for mine, theirs in zip(ignored, models, strict=True)),
        "ratio, noticed": median(mine / theirs for mine, theirs in zip(noticed, models, strict=True)),
    }


def _lines(library: Library, count: int) -> Iterator[bytes]:
    for row in lb_rows(count):
        yield render(library.mappings["LB"], row)[0][1].encode()


def _race(path: Path, library: Library, rounds: int, sample: int) -> dict[str, list[float]]:
    """Lines a CPU second of each side, turn by turn in rotation: ratios within a turn bear a busy machine."""
    from fhir.resources.R4B.observation import Observation  # noqa: PLC0415 - heavy, and an extra

    lines = [line for _, line in zip(range(sample), (line for _, line in ndjson.read(path)), strict=False)]
    sides: dict[str, Callable[[], int]] = {
        "notice=False": lambda: _read(path, readers[False]),
        "notice=True": lambda: _read(path, readers[True]),
        "fhir.resources": lambda: sum(Observation.model_validate_json(line) is not None for line in lines),
    }
    readers = {notice: Reader(library, notice=notice) for notice in (False, True)}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for name, side in [(name, side) for _ in range(rounds + 1) for name, side in sides.items()]:
        start = time.process_time()
        done = side()
        rates[name].append(done / (time.process_time() - start))
    return {name: found[1:] for name, found in rates.items()}  # the first turn warms up


def _read(path: Path, reader: Reader) -> int:
    rows = 0
    with path.open("rb") as stream:
        for batch in reader.read(enumerate(stream, 1), path.name):
            if batch.slow or batch.unmapped or batch.problems:
                raise RuntimeError("clean lines must all take the fast path")
            rows += batch.tables["LB"][0].num_rows
    return rows


if __name__ == "__main__":
    figures = lb_lines(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    print(json.dumps({name: round(figure, 1) for name, figure in figures.items()}, indent=2))
