"""A program that runs the engine for a long time; for tests that interrupt or kill it. Args: a folder, batches."""

import signal
import sys
from pathlib import Path

from engine_jobs import Where, batches  # type: ignore[import-not-found]  # beside it: a program, not a module

from fhirspace.engines import processes
from fhirspace.tables.growing import Growing

if __name__ == "__main__":
    # A suite that runs in the background of a shell hands down that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sinks = {name: Growing(Path(sys.argv[1], name)) for name in ("even", "odd")}
    for process in processes.run(Where(), batches(int(sys.argv[2])), sinks, 3):
        print(process, flush=True)
