"""A command in a process of its own, with the most memory that it took."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

CHILD = """
import sys
from fhirspace.cli import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    most = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(f"peak {most // 1024}", file=sys.stderr)
sys.exit(code)
"""


class Measured(NamedTuple):
    """The exit code of a command, what it wrote to standard error, its peak memory in MB, and what it printed."""

    code: int
    said: str
    peak: int
    printed: str


def measured(*arguments: object, limits: str = "", seconds: int = 120) -> Measured:
    """Runs a command of fhirspace, for some seconds at most; Linux only."""
    run = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, "FHIRSPACE_LIMITS": limits},
    )
    said, _, peak = run.stderr.rpartition("peak ")
    return Measured(run.returncode, said, int(peak or 0), run.stdout)
