"""Runs the command line: one command, its exit code, and what is printed when it fails."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fhirspace.cli.console import tell_bug, tell_error, tell_interrupted
from fhirspace.cli.parser import parser, refuse_odd
from fhirspace.errors import EXIT_CLEAN, FhirspaceError, UsageError

_LONGEST = 2000
"""Characters of a message about wrong arguments."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and gives its exit code; a `FhirspaceError` is printed in one line, a bug with its place in
    the code.

    Raises:
        SystemExit: by the parser: 0 after ``--help``, 2 where the arguments are wrong.
    """
    logging.lastResort = logging.NullHandler()  # libraries log what servers and files hold; nobody asked for it
    commands_parser = parser()
    options = commands_parser.parse_args(arguments)
    refuse_odd(commands_parser, options)
    try:
        from fhirspace import limits
        from fhirspace.cli import commands

        limits.choose(options.limit)
        code: int = getattr(commands, options.command)(options)
        sys.stdout.flush()
    except FhirspaceError as error:
        return tell_error(error, as_json=options.json)
    except KeyboardInterrupt:
        return tell_interrupted(as_json=options.json)
    except BrokenPipeError:
        # A reader such as `head` went away: nothing more to say, and nothing to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CLEAN
    except (OSError, MemoryError) as error:
        return _refused(error, as_json=options.json)
    except Exception as error:
        return tell_bug(error, as_json=options.json)
    return code


def _refused(error: OSError | MemoryError, *, as_json: bool) -> int:
    """Reports what the operating system refused, which is no bug of fhirspace: memory, disk space, access to a file."""
    if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
        return tell_error(UsageError("FS604", "memory"), as_json=as_json)
    code = "FS603" if error.errno in _FULL else "FS602"
    name = Path(str(error.filename or "")).name or "a file"
    return tell_error(UsageError(code, name, detail=error.strerror or type(error).__name__), as_json=as_json)
