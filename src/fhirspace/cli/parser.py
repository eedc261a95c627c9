"""The command line: one subcommand, one public function. stdout is data, stderr is talk, exit codes are named.

Exit codes: 0 clean, 1 findings, 2 usage or configuration, 3 done with quarantined rows, 4 server, sign-in or network,
5 interrupted and resumable, 70 a bug.

This module holds the parser alone, so that ``--help`` is light; `fhirspace.cli.commands` does the work.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, NoReturn

from fhirspace.foreign import shown
from fhirspace.version import __version__

_LONGEST = 2000
"""Characters of a message about wrong arguments."""
_RELEASES = ("R4", "R4B", "R5")
_ABOUT = "Clinical-trial records to and from HL7 FHIR and CDISC SDTM, with a proof that nothing is lost."
_CODES = """exit codes:
  0 clean   1 findings   2 usage or configuration   3 done, with rows in quarantine
  4 server, sign-in or network   5 interrupted: the same command again resumes   70 a bug"""


def refuse_odd(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuses options that do not go together (exit code 2), and fills in what follows from others."""
    if options.command == "runs":
        options.audit = options.what[:1] == ["audit"]
        rest = options.what[options.audit :]
        if len(rest) > 1 or (options.audit and not rest):
            parser.error("runs takes one journal at most, and `runs audit` exactly one")
        options.journal = Path(rest[0]) if rest else None
    if options.command == "convert":
        if options.workers is not None and options.engine != "processes":
            parser.error("--workers goes with --engine processes")
        if options.gzip and options.to != "fhir":
            parser.error("--gzip goes with --to fhir")
        options.workers = options.workers or max(2, os.cpu_count() or 2)


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments."""
    parser = _Parser(prog="fhirspace", description=_ABOUT, epilog=_CODES, formatter_class=_Plain)
    parser.add_argument("--version", action="version", version=f"fhirspace {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    everyday = (_demo, _convert, _validate, _roundtrip)
    delivery = (_doctor, _plan, _push, _retry, _verify, _undo, _pull, _runs, _status, _server)
    for add in (*everyday, *delivery, _mapping, _explain):
        add(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose messages are safe to print: they quote arguments, which a script may have from anywhere."""

    def error(self, message: str) -> NoReturn:
        """As argparse's, in one line."""
        super().error(shown(message, _LONGEST))


