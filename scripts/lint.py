"""Runs all checks of the code that are no tests, two at a time, and prints what each found.

python scripts/lint.py    # in the environment of ``tox run -e lint``; exit code 1 where one fails

The long ones come first: mypy and bandit take most of the time, each of one core.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
COMMANDS: Final = (
    "mypy",
    "bandit --quiet --recursive --configfile pyproject.toml src scripts",
    "python scripts/audit.py",
    "lint-imports",
    "ruff check src tests scripts benchmarks samples",
    "ruff format --check src tests scripts benchmarks samples",
    "python scripts/make_lock.py --check",
)


def main() -> int:
    """Run all, whatever fails, and print the whole output of each, in the order of `COMMANDS`."""
    failed = []
    with ThreadPoolExecutor(2) as pool:
        for command, done in zip(COMMANDS, pool.map(run, COMMANDS), strict=True):
            print(f"lint: {command}", done.stdout, sep="\n", flush=True)
            failed += [command] if done.returncode else []
    print("\n".join(f"FAILED: {command}" for command in failed) or f"{len(COMMANDS)} checks passed")
    return 1 if failed else 0


def run(command: str) -> subprocess.CompletedProcess[str]:
    """One command in the root of the repository; what it prints on both channels stays in its order."""
    return subprocess.run(  # noqa: S603  # nosec B603  # our own words
        command.split(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
