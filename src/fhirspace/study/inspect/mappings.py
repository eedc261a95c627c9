"""What ``fhirspace mapping`` shows: which mappings there are, whether they are right, what they make, what they cover.

Each function takes a name (of a dataset, a form or a file), the user's mapping folders, a FHIR release and a source,
and returns what it found as JSON data and as text for people.
"""

from __future__ import annotations

import json
from builtins import list as List  # noqa: N812 - the function `list` below is the subcommand's name
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fhirspace.errors import MappingError, UsageError
from fhirspace.foreign import counted, shown
from fhirspace.forms.library import SourceForm
from fhirspace.forms.scaffold import make_form_skeleton
from fhirspace.idkey import DEMO_KEY
from fhirspace.mapping.library import Library
from fhirspace.mapping.schema import schema as make_schema
from fhirspace.standards.fhir import RELEASES, Release
from fhirspace.study.inspect import coverage as views_coverage, forms as views_forms, text as views_text
from fhirspace.study.inspect.sample import examples
from fhirspace.study.inspect.variables import variable_states, variables

View = tuple[Any, str]
"""JSON data, and the text for people."""


def list(
    name: str | None = None, *, mappings: Iterable[Path] = (), fhir: Release = "R4", source: str | None = None
) -> View:
    """All datasets and forms: file, resources made, releases. With a name, only that dataset or form.

    Returns:
        ``{"datasets": [{dataset, file, resources, releases}], "forms": [{form, source, file, key, makes}]}``.
    """
    own = _folders(mappings)
    forms = [
        entry
        for each, library in views_forms.libraries(own, source).items()
        for entry in views_forms.entries(each, library)
    ]
    libraries = {release: Library(release, own) for release in RELEASES}
    found: dict[str, dict[str, Any]] = {}
    for release in (fhir, *(each for each in RELEASES if each != fhir)):
        for domain, mapping in libraries[release].complete().items():
            made = [block.resource for block in mapping.blocks]
            entry: dict[str, Any] = {
                "dataset": domain,
                "file": mapping.file,
                "resources": made,
                "hangs_into": mapping.attach.to if mapping.attach else None,
                "releases": [],
            }
            found.setdefault(domain, entry)["releases"].append(release)
    for entry in found.values():
        entry["releases"].sort(key=RELEASES.index)
    data = {
        "datasets": [entry for _, entry in sorted(found.items()) if name in (None, entry["dataset"])],
        "forms": [entry for entry in forms if name in (None, entry["form"])],
    }
    if name is not None and not any(data.values()):
        raise _unknown(name, [*found, *(entry["form"] for entry in forms)])
    return data, views_text.listed(data)


def check(
    name: str | None = None, *, mappings: Iterable[Path] = (), fhir: Release | None = None, source: str | None = None
) -> View:
    """Builds all mappings in all releases, and all source forms: what loads can only write valid FHIR.

    Args:
        name: not used; mappings: folders of your own, checked together with the shipped ones.
        fhir: not used: a mapping must be right in every release. source: only this source.

    Raises:
        MappingError: the first fault, with file, line, key and what was expected.
    """
    own = _folders(mappings)
    datasets = {release: len(Library(release, own).complete()) for release in RELEASES}
    forms = {each: len(library.forms) for each, library in views_forms.libraries(own, source).items()}
    lines = [f"{release:<5}{counted(count, 'dataset')}" for release, count in datasets.items()]
    lines += [f"{shown(each, 64)}: {counted(count, 'form')}" for each, count in forms.items()]
    return {"datasets": datasets, "forms": forms, "ok": True}, "\n".join([*lines, "OK"])


def show(
    name: str | None = None, *, mappings: Iterable[Path] = (), fhir: Release = "R4", source: str | None = None
) -> View:
    """What a dataset or form becomes: example resources filled from the mapping, and the table by variable or column.

    Returns:
        Of a dataset ``{dataset, release, examples, variables}``: `variables` have their places (path, codec, note,
        readable) in the release and in R5 (with R5: in R4). Of a form ``{form, source, columns, rows}``.

    Raises:
        UsageError: FS620, no name is given; FS621, there is no such dataset or form.
    """
    if name is None:
        raise UsageError("FS620", "mapping show", "a dataset such as AE, or a form")
    own = _folders(mappings)
    library = Library(fhir, own, key=DEMO_KEY)  # of examples
    domain = name.upper()
    if library.adopt(domain) or domain in library.complete():
        other = Library("R4" if fhir == "R5" else "R5", own)
        other.adopt(domain)
        made = [{"resource": kind, "json": json.loads(text)} for kind, text in examples(library, domain)]
        data = {"dataset": domain, "release": fhir, "examples": made, "variables": variables(library, domain, other)}
        return data, views_text.shown_dataset(data, other.release)
    forms = _forms(own, source)
    if name not in forms:
        raise _unknown(name, [*library.complete(), *forms])
    where, form = forms[name]
    data = {
        "form": name,
        "source": where,
        "file": form.mapping.file,
        "columns": views_forms.columns(form),
        "rows": views_forms.rows(form),
    }
    return data, views_text.shown_form(data)