class _Plain(argparse.RawDescriptionHelpFormatter):
    """Examples stand as they are written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += self._indent_increment  # argparse forgets that commands are indented


def _add(commands: Any, name: str, about: str, *examples: str) -> argparse.ArgumentParser:
    shown = "\n".join(f"  fhirspace {name} {example}".rstrip() for example in examples)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=about[:1].upper() + about[1:] + ".",
        epilog=f"examples:\n{shown}",
        formatter_class=_Plain,
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    parser.add_argument(
        "--limit",
        metavar="NAME=N",
        action="append",
        default=[],
        help="change a bound on what is read, such as cell-bytes=2000000 (see the reference, Limits)",
    )
    return parser


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("a whole number of at least 1 is wanted")
    return int(text)


def _release_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fhir", choices=_RELEASES, default="R4", help="the FHIR release (default: R4)")


def _study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source", metavar="NAME|DIR", help="source mappings of the EDC export (default: found by its forms)"
    )
    parser.add_argument(
        "--mappings", metavar="DIR", type=Path, action="append", default=[], help="your own mappings; they win"
    )
    _release_option(parser)


def _key_option(parser: argparse.ArgumentParser, about: str) -> None:
    parser.add_argument("--id-key", metavar="FILE", help=about)


_SITES_KEY = "the file of the id key (default: your site's, see docs/pseudonyms.md; `demo`: the published one)"


def _links_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--follow-links", action="store_true", help="read links that lead out of the input folder too (else: FS152)"
    )


def _shared_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shared",
        action="store_true",
        help="for a folder that others read: modes as the umask says (default: files 0600, new folders 0700)",
    )


def _input_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=Path,
        nargs="+",
        help="a folder or files: EDC records, SDTM datasets or FHIR resources; which of them is recognised",
    )
    _links_option(parser)


def _server_option(parser: argparse.ArgumentParser, *, without: str = "") -> None:
    """`without`: what happens when no server is named; "" where one must be."""
    about = "the FHIR server's base address, or its name in the file" + (f" (default: {without})" if without else "")
    parser.add_argument("--server", metavar="URL|NAME", required=not without, help=about)
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="the file of servers (default: fhirspace.toml, here or in ~/.config)",
    )
    parser.add_argument(
        "--insecure-http",
        action="store_true",
        help="let data go to another machine unencrypted (http://); never together with a sign-in",
    )


def _demo(commands: Any) -> None:
    parser = _add(
        commands, "demo", "the SPACE study end to end: EDC export, SDTM, FHIR and back", "", "--server --fhir R5"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("fhirspace-demo"),
        help="where to write: a new folder, or one of an earlier demo (default: fhirspace-demo)",
    )
    parser.add_argument(
        "--server", action="store_true", help="start a real FHIR server here, push, pull back and compare"
    )
    _shared_option(parser)
    _release_option(parser)
    _key_option(parser, "the file of an id key (default: the published one, which is good for synthetic data only)")


def _convert(commands: Any) -> None:
    parser = _add(
        commands,
        "convert",
        "records, SDTM datasets or FHIR into one of the others",
        "export/ --to sdtm --format xpt parquet --out study",
        "study/sdtm --to fhir --out study-fhir --engine processes --workers 4",
        "study-fhir --to records --source space --out back",
    )
    _input_argument(parser)
    parser.add_argument("--to", choices=("fhir", "sdtm", "records"), required=True, help="what it becomes")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the output folder")
    _shared_option(parser)
    _study_options(parser)
    parser.add_argument(
        "--format",
        nargs="+",
        choices=("xpt", "parquet", "csv"),
        default=["xpt"],
        help="formats of SDTM datasets (default: xpt)",
    )
    parser.add_argument("--gzip", action="store_true", help="compress FHIR: fhir/<Type>.ndjson.gz")
    _key_option(parser, f"FHIR: {_SITES_KEY}")
    parser.add_argument(
        "--new-ids", action="store_true", help="FHIR: replace ids of another key in the output folder by new ones"
    )
    parser.add_argument(
        "--engine", choices=("inline", "processes"), default="inline", help="one process or several (default: inline)"
    )
    parser.add_argument(
        "--workers", type=_number, metavar="N", help="processes of --engine processes (default: one a core)"
    )


def _validate(commands: Any) -> None:
    parser = _add(
        commands,
        "validate",
        "check FHIR files, or SDTM datasets, against their standards",
        "study/fhir --full",
        "study --json",
    )
    parser.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="files, folders, or an output folder")
    _links_option(parser)
    _release_option(parser)
    parser.add_argument("--full", action="store_true", help="fhir.resources over every resource as well")
    parser.add_argument(
        "--profile", metavar="DIR", type=Path, help="check extensions by the StructureDefinitions in this folder too"
    )


def _roundtrip(commands: Any) -> None:
    parser = _add(
        commands,
        "roundtrip",
        "prove cell by cell that nothing is lost on the way there and back",
        "export/",
        "study/sdtm --fhir R5 --json",
    )
    _input_argument(parser)
    _study_options(parser)
    _key_option(parser, "FHIR input: compare its ids too, which the key in this file made (default: who is who only)")


def _doctor(commands: Any) -> None:
    parser = _add(
        commands,
        "doctor",
        "look at a FHIR server before delivery: what it is, says and does; nothing is written",
        "--server https://fhir.example.org/fhir",
        "--server https://fhir.example.org/fhir --fhir R5 --types Patient Observation --json",
    )
    _server_option(parser)
    parser.add_argument("--fhir", choices=_RELEASES, help="refuse a server of another release")
    parser.add_argument(
        "--types", nargs="+", metavar="TYPE", default=[], help="resource types (default: all that fhirspace writes)"
    )


def _plan(commands: Any) -> None:
    parser = _add(
        commands,
        "plan",
        "what push would send, or with a server what would change there",
        "study",
        "study --server https://fhir.example.org/fhir --out monday.plan",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder with FHIR, or one file")
    _links_option(parser)
    _server_option(parser, without="only the order of sending is shown")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the plan for push --plan (default: DIR/plan.db)")
    parser.add_argument(
        "--overwrite", action="store_true", help="plan what was changed there since our last push as an update"
    )
    _delivery_options(parser)


def _delivery_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connections", type=_number, metavar="N", help="requests under way at once (default: as fits the server)"
    )
    parser.add_argument("--fhir", choices=_RELEASES, help="refuse a server of another release")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="the journal (default: DIR/journal.db)")
    _key_option(parser, _SITES_KEY)
    parser.add_argument(
        "--way",
        choices=("transaction", "batch", "single", "conditional"),
        help="how resources travel; conditional: the server makes the ids (default: as the server says)",
    )


def _sending_options(parser: argparse.ArgumentParser) -> None:
    _server_option(parser)
    _delivery_options(parser)
    parser.add_argument(
        "--size", type=_number, metavar="N", help="most resources a bundle (default: as fits the server)"
    )
    parser.add_argument(
        "--rate", type=_number, metavar="N", help="most requests a second (default: as fits the server)"
    )
    parser.add_argument(
        "--gzip", action=argparse.BooleanOptionalAction, help="compress what is sent (default: as fits the server)"
    )
    parser.add_argument(
        "--no-provenance", dest="provenance", action="store_false", help="write no Provenance of what was sent"
    )


def _push(commands: Any) -> None:
    parser = _add(
        commands,
        "push",
        "send FHIR files to a server: PUT in transactions, resumable",
        "study --server https://fhir.example.org/fhir --fhir R4",
        "study --server https://fhir.example.org/fhir --plan study/plan.db",
        "study --server https://fhir.example.org/fhir --bulk --bulk-bind 10.1.2.3:8099 --insecure-http",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder with FHIR (NDJSON, Bundles), or one file")
    _links_option(parser)
    parser.add_argument("--plan", type=Path, metavar="FILE", help="do what this plan says, if the server still fits it")
    _sending_options(parser)
    _bulk_push_options(parser)


def _retry(commands: Any) -> None:
    parser = _add(
        commands,
        "retry",
        "send what a server refused once more",
        "study --server https://fhir.example.org/fhir",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder that was pushed")
    parser.add_argument("--run", metavar="RUN", help="the dead letters of this run only")
    _sending_options(parser)


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run's name, or last: the last run that wrote something")
    _server_option(parser, without="the run's own")
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="the journal or its folder (default: all of this machine)"
    )
    _key_option(parser, _SITES_KEY)


def _verify(commands: Any) -> None:
    _run_options(_add(commands, "verify", "read back what a run delivered, and compare", "last"))


def _undo(commands: Any) -> None:
    about = "take a run back: restore what was there before, delete what the run created"
    _run_options(_add(commands, "undo", about, "20260501T101500Z-3f1c --server https://fhir.example.org/fhir"))


def _status(commands: Any) -> None:
    parser = _add(commands, "status", "how far a delivery is", "study")
    parser.add_argument("journal", metavar="DIR|FILE", type=Path, help="the journal, or the folder with journal.db")


def _bulk_push_options(parser: argparse.ArgumentParser) -> None:
    bulk = parser.add_argument_group("bulk", "have the server import the files by itself ($import)")
    bulk.add_argument("--bulk", action="store_true", help="by $import; the journal learns nothing of it")
    bulk.add_argument(
        "--bulk-shape",
        choices=("hapi", "azure", "azure-initial", "google"),
        default="hapi",
        help="how the server wants to be asked (default: hapi)",
    )
    bulk.add_argument(
        "--bulk-from", metavar="URL", help="where the same files are in a storage (default: they are served from here)"
    )
    bulk.add_argument(
        "--bulk-bind",
        metavar="HOST[:PORT]",
        default="127.0.0.1",
        help="serve the files at this address of ours, as the server reaches it (default: 127.0.0.1, a free port)",
    )


def _pull(commands: Any) -> None:
    parser = _add(
        commands,
        "pull",
        "fetch all resources of a study from a server",
        "--server https://fhir.example.org/fhir --study SPACE --out pulled",
        "--server https://fhir.example.org/fhir --study SPACE --out changed --since 2026-03-01 --bulk",
    )
    _server_option(parser)
    parser.add_argument("--study", metavar="ID", required=True, help="the study, as in STUDYID")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="gets fhir/*.ndjson")
    _shared_option(parser)
    parser.add_argument("--types", metavar="TYPE", nargs="+", help="resource types (default: all that can be searched)")
    parser.add_argument("--since", metavar="TIME", help="only what was changed since this date or instant")
    parser.add_argument("--bulk", action="store_true", help="have the server make files of it ($export); resumable")
    parser.add_argument(
        "--bulk-level",
        metavar="LEVEL",
        default="system",
        help="export of the whole `system`, of every `Patient`, or of `Group/<id>` (default: system)",
    )
    parser.add_argument(
        "--connections", type=_number, default=4, metavar="N", help="--bulk: files fetched at once (default: 4)"
    )


def _runs(commands: Any) -> None:
    about = "the runs of a journal, or of all journals of this machine; audit: whether its log is whole"
    parser = _add(commands, "runs", about, "", "study", "audit study")
    parser.add_argument(
        "what", nargs="*", metavar="[audit] DIR|FILE", help="the journal, or its folder; audit: check its audit.log"
    )


def _server(commands: Any) -> None:
    parser = _add(
        commands,
        "server",
        "a real FHIR server (HAPI) on this machine; nothing to install by hand",
        "start --fhir R5",
        "status",
        "stop",
    )
    parser.add_argument("action", choices=("start", "stop", "status"))
    parser.add_argument("--fhir", choices=_RELEASES, help="the release (start: default: R4)")
    parser.add_argument("--port", type=_number, metavar="N", help="the port (start: default: a free one)")
    parser.add_argument("--no-validate", action="store_true", help="start: let the server store invalid content")


def _mapping(commands: Any) -> None:
    parser = _add(
        commands,
        "mapping",
        "look at mappings: what there is, whether it is right, what it makes",
        "list",
        "show AE --fhir R5",
        "coverage --json",
        "check --mappings my-mappings",
        "new export/ecg.csv",
    )
    parser.add_argument("action", choices=("list", "check", "show", "coverage", "schema", "new"))
    parser.add_argument("name", nargs="?", metavar="NAME", help="a dataset such as AE, or a form; new: a CSV file")
    _study_options(parser)


def _explain(commands: Any) -> None:
    parser = _add(commands, "explain", "what an error code means and what to do", "FS208", "")
    parser.add_argument("code", metavar="CODE", nargs="?", help="such as FS208; all codes without it")
