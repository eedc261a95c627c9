"""``fhirspace mapping profile``: what foreign FHIR holds, and a folder of views to start from."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fhirspace.delivery.pull.patients import listed
from fhirspace.errors import InputError, Problem, ServerError, UsageError
from fhirspace.fhir.files import find
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.patients import EVERYONE, Patients
from fhirspace.foreign import counted, shown
from fhirspace.tables.csv.scan import FORMULA
from fhirspace.tables.private import write_new
from fhirspace.template.codelists import CodeLists
from fhirspace.template.folders import shipped
from fhirspace.views.profile import Profile, profile as look, profile_of

_MOST = 12
_SHOWN = 20
_TO_FILL = "none: to be filled"
_COMMON = """# A first set of views for this input, made by `fhirspace mapping profile`; docs/views.md has all keys.
extends: us-core
# zone: America/New_York        # of the sites, so that dates become their local time
subjects: enrolment.csv         # delete the rows of patients who are not in the study, and fill the others
# visits: visits.csv            # columns VISITNUM, VISIT, from day, to day
day one: {least: dose.start}    # doses are those of the drugs in codes/STUDYDRUG.csv
"""
_CATEGORIES = {"LOINCLB": "laboratory", "LOINCVS": "vital-signs"}
_TESTS = ("value", "code", "test", "cat", "spec", "method", "count", "display")
_ENROLMENT = ("patient", "STUDYID", "SUBJID", "SITEID", "participation start", "participation end", "ARMCD", "ARM")


def profile(
    name: str | None = None,
    *,
    mappings: Iterable[Path] = (),
    out: Path | None = None,
    client: Client | None = None,
    patients: Iterable[str] = (EVERYONE,),
) -> tuple[dict[str, Any], str]:
    """What the FHIR files of a folder hold, or a server of some patients: as data, and as text for people.

    Args:
        name: the folder or file; None with a server. mappings: folders with code lists of your own.
        out: a new folder for a first set of views, the enrolment table with the patients found, and the code lists to
            be filled; None: nothing is written.
        client: the server, None: without one. patients: of the server, as of `pull_patients`; all without.

    Raises:
        UsageError: FS620, no folder is given, or one and a server; FS644, a file of `out` is there already. InputError:
            nothing can be read. ServerError: as `pull_patients`.
    """
    if (name is None) is (client is None):
        raise UsageError("FS620", "mapping profile", "a folder with FHIR files, or `--server`")
    made, problems = _of_server(client, patients) if client is not None else _of_files(Path(str(name)))
    if not made.types and problems:
        raise InputError(problems[0].code, problems[0].place, problems[0].expected)
    lists = CodeLists(folder / "codes" for folder in (shipped(), *mappings))
    data = {**_data(made, lists), "problems": [each.as_dict() for each in problems]}
    lines = [*_lines(data), *_not_read(problems)]
    written = _write(made, data, out) if out is not None else []
    return {**data, "written": written}, "\n".join([*lines, *(f"written: {each}" for each in written)])


def _of_files(path: Path) -> tuple[Profile, list[Problem]]:
    found = find([path])
    if not found.files:
        raise found.nothing() or InputError("FS153", path.name, "FHIR in JSON: NDJSON, Bundles or resources")
    made = look(found.files)
    return made, [*found.problems(), *made.problems]


def _of_server(client: Client, patients: Iterable[str]) -> tuple[Profile, list[Problem]]:
    wanted = Patients(client, listed(patients))
    made = profile_of((raw for _, raw in wanted.resources()), client.server)
    if not made.types:
        raise ServerError("FS469", client.server)
    return made, [*wanted.problems, *made.problems]


def _remark(test: Mapping[str, Any]) -> str:
    """The test of CDISC, or why there is none."""
    if test["left"] and not test["test"]:
        return f"left: {test['left']}"
    return str(test["test"] or _TO_FILL) + (" (extended: not of CDISC)" if test["extended"] else "")


def _not_read(problems: Sequence[Problem]) -> list[str]:
    """What is not counted: the first files and lines that cannot be read."""
    more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return [*(f"not read: {each}" for each in problems[:_SHOWN]), *more]


def _data(made: Profile, lists: CodeLists) -> dict[str, Any]:
    return {
        "types": dict(made.types.most_common()),
        "patients": len(made.patients),
        "identifiers": [
            {"type": kind, "system": system, "resources": count} for (kind, system), count in _most(made.identifiers)
        ],
        "statuses": [
            {"type": kind, "element": element, "code": code, "resources": count}
            for (kind, element, code), count in _most(made.statuses)
        ],
        "codes": [
            {"element": path, "system": system, "code": code, "display": display, "count": count}
            for (path, system, code, display), count in _most(made.codes)
        ],
        "tests": made.candidates(lists),
        "units": made.unit_candidates(lists),
        "offsets": dict(made.offsets.most_common()),
        "unresolved": dict(made.unresolved.most_common()),
    }


def _most(found: Mapping[Any, int]) -> list[tuple[Any, int]]:
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _lines(data: Mapping[str, Any]) -> list[str]:
    """The profile for people: the most frequent ones of each kind."""
    tests, units = data["tests"], data["units"]
    lines = [f"{counted(sum(data['types'].values()), 'resource')} of {counted(data['patients'], 'patient')}"]
    lines += _table("types", [(name, count, "") for name, count in data["types"].items()], 40)
    lines += _table("identifiers", [(f"{e['type']} {e['system']}", e["resources"], "") for e in data["identifiers"]])
    lines += _table(
        "statuses", [(f"{e['type']}.{e['element']} {e['code']}", e["resources"], "") for e in data["statuses"]], 40
    )
    mapped = sum(each["resources"] for each in tests if each["test"] and not each["extended"])
    whole = sum(each["resources"] for each in tests)
    rows = [(f"{each['code']} {each['display']}", each["resources"], _remark(each)) for each in tests]
    lines += _table("LOINC codes of Observations", rows)
    lines += [f"  {mapped:,} of {whole:,} of these codes have a test of CDISC"] if whole else []
    lines += _table("units", [(each["unit"], each["values"], each["cdisc"] or _TO_FILL) for each in units])
    offsets = [(name or "without offset", count, "") for name, count in data["offsets"].items()]
    lines += _table("offsets of dates and times", offsets)
    lines += _table("references that lead nowhere", [(name, count, "") for name, count in data["unresolved"].items()])
    return lines


def _table(title: str, rows: Sequence[tuple[str, int, str]], most: int = _MOST) -> list[str]:
    if not rows:
        return []
    lines = [f"{title}:"]
    lines += [f"  {shown(name, 70):<70}{count:>10,}  {remark}".rstrip() for name, count, remark in rows[:most]]
    return lines + ([f"  ... {len(rows) - most:,} more (see --json)"] if len(rows) > most else [])


def _write(made: Profile, data: Mapping[str, Any], out: Path) -> list[str]:
    """Writes the folder, for its owner only, and gives the paths. Raises UsageError FS644: a file is there already."""
    files = {
        "common.yaml": _COMMON,
        "views.yaml": "# Views of your own; one with the name of a shipped view replaces it.\nlet: {}\n",
        "enrolment.csv": _csv(_ENROLMENT, [(each, *("" for _ in _ENROLMENT[1:])) for each in made.patients]),
        "codes/STUDYDRUG.csv": _csv(("value", "code", "form", "count", "display"), _drugs(data)),
        "codes/UCUMUNIT+.csv": _csv(
            ("value", "code", "count"),
            [(each["unit"], "", each["values"]) for each in data["units"] if not each["cdisc"]],
        ),
        **{f"codes/{name}+.csv": _csv(_TESTS, _tests(data, category)) for name, category in _CATEGORIES.items()},
    }
    return write_new(out, files)


def _tests(data: Mapping[str, Any], category: str) -> list[Sequence[Any]]:
    """The LOINC codes of a category without a test, by count."""
    return [
        (each["code"], "", "", "", "", "", each["resources"], each["display"])
        for each in data["tests"]
        if not each["test"] and not each["left"] and each["category"] == category
    ]


def _drugs(data: Mapping[str, Any]) -> list[Sequence[Any]]:
    """The codes of drugs that were administered, by count: which of them are the study's, only the study knows."""
    return [
        (each["code"], "", "", each["count"], each["display"])
        for each in data["codes"]
        if each["element"] == "MedicationAdministration.medicationCodeableConcept"
    ]


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; a cell that a spreadsheet would run gets an apostrophe in front."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([f"'{cell}" if FORMULA.match(cell) else cell for cell in map(str, row)])
    return stream.getvalue()
