"""Options and arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fhirspace.fhirserver.config import Connection
    from fhirspace.fhirserver.http.client import Client

RELEASES = ("R4", "R4B", "R5")
_LAST_PORT = 65535


class Plain(argparse.RawDescriptionHelpFormatter):
    """Help texts whose examples keep their lines."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)

    def add_argument(self, action: argparse.Action) -> None:
        """As argparse's; commands are given their full width."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += self._indent_increment  # argparse forgets that commands are indented


def add_command(commands: Any, name: str, about: str, *examples: str) -> argparse.ArgumentParser:
    """A command with its help text, examples, and the options that every command has."""
    shown = "\n".join(f"  fhirspace {name} {example}".rstrip() for example in examples)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=about[:1].upper() + about[1:] + ".",
        epilog=f"examples:\n{shown}",
        formatter_class=Plain,
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    parser.add_argument(
        "--limit",
        metavar="NAME=N",
        action="append",
        default=[],
        help="change a limit for input and answers, such as cell-bytes=2000000 (docs/cli.md lists them)",
    )
    return parser


def positive(text: str) -> int:
    """The value of an option that counts something. Raises argparse.ArgumentTypeError: it is below 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("give a whole number of at least 1")
    return int(text)


def port(text: str) -> int:
    """A port of TCP. Raises argparse.ArgumentTypeError: there is no such port."""
    if (found := positive(text)) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"give a port of 1 to {_LAST_PORT}")
    return found


def release_option(parser: argparse.ArgumentParser) -> None:
    """`--fhir`: the release."""
    parser.add_argument("--fhir", choices=RELEASES, default="R4", help="the FHIR release (default: R4)")


def study_options(parser: argparse.ArgumentParser) -> None:
    """`--source`, `--mappings` and `--fhir`: how a study is converted."""
    parser.add_argument(
        "--source", metavar="NAME|DIR", help="source mappings for the EDC export (default: those that have its forms)"
    )
    parser.add_argument(
        "--mappings",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="your own mappings; they replace shipped ones of the same name",
    )
    release_option(parser)


def key_option(parser: argparse.ArgumentParser, about: str) -> None:
    """`--id-key`: the key that ids are made with; `about` is its help text."""
    parser.add_argument("--id-key", metavar="FILE", help=about)


SITES_KEY = "the file with the id key (default: your site's key, see docs/pseudonyms.md; `demo`: the published key)"


def links_option(parser: argparse.ArgumentParser) -> None:
    """`--follow-links`."""
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="also read symbolic links that lead out of the input folder (otherwise: FS152)",
    )


def encoding_option(parser: argparse.ArgumentParser) -> None:
    """`--encoding`: that of SAS transport files, which do not say it."""
    parser.add_argument(
        "--encoding",
        metavar="NAME",
        help="the text encoding of SAS transport files (default: UTF-8 or Windows-1252, if it is clear which)",
    )


def strict_option(parser: argparse.ArgumentParser) -> None:
    """`--strict`: rows with errors do not pass."""
    parser.add_argument(
        "--strict",
        action="store_true",
        help="quarantine each row with an error (default: only those that the output cannot hold)",
    )


def validate_option(parser: argparse.ArgumentParser, about: str) -> None:
    """`--validate [full]`; `about` is what is judged, and when."""
    parser.add_argument(
        "--validate",
        metavar="full",
        nargs="?",
        const="errors",
        choices=("errors", "full"),
        help=f"{about} by FHIR's rules; `--validate full`: also by what FHIR only recommends",
    )


def shared_option(parser: argparse.ArgumentParser) -> None:
    """`--shared`: modes of what is written."""
    parser.add_argument(
        "--shared",
        action="store_true",
        help="for a folder that other users read: permissions by the umask (default: files 0600, new folders 0700)",
    )


def input_argument(parser: argparse.ArgumentParser) -> None:
    """INPUT, one or more, with `--follow-links` and `--encoding`."""
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=Path,
        nargs="+",
        help="a folder or files with EDC records, SDTM datasets or FHIR resources; the kind is recognised",
    )
    links_option(parser)
    encoding_option(parser)


def patients_option(parser: argparse._ActionsContainer) -> None:
    """`--patients`: whose records of an EHR are meant."""
    parser.add_argument(
        "--patients",
        metavar="WHO",
        nargs="+",
        help="everything that the server has of these patients, whoever wrote it: ids, system|value, Group/<id>, all, "
        "or an enrolment table (CSV)",
    )


def server_option(parser: argparse.ArgumentParser, *, without: str = "") -> None:
    """`without`: what happens when no server is named; "" where one must be."""
    about = "the FHIR server's base URL, or its name in the configuration file" + (
        f" (default: {without})" if without else ""
    )
    parser.add_argument("--server", metavar="URL|NAME", required=not without, help=about)
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="the configuration file with servers (default: fhirspace.toml, here or in ~/.config/fhirspace)",
    )
    parser.add_argument(
        "--insecure-http",
        action="store_true",
        help="allow sending data to another machine unencrypted (http://); not possible with a sign-in",
    )


def connection(options: argparse.Namespace) -> Connection:
    """The server of ``--server`` and ``--config``."""
    from fhirspace.fhirserver.config import connect  # noqa: PLC0415 - only with a server

    return connect(options.server, options.config, insecure_http=options.insecure_http)


def client_of(options: argparse.Namespace) -> Client | None:
    """The client of ``--server`` and ``--config``, None where no server is named."""
    return connection(options).client if options.server else None
