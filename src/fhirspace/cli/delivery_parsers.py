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
    patients_option,
    port,
    positive,
    server_option,
    shared_option,
    validate_option,
)


def _doctor(commands: Any) -> None:
    parser = add_command(
        commands,
        "doctor",
        "check before delivery what a FHIR server supports; writes nothing",
        "--server https://fhir.example.org/fhir",
        "--server https://fhir.example.org/fhir --fhir R5 --types Patient Observation --json",
    )
    server_option(parser)
    parser.add_argument("--fhir", choices=RELEASES, help="stop if the server has another FHIR release")
    parser.add_argument(
        "--types", nargs="+", metavar="TYPE", default=[], help="resource types (default: all that fhirspace writes)"
    )


def _plan(commands: Any) -> None:
    parser = add_command(
        commands,
        "plan",
        "show what push would send, or with a server what it would change there",
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
        "--connections", type=positive, metavar="N", help="number of parallel requests (default: chosen for the server)"
    )
    parser.add_argument("--fhir", choices=RELEASES, help="stop if the server has another FHIR release")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="the journal (default: DIR/journal.db)")
    key_option(parser, SITES_KEY)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="overwrite what other clients changed (default: report a conflict and do not write)",
    )
    parser.add_argument(
        "--way",
        choices=("transaction", "batch", "single", "conditional"),
        help="how resources are sent; conditional: the server assigns the ids (default: what the server supports)",
    )


def _sending_options(parser: argparse.ArgumentParser) -> None:
    server_option(parser)
    _delivery_options(parser)
    parser.add_argument(
        "--size", type=positive, metavar="N", help="resources per bundle at most (default: chosen for the server)"
    )
    parser.add_argument(
        "--rate", type=positive, metavar="N", help="requests per second at most (default: chosen for the server)"
    )
    parser.add_argument(
        "--gzip", action=argparse.BooleanOptionalAction, help="compress requests (default: chosen for the server)"
    )
    parser.add_argument(
        "--no-provenance", dest="provenance", action="store_false", help="do not send a Provenance for what was written"
    )


def _push(commands: Any) -> None:
    parser = add_command(
        commands,
        "push",
        "send FHIR files to a server: PUT in transactions, resumable",
        "study --server https://fhir.example.org/fhir --fhir R4",
        "study --server https://fhir.example.org/fhir --plan study/plan.db",
        "study --server https://fhir.example.org/fhir --validate full --fail-on warning",
        "study --server https://fhir.example.org/fhir --bulk --bulk-bind 10.1.2.3:8099 --insecure-http",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder with FHIR (NDJSON, Bundles), or one file")
    links_option(parser)
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="carry out this plan, unless the server has changed since"
    )
    validate_option(parser, "before anything is sent, judge the resources; with errors nothing is sent:")
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning", "never"),
        default="error",
        help="with --validate: the findings after which nothing is sent (default: error; never: only report them)",
    )
    _sending_options(parser)
    _bulk_push_options(parser)


def _retry(commands: Any) -> None:
    parser = add_command(
        commands,
        "retry",
        "send rejected resources again",
        "study --server https://fhir.example.org/fhir",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder that was pushed")
    parser.add_argument("--run", metavar="RUN", help="only the dead letters of this run")
    _sending_options(parser)


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="the name of the run, or `last` for the last run that wrote something"
    )
    server_option(parser, without="that of the run")
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="the journal or its folder (default: all journals of this machine)"
    )
    key_option(parser, SITES_KEY)


def _verify(commands: Any) -> None:
    _run_options(add_command(commands, "verify", "read back what a run delivered and compare it", "last"))


def _undo(commands: Any) -> None:
    about = "undo a run: restore what it changed, delete what it created"
    _run_options(
        add_command(commands, "undo", about, "20260501T101500Z-3f1c9a02 --server https://fhir.example.org/fhir")
    )