def coverage(
    name: str | None = None,
    *,
    mappings: Iterable[Path] = (),
    fhir: Release = "R4",
    source: str | None = None,
    data: Iterable[Path] = (),
) -> View:
    """How much of each dataset's metadata has an element in FHIR, is carried on purpose, or neither; of forms likewise.

    Args:
        name, mappings, fhir, source: as of `list`; data: SDTM datasets whose cells are counted likewise.

    Returns:
        ``{"datasets": [{dataset, variables, home, carried, without, percent, kinds, reasons}], "forms": [...],
        "total": {...}, "cells": [...]}``: lists of names, and the percentage of variables with an element. A variable
        without one is carried if it is filled. `kinds` are counts of variables by `coverage.KINDS`, `reasons` why each
        is carried, `total` the counts of all datasets of the guide, `cells` counts of filled cells by dataset of
        `data`. Without a name only: `total`.

    Raises:
        UsageError: FS621, there is no such dataset or form. InputError: `data` cannot be read.
    """
    own = _folders(mappings)
    library = Library(fhir, own)
    chosen = [each for each in library.complete() if name in (None, each)]
    datasets = [
        _covered({"dataset": each}, ((item.variable, item.state) for item in variable_states(library, each)))
        | _kinds(library, each)
        for each in chosen
    ]
    forms = {each: pair for each, pair in _forms(own, source).items() if name in (None, each)}
    covered = [
        _covered(
            {"form": each, "source": where}, ((item["column"], item["state"]) for item in views_forms.columns(form))
        )
        for each, (where, form) in forms.items()
    ]
    if name is not None and not datasets and not covered:
        raise _unknown(name, [*library.complete(), *_forms(own, source)])
    found: dict[str, Any] = {"release": fhir, "datasets": datasets, "forms": covered}
    found |= {"total": views_coverage.total(library)} if name is None else {}
    given = [*data]
    found |= {"cells": views_coverage.cells(library, given)} if given else {}
    return found, views_text.covered(found)


def schema(
    name: str | None = None, *, mappings: Iterable[Path] = (), fhir: Release = "R4", source: str | None = None
) -> View:
    """The JSON schema of mapping files, for editors. It takes no argument into account."""
    data = make_schema()
    return data, json.dumps(data, indent=2)


def new(
    name: str | None = None, *, mappings: Iterable[Path] = (), fhir: Release = "R4", source: str | None = None
) -> View:
    """A source mapping to start from for a CSV file: it loads, and carries every cell unchanged.

    Args:
        name: the path of the file; mappings, fhir, source: not used.

    Raises:
        UsageError: FS620, no file is given; InputError: it cannot be read.
    """
    if name is None:
        raise UsageError("FS620", "mapping new", "a file with records, such as ecg.csv")
    text = make_form_skeleton(name)
    return {"form": Path(name).stem, "yaml": text}, text.rstrip("\n")


def _folders(mappings: Iterable[Path]) -> List[Path]:
    """The user's folders. Raises MappingError FS348 for one in which no mapping can be."""
    own = [*mappings]
    for folder in own:
        if not any((folder / part).exists() for part in ("domains", "classes", "sources", "codes", "common.yaml")):
            hint = "a folder with domains/, classes/, sources/, codes/ or common.yaml in it"
            raise MappingError("FS348", folder.name, hint)
    return own


def _forms(mappings: Iterable[Path], source: str | None) -> dict[str, tuple[str, SourceForm]]:
    """The forms of all sources with the name of their source; of equal names the last."""
    return {
        each: (where, form)
        for where, library in views_forms.libraries(mappings, source).items()
        for each, form in library.forms.items()
    }


def _unknown(name: str, known: Iterable[str]) -> UsageError:
    return UsageError("FS621", name, "one of " + ", ".join(sorted({*known})))


def _kinds(library: Library, domain: str) -> dict[str, Any]:
    found = views_coverage.variables(library, domain)
    carried = [name for name, kind in found.items() if kind == "carried"]
    counts = {kind: sum(each == kind for each in found.values()) for kind in views_coverage.KINDS}
    return {"kinds": counts, "reasons": views_coverage.reasons(carried, domain)}


def _covered(entry: dict[str, Any], states: Iterable[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, List[str]] = {}
    total = 0
    for variable, state in states:
        found.setdefault(state, []).append(variable)
        total += 1
    target = found.get("home", [])
    on_purpose = [*found.get("kept", []), *(found.get("carried", []) if "dataset" in entry else [])]
    without = [*found.get("without", []), *(found.get("carried", []) if "form" in entry else [])]
    percent = round(100 * len(target) / total, 1) if total else 0.0
    return entry | {"variables": total, "home": target, "carried": on_purpose, "without": without, "percent": percent}
