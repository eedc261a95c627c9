"""Thousands of broken variants of each kind of input and answer, in processes of their own; by hand.

    python -m tests.hostile.soak_broken                      # 2,000 of each kind, the fixed seed
    python -m tests.hostile.soak_broken --fresh Bundle XPT   # a new seed, which is printed; two kinds
    python -m tests.hostile.soak_broken --seed 1f0c --from 137 --count 1 Bundle

Printed are, for each kind and for all, the exit codes, the slowest variant with its time, and the peak of memory; and
each fault with the command that makes it again. It ends with 1 where there was one.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.inputs import KINDS
from tests.hostile.servers import TALKS
from tests.hostile.test_broken_inputs import SEED
from tests.hostile.trials import high, tried

_SLICE = 2_000
_MOST_MB = 500
_LONGEST = 3_600


@dataclass
class Tally:
    """What was seen: exit codes, variants that ended a process or were faulty, the slowest variant, memory in MB."""

    codes: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    slowest: tuple[float, str] = (0.0, "")
    peak: int = 0

    def add(self, other: Tally) -> None:
        """Take in what was seen elsewhere."""
        self.codes += other.codes
        self.faults += other.faults
        self.slowest = max(self.slowest, other.slowest)
        self.peak = max(self.peak, other.peak)

    def __str__(self) -> str:
        exits = ", ".join(f"{count:,} x {code}" for code, count in sorted(self.codes.items()))
        seconds, where = self.slowest
        found = f"slowest {where} in {seconds:.2f} s, peak {self.peak} MB, {self.faults} faults"
        return f"{sum(self.codes.values()):,} variants, exits {exits or 'none'}; {found}"


def worker(kind: str, seed: str, start: int, count: int, *, quick: bool | None) -> int:
    """Try variants: faults are written to stdout, and the peak at last; each variant to stderr. Gives the faults."""
    faults = 0
    gc.freeze()  # modules are not looked through again and again
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as state:
        os.environ["FHIRSPACE_STATE"] = state
        for number in range(start, start + count):
            sys.stderr.write(f"{number}\n")  # where a process ends by itself, this is what it was at
            command, done = tried(kind, seed, number, Path(folder), quick=quick)
            sys.stderr.write(f"{number} {done.code} {done.seconds:.2f}\n")
            if done.fault:
                faults += 1
                print(f"{kind!r} --seed {seed} --from {number} --count 1: {command}\n{done.fault}", flush=True)
    peak = high()
    if peak > _MOST_MB:
        faults += 1
        print(f"{kind!r} --seed {seed} --from {start} --count {count}: {peak} MB")
    print(peak, flush=True)
    return faults


def soak(kind: str, seed: str, start: int, count: int) -> Tally:
    """Try variants in slices, each in a process; what ends a process is reported and left out."""
    whole, end = Tally(), start + count
    while start < end:
        size = min(_SLICE, end - start)
        command = [sys.executable, "-m", "tests.hostile.soak_broken", "--worker", kind, seed, str(start), str(size)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_LONGEST)
        tally, said = _tallied(kind, done.stderr)
        faults, _, peak = done.stdout.rstrip("\n").rpartition("\n")
        if peak.isdigit():
            tally.peak = int(peak)
            start += size
        else:
            start += sum(tally.codes.values()) + 1
            tally.codes[f"process ended by {done.returncode}"] += 1
            end_of_it = f"{kind!r} --seed {seed} --from {start - 1} --count 1: process ended by {done.returncode}"
            faults = "\n".join(filter(None, (done.stdout.strip(), end_of_it, said[-500:])))
        tally.faults = faults.count(f" --seed {seed} --from ")
        print(f"{kind}: {tally}", faults, sep="\n" if faults else "", flush=True)
        whole.add(tally)
    return whole


def _tallied(kind: str, written: str) -> tuple[Tally, str]:
    """What a worker wrote to stderr: the variants that it came to the end of, and the rest as text."""
    tally, rest = Tally(), []
    for line in written.splitlines():
        if found := re.fullmatch(r"(\d+) (-?\d+) (\d+\.\d\d)", line):
            number, code, seconds = found.groups()
            tally.add(Tally(Counter({code: 1}), slowest=(float(seconds), f"{kind} {number}")))
        elif not line.isdigit():
            rest.append(line)
    return tally, "\n".join(rest)


def main() -> int:
    """The command line."""
    if sys.argv[1:2] == ["--worker"]:
        kind, seed, start, count, *how = sys.argv[2:]
        return 1 if worker(kind, seed, int(start), int(count), quick="quick" in how or None) else 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="default: all")
    parser.add_argument("--seed", default=SEED)
    parser.add_argument("--fresh", action="store_true", help="a new seed")
    parser.add_argument("--from", dest="start", type=int, default=0)
    parser.add_argument("--count", type=int, default=2_000)
    options = parser.parse_args()
    seed = secrets.token_hex(4) if options.fresh else options.seed
    print(f"seed {seed}", flush=True)
    kinds = options.kinds or [*KINDS, *TALKS]
    whole, begin = Tally(), time.monotonic()
    for kind in kinds:
        whole.add(soak(kind, seed, options.start, options.count))
    print(f"seed {seed}, {len(kinds)} kinds, {(time.monotonic() - begin) / 60:.0f} min: {whole}")
    return 1 if whole.faults else 0


if __name__ == "__main__":
    sys.exit(main())