def _status(commands: Any) -> None:
    parser = add_command(commands, "status", "show the progress of a delivery", "study")
    parser.add_argument("journal", metavar="DIR|FILE", type=Path, help="the journal, or the folder with journal.db")


def _bulk_push_options(parser: argparse.ArgumentParser) -> None:
    bulk = parser.add_argument_group("bulk", "let the server fetch and import the files itself ($import)")
    bulk.add_argument("--bulk", action="store_true", help="use $import; imported resources are not in the journal")
    bulk.add_argument(
        "--bulk-shape",
        choices=("hapi", "azure", "azure-initial", "google"),
        default="hapi",
        help="the kind of $import that the server has (default: hapi)",
    )
    bulk.add_argument(
        "--bulk-from", metavar="URL", help="the address of the same files in a storage (default: fhirspace serves them)"
    )
    bulk.add_argument(
        "--bulk-bind",
        metavar="HOST[:PORT]",
        default="127.0.0.1",
        help="serve the files at this address, which the server must reach (default: 127.0.0.1, a free port)",
    )


def _pull(commands: Any) -> None:
    parser = add_command(
        commands,
        "pull",
        "fetch all resources of a study from a server",
        "--server https://fhir.example.org/fhir --study SPACE --out pulled",
        "--server https://fhir.example.org/fhir --study SPACE --out changed --since 2026-03-01 --bulk",
        "--server https://ehr.example.org/fhir --patients enrolment.csv --out ehr-export",
    )
    server_option(parser)
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--study", metavar="ID", help="the identifier of the study, as in STUDYID")
    patients_option(whose)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        required=True,
        help="the output folder; resources are written to fhir/*.ndjson",
    )
    shared_option(parser)
    validate_option(parser, "judge what was pulled")
    parser.add_argument("--types", metavar="TYPE", nargs="+", help="resource types (default: all that can be searched)")
    parser.add_argument("--since", metavar="TIME", help="only resources that changed since this date or instant")
    parser.add_argument("--bulk", action="store_true", help="use the server's bulk export ($export); resumable")
    parser.add_argument(
        "--bulk-level",
        metavar="LEVEL",
        default="system",
        help="what to export: the whole `system`, every `Patient`, or `Group/<id>` (default: system)",
    )
    parser.add_argument(
        "--connections",
        type=positive,
        default=4,
        metavar="N",
        help="with --bulk: number of parallel downloads (default: 4)",
    )


def _runs(commands: Any) -> None:
    about = "list the runs of a journal, or of all journals of this machine; audit: check its audit log"
    parser = add_command(commands, "runs", about, "", "study", "audit study")
    parser.add_argument(
        "what",
        nargs="*",
        metavar="[audit] DIR|FILE",
        help="the journal or its folder; with `audit`: check its audit.log",
    )


def _server(commands: Any) -> None:
    parser = add_command(
        commands,
        "server",
        "run a real FHIR server (HAPI) on this machine; nothing to install by hand",
        "start --fhir R5",
        "status",
        "stop",
    )
    parser.add_argument("action", choices=("start", "stop", "status"))
    parser.add_argument("--fhir", choices=RELEASES, help="the FHIR release (start: R4 by default)")
    parser.add_argument("--port", type=port, metavar="N", help="the port (start: a free one by default)")
    parser.add_argument(
        "--timeout",
        type=positive,
        metavar="SECONDS",
        default=240,
        help="start: how long to wait for a server that makes no progress (default: 240)",
    )
    parser.add_argument(
        "--database", type=Path, metavar="FILE", help="start: keep the data in this file (default: in memory)"
    )
    parser.add_argument(
        "--client-ids",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="start: take resources under ids made by the client (default: yes)",
    )
    parser.add_argument("--no-validate", action="store_true", help="start: allow the server to store invalid resources")


DELIVERY = (_doctor, _plan, _push, _retry, _verify, _undo, _pull, _runs, _status, _server)
"""Each adds a command to the parser; in the order of the help text."""
