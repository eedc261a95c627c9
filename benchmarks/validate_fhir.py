"""What the validation of FHIR costs, beside other programs in one run.

``python -m benchmarks.validate_fhir FILE... [--profile DIR] [--schema FILE] [--fhirkit PYTHON] [--hl7]`` prints, for
each NDJSON file of Observations (or other resources), how many are judged per CPU second, user and system time
together, and how many of them are refused: each hundredth line is wrong (a code or an element that FHIR does not know,
a required element that is missing).

- ``fhirspace validate --full`` as a command, its findings printed, and the start alone: the command with one line;
- fhir.resources, which parses each line into its models;
- with ``--schema``, HL7's ``fhir.schema.json`` by jsonschema, beginning with the type of the lines;
- with ``--fhirkit``, fhirkit-rs by the interpreter of an environment that has it; parsing alone, which cannot be less;
- with ``--hl7``, HL7's validator from the jars of the local server, warm: with some lines more than without them.

Copies (``--copies N``) have ids of their own, and so have the references in them, so that nothing but what a study
repeats is the same. The slower programs get the first lines only.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.children import cpu_seconds

_ID = re.compile(rb'(^{"resourceType":"[A-Za-z]+","id":"[^"]{1,56}|"reference":"[A-Za-z]+/[A-Za-z0-9.-]{1,56})(?=")')
"""The id of a resource, which comes first in what fhirspace writes, and the references to others; no contained one."""
_STATUS = re.compile(rb'"status":"[a-z-]+",')
_FAULTS = (b'"status":"x",', b'"status":"final","bogus":"x",', b"")
"""A code that FHIR does not know, an element that it does not know, a required element that is missing."""
_EACH = 100
_MODELS, _SCHEMA, _FHIRKIT, _HL7 = 1_000, 200, 20_000, 800
"""The lines that each of the other programs gets."""


class Judged(NamedTuple):
    """What a program did: lines per CPU second, lines, and how many of them it refused."""

    rate: float
    lines: int
    refused: int

    def __str__(self) -> str:
        return f"{self.rate:>10,.0f} a CPU second; {self.refused:,} of {self.lines:,} refused"


def copied(lines: Sequence[bytes], copies: int) -> list[bytes]:
    """The lines, and copies of them with other ids."""
    return [*lines, *(line for number in range(1, copies) for line in copy(lines, number))]


def copy(lines: Sequence[bytes], number: int) -> list[bytes]:
    """A copy of lines with other ids, and other references."""
    tail = rb"\g<1>c%d" % number
    return [_ID.sub(tail, line) for line in lines]


def seeded(lines: Sequence[bytes]) -> list[bytes]:
    """The lines, of which each hundredth is wrong, in three ways in turn."""
    found = list(lines)
    for at in range(_EACH - 1, len(lines), _EACH):
        found[at] = _STATUS.sub(_FAULTS[at // _EACH % len(_FAULTS)], lines[at], count=1)
    return found


def command(lines: Sequence[bytes], options: Sequence[str], rounds: int) -> tuple[float, int]:
    """The least CPU seconds of the command over some lines, and the number of errors that it counts."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "resources.ndjson")
        file.write_bytes(b"\n".join([*lines, b""]))
        given = [sys.executable, "-m", "fhirspace.cli", "validate", str(file), "--full", "--format", "sarif", *options]
        least, errors = float("inf"), 0
        for _ in range(rounds):
            before = cpu_seconds()
            done = subprocess.run(given, capture_output=True, check=False, stdin=subprocess.DEVNULL)
            least = min(least, cpu_seconds() - before)
            results = json.loads(done.stdout)["runs"][0]["results"]
            errors = sum(each["occurrenceCount"] for each in results if each["level"] == "error")
        return least, errors


def ours(lines: Sequence[bytes], options: Sequence[str], rounds: int) -> Iterator[tuple[str, object]]:
    """What the command takes."""
    start, _ = command(lines[:1], options, rounds)
    whole, errors = command(lines, options, rounds)
    yield "start", f"{start:>10.2f} CPU s"
    yield "start included", Judged(len(lines) / whole, len(lines), errors)
    yield "start left out", Judged((len(lines) - 1) / (whole - start), len(lines), errors)


