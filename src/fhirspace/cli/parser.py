"""The command line: one subcommand, one public function. stdout is data, stderr is messages.

Exit codes: 0 clean, 1 findings, 2 usage or configuration, 3 done with quarantined rows, 4 server, sign-in or network,
5 interrupted and resumable, 70 a bug.

This module holds the parser alone, so that ``--help`` is light; `fhirspace.cli.commands` does the work.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from fhirspace.cli.delivery_parsers import DELIVERY
from fhirspace.cli.notices import notices
from fhirspace.cli.options import Plain
from fhirspace.cli.rules_parser import RULES
from fhirspace.cli.study_parsers import ABOUT_MAPPINGS, EVERYDAY
from fhirspace.errors import EXIT_USAGE
from fhirspace.foreign import shown
from fhirspace.version import __version__

_LONGEST = 2000
"""Characters of a message about wrong arguments."""
_LACKING = "the following arguments are required"
_ABOUT = "Clinical-trial records to and from HL7 FHIR and CDISC SDTM, with a proof that nothing is lost."
_CODES = """exit codes:
  0 clean   1 findings   2 usage or configuration   3 done, with quarantined rows or files not read
  4 server, sign-in or network   5 interrupted: run the same command again to resume   70 a bug"""


def refuse_odd(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuses options that do not go together (exit code 2), and fills in what follows from others.

    Raises:
        SystemExit: 0 after ``--version`` and ``--notices``, which print and end; 2 where the arguments are wrong.
    """
    if options.version or options.notices:
        parts = [f"fhirspace {__version__}\n"] * options.version + [notices()] * options.notices
        print("\n".join(parts), end="")
        parser.exit()
    if options.command is None:
        parser.error(f"{_LACKING}: COMMAND")
    commands = commands_of(parser)
    if options.command == "runs":
        options.audit = options.what[:1] == ["audit"]
        rest = options.what[options.audit :]
        if len(rest) > 1 or (options.audit and not rest):
            commands["runs"].error("`runs` takes at most one journal, and `runs audit` exactly one")
        options.journal = Path(rest[0]) if rest else None
    if options.command == "convert":
        if options.workers is not None and options.engine != "processes":
            commands["convert"].error("--workers needs --engine processes")
        if options.gzip and options.to != "fhir":
            commands["convert"].error("--gzip needs --to fhir")
        options.workers = options.workers or max(2, os.cpu_count() or 2)


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments."""
    parser = _Parser(prog="fhirspace", description=_ABOUT, epilog=_CODES, formatter_class=Plain)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument(
        "--notices",
        action="store_true",
        help="print the sources and licences of the standards' data in this package, and exit",
    )
    # Not `required`: argparse would refuse --version and --notices alone.
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for add in (*EVERYDAY, *DELIVERY, *ABOUT_MAPPINGS, *RULES):
        add(commands)
    return parser


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands by name."""
    [action] = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


class _Parser(argparse.ArgumentParser):
    """A parser whose messages are short, and safe to print: they quote arguments, which may come from anywhere."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; the arguments are noted for the message of an error."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2, after the usage without what is optional, and one line that says what is wrong."""
        unknown = next(filter(self._is_unknown, self._given), "") if message.startswith(_LACKING) else ""
        if unknown:  # argparse would only report what is missing, often because of this misspelling
            near = difflib.get_close_matches(unknown.partition("=")[0], self._option_string_actions, 1)
            message = f"unknown option {unknown}" + (f" (did you mean {near[0]}?)" if near else "")
        formatter = self._get_formatter()
        needed = [each for each in self._actions if each.required or not each.option_strings]
        formatter.add_usage(self.usage, needed, self._mutually_exclusive_groups)
        help_text = f"`{self.prog} --help` describes all arguments."
        self.exit(EXIT_USAGE, f"{formatter.format_help()}error: {shown(message, _LONGEST)}\n{help_text}\n")

    def _is_unknown(self, given: str) -> bool:
        name = given.partition("=")[0]
        return (
            name.startswith("--")
            and name != "--"
            and not any(option.startswith(name) for option in self._option_string_actions)
        )
