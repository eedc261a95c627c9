"""What the validation of FHIR costs, beside other programs in one run.

``python -m benchmarks.validate_fhir FILE [--copies N] [--schema FILE] [--hl7]`` prints Observations (or other
resources) of an NDJSON file per CPU second, user and system time together:

- ``fhirspace validate --full`` as a command, its start included, and the start alone: the command with one line;
- fhir.resources, which parses each line into its models;
- with ``--schema``, HL7's ``fhir.schema.json`` by jsonschema;
- with ``--hl7``, HL7's validator from the jars of the local server, warm: with some lines more than without them.

Copies have ids of their own, and so have the references in them, so that nothing but what a study repeats is the same.
The slower programs get the first lines only.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.children import cpu_seconds
from fhirspace.fhir.validation.models import by_models, models_of
from fhirspace.standards.fhir import RELEASES, Release

_ID = re.compile(rb'(^{"resourceType":"[A-Za-z]+","id":"[^"]{1,56}|"reference":"[A-Za-z]+/[A-Za-z0-9.-]{1,56})(?=")')
"""The id of a resource, which comes first in what fhirspace writes, and the references to others; no contained one."""
_MODELS, _SCHEMA, _HL7 = 300, 10, 400
"""The lines that each of the slower programs gets."""


def copied(lines: Sequence[bytes], copies: int) -> list[bytes]:
    """The lines, and copies of them with other ids."""
    return [*lines, *(line for number in range(1, copies) for line in copy(lines, number))]


def copy(lines: Sequence[bytes], number: int) -> list[bytes]:
    """A copy of lines with other ids, and other references."""
    tail = rb"\g<1>c%d" % number
    return [_ID.sub(tail, line) for line in lines]


def command(lines: Sequence[bytes], release: Release, rounds: int) -> tuple[float, int]:
    """The least CPU seconds of the command over some lines, and the number of errors that it counts."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "resources.ndjson")
        file.write_bytes(b"\n".join([*lines, b""]))
        options = ["--fhir", release, "--full", "--format", "ndjson"]
        given = [sys.executable, "-m", "fhirspace.cli", "validate", str(file), *options]
        least, errors = float("inf"), 0
        for _ in range(rounds):
            before = cpu_seconds()
            done = subprocess.run(given, capture_output=True, check=False, stdin=subprocess.DEVNULL)
            least = min(least, cpu_seconds() - before)
            errors = sum(json.loads(line)["level"] == "error" for line in done.stdout.splitlines())
        return least, errors


def _rate(judge: Callable[[bytes], object], lines: Sequence[bytes]) -> float:
    judge(lines[0])  # what is made once
    start = time.process_time()
    for line in lines:
        judge(line)
    return len(lines) / (time.process_time() - start)


def models(lines: Sequence[bytes], release: Release) -> float:
    """Lines per CPU second of fhir.resources."""
    known = models_of(release)
    return _rate(lambda line: by_models(line, known), lines)


def schema(lines: Sequence[bytes], file: Path) -> float:
    """Lines per CPU second of HL7's JSON schema."""
    from jsonschema.validators import validator_for  # noqa: PLC0415

    content = json.loads(file.read_bytes())
    validator: Any = validator_for(content)(content)
    return _rate(lambda line: list(validator.iter_errors(json.loads(line))), lines)


def hl7(lines: Sequence[bytes], release: Release) -> float:
    """Lines per CPU second of HL7's validator, once it is warm."""
    from tests.fhir.validation import oracle  # noqa: PLC0415 - the tests run it

    spent = []
    for some in (lines[: len(lines) // 4], lines):
        with tempfile.TemporaryDirectory() as folder:
            before = cpu_seconds()
            oracle.judge([oracle.Input(some, release)], Path(folder, "oracle"))
            spent.append(cpu_seconds() - before)
    return (len(lines) - len(lines) // 4) / (spent[1] - spent[0])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--fhir", choices=RELEASES, default="R4")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--schema", type=Path)
    parser.add_argument("--hl7", action="store_true")
    options = parser.parse_args()
    lines = options.file.read_bytes().splitlines()
    many = copied(lines, options.copies)
    start, _ = command(many[:1], options.fhir, options.rounds)
    whole, errors = command(many, options.fhir, options.rounds)
    print(f"fhirspace validate --full, start: {start:.2f} CPU s")
    print(f"fhirspace validate --full, {len(many):,} lines, {errors} errors: {whole:.2f} CPU s with its start")
    rates = {
        "fhirspace, start included": len(many) / whole,
        "fhirspace, start left out": (len(many) - 1) / (whole - start),
        "fhir.resources": models(lines[:_MODELS], options.fhir),
    }
    if options.schema:
        rates["JSON schema"] = schema(lines[:_SCHEMA], options.schema)
    if options.hl7:
        rates["HL7's validator, warm"] = hl7(lines[:_HL7], options.fhir)
    for name, rate in rates.items():
        print(f"{name}: {rate:,.0f} per CPU second")


if __name__ == "__main__":
    main()
