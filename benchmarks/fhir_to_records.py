"""Laboratory Observations of others to records, beside ``json.loads``, msgspec and pysof over the same lines.

Run: ``python -m benchmarks.fhir_to_records [LINES]``. All run in the same process, one after the other, since the rate
of a shared machine varies; memory is the peak of the process. The loop of msgspec decodes each line to a struct of the
names that the view reads, and does nothing with it: the least that reading a line as objects costs.

pysof (PyPI) runs ViewDefinitions in Rust. Where it is installed, it makes the columns of `DEFINITION` from the first
lines, to CSV, and so do we; both have to make the same rows.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import random
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec

from fhirspace.fhir.files import find
from fhirspace.views.flatten import flatten
from fhirspace.views.notation.library import view_set
from fhirspace.views.notation.model import ViewSet

_FIRST = 20_000
"""Lines that ViewDefinitions are run over, which is slow."""
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_COLUMNS = {
    "id": "id",
    "status": "status",
    "code": "code.coding.where(system = 'http://loinc.org').code.first()",
    "test": "code.text",
    "patient": "subject.reference",
    "encounter": "encounter.reference",
    "time": "effective.ofType(dateTime)",
    "value": "value.ofType(Quantity).value",
    "unit": "value.ofType(Quantity).code",
}
DEFINITION = {
    "resourceType": "ViewDefinition",
    "name": "lab",
    "status": "active",
    "resource": "Observation",
    "where": [{"path": f"category.coding.where(system = '{_CATEGORY}' and code = 'laboratory').exists()"}],
    "select": [{"column": [{"name": name, "path": path} for name, path in _COLUMNS.items()]}],
}
"""What the view of us-core reads of these lines."""


def write(path: Path, lines: int) -> None:
    """Writes Observations of 2,000 patients, 80 tests and as many values and times as there are lines."""
    chosen = random.Random(1)  # nosec B311  # made-up data
    with path.open("w") as stream:
        for _ in range(lines):
            day = f"2024-{chosen.randrange(1, 13):02d}-{chosen.randrange(1, 29):02d}"
            when = f"{day}T{chosen.randrange(24):02d}:{chosen.randrange(60):02d}:11+00:00"
            category = {"system": _CATEGORY, "code": "laboratory"}
            test = {"system": "http://loinc.org", "code": f"{chosen.randrange(80)}-1", "display": "A test in blood"}
            quantity = {"value": round(chosen.random() * 200, 3), "unit": "mg/dL", "code": "mg/dL"}
            made = {
                "resourceType": "Observation",
                "id": str(uuid.UUID(int=chosen.getrandbits(128))),
                "meta": {"profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"]},
                "status": "final",
                "category": [{"coding": [category]}],
                "code": {"coding": [test], "text": "A test in blood"},
                "subject": {"reference": f"Patient/p{chosen.randrange(2000)}"},
                "encounter": {"reference": f"Encounter/{uuid.UUID(int=chosen.getrandbits(128))}"},
                "effectiveDateTime": when,
                "issued": when,
                "valueQuantity": {**quantity, "system": "http://unitsofmeasure.org"},
            }
            stream.write(json.dumps(made, separators=(",", ":")) + "\n")


class _Reference(msgspec.Struct):
    reference: str = ""


class _Quantity(msgspec.Struct):
    value: msgspec.Raw = msgspec.Raw(b"")
    code: str = ""
    unit: str = ""


class _Observation(msgspec.Struct):
    id: str = ""
    status: msgspec.Raw = msgspec.Raw(b"")
    category: msgspec.Raw = msgspec.Raw(b"")
    code: msgspec.Raw = msgspec.Raw(b"")
    subject: _Reference | None = None
    effectiveDateTime: str = ""  # noqa: N815
    valueQuantity: _Quantity | None = None  # noqa: N815


def _loop(path: Path, decode: Callable[[bytes], object]) -> float:
    """The CPU seconds of decoding all lines of a file."""
    start = time.process_time()
    with path.open("rb") as stream:
        for line in stream:
            decode(line)
    return time.process_time() - start


def _definitions(path: Path, folder: Path) -> dict[str, float]:
    """The CPU seconds (all threads) of `DEFINITION` over the first lines of a file, by pysof and by us."""
    part, definition, made = folder / "part", folder / "lab.json", folder / "lab.csv"
    part.mkdir()
    with path.open("rb") as stream:
        (part / path.name).write_bytes(b"".join(islice(stream, _FIRST)))
    definition.write_text(json.dumps(DEFINITION))
    views = view_set(str(definition))
    start = time.process_time()
    ours = _rows(part, views)
    took = {"ours": time.process_time() - start}
    pysof = importlib.import_module("pysof")
    start = time.process_time()
    pysof.process_ndjson_to_file(DEFINITION, str(part / path.name), str(made), "csv")
    took["pysof"] = time.process_time() - start
    with made.open(newline="") as stream:
        theirs = list(csv.DictReader(stream))
    assert sorted(map(str, theirs)) == sorted(map(str, ours))  # nosec B101
    return took


def _rows(folder: Path, views: ViewSet) -> list[dict[str, str]]:
    made = flatten(find([folder]).files, views).records["lab"].select(list(_COLUMNS))
    rows: list[dict[str, str]] = made.to_pylist()
    return rows


def _report_definitions(path: Path, folder: Path) -> None:
    if importlib.util.find_spec("pysof") is None:
        print("pysof is not installed, so that no ViewDefinition was run beside it")
        return
    lines = min(_FIRST, sum(1 for _ in path.open("rb")))
    took = _definitions(path, folder)
    for name, seconds in took.items():
        rate = f"{lines / seconds:,.0f} per CPU second, ratio {took['pysof'] / seconds:.1f}"
        print(f"a ViewDefinition over the first {lines:,} lines, {name}: {rate}")


def main() -> None:
    """Prints lines per CPU second of each, and memory."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all" / "Observation.ndjson"
        path.parent.mkdir()
        write(path, lines)
        views = view_set("us-core")
        start = time.process_time()
        made = flatten(find([path.parent]).files, views)
        took = time.process_time() - start
        assert made.records["lab"].num_rows == lines  # nosec B101
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        loops = {
            "json.loads alone": _loop(path, json.loads),
            "msgspec alone, a struct of the names read": _loop(path, msgspec.json.Decoder(_Observation).decode),
        }
        print(f"{lines:,} Observations: {lines / took:,.0f} per CPU second, {memory} MB")
        for name, loop in loops.items():
            print(f"{name}: {lines / loop:,.0f} per CPU second, ratio {loop / took:.2f}")
        _report_definitions(path, Path(folder))


if __name__ == "__main__":
    main()