def _judged(refuses: Callable[[bytes], bool], lines: Sequence[bytes]) -> Judged:
    refuses(lines[0])  # what is made once
    start = time.process_time()
    refused = sum(map(refuses, lines))
    return Judged(len(lines) / (time.process_time() - start), len(lines), refused)


def models(lines: Sequence[bytes], release: str) -> Judged:
    """What fhir.resources does."""
    from fhirspace.fhir.validation.models import by_models, models_of  # noqa: PLC0415 - fhirkit-rs does without

    known = models_of("R5" if release == "R5" else "R4B" if release == "R4B" else "R4")
    return _judged(lambda line: bool(by_models(line, known)), lines)


def schema(lines: Sequence[bytes], file: Path) -> Judged:
    """What HL7's JSON schema does."""
    from jsonschema.validators import validator_for  # noqa: PLC0415

    content = json.loads(file.read_bytes())
    content.pop("oneOf")  # all types in turn
    content["allOf"] = [{"$ref": f"#/definitions/{json.loads(lines[0])['resourceType']}"}]
    validator: Any = validator_for(content)(content)
    return _judged(lambda line: not validator.is_valid(json.loads(line)), lines)


def fhirkit(lines: Sequence[bytes], python: str) -> Judged:
    """What fhirkit-rs does, in an environment of its own."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\n".join(lines))
        file.flush()
        given = [python, "-m", "benchmarks.validate_fhir", "--by-fhirkit", file.name]
        done = subprocess.run(given, capture_output=True, check=True, cwd=Path(__file__).parents[1])
    return Judged(*json.loads(done.stdout))


def by_fhirkit(file: Path) -> Judged:
    """What fhirkit-rs does in this process."""
    import fhirkit  # type: ignore[import-not-found]  # noqa: PLC0415 - in an environment of its own

    def refuses(line: bytes) -> bool:
        return any(issue.severity == "error" for issue in fhirkit.validate(line))

    return _judged(refuses, file.read_bytes().splitlines())


def hl7(lines: Sequence[bytes], release: str) -> Judged:
    """What HL7's validator does, once it is warm."""
    from tests.fhir.validation import oracle  # noqa: PLC0415 - the tests run it

    spent, refused = [], []
    for some in (lines[: len(lines) // 4], lines):
        with tempfile.TemporaryDirectory() as folder:
            before = cpu_seconds()
            (verdicts,) = oracle.judge([oracle.Input(some, release)], Path(folder, "oracle"))
            spent.append(cpu_seconds() - before)
            refused.append(sum(any(message.refuses for message in verdict) for verdict in verdicts))
    rest = len(lines) - len(lines) // 4
    return Judged(rest / (spent[1] - spent[0]), rest, refused[1] - refused[0])


def _others(lines: Sequence[bytes], options: argparse.Namespace) -> Iterator[tuple[str, object]]:
    yield "fhir.resources", models(lines[:_MODELS], options.fhir)
    if options.schema:
        yield "JSON schema", schema(lines[:_SCHEMA], options.schema)
    if options.fhirkit:
        yield "fhirkit-rs", fhirkit(lines[:_FHIRKIT], options.fhirkit)
    if options.hl7:
        yield "HL7's validator, warm", hl7(lines[:_HL7], options.fhir)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--fhir", choices=("R4", "R4B", "R5"), default="R4")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="append", default=[])
    parser.add_argument("--schema", type=Path)
    parser.add_argument("--fhirkit")
    parser.add_argument("--by-fhirkit", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--hl7", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Print the figures."""
    options = _options()
    if options.by_fhirkit:
        print(json.dumps(by_fhirkit(options.files[0])))
        return
    given = ["--fhir", options.fhir, *(part for each in options.profile for part in ("--profile", each))]
    for file in options.files:
        lines = seeded(copied(file.read_bytes().splitlines(), options.copies))
        print(f"{file.name}, {len(lines):,} lines, {len(lines) // _EACH:,} of them wrong")
        for how, result in ours(lines, given, options.rounds):
            print(f"  fhirspace validate --full, {how:20}{result}", flush=True)
        for name, result in _others(lines, options):
            print(f"  {name:47}{result}", flush=True)


if __name__ == "__main__":
    main()
