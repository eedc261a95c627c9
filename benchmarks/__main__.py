"""All figures in one run, each in a process of its own: ``python -m benchmarks [--quick] [--json FILE]``.

Each line names what was measured, what it was compared with in the same run, the ratio, and the least that is asked
for. A figure below its least makes the exit code 1. Delivery has a run of its own: ``python -m benchmarks.push``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.children import cpu_seconds

Figures = dict[str, float]


class Line(NamedTuple):
    """One line of the table: the figure, what it is, and the least (or, with `most`, the most) that is asked for."""

    what: str
    figure: float
    unit: str
    bound: float | None = None
    most: bool = False

    @property
    def good(self) -> bool:
        """Whether the figure is within its bound."""
        return self.bound is None or (self.figure <= self.bound if self.most else self.figure >= self.bound)

    def __str__(self) -> str:
        bound = "" if self.bound is None else f"{'at most' if self.most else 'at least'} {self.bound:g}"
        mark = "" if self.good else "  <-- not reached"
        return f"{self.what:<58}{self.figure:>14,.2f} {self.unit:<6} {bound}{mark}"


def _alone(function: Callable[..., Figures], *arguments: Any) -> Figures:
    """Runs a benchmark in a fresh process, so that its memory and its caches are its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def lines(quick: bool) -> Iterator[Line]:
    """All figures, one after the other."""
    from benchmarks import fhir_to_rows, rows_to_fhir, to_files  # noqa: PLC0415 - after the arguments are read

    for rows in (200_000,) if quick else (2_000_000, 5_000_000):
        found = _alone(rows_to_fhir.lb_rows, rows)
        yield Line(
            f"LB, {rows:,} rows to null: rows per CPU second", found["rows a CPU second, reading the file too"], "/s"
        )
        yield Line("  fhir.resources, construct + dump of the same", found["fhir.resources a CPU second"], "/s")
        yield Line("  ratio", found["ratio, reading the file too"], "x", 200)
    rows = 50_000 if quick else 500_000
    found = _alone(rows_to_fhir.ae_rows, rows)
    yield Line(
        f"AE, {rows:,} rows to null: rows per CPU second", found["rows a CPU second, reading the file too"], "/s"
    )
    yield Line("  fhir.resources, construct + dump of the same", found["fhir.resources a CPU second"], "/s")
    yield Line("  ratio", found["ratio, reading the file too"], "x", 200)
    rows = 200_000 if quick else 5_000_000
    peak = _alone(rows_to_fhir.lb_rows, rows, 0)["peak MB"]
    yield Line(f"peak memory, LB, {rows:,} rows", peak, "MB", 450, most=True)
    found = _alone(fhir_to_rows.lb_lines, *((20_000, 3, 200) if quick else ()))
    yield Line("FHIR to LB rows, exact decimals: rows per CPU second", found["rows/s, unknown elements ignored"], "/s")
    yield Line("  ratio to fhir.resources' parse", found["ratio, ignored"], "x", 40)
    yield Line("  the same with unknown elements noticed", found["rows/s, unknown elements noticed"], "/s")
    yield Line("  ratio to fhir.resources' parse", found["ratio, noticed"], "x", 28)
    rows, turns = (150_000, 1) if quick else (5_000_000, 3)
    found = _alone(to_files.to_files, rows, turns)
    one, disk = found["one process, MB/s"], found["plain write of the same bytes, MB/s"]
    yield Line(f"LB, {rows:,} rows to a fresh file, one process", one, "MB/s")
    yield Line("  a plain write of the same bytes, same minute", disk, "MB/s")
    yield Line("  the same, two processes", found["two processes, MB/s"], "MB/s")
    yield Line("  the most that such a write allows, against one", disk / one, "x")
    yield Line("  two processes against one", found["two against one"], "x", 1.6)
    found = _alone(to_files.to_files, rows, turns, True)
    yield Line(f"LB, {rows:,} rows to a compressed file, one process", found["one process, rows/s"], "rows/s")
    yield Line("  two processes against one", found["two against one"], "x", 1.6)
    yield Line("fhirspace --help", _help(), "CPU s", 0.3, most=True)


def _help() -> float:
    """CPU seconds (user and system) of ``fhirspace --help``, the median of five."""
    spent = []
    for _ in range(5):
        before = cpu_seconds()
        subprocess.run([sys.executable, "-m", "fhirspace.cli", "--help"], stdout=subprocess.DEVNULL, check=True)
        spent.append(cpu_seconds() - before)
    return sorted(spent)[2]


def main() -> int:
    """Prints the table; 1 where a figure is out of its bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small inputs: to see that it runs, not for figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON as well")
    options = parser.parse_args()
    names = ("pyarrow", "msgspec", "fhir.resources", "pydantic")
    print(f"{platform.machine()}, {multiprocessing.cpu_count()} cores, Python {platform.python_version()}, "
          + ", ".join(f"{name} {version(name)}" for name in names))  # fmt: skip
    measured = []
    for line in lines(options.quick):
        measured.append(line)
        print(line, flush=True)
    if options.json:
        options.json.write_text(json.dumps([line._asdict() for line in measured], indent=1) + "\n", "utf-8")
    return 0 if all(line.good for line in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
