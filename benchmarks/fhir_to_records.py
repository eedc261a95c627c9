"""Laboratory Observations of others to records, beside a loop of ``json.loads`` over the same lines.

Run: ``python -m benchmarks.fhir_to_records [LINES]``. Both run in the same process, one after the other, since the rate
of a shared machine varies; memory is the peak of the process.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
import uuid
from pathlib import Path

from fhirspace.fhir.files import find
from fhirspace.views.flatten import flatten
from fhirspace.views.notation.library import view_set


def write(path: Path, lines: int) -> None:
    """Writes Observations of 2,000 patients, 80 tests and as many values and times as there are lines."""
    chosen = random.Random(1)  # nosec B311  # made-up data
    with path.open("w") as stream:
        for _ in range(lines):
            day = f"2024-{chosen.randrange(1, 13):02d}-{chosen.randrange(1, 29):02d}"
            when = f"{day}T{chosen.randrange(24):02d}:{chosen.randrange(60):02d}:11+00:00"
            category = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}
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


def main() -> None:
    """Prints lines per CPU second of both, and memory."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Observation.ndjson"
        write(path, lines)
        views = view_set("us-core")
        start = time.process_time()
        made = flatten(find([path.parent]).files, views)
        took = time.process_time() - start
        assert made.records["lab"].num_rows == lines  # nosec B101
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        start = time.process_time()
        with path.open("rb") as stream:
            for line in stream:
                json.loads(line)
        loop = time.process_time() - start
    print(f"{lines:,} Observations: {lines / took:,.0f} per CPU second, {memory} MB")
    print(f"json.loads alone: {lines / loop:,.0f} per CPU second")


if __name__ == "__main__":
    main()
