"""What the guards of the reader cost: FHIR read back to rows with all of them, without each of them, without any.

``python -m benchmarks.guards FOLDER... [rounds]`` prints the figures of the FHIR files in each folder: what all guards
cost, those of edited FHIR (kind 1: elements compared with cells, digests, ids, subjects) and those of records that say
"not so" (kind 2: statuses). ``--each`` switches off each guard by itself, too. Each variant reads all files as a
conversion does, with a reader of its own, in turns in one process; the least CPU seconds of each count. The guards are
switched off here only, by putting something that does nothing in their place. Nothing is formatted or written, so that
the reader alone is the measure.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pyarrow as pa

from fhirspace.fhir.files import FhirFile, find
from fhirspace.fhir.ndjson import read
from fhirspace.idkey import DEMO_KEY
from fhirspace.mapping.library import Library
from fhirspace.mapping.read import leaves, program, source
from fhirspace.mapping.read.reader import Collector, Reader
from fhirspace.mapping.read.witness import COMPARED, is_hidden
from fhirspace.sdtm.derive import basis
from fhirspace.study.reading import edited
from fhirspace.study.reading.statuses import StatusScreen
from fhirspace.study.reading.subjects import SubjectScreen

_USES = leaves.uses_of
_PUT = leaves.Leaves.put


_NOTHING = leaves.Watched({}, {})
_WATCHED = leaves.watched


def _read_only(nodes: Any, _watching: Any) -> Any:
    """The uses of slots that give cells."""
    return {key: some for key, some in _USES(nodes, _NOTHING).items() if key[1] < COMPARED and not is_hidden(key[0])}


def _put_read(self: leaves.Leaves, key: Any, expression: str, *, maybe: bool) -> None:
    if key in self.cells:
        _PUT(self, key, expression, maybe=maybe)


def _plain(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind).decode


def _nothing(*_given: Any, **_named: Any) -> None:
    return None


def _same(_screen: Any, tables: dict[str, pa.Table]) -> tuple[dict[str, pa.Table], list[Any]]:
    return tables, []


OFF: dict[str, list[tuple[Any, str, Any]]] = {
    "carried cells": [(edited, "_elements_win", lambda *_: {})],
    "derived cells": [
        (edited, "_marks", lambda *_: ({}, {})),
        (edited, "misplaced", lambda *_: []),
        (basis, "digests", lambda _: {}),
    ],
    "elements without a cell, compared": [(edited, "contradictions", lambda *_: [])],
    "missing elements": [(program, "watched", lambda root, **_: _WATCHED(root, notice=False))],
    "statuses": [(StatusScreen, "apply", _nothing)],
    "subjects": [(SubjectScreen, "apply", _nothing), (SubjectScreen, "take_out", _same)],
    "names that come twice": [
        (program, "resource_decoder", _plain),
        (source, "resource_decoder", _plain),
    ],
}
"""What is put in the place of each guard."""
CELLS_ONLY: list[tuple[Any, str, Any]] = [
    (leaves, "uses_of", _read_only),
    (program, "uses_of", _read_only),
    (source, "uses_of", _read_only),
    (leaves.Leaves, "put", _put_read),
    (program, "chosen_constants", lambda _: {}),
    (program, "watched", lambda *_, **__: _NOTHING),
]
"""What keeps elements without a cell from being read; statuses and subjects are in them."""


def _off(*names: str) -> list[tuple[Any, str, Any]]:
    return [each for name in names for each in OFF[name]]


_EDITED = tuple(name for name in OFF if name != "names that come twice")
KINDS: dict[str, list[tuple[Any, str, Any]]] = {
    "all guards": [],
    "kind 1 only": _off("statuses"),
    "none": [*CELLS_ONLY, *_off(*_EDITED)],
}
"""What all guards cost, and without the statuses; names that come twice belong to the JSON reader."""
EACH: dict[str, list[tuple[Any, str, Any]]] = {
    **{f"without {name}": each for name, each in OFF.items()},
    "without elements without a cell": [
        *CELLS_ONLY,
        *_off("elements without a cell, compared", "statuses", "subjects"),
    ],
    "bare": [*CELLS_ONLY, *_off(*OFF)],
}


def _apart() -> list[tuple[Any, str, Any]]:
    """What keeps the compiled readers of a variant from those of others: a block's are shared by all who read it."""
    made: dict[int, dict[Any, Any]] = {}
    return [(program, "_known", lambda root: made.setdefault(id(root), {}))]


@contextmanager
def _without(what: list[tuple[Any, str, Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for target, name, instead in what:
            stack.enter_context(patch.object(target, name, instead))
        yield


def read_back(files: list[FhirFile], lines: dict[str, list[tuple[int, bytes]]], library: Library) -> int:
    """Reads files as a conversion does, up to the reconciled tables; gives the number of rows."""
    reader, collector = Reader(library), Collector(library)
    statuses, subjects = StatusScreen(library), SubjectScreen(library)
    for file in files:
        by_number = dict(lines[file.name])
        for batch in reader.read(lines[file.name], file.name):
            statuses.apply(batch, by_number, file.name)
            subjects.apply(batch, by_number, file.name)
            collector.add(batch)
    tables, _ = subjects.take_out(collector.tables())
    return sum(table.num_rows for table in edited.reconcile(tables, library, collector.once).tables.values())


def costs(folder: Path, rounds: int = 9, release: str = "R4", *, each: bool = False) -> dict[str, float]:
    """The least CPU seconds of each variant, and the cost of guards as shares of the reader without them."""
    files = find([folder]).files
    lines = {file.name: list(read(file.path)) for file in files}
    library = Library(release, key=DEMO_KEY)  # type: ignore[arg-type]
    spent: dict[str, float] = {}
    variants = {name: [*what, *_apart()] for name, what in (KINDS | (EACH if each else {})).items()}
    for turn in range(rounds + 1):
        for name, what in variants.items():
            with _without(what):
                gc.collect()
                start = time.process_time()
                read_back(files, lines, library)
                took = time.process_time() - start
            if turn:  # the first turn warms up
                spent[name] = min(took, spent.get(name, took))
    found = {f"{name}, CPU s": took for name, took in spent.items()}
    found["resources"] = sum(map(len, lines.values()))
    whole, first, none = (spent[name] for name in KINDS)
    found["kind 1, edited FHIR, %"] = 100 * (first - none) / none
    found["kind 2, statuses, %"] = 100 * (whole - first) / none
    found["all guards, %"] = 100 * (whole - none) / none
    for name in OFF if each else ():
        found[f"{name}, %"] = 100 * (whole - spent[f"without {name}"]) / none
    if each:
        without = spent["without elements without a cell"]
        found["elements without a cell, read and compared, %"] = 100 * (whole - without) / none
        found["all guards, % of bare"] = 100 * (whole - spent["bare"]) / spent["bare"]
    return found


if __name__ == "__main__":
    given = [name for name in sys.argv[1:] if name != "--each"]
    turns = int(given.pop()) if given[-1].isdigit() else 9
    for name in given:
        figures = costs(Path(name), turns, each="--each" in sys.argv)
        print(json.dumps({"folder": name, **{what: round(figure, 3) for what, figure in figures.items()}}, indent=2))
