"""Supplemental qualifiers beside the records they belong to: one column for each QNAM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.rules.errors import CannotRun, MissingColumn
from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.operators.equality import normal
from fhirspace.sdtm.rules.study import Dataset
from fhirspace.sdtm.rules.values import TEXT, Column, codes_of

_STATIC = ("STUDYID", "USUBJID", "APID", "POOLID", "SPDEVID")


def with_qualifiers(frame: Frame, dataset: Dataset) -> Frame:
    """The frame with a column of QVAL for each QNAM that is no variable of it.

    Raises:
        CannotRun: a record has two values of a qualifier. MissingColumn: the dataset lacks a variable of its own.
    """
    if missing := [name for name in ("QNAM", "QVAL", "IDVAR", "IDVARVAL") if name not in dataset.names]:
        raise MissingColumn(", ".join(f"{dataset.name}.{name}" for name in missing))
    columns = {name: dataset.column(name) for name in ("QNAM", "QVAL", "IDVAR", "IDVARVAL")}
    result = frame
    for qualifier in pc.unique(columns["QNAM"]).drop_null().to_pylist():
        if not frame.has(qualifier):
            here = pc.fill_null(pc.equal(columns["QNAM"], qualifier), False)
            result = result.with_column(qualifier, _values(frame, dataset, here))
    return result


def _values(frame: Frame, dataset: Dataset, here: pa.Array) -> pa.Array:
    """The values of one qualifier, each at the row it belongs to."""
    values = np.full(frame.size, -1, np.int64)
    rows = np.flatnonzero(here.to_numpy(zero_copy_only=False))
    variables = dataset.column("IDVAR").cast(TEXT)
    for variable in pc.unique(variables.take(pa.array(rows))).to_pylist():
        fits = pc.equal(variables, variable) if variable else variables.is_null()
        chosen = rows[pc.fill_null(fits, False).to_numpy(zero_copy_only=False)[rows]]
        found = _parents(frame, dataset, variable, chosen)
        if (values[found >= 0] >= 0).any():
            raise CannotRun("a record has two values of one supplemental qualifier")
        values = np.where(found >= 0, found, values)
    at = pa.array(values, mask=values < 0)
    return dataset.column("QVAL").cast(TEXT).take(at)


def _parents(frame: Frame, dataset: Dataset, variable: str | None, rows: Any) -> np.ndarray[Any, Any]:
    """For each record the row of the qualifier dataset that belongs to it, -1 for none."""
    static = [name for name in _STATIC if frame.has(name) and name in dataset.names]
    left: list[Column] = [frame.column(name) for name in static]
    right: list[Any] = [dataset.column(name).take(pa.array(rows)) for name in static]
    if variable:
        left.append(normal(frame.column(variable)))
        right.append(normal(dataset.column("IDVARVAL").take(pa.array(rows))))
    keys = [pa.concat_arrays([one.cast(TEXT), other.cast(TEXT)]) for one, other in zip(left, right, strict=True)]  # type: ignore[union-attr]
    codes, count = codes_of(keys, frame.size + len(rows))
    if len(np.unique(codes[frame.size :])) < len(rows):
        raise CannotRun("a record has two values of one supplemental qualifier")
    of_code = np.full(count, -1, np.int64)
    of_code[codes[frame.size :]] = rows
    found: np.ndarray[Any, Any] = of_code[codes[: frame.size]]
    return found
