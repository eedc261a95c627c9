"""What each subcommand does: call one public function, tell its problems, give its result, name the exit code."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhirspace import arguments, idkey
from fhirspace.cli.check_commands import explain, rules, terminology, validate  # noqa: F401  # found here by their names
from fhirspace.cli.console import Bars, coloured, give, lines, say, tell_problems
from fhirspace.cli.mapping_commands import mapping  # noqa: F401  # found here by its name
from fhirspace.cli.options import client_of, connection
from fhirspace.errors import (
    EXIT_CLEAN,
    EXIT_FINDINGS,
    EXIT_QUARANTINED,
    FhirspaceError,
    Problem,
    UsageError,
    exit_code_of,
)
from fhirspace.foreign import counted, shown
from fhirspace.idkey import DEMO_KEY, PUBLIC

if TYPE_CHECKING:
    from fhirspace.delivery.push.push import PushReport
    from fhirspace.delivery.undo import UndoReport
    from fhirspace.delivery.verify import VerifyReport
    from fhirspace.fhirserver.config import Connection


@contextmanager
def _key_announced() -> Iterator[None]:
    """If a key of the site was made without being asked for, prints where it is: it is needed later."""
    unmade = idkey.unmade()
    try:
        yield
    finally:
        if unmade and unmade.is_file():
            say(f"A key for the ids of your site was made: {unmade} (fingerprint {idkey.site_key().fingerprint}).")
            say("Keep a backup of it: without it the same subjects get other ids. See docs/pseudonyms.md.")


def demo(options: Namespace) -> int:
    """``fhirspace demo``."""
    from fhirspace.study.demo.run import demo as run

    how = {"id_key": options.id_key} if options.id_key else {}
    how |= {"fhir": options.fhir, "server": options.server, "shared": options.shared}
    return run(options.out, **how, say=say, as_json=options.json)


def convert(options: Namespace) -> int:
    """``fhirspace convert``."""
    from fhirspace.study.convert import convert as run

    with _key_announced(), Bars() as bars:
        done = run(
            options.input,
            to=options.to,
            out=options.out,
            source=options.source,
            mappings=options.mappings,
            fhir=options.fhir,
            formats=options.format,
            workers=options.workers if options.engine == "processes" else 1,
            gzip=options.gzip,
            id_key=options.id_key,
            new_ids=options.new_ids,
            shared=options.shared,
            follow_links=options.follow_links,
            encoding=arguments.encoding(options.encoding),
            strict=options.strict,
            define=options.define,
            derive=options.derive,
            study=options.study,
            guide=options.guide,
            views=options.views,
            enrolment=options.enrolment,
            validate=options.validate,
            progress=bars.show,
        )
    if done.id_key == DEMO_KEY.fingerprint:
        say(PUBLIC)
    tell_problems(done.problems, "" if done.stays else str(options.out / "problems.ndjson"))
    more = _judged(options) if options.to == "sdtm" and options.rules and done.converted else {}
    give({**done.as_dict(), **more}, done.summary(), as_json=options.json)
    return done.exit_code


def _judged(options: Namespace) -> dict[str, dict[str, int]]:
    """What our conformance rules find in the datasets that were written: numbers only, nothing is removed."""
    from fhirspace.study.rules.judging import judge_output

    try:
        counts = judge_output(options.out, options.input).counts()
    except FhirspaceError as error:  # the datasets are written, whatever is wrong with explanations
        say(f"conformance rules did not run: {error}")
        return {}
    found = ", ".join(counted(counts[f"{level}s"], level) for level in ("error", "warning", "note"))
    listing = f"fhirspace validate {shlex.quote(shown(options.out, 4096))} --rules"
    say(f"{counts['ran']} conformance rules: {found}, {counts['explained']:,} explained; list them: `{listing}`")
    return {"rules": counts}


def roundtrip(options: Namespace) -> int:
    """``fhirspace roundtrip``."""
    from fhirspace.study.roundtrip import roundtrip as run

    how = {"source": options.source, "mappings": options.mappings, "fhir": options.fhir, "id_key": options.id_key}
    encoding = arguments.encoding(options.encoding)
    proof = run(options.input, **how, follow_links=options.follow_links, encoding=encoding, strict=options.strict)
    tell_problems(proof.problems)
    give(proof.as_dict(), proof.summary(), as_json=options.json)
    return proof.exit_code


def doctor(options: Namespace) -> int:
    """``fhirspace doctor``."""
    from fhirspace.delivery.doctor.doctor import doctor as run
    from fhirspace.delivery.doctor.text import text

    client = connection(options).client
    with Bars(news=client.news):
        found = run(client.server, fhir=options.fhir, types=options.types, client=client)
    give(found.as_dict(), text(found, colour=coloured()), as_json=options.json, colours=coloured())
    return found.exit_code


def plan(options: Namespace) -> int:
    """``fhirspace plan``: without a server what would be sent, with one what would change there."""
    from fhirspace.delivery.plan import plan as delivery

    if options.server is None:
        if options.out is not None:
            raise UsageError("FS641", "--out", "`--server` beside it: a plan says what would change there")
        problems: list[Problem] = []
        found = delivery.order(options.folder, follow_links=options.follow_links, problems=problems)
        tell_problems(problems)
        text = "\n".join(f"{shown(kind, 64):<24}{count:>12,}" for kind, count in found)
        give(delivery.order_as_dict(found, problems), text, as_json=options.json)
        return exit_code_of(problems)
    there = connection(options)
    with _key_announced(), Bars("resource", news=there.client.news) as bars:
        how = {"out": options.out, "progress": bars.named("compared"), **_delivery(options, there)}
        planned = delivery.plan(options.folder, there.client.server, **how)
    tell_problems(planned.problems)
    give(planned.as_dict(), planned.summary(), as_json=options.json)
    return max(exit_code_of(planned.problems), EXIT_FINDINGS if planned.total("conflict") else EXIT_CLEAN)


def _delivery(options: Namespace, there: Connection) -> dict[str, Any]:
    """How to deliver, from the options that `plan`, `push` and `retry` share, and else from the configuration file."""
    given = {"client": there.client, "fhir": there.fhir, "connections": there.connections, "size": there.size}
    names = ("journal", "id_key", "size", "connections", "fhir", "way", "gzip", "rate", "provenance")
    given |= {name: getattr(options, name) for name in names if getattr(options, name, None) is not None}
    given |= {name: True for name in ("follow_links", "overwrite") if getattr(options, name, False)}
    return {name: value for name, value in given.items() if value is not None}


def push(options: Namespace) -> int:
    """``fhirspace push``."""
    if options.bulk:
        return _bulk_push(options)
    from fhirspace.delivery.push.push import push as run

    more = {"plan": options.plan, **_judging(options)}
    return _pushed(options, lambda server, **how: run(options.folder, server, **more, **how))


def _judging(options: Namespace) -> dict[str, Any]:
    return {"validate": options.validate, "fail_on": options.fail_on} if options.validate else {}


def retry(options: Namespace) -> int:
    """``fhirspace retry``."""
    from fhirspace.delivery.push.push import retry as run

    return _pushed(options, lambda server, **how: run(options.folder, server, run=options.run, **how))


def _pushed(options: Namespace, run: Callable[..., PushReport]) -> int:
    there = connection(options)
    with _key_announced(), Bars("resource", news=there.client.news) as bars:
        report = run(there.client.server, progress=bars.named("done"), **_delivery(options, there))
        bars.outcome = _outcome(report)
    tell_problems(report.problems, f"the output of `--json`, what was rejected in {report.dead}" if report.dead else "")
    give(report.as_dict(), lines(report.as_dict()), as_json=options.json)
    return report.exit_code


def _outcome(report: PushReport) -> str:
    """How many of the resources were sent, and why the others were not."""
    counts = {"sent": report.sent, "unchanged": report.unchanged}
    counts |= {name: count for name in ("conflicts", "refused") if (count := getattr(report, name))}
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())


def verify(options: Namespace) -> int:
    """``fhirspace verify``."""
    from fhirspace.delivery.verify import verify as run

    return _looked_back(options, run, "read back", "the journal has nothing that it delivered")


def undo(options: Namespace) -> int:
    """``fhirspace undo``."""
    from fhirspace.delivery.undo import undo as run

    return _looked_back(options, run, "taken back", "nothing that it wrote is left to be taken back")


def _looked_back(options: Namespace, run: Callable[..., VerifyReport | UndoReport], doing: str, nothing: str) -> int:
    client = client_of(options)
    with Bars("resource", news=client.news if client else str) as bars:
        report = run(
            options.run,
            journal=options.journal,
            progress=bars.named(doing),
            client=client,
            id_key=options.id_key,
            insecure_http=options.insecure_http,
        )
    tell_problems(report.problems)
    if not report.total:
        say(f"run {shown(report.run)} is empty: {nothing}")
    give(report.as_dict(), lines(report.as_dict()), as_json=options.json)
    return EXIT_FINDINGS if report.problems else EXIT_CLEAN


def status(options: Namespace) -> int:
    """``fhirspace status``."""
    from fhirspace.delivery.runs import status as run

    found = run(options.journal)
    text = "\n".join(
        f"{shown(each['server'])}: {sum(each['delivered'].values()):,} delivered, "
        + counted(each["dead"], "dead letter")
        + (f", run {shown(each['unfinished'])} is not finished: push again" if each["unfinished"] else "")
        for each in found
    )
    give(found, text or "nothing delivered yet", as_json=options.json)
    return EXIT_CLEAN


def _bulk_push(options: Namespace) -> int:
    from fhirspace.delivery.bulk.load import bulk_push as run

    there = connection(options)
    with Bars("resource", news=there.client.news) as bars:
        report = run(
            options.folder,
            there.client.server,
            **_judging(options),
            shape=options.bulk_shape,
            source=options.bulk_from,
            bind=options.bulk_bind,
            fhir=options.fhir or there.fhir,
            follow_links=options.follow_links,
            progress=bars.named("imported"),
            client=there.client,
            insecure_http=there.insecure_http,
        )
    tell_problems(report.problems)
    give(report.as_dict(), lines(report.as_dict()), as_json=options.json)
    return (EXIT_FINDINGS if report.invalid else EXIT_CLEAN) if report.whole else EXIT_QUARANTINED


def pull(options: Namespace) -> int:
    """``fhirspace pull``."""
    from fhirspace.delivery.bulk.export import bulk_pull
    from fhirspace.delivery.pull.patients import pull_patients
    from fhirspace.delivery.pull.pull import pull as run

    client = connection(options).client
    level = _bulk_level(options)
    chosen = {"types": options.types, "since": options.since, "client": client}
    chosen |= {"validate": options.validate} if options.validate else {}
    chosen |= {"shared": True} if options.shared else {}
    with Bars(*(("done", "done") if options.bulk else ("resource", "resources")), client.news) as bars:
        if options.bulk:
            report = bulk_pull(
                client.server,
                options.study or "",
                options.out,
                level=level,
                connections=options.connections,
                progress=bars.show,
                **chosen,
            )
        elif options.patients:
            if options.since:
                raise UsageError("FS641", "--since", "`--study` beside it, not `--patients`")
            del chosen["since"]
            report = pull_patients(client.server, options.patients, options.out, progress=bars.show, **chosen)
        else:
            report = run(client.server, options.study, options.out, progress=bars.show, **chosen)
    tell_problems(report.problems)
    ends = [f"written to {shown(options.out, 4096)}", *([f"replaced {report.replaced}"] if report.replaced else [])]
    give(report.as_dict(), "\n".join([lines(report.as_dict()), *ends]), as_json=options.json)
    return EXIT_FINDINGS if any(problem.level != "note" for problem in report.problems) else EXIT_CLEAN


def _bulk_level(options: Namespace) -> str:
    """What to export: that of ``--bulk-level``, or that of ``--patients`` for an export of an EHR."""
    if options.patients and options.bulk:
        who = options.patients[0]
        if len(options.patients) > 1 or not (who == "all" or who.startswith("Group/")):
            raise UsageError("FS641", "--patients", "`all` or `Group/<id>` with `--bulk`")
        return "Patient" if who == "all" else str(who)
    return "" if options.bulk_level == "system" else str(options.bulk_level)


def runs(options: Namespace) -> int:
    """``fhirspace runs``."""
    from fhirspace.delivery.runs import runs as run

    if options.audit:
        return _audit(options.journal, as_json=options.json)
    found = run(options.journal)
    text = "\n".join(_run(each) for each in found)
    give(found, text or "no runs", as_json=options.json)
    return EXIT_CLEAN


_ONE = {"conflicts": "conflict", "retries": "retry"}
"""Counts of a run whose names are nouns, for one of them."""


def _run(run: dict[str, Any]) -> str:
    """A run in one line: its name, what it did, where, and that it has not ended."""
    counts = [
        counted(value, _ONE.get(name, words), words)
        for name, value in run.items()
        if type(value) is int and value and (words := shown(name).replace("_", " "))
    ]
    about = f" of {shown(run['undo'])}" if "undo" in run else ""
    ended = ", ".join(counts) or "nothing to do" if run["finished"] else "not finished"
    return f"{shown(run['run'])}{about}: {ended}; {shown(run['server'])}"


def _audit(path: Path, *, as_json: bool) -> int:
    """``fhirspace runs audit``."""
    from fhirspace.delivery.audit import log as audit
    from fhirspace.delivery.journal import JOURNAL
    from fhirspace.delivery.runs import runs as journal

    file = path / JOURNAL if path.is_dir() else path
    named = file.suffix == ".log"  # the log itself, such as the copy that auditors keep
    log = file if named else audit.log_of(file)
    found = audit.verify(log, audit.anchor(journal(file)) if file.is_file() and not named else None)
    records = list(audit.records(log))
    events = [record.as_dict() for record in records] if as_json else []
    give({**found.as_dict(), "events": events}, "\n".join(map(str, records)), as_json=as_json)
    tell_problems([found.problem] if found.problem else [])
    say(found.summary())
    return EXIT_CLEAN if found.whole else EXIT_FINDINGS


def server(options: Namespace) -> int:
    """``fhirspace server``."""
    from fhirspace.localserver import server as local

    if options.action == "start":
        how = {"validate": not options.no_validate, "client_ids": options.client_ids, "database": options.database}
        release: local.Release = options.fhir or "R4"
        there = local.like(release, options.port, **how)
        if there:
            say("a server with these settings is running already; `--port` with another number starts a second one")
        found = [there or local.start(release, options.port, **how, timeout=options.timeout, progress=say)]
    elif options.action == "stop":
        found = local.stop(options.fhir, options.port)
    else:
        found = [
            each for each in local.status() if options.fhir in (None, each.fhir) and options.port in (None, each.port)
        ]
    rows = [{"url": each.url, "fhir": each.fhir, "pid": each.pid, "port": each.port} for each in found]
    verb = {"start": "ready", "stop": "stopped", "status": "running"}[options.action]
    text = "\n".join(f"{verb}: {shown(row['url'])} ({row['fhir']}, process {row['pid']})" for row in rows)
    give(rows, text or "no server", as_json=options.json)
    return EXIT_CLEAN
