"""A program that runs the engine and waits; for tests that interrupt or kill it. Args: a folder."""

import signal
import sys
from pathlib import Path

from engine_jobs import Lines, batches

from fhirspace.engines import processes
from fhirspace.tables.growing import Growing

if __name__ == "__main__":
    # A suite that runs in the background of a shell hands down that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sinks = {name: Growing(Path(sys.argv[1], name)) for name in ("even", "odd")}
    for first, _ in processes.run(Lines(50, "stops"), batches(20), sinks, 2):
        print(first, flush=True)
