"""Thousands of broken variants of each kind of input and answer, in processes of their own; by hand.

    cd tests && python -m hostile.soak_broken                      # 2,000 of each kind, the fixed seed
    cd tests && python -m hostile.soak_broken --fresh Bundle XPT   # a new seed, which is printed; two kinds
    cd tests && python -m hostile.soak_broken --seed 1f0c --from 137 --count 1 Bundle

Printed are, for each kind, the exit codes, the time of the slowest variant and the peak of memory; and each fault with
the command that makes it again. It ends with 1 where there was one.
"""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from .inputs import KINDS
from .servers import TALKS
from .test_broken_inputs import SEED
from .trials import tried

_SLICE = 250
_MOST_MB = 500
_LONGEST = 3_600


def worker(kind: str, seed: str, start: int, count: int, *, quick: bool | None) -> int:
    """Try variants; the first line of the output is a summary, then come the faults. Gives how many there were."""
    codes: Counter[int] = Counter()
    slowest, faults = 0.0, []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as state:
        os.environ["FHIRSPACE_STATE"] = state
        for number in range(start, start + count):
            sys.stderr.write(f"{number}\n")  # where a process ends by itself, this is what it was at
            command, done = tried(kind, seed, number, Path(folder), quick=quick)
            codes[done.code] += 1
            slowest = max(slowest, done.seconds)
            if done.fault:
                faults.append(f"{kind!r} --seed {seed} --from {number} --count 1: {command}\n{done.fault}")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if used > _MOST_MB:
        faults.append(f"{kind!r} --seed {seed} --from {start} --count {count}: {used} MB")
    print(f"{dict(sorted(codes.items()))}, slowest {slowest:.2f} s, peak {used} MB")
    print("\n".join(faults), end="\n" if faults else "", flush=True)
    return len(faults)


def soak(kind: str, seed: str, start: int, count: int) -> int:
    """Try variants in slices, each in a process; what ends a process is told and left out. Gives the faults."""
    faults, end = 0, start + count
    while start < end:
        size = min(_SLICE, end - start)
        command = [sys.executable, "-m", "hostile.soak_broken", "--worker", kind, seed, str(start), str(size)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_LONGEST)
        print(f"{kind} {start}-{start + size - 1}: {done.stdout.strip()}", flush=True)
        if done.returncode in (0, 1):
            faults += done.returncode
            start += size
            continue
        reached = [int(line) for line in done.stderr.splitlines() if line.isdigit()]
        at = reached[-1] if reached else start
        print(
            f"{kind!r} --seed {seed} --from {at} --count 1: ended by {done.returncode}\n{done.stderr[-500:]}",
            flush=True,
        )
        faults, start = faults + 1, at + 1
    return faults


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
    return 1 if sum(soak(kind, seed, options.start, options.count) for kind in kinds) else 0


if __name__ == "__main__":
    sys.exit(main())
