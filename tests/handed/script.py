"""Runs a script whose ``fhirspace`` commands are run in this process: ``script.py SCRIPT ARGUMENT...``.

The handed scripts start servers of their own and one command after the other, each in a process of its own; starting
these takes most of the time. A wait is no longer than some seconds, whatever a server asks for.
"""

from __future__ import annotations

import contextlib
import io
import runpy
import subprocess
import sys
import time
from typing import Any

from fhirspace.cli import main

LONGEST = 3


def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
    """In place of `subprocess.run`: the same command, in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
        code = main(words[1:])
    return subprocess.CompletedProcess(words, code, out.getvalue(), error.getvalue())


def call(words: list[str]) -> int:
    """In place of `subprocess.call`."""
    return main(words[1:])


if __name__ == "__main__":
    subprocess.run, subprocess.call = run, call  # type: ignore[assignment]
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(float(seconds), LONGEST))
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
