"""A process that kills itself before the so-manieth change of a file: ``killing.py output|cli STEP ARGUMENT...``.

A negative step kills nobody; then the number of changes is its last line on stderr.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGING = ("open", "replace", "rename", "unlink", "remove", "rmdir", "mkdir", "chmod", "fsync")


def fatal(step: int) -> list[int]:
    """From now on this process dies before its change number `step`. Gives the steps that are left, in a list."""
    left = [step]

    def guarded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **options: Any) -> Any:
            if name != "open" or args[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                left[0] -= 1
                if left[0] == -1 and step >= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return change

    for name in CHANGING:
        setattr(os, name, guarded(name, getattr(os, name)))
    return left


def main(what: str, step: str, *arguments: str) -> int:
    """Writes a small run into a folder, or gives the arguments to the command line."""
    if what == "output":
        from fhirspace.tables.outputs import OutputFolder

        fatal(int(step))
        with OutputFolder(Path(arguments[0])) as folder:
            for name in ("fhir/Patient.ndjson", "fhir/Observation.ndjson", "sdtm/ae.csv"):
                with folder.open(name) as stream:
                    stream.write(b"2")
        return 0
    from fhirspace.cli import main as cli

    left = fatal(int(step))
    code = cli(arguments)
    print(int(step) - left[0], file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
