"""The commands that use a FHIR server, with their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fhirspace.cli.options import (
    RELEASES,
    SITES_KEY,
    add_command,
    key_option,
    links_option,
    positive,
    server_option,
    shared_option,
)


def _doctor(commands: Any) -> None:
    parser = add_command(
        commands,
        "doctor",
        "look at a FHIR server before delivery: what it is, says and does; nothing is written",
        "--server https://fhir.example.org/fhir",
        "--server https://fhir.example.org/fhir --fhir R5 --types Patient Observation --json",
    )
    server_option(parser)
    parser.add_argument("--fhir", choices=RELEASES, help="refuse a server of another release")
    parser.add_argument(
        "--types", nargs="+", metavar="TYPE", default=[], help="resource types (default: all that fhirspace writes)"
    )


def _plan(commands: Any) -> None:
    parser = add_command(
        commands,
        "plan",
        "what push would send, or with a server what would change there",
        "study",
        "study --server https://fhir.example.org/fhir --out monday.plan",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder with FHIR, or one file")
    links_option(parser)
    server_option(parser, without="only the order of sending is shown")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the plan for push --plan (default: DIR/plan.db)")
    _delivery_options(parser)


def _delivery_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connections", type=positive, metavar="N", help="requests under way at once (default: as fits the server)"
    )
    parser.add_argument("--fhir", choices=RELEASES, help="refuse a server of another release")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="the journal (default: DIR/journal.db)")
    key_option(parser, SITES_KEY)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write over what other clients changed (default: a conflict, left alone)",
    )
    parser.add_argument(
        "--way",
        choices=("transaction", "batch", "single", "conditional"),
        help="how resources travel; conditional: the server makes the ids (default: as the server says)",
    )


def _sending_options(parser: argparse.ArgumentParser) -> None:
    server_option(parser)
    _delivery_options(parser)
    parser.add_argument(
        "--size", type=positive, metavar="N", help="most resources a bundle (default: as fits the server)"
    )
    parser.add_argument(
        "--rate", type=positive, metavar="N", help="most requests a second (default: as fits the server)"
    )
    parser.add_argument(
        "--gzip", action=argparse.BooleanOptionalAction, help="compress what is sent (default: as fits the server)"
    )
    parser.add_argument(
        "--no-provenance", dest="provenance", action="store_false", help="write no Provenance of what was sent"
    )


def _push(commands: Any) -> None:
    parser = add_command(
        commands,
        "push",
        "send FHIR files to a server: PUT in transactions, resumable",
        "study --server https://fhir.example.org/fhir --fhir R4",
        "study --server https://fhir.example.org/fhir --plan study/plan.db",
        "study --server https://fhir.example.org/fhir --bulk --bulk-bind 10.1.2.3:8099 --insecure-http",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder with FHIR (NDJSON, Bundles), or one file")
    links_option(parser)
    parser.add_argument("--plan", type=Path, metavar="FILE", help="do what this plan says, if the server still fits it")
    _sending_options(parser)
    _bulk_push_options(parser)


def _retry(commands: Any) -> None:
    parser = add_command(
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
    server_option(parser, without="the run's own")
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="the journal or its folder (default: all of this machine)"
    )
    key_option(parser, SITES_KEY)


def _verify(commands: Any) -> None:
    _run_options(add_command(commands, "verify", "read back what a run delivered, and compare", "last"))


def _undo(commands: Any) -> None:
    about = "take a run back: restore what was there before, delete what the run created"
    _run_options(add_command(commands, "undo", about, "20260501T101500Z-3f1c --server https://fhir.example.org/fhir"))


def _status(commands: Any) -> None:
    parser = add_command(commands, "status", "how far a delivery is", "study")
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
    parser = add_command(
        commands,
        "pull",
        "fetch all resources of a study from a server",
        "--server https://fhir.example.org/fhir --study SPACE --out pulled",
        "--server https://fhir.example.org/fhir --study SPACE --out changed --since 2026-03-01 --bulk",
    )
    server_option(parser)
    parser.add_argument("--study", metavar="ID", required=True, help="the study, as in STUDYID")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="gets fhir/*.ndjson")
    shared_option(parser)
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
        "--connections", type=positive, default=4, metavar="N", help="--bulk: files fetched at once (default: 4)"
    )


def _runs(commands: Any) -> None:
    about = "the runs of a journal, or of all journals of this machine; audit: whether its log is whole"
    parser = add_command(commands, "runs", about, "", "study", "audit study")
    parser.add_argument(
        "what", nargs="*", metavar="[audit] DIR|FILE", help="the journal, or its folder; audit: check its audit.log"
    )


def _server(commands: Any) -> None:
    parser = add_command(
        commands,
        "server",
        "a real FHIR server (HAPI) on this machine; nothing to install by hand",
        "start --fhir R5",
        "status",
        "stop",
    )
    parser.add_argument("action", choices=("start", "stop", "status"))
    parser.add_argument("--fhir", choices=RELEASES, help="the release (start: default: R4)")
    parser.add_argument("--port", type=positive, metavar="N", help="the port (start: default: a free one)")
    parser.add_argument("--no-validate", action="store_true", help="start: let the server store invalid content")


DELIVERY = (_doctor, _plan, _push, _retry, _verify, _undo, _pull, _runs, _status, _server)
"""Each adds a command to the parser; in the order of the help text."""
