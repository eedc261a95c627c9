"""Whether the first line of a file is a header at all, or already data: then it holds values of patients.

Such a line must not be taken for names of columns: messages would quote it, and its record would be lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise

_ROWS, _CELLS = 200, 50_000
"""How much of the table below is looked at: rows, and cells of all columns together."""
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(
    rf"(?i)\d{{4}}[-/.]\d{{1,2}}(?:[-/.]\d{{1,2}}(?:[T ][\d:.]+\S*)?)?|\d{{1,2}}:\d\d(?::\d\d)?"
    rf"|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{4}}|\d\d)(?: [\d:.]+.*)?|\d{{1,2}}[- ]?{_MONTH}[- ]?\d{{2,4}}"
)
_NUMBER = re.compile(r"[<>]?=?[+-]?\d+(?:[.,]\d+)?%?")


def enough(columns: int) -> int:
    """How many rows below a first line of so many cells are looked at."""
    return max(1, min(_ROWS, _CELLS // max(columns, 1)))


def looks_like_data(names: Sequence[str], rows: Iterable[Sequence[str | None]]) -> bool:
    """Whether a first line is data.

    It is where one of its cells is a date or a time above a column of mostly such, or a number above numbers, unless
    the numbers count up as hours or visits of a wide table do; or where two of its cells, and a fifth of them, come
    again further down in their own columns, as sites, sexes and answers do. A column that holds nothing but its own
    name (ticks of a questionnaire) is no evidence.

    Args:
        names: the cells of the first line.
        rows: what follows, as far as it is at hand; a repetition of the whole first line is passed over.
    """
    head = tuple(names)
    below = [row for row in islice(rows, enough(len(names))) if tuple(row) != head]
    if not below:
        return False
    repeated, numbers = 0, list[float]()
    for name, cells in zip(names, zip(*(_padded(row, len(names)) for row in below), strict=True), strict=True):
        filled = {cell for cell in cells if cell}
        if _mostly(_DATE, name, filled):
            return True
        if _mostly(_NUMBER, name, filled):
            numbers.append(float(re.sub(r"[^\d.-]", "", name.replace(",", "."))))
        elif name in filled and (len(filled) > 1 or all(cells)):
            repeated += 1
    counting = len(numbers) > 2 and all(before < after for before, after in pairwise(numbers))
    return (bool(numbers) and not counting) or (repeated > 1 and repeated * 5 >= len(names))


def _padded(row: Sequence[str | None], width: int) -> Sequence[str | None]:
    return row if len(row) == width else [*row[:width], *[None] * (width - len(row))]


def _mostly(pattern: re.Pattern[str], name: str, cells: set[str]) -> bool:
    """Whether a name is of some form, and at least half of the different cells below it."""
    if not cells or not pattern.fullmatch(name.strip()):
        return False
    return sum(pattern.fullmatch(cell.strip()) is not None for cell in cells) * 2 >= len(cells)
