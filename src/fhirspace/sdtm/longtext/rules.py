"""The rules for texts longer than a cell of a transport file: where they continue, and how they are cut.

The first part stays in the variable. The others become supplemental qualifiers: QNAM is the variable's name with a
running number (the end of the name gives way where both have more than 8 characters), QLABEL the variable's label.
Those of TSVAL and COVAL become variables of the dataset, a long QVAL goes on in qualifiers named after its QNAM.

The parts put together are the text, nothing added or left out: a blank at a cut starts the next part. Only parts that
`parts` would make again are ever joined, so that datasets that others cut come back as they were.

Source: SDTMIG 3.4, section 4.5.3.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.standards import sdtm
from fhirspace.tables.csv.scan import FORMULA

MAX_BYTES = 200
MOST = 99
"""The most parts beside the first: their number has at most two digits."""
WIDE = {"CO": "COVAL", "TS": "TSVAL"}
"""The variables whose further parts are variables of the same dataset."""
_CLOSED = re.compile(r".*(?:TEST|CD|ID|FL)")
"""Names of variables that hold codes, identifiers, flags, or the name of a test, which has a limit of its own."""


def is_long(text: str) -> bool:
    """Whether a text has more bytes than a cell of a transport file."""
    return len(text) > MAX_BYTES or len(text.encode()) > MAX_BYTES


def parts(text: str) -> list[str]:
    """A text in parts of at most 200 bytes, cut before a blank where there is one; empty where it cannot be cut.

    No part but the last ends in white space, which a transport file loses, and none but the first begins a formula.
    """
    found: list[str] = []
    while is_long(text):
        at = _cut(text)
        if not at or len(found) == MOST:
            return []
        found.append(text[:at])
        text = text[at:]
    return [*found, text]


def _cut(text: str) -> int:
    fitting = len(text[:MAX_BYTES].encode()[:MAX_BYTES].decode(errors="ignore"))
    sound = [at for at in range(fitting, 0, -1) if not text[at - 1].isspace() and not FORMULA.match(text, at)]
    return next((at for at in sound if text[at] == " "), next(iter(sound), 0))


def part_name(variable: str, number: int) -> str:
    """The name of a further part of a variable: AETERM1, AEACNOT1 of AEACNOTH."""
    return variable[: 8 - len(str(number))] + str(number)


def free_names(variable: str, count: int, taken: Collection[str]) -> list[str]:
    """The names of a variable's further parts: the first running numbers of which none is taken; empty without any."""
    for start in range(1, MOST + 2 - count):
        names = [part_name(variable, number) for number in range(start, start + count)]
        if not set(names) & set(taken):
            return names
    return []


def label(dataset: str, column: str) -> str:
    """The label that the further parts of a column bear."""
    variable = sdtm.variable(dataset, column) if sdtm.known(dataset) else None
    return variable.label if variable else column


def part_label(dataset: str, column: str) -> str | None:
    """The label of a further part that is a variable of its own dataset (TSVAL1); None for any other column."""
    whole = WIDE.get(dataset)
    if whole is None or not re.fullmatch(rf"{whole}[1-9]\d?", column):
        return None
    return f"{label(dataset, whole)} {column.removeprefix(whole)}"


def continued(dataset: str, table: pa.Table) -> bool:
    """Whether a text of a dataset is longer than a cell of a transport file and goes on in variables such as TSVAL1."""
    cells = columns.text(table, WIDE[dataset]) if dataset in WIDE else pa.nulls(0, pa.string())
    return (pc.max(pc.binary_length(cells)).as_py() or 0) > MAX_BYTES


def parts_beside(names: Sequence[str], dataset: str) -> list[str]:
    """The names of a dataset's variables, the further parts of a text (TSVAL1) right after the first."""
    further = [name for name in names if part_label(dataset, name)]
    others = [name for name in names if name not in further]
    at = others.index(WIDE[dataset]) + 1 if further and WIDE[dataset] in others else len(others)
    return [*others[:at], *further, *others[at:]]


def divisible(dataset: str, column: str) -> bool:
    """Whether a long text may be continued elsewhere: free text may, identifiers, codes and times may not."""
    if dataset in WIDE or dataset.startswith("SUPP"):
        return column == WIDE.get(dataset, "QVAL")
    if not sdtm.known(dataset) or sdtm.domain(dataset).klass not in (*sdtm.GENERAL_CLASSES, "Special-Purpose"):
        return False
    variable = sdtm.variable(dataset, column)
    if variable is None:
        return True
    listed = bool(variable.codelists) and not column.endswith("STRESC")  # a result's list is for its words only
    free = variable.type == "Char" and not listed and not variable.format.startswith("ISO")
    return free and variable.role not in {"Identifier", "Timing"} and not _CLOSED.fullmatch(column)
