"""What each subcommand does: call one public function, tell its problems, give its result, name the exit code."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from fhirspace.errors import EXIT_CLEAN, EXIT_FINDINGS, EXIT_QUARANTINED
from fhirspace.talk import Bars, give, lines, say, tell_problems


def demo(options: Namespace) -> int:
    """``fhirspace demo``."""
    from fhirspace.study.demo import demo as run

    return run(options.out, fhir=options.fhir, server=options.server, say=say, as_json=options.json)


def convert(options: Namespace) -> int:
    """``fhirspace convert``."""
    from fhirspace.study.convert import convert as run

    with Bars() as bars:
        done = run(
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
    tell_problems(done.problems, str(options.out / "problems.ndjson"))
    give(done.as_dict(), done.summary(), as_json=options.json)
    return done.exit_code


def validate(options: Namespace) -> int:
    """``fhirspace validate``."""
    from fhirspace.study.checks import validate as run

    found = []
    count, worst = 0, EXIT_CLEAN
    for problem in run(options.paths, release=options.fhir, full=options.full, profile=options.profile):
        count += 1
        if problem.level != "note":
            worst = EXIT_FINDINGS
        if options.json:
            found.append(problem.as_dict())
        else:
            print(f"{problem.level}: {problem}")
    if options.json:
        give({"findings": found, "exit_code": worst}, "", as_json=True)
    say(f"{count:,} findings" if count else "no findings")
    return worst


def roundtrip(options: Namespace) -> int:
    """``fhirspace roundtrip``."""
    from fhirspace.study.roundtrip import roundtrip as run

    proof = run(options.input, source=options.source, mappings=options.mappings, fhir=options.fhir)
    tell_problems(proof.problems)
    give(proof.as_dict(), proof.summary(), as_json=options.json)
    return proof.exit_code


def plan(options: Namespace) -> int:
    """``fhirspace plan``."""
    from fhirspace.delivery.push import plan as run

    found = run(options.folder)
    text = "\n".join(f"{kind:<24}{count:>12,}" for kind, count in found)
    give([{"type": kind, "resources": count} for kind, count in found], text, as_json=options.json)
    return EXIT_CLEAN


def push(options: Namespace) -> int:
    """``fhirspace push``."""
    if options.bulk:
        return _bulk_push(options)
    from fhirspace.delivery.push import push as run

    with Bars("resources") as bars:
        report = run(
            options.folder,
            options.server,
            journal=options.journal,
            size=options.size,
            connections=options.connections,
            fhir=options.fhir,
            progress=lambda done, total: bars.show("pushed", done, total),
        )
    tell_problems(report.problems, f"{report.dead}, beside the refused resources" if report.dead else "")
    give(report.as_dict(), lines(report.as_dict()), as_json=options.json)
    return EXIT_QUARANTINED if report.refused else EXIT_CLEAN


def _bulk_push(options: Namespace) -> int:
    from fhirspace.delivery.bulk.load import bulk_push as run

    with Bars("resources") as bars:
        report = run(
            options.folder,
            options.server,
            shape=options.bulk_shape,
            source=options.bulk_from,
            bind=options.bulk_bind,
            fhir=options.fhir,
            progress=lambda done, total: bars.show("imported", done, total),
        )
    tell_problems(report.problems)
    give(report.as_dict(), lines(report.as_dict()), as_json=options.json)
    return EXIT_CLEAN if report.whole else EXIT_QUARANTINED


def pull(options: Namespace) -> int:
    """``fhirspace pull``."""
    from fhirspace.delivery.bulk.export import bulk_pull
    from fhirspace.delivery.pull import pull as run

    chosen = {"types": options.types, "since": options.since}
    with Bars("done" if options.bulk else "resources") as bars:
        if options.bulk:
            level = "" if options.bulk_level == "system" else options.bulk_level
            report = bulk_pull(
                options.server,
                options.study,
                options.out,
                level=level,
                connections=options.connections,
                progress=bars.show,
                **chosen,
            )
        else:
            report = run(options.server, options.study, options.out, progress=bars.show, **chosen)
    tell_problems(report.problems)
    give(report.as_dict(), lines(report.as_dict()), as_json=options.json)
    return EXIT_CLEAN


def runs(options: Namespace) -> int:
    """``fhirspace runs``."""
    from fhirspace.delivery.journal import runs as run
    from fhirspace.delivery.push import JOURNAL

    path: Path = options.journal
    found = run(path / JOURNAL if path.is_dir() else path)
    text = "\n".join(" ".join(f"{name}={value}" for name, value in each.items()) for each in found)
    give(found, text or "no runs", as_json=options.json)
    return EXIT_CLEAN


def server(options: Namespace) -> int:
    """``fhirspace server``."""
    from fhirspace.delivery import server as local

    if options.action == "start":
        found = [local.start(options.fhir or "R4", options.port, validate=not options.no_validate, progress=say)]
    elif options.action == "stop":
        found = local.stop(options.fhir, options.port)
    else:
        found = [
            each for each in local.status() if options.fhir in (None, each.fhir) and options.port in (None, each.port)
        ]
    rows = [{"url": each.url, "fhir": each.fhir, "pid": each.pid, "port": each.port} for each in found]
    verb = {"start": "ready", "stop": "stopped", "status": "running"}[options.action]
    text = "\n".join(f"{verb}: {row['url']} ({row['fhir']}, process {row['pid']})" for row in rows)
    give(rows, text or "no server", as_json=options.json)
    return EXIT_CLEAN


def mapping(options: Namespace) -> int:
    """``fhirspace mapping``."""
    from fhirspace.study import views

    view = getattr(views, options.action)
    data, text = view(options.name, mappings=options.mappings, fhir=options.fhir, source=options.source)
    give(data, text, as_json=options.json)
    return EXIT_CLEAN


def explain(options: Namespace) -> int:
    """``fhirspace explain``."""
    from fhirspace.errors import catalogue, explain as entry_of

    if options.code:
        entry = entry_of(options.code)
        text = f"{entry.code} ({entry.level})\n{entry.sentence}\n\nWhy: {entry.cause}\nWhat to do: {entry.fix}"
        give(asdict(entry), text, as_json=options.json)
    else:
        entries = list(catalogue().values())
        text = "\n".join(f"{entry.code}  {entry.sentence}" for entry in entries)
        give([asdict(entry) for entry in entries], text, as_json=options.json)
    return EXIT_CLEAN
