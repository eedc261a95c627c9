"""The command line: parser, commands, and what is printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """As `fhirspace.cli.run.main`, which is loaded here: Ctrl-C may come before it has a word for that.

    Returns:
        Its exit code, 5 where it was interrupted.
    """
    try:
        from fhirspace.cli.run import main as run  # noqa: PLC0415

        return run(arguments)
    except KeyboardInterrupt:
        print("interrupted: give the same command again", file=sys.stderr)
        return 5
