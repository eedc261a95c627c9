"""The command line: one subcommand, one public function. stdout is data, stderr is talk, exit codes are named.

Exit codes: 0 clean, 1 findings, 2 usage or configuration, 3 done with quarantined rows, 4 server, sign-in or network,
5 interrupted and resumable, 70 a bug.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fhirspace import __version__
from fhirspace.errors import (
    EXIT_BUG,
    EXIT_CLEAN,
    EXIT_FINDINGS,
    EXIT_INTERRUPTED,
    EXIT_QUARANTINED,
    FhirspaceError,
    Problem,
)

Command = Callable[[argparse.Namespace], int]
_RELEASES = ("R4", "R4B", "R5")
_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and gives its exit code; a `FhirspaceError` is told in one line, a bug with its trace."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except FhirspaceError as error:
        _tell_error(error, as_json=getattr(options, "json", False))
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: give the same command again to resume", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # A reader such as `head` went away: nothing more to say, and nothing to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CLEAN
    except Exception:
        traceback.print_exc()
        print("FS699: this is a bug of fhirspace; please report the lines above (they hold no data)", file=sys.stderr)
        return EXIT_BUG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fhirspace", description=_ABOUT, epilog="Exit codes: " + _CODES)
    parser.add_argument("--version", action="version", version=f"fhirspace {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_demo, _convert, _validate, _roundtrip, _push, _pull, _server, _mapping, _runs, _explain):
        add(commands)
    return parser


_ABOUT = "Clinical-trial records to and from HL7 FHIR and CDISC SDTM, with a proof that nothing is lost."
_CODES = "0 clean, 1 findings, 2 usage, 3 rows in quarantine, 4 server or network, 5 interrupted, 70 a bug."


def _add(commands: Any, name: str, command: Command, about: str, **more: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about, **more)
    parser.set_defaults(command=command)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source", metavar="NAME|DIR", help="source mappings of the EDC export (default: found by its forms)"
    )
    parser.add_argument(
        "--mappings", metavar="DIR", type=Path, action="append", default=[], help="your own mappings; they win"
    )
    parser.add_argument("--fhir", choices=_RELEASES, default="R4", help="the FHIR release (default: R4)")


def _demo(commands: Any) -> None:
    parser = _add(commands, "demo", _run_demo, "the SPACE study end to end: EDC export, SDTM, FHIR and back")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("fhirspace-demo"),
        help="where to write (default: fhirspace-demo)",
    )
    parser.add_argument(
        "--server", action="store_true", help="start a real FHIR server here, push, pull back and compare"
    )
    parser.add_argument("--fhir", choices=_RELEASES, default="R4", help="the FHIR release (default: R4)")


def _run_demo(options: argparse.Namespace) -> int:
    from fhirspace.study.demo import demo

    return demo(options.out, fhir=options.fhir, server=options.server, say=_say, as_json=options.json)


def _convert(commands: Any) -> None:
    parser = _add(commands, "convert", _run_convert, "records, SDTM datasets or FHIR into one of the others")
    parser.add_argument(
        "input", metavar="INPUT", type=Path, nargs="+", help="a folder or files; what they hold is recognised"
    )
    parser.add_argument("--to", choices=("fhir", "sdtm", "records"), required=True)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True)
    _study_options(parser)
    parser.add_argument(
        "--format",
        nargs="+",
        choices=("xpt", "parquet", "csv"),
        default=["xpt"],
        help="formats of SDTM datasets (default: xpt)",
    )
    parser.add_argument("--engine", choices=("inline", "processes"), default="inline")
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="processes of --engine processes (default: 2)"
    )


def _run_convert(options: argparse.Namespace) -> int:
    from fhirspace.study.convert import convert

    with _Bars() as bars:
        done = convert(
            options.input,
            to=options.to,
            out=options.out,
            source=options.source,
            mappings=options.mappings,
            fhir=options.fhir,
            formats=options.format,
            workers=options.workers if options.engine == "processes" else 1,
            progress=bars.show,
        )
    _tell_problems(done.problems)
    _give(done.as_dict(), done.summary(), as_json=options.json)
    return done.exit_code


def _validate(commands: Any) -> None:
    parser = _add(commands, "validate", _run_validate, "check FHIR files, or SDTM datasets, against their standards")
    parser.add_argument("paths", metavar="PATH", type=Path, nargs="+")
    parser.add_argument("--fhir", choices=_RELEASES, default="R4", help="the FHIR release (default: R4)")
    parser.add_argument("--full", action="store_true", help="fhir.resources over every resource as well")


def _run_validate(options: argparse.Namespace) -> int:
    from fhirspace.study.checks import validate

    count = 0
    worst = EXIT_CLEAN
    for problem in validate(options.paths, release=options.fhir, full=options.full):
        count += 1
        worst = max(worst, EXIT_FINDINGS if problem.level != "note" else EXIT_CLEAN)
        print(json.dumps(problem.as_dict(), ensure_ascii=False) if options.json else problem)
    _say(f"{count} findings" if count else "no findings")
    return worst


def _roundtrip(commands: Any) -> None:
    parser = _add(
        commands, "roundtrip", _run_roundtrip, "prove cell by cell that nothing is lost on the way there and back"
    )
    parser.add_argument("input", metavar="INPUT", type=Path, nargs="+")
    _study_options(parser)


def _run_roundtrip(options: argparse.Namespace) -> int:
    from fhirspace.study.roundtrip import roundtrip

    proof = roundtrip(options.input, source=options.source, mappings=options.mappings, fhir=options.fhir)
    _tell_problems(proof.problems)
    _give(proof.as_dict(), proof.summary(), as_json=options.json)
    return proof.exit_code


def _server_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", metavar="URL", required=True, help="the FHIR server's base address")


def _push(commands: Any) -> None:
    parser = _add(commands, "push", _run_push, "send FHIR files to a server: PUT in transactions, resumable")
    parser.add_argument("folder", metavar="DIR", type=Path)
    _server_option(parser)
    parser.add_argument("--size", type=int, default=100, metavar="N", help="resources a transaction (default: 100)")
    parser.add_argument("--fhir", choices=_RELEASES, help="refuse a server of another release")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="the journal (default: in DIR)")


def _run_push(options: argparse.Namespace) -> int:
    from fhirspace.delivery.push import push

    with _Bars() as bars:
        report = push(
            options.folder,
            options.server,
            journal=options.journal,
            size=options.size,
            fhir=options.fhir,
            progress=lambda done, total: bars.show("resources", done, total),
        )
    _tell_problems(report.problems)
    _give(report.as_dict(), _lines(report.as_dict()), as_json=options.json)
    return EXIT_QUARANTINED if report.refused else EXIT_CLEAN


def _pull(commands: Any) -> None:
    parser = _add(commands, "pull", _run_pull, "fetch all resources of a study from a server")
    _server_option(parser)
    parser.add_argument("--study", metavar="ID", required=True)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True)


def _run_pull(options: argparse.Namespace) -> int:
    from fhirspace.delivery.pull import pull

    report = pull(options.server, options.study, options.out, progress=lambda kind, count: _say(f"{kind}: {count:,}"))
    _give(report.as_dict(), _lines(report.as_dict()), as_json=options.json)
    return EXIT_CLEAN


def _server(commands: Any) -> None:
    parser = _add(
        commands, "server", _run_server, "a real FHIR server (HAPI) on this machine; nothing to install by hand"
    )
    parser.add_argument("action", choices=("start", "stop", "status"))
    parser.add_argument("--fhir", choices=_RELEASES, help="the release (start: R4 unless told)")
    parser.add_argument("--port", type=int, metavar="N")
    parser.add_argument("--no-validate", action="store_true", help="start: let the server store invalid content")


def _run_server(options: argparse.Namespace) -> int:
    from fhirspace.delivery import server

    if options.action == "start":
        found = [server.start(options.fhir or "R4", options.port, validate=not options.no_validate, progress=_say)]
    elif options.action == "stop":
        found = server.stop(options.fhir, options.port)
    else:
        found = server.status()
    rows = [{"url": each.url, "fhir": each.fhir, "pid": each.pid, "port": each.port} for each in found]
    verb = {"start": "ready", "stop": "stopped", "status": "running"}[options.action]
    _give(
        rows,
        "\n".join(f"{verb}: {row['url']} ({row['fhir']}, process {row['pid']})" for row in rows) or "no server",
        as_json=options.json,
    )
    return EXIT_CLEAN


def _mapping(commands: Any) -> None:
    parser = _add(
        commands, "mapping", _run_mapping, "look at mappings: what there is, whether it is right, what it makes"
    )
    parser.add_argument("action", choices=("list", "check", "show", "coverage", "schema", "new"))
    parser.add_argument("name", nargs="?", metavar="NAME", help="a dataset such as AE, or a form; new: a CSV file")
    _study_options(parser)


def _run_mapping(options: argparse.Namespace) -> int:
    from fhirspace.study import views

    view = getattr(views, options.action)
    data, text = view(options.name, mappings=options.mappings, fhir=options.fhir, source=options.source)
    _give(data, text, as_json=options.json)
    return EXIT_CLEAN


def _runs(commands: Any) -> None:
    parser = _add(commands, "runs", _run_runs, "the runs of a push journal")
    parser.add_argument("folder", metavar="DIR", type=Path)


def _run_runs(options: argparse.Namespace) -> int:
    from fhirspace.delivery.journal import runs

    found = runs(options.folder)
    _give(
        found,
        "\n".join(" ".join(f"{key}={value}" for key, value in run.items()) for run in found) or "no runs",
        as_json=options.json,
    )
    return EXIT_CLEAN


def _explain(commands: Any) -> None:
    parser = _add(commands, "explain", _run_explain, "what an error code means and what to do")
    parser.add_argument("code", metavar="CODE", nargs="?", help="such as FS208; all codes without it")


def _run_explain(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from fhirspace.errors import catalogue, explain

    entries = [explain(options.code)] if options.code else list(catalogue().values())
    if options.code:
        entry = entries[0]
        text = f"{entry.code} ({entry.level})\n{entry.sentence}\n\nWhy: {entry.cause}\nWhat to do: {entry.fix}"
    else:
        text = "\n".join(f"{entry.code}  {entry.sentence}" for entry in entries)
    _give([asdict(entry) for entry in entries], text, as_json=options.json)
    return EXIT_CLEAN


# -- talk


class _Bars:
    """Progress on stderr: bars with rate and time left where a person watches, a plain line a table where none does."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}
        self._watched = sys.stderr.isatty()

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *error: object) -> None:
        for bar in self._bars.values():
            bar.close()

    def show(self, name: str, done: int, total: int) -> None:
        """Shows how many of a table's rows are done."""
        if not self._watched:
            if done >= total:
                _say(f"{name}: {done:,} rows")
            return
        if name not in self._bars:
            from tqdm import tqdm

            self._bars[name] = tqdm(total=total, desc=name, unit=" rows", unit_scale=True, file=sys.stderr)
        bar = self._bars[name]
        bar.update(done - bar.n)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _give(data: Any, text: str, *, as_json: bool) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2) if as_json else text)


def _lines(data: dict[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in data.items() if not isinstance(value, list | dict))


def _tell_problems(problems: Sequence[Problem]) -> None:
    """The first problems on stderr, errors first, and how many more there are."""
    ordered = sorted(problems, key=lambda problem: ("error", "warning", "note").index(problem.level))
    shown = [problem for problem in ordered if problem.level != "note"][:_SHOWN]
    for problem in shown:
        _say(f"{problem.level}: {problem}")
    more = len([problem for problem in ordered if problem.level != "note"]) - len(shown)
    if more:
        _say(f"... and {more:,} more; all of them are in problems.ndjson")


def _tell_error(error: FhirspaceError, *, as_json: bool) -> None:
    print(json.dumps(error.problem.as_dict(), ensure_ascii=False) if as_json else f"error: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
