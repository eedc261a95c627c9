"""Whether a variable is there, and whether a cell has a value."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.model import Check
from fhirspace.sdtm.rules.operators.registry import operator
from fhirspace.sdtm.rules.values import Lists, empty, every


@operator("exists", opposite="not_exists")
def exists(frame: Frame, check: Check) -> pa.Array:
    """The dataset has the variable, or a computed list names it."""
    name = frame.resolve(check.name)
    return every(frame.has(name) or _listed(frame, name), frame.size)


def _listed(frame: Frame, name: str) -> bool:
    computed = (frame.column(each) for each in frame.names if each.startswith("$"))
    return any(isinstance(column, Lists) and any(name in each for each in column.lists) for column in computed)


@operator("empty", opposite="non_empty")
def is_empty(frame: Frame, check: Check) -> pa.Array:
    """The cell has no value."""
    return empty(frame.target(check))


@operator("empty_within_except_last_row")
def empty_within_except_last_row(frame: Frame, check: Check) -> pa.Array:
    """No value, in a record that is not the last of its group in the given order; value: the grouping variable."""
    group = frame.resolve(check.value)
    codes, _ = frame.codes([group])
    keyed = np.asarray(~empty(frame.column(group)).to_numpy(zero_copy_only=False), bool)
    ordering = check.options.get("ordering")
    places = ranks(frame, frame.resolve(ordering)) if ordering else np.arange(frame.size)
    order = np.lexsort((places, codes))
    last = np.ones(frame.size, bool)
    last[:-1] = codes[order][1:] != codes[order][:-1]
    blank = empty(frame.array(check)).to_numpy(zero_copy_only=False)
    flags = np.zeros(frame.size, bool)
    flags[order] = ~last & blank[order] & keyed[order]
    return pa.array(flags)


def ranks(frame: Frame, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The place of each cell of a column in ascending order; equal cells share one, cells without a value come last."""
    column = frame.column(name)
    if isinstance(column, Lists):
        return np.zeros(frame.size, np.int64)
    encoded = column.dictionary_encode()
    values = encoded.dictionary.to_numpy(zero_copy_only=False)
    places = np.empty(len(values), np.int64)
    places[np.argsort(values, kind="stable")] = np.arange(len(values))
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    found = np.full(frame.size, len(values), np.int64)
    known = indices >= 0
    found[known] = places[indices[known]]
    return found
