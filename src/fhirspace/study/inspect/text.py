"""The texts of ``fhirspace mapping``: tables and examples for people, out of the JSON data of `views`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fhirspace.foreign import as_json, shown

_LONGEST = 2000
"""Characters of a line or cell: names of variables and notes of mappings are many and long."""


def table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Rows of texts as lines with columns of equal width, the last one as wide as it is."""
    listed = [tuple(_safe(cell) for cell in row) for row in rows]
    widths = [max(len(row[at]) for row in listed) for at in range(len(listed[0]) - 1)] if listed else []
    for row in listed:
        yield "".join(f"{cell:<{width + 2}}" for cell, width in zip(row, widths, strict=False)) + row[-1]


def _safe(text: str) -> str:
    return shown(text, _LONGEST)


def listed(data: dict[str, Any]) -> str:
    """The text of `views.list`."""
    lines: list[str] = []
    if data["datasets"]:
        rows = [("dataset", "file", "releases", "makes")]
        for entry in data["datasets"]:
            makes = ", ".join(entry["resources"]) or f"a part of the resource of {entry['hangs_into']}"
            rows.append((entry["dataset"], entry["file"], " ".join(entry["releases"]), makes))
        lines += table(rows)
    if data["forms"]:
        rows = [("form", "source", "file", "makes")]
        rows += [(entry["form"], entry["source"], entry["file"], " ".join(entry["makes"])) for entry in data["forms"]]
        lines += [*([""] if lines else []), *table(rows)]
    return "\n".join(line.rstrip() for line in lines)


def short(path: str) -> str:
    """A path whose addresses are cut to their last part: ``extension[ae-grade].valueCodeableConcept.coding.code``."""
    return re.sub(
        r"\[([^\]]*)\]", lambda found: "[" + ", ".join(_end(pair) for pair in found[1].split(", ")) + "]", path
    )


def _end(pair: str) -> str:
    return pair.partition("=")[2].rpartition("/")[2]


def shown_dataset(data: dict[str, Any], other: str) -> str:
    """The text of `views.show` for a dataset."""
    release = data["release"]
    lines = []
    for example in data["examples"]:
        title = example["resource"] or "the item that a row adds"
        lines += [
            _safe(f"{data['dataset']} in {release}: {title}"),
            as_json(example["json"], indent=2),
            "",
        ]
    lines.append(f"By variable: where it stands in {release}, and in {other} where that differs")
    for variable in data["variables"]:
        lines.append("")
        note = f"  ({variable['note']})" if variable["note"] else ""
        lines.append(_safe(f"{variable['variable']:<9} {variable['label']}{note}"))
        lines += _places(release, variable[release])
        if [short(target["path"]) for target in variable[other]] != [
            short(target["path"]) for target in variable[release]
        ]:
            lines += _places(other, variable[other]) or [f"    {other}  no place"]
    return "\n".join(lines)


def _places(release: str, targets: Iterable[dict[str, Any]]) -> list[str]:
    return [
        _safe(
            f"    {release:<3} {short(target['path'])}  {target['codec']}"
            + (f"  # {target['note']}" if target["note"] else "")
        )
        for target in targets
    ]


def shown_form(data: dict[str, Any]) -> str:
    """The text of `views.show` for a form."""
    lines = [_safe(f"{data['form']} ({data['source']}/{data['file']}): from columns to variables")]
    rows = [("column", "read back", "goes to")]
    rows += [
        (item["column"], {"home": "yes", "kept": "kept as it is"}.get(item["state"], "carried"), ", ".join(item["to"]))
        for item in data["columns"]
    ]
    lines += table(rows)
    for row in data["rows"]:
        lines += [
            "",
            _safe(
                f"{row['dataset']}, row {row['line']} of a record" + (f", when {row['when']}" if row["when"] else "")
            ),
        ]
        lines += table((f"  {variable}", text) for variable, text in row["cells"].items())
    return "\n".join(line.rstrip() for line in lines)


def covered(data: dict[str, Any]) -> str:
    """The text of `views.coverage`."""
    lines: list[str] = []
    for key, name, what in (("datasets", "dataset", "variables"), ("forms", "form", "columns")):
        entries = data[key]
        if entries:
            rows = [(name, what, "with an element", "carried on purpose", "%", "without")]
            rows += [
                (
                    entry[name],
                    str(entry["variables"]),
                    str(len(entry["home"])),
                    str(len(entry["carried"])),
                    f"{entry['percent']:g}",
                    ", ".join(entry["without"]) or "-",
                )
                for entry in entries
            ]
            lines += [*([""] if lines else []), *table(rows)]
            if key == "datasets" and "total" in data:
                lines += ["", *_counted("variables", [data["total"] | {"dataset": "SDTMIG"}])]
    if "cells" in data:
        every = {name: sum(entry[name] for entry in data["cells"]) for name in data["cells"][0] if name != "dataset"}
        lines += ["", *_counted("cells", [*data["cells"], every | {"dataset": "all"}])]
    return "\n".join(line.rstrip() for line in lines)


def _counted(what: str, entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A table of counts by kind; `what` is counted."""
    names = [name for name in entries[0] if name not in ("dataset", what)]
    rows = [("dataset", what, *names)]
    rows += [(entry["dataset"], *(f"{entry[name]:,}" for name in (what, *names))) for entry in entries]
    yield from table(rows)
