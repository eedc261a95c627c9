"""Records that RELREC relates to those under judgement, beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.limits import allowed, limit
from fhirspace.sdtm.rules.errors import CannotRun, MissingColumn
from fhirspace.sdtm.rules.frame import Frame, Source, joined
from fhirspace.sdtm.rules.operators.equality import normal
from fhirspace.sdtm.rules.study import Dataset, Study
from fhirspace.sdtm.rules.values import TEXT, Column, take

Join = Callable[..., tuple[pa.Array, pa.Array]]
_PAIR = ("USUBJID", "RDOMAIN", "IDVAR", "IDVARVAL", "RELID", "STUDYID")


def with_related(frame: Frame, relrec: Dataset, study: Study, wildcard: str, join: Join) -> Frame:
    """The rows that RELREC relates to a record of another dataset, each with it: its variables as ``RELREC.NAME``.

    The prefix of the other dataset is `wildcard` in these names (``RELREC.**TERM``). A row without related record is
    left out.

    Raises:
        MissingColumn: RELREC lacks a variable. CannotRun: the rows are too many.
    """
    if missing := [name for name in _PAIR if name not in relrec.names]:
        raise MissingColumn(", ".join(f"{relrec.name}.{name}" for name in missing))
    parts = [part for pair in _pairs(frame, relrec) if (part := _related(frame, pair, study, join))]
    total = sum(len(own) for own, _, _ in parts)
    if total > limit("rule-rows"):
        raise CannotRun(f"the related records are {total:,} rows: {allowed('rule-rows')}")
    if not parts:
        return frame.taken(pa.array([], pa.int64()), {})
    rows = pa.concat_arrays([own for own, _, _ in parts])
    names = dict.fromkeys(_called(name, other, wildcard) for _, _, other in parts for name in other.names)
    return frame.taken(rows, {f"RELREC.{name}": _column(parts, name, wildcard) for name in names})


def _called(name: str, dataset: Dataset, wildcard: str) -> str:
    own = dataset.domain or ""
    return wildcard + name[len(own) :] if own and name.startswith(own) and len(name) > len(own) else name


def _column(parts: Any, name: str, wildcard: str) -> Source:
    def made() -> Column:
        found: list[Column] = []
        for _, rows, other in parts:
            source = next((each for each in other.names if _called(each, other, wildcard) == name), None)
            found.append(take(other.column(source), rows) if source else pa.nulls(len(rows), TEXT))
        return joined(found)

    return made


def _pairs(frame: Frame, relrec: Dataset) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each record of RELREC about the domain under judgement with each one of another domain in its relationship."""
    columns = {name: relrec.column(name).to_pylist() for name in _PAIR}
    records = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    own = frame.dataset.domain
    others: dict[Any, list[dict[str, Any]]] = {}
    for each in records:
        if each["RDOMAIN"] != own:
            others.setdefault((each["STUDYID"], each["USUBJID"], each["RELID"]), []).append(each)
    mine = (each for each in records if each["RDOMAIN"] == own)
    return [
        (left, right) for left in mine for right in others.get((left["STUDYID"], left["USUBJID"], left["RELID"]), ())
    ]


def _related(
    frame: Frame, pair: tuple[Mapping[str, Any], Mapping[str, Any]], study: Study, join: Join
) -> tuple[pa.Array, pa.Array, Dataset] | None:
    left, right = pair
    other = next((each for each in study.datasets.values() if each.domain == right["RDOMAIN"]), None)
    if other is None:
        return None
    single = bool(left["IDVARVAL"] and right["IDVARVAL"])
    own_rows = _filtered(frame.column, frame.size, left, single)
    other_rows = _filtered(other.column, other.table.num_rows, right, single)
    keys = ["STUDYID", "USUBJID"]
    own: list[Column] = [take(frame.column(key), own_rows) for key in keys]
    there: list[Column] = [take(other.column(key), other_rows) for key in keys]
    if not single:
        own.append(normal(take(frame.column(left["IDVAR"]), own_rows)))
        there.append(normal(take(other.column(right["IDVAR"]), other_rows)))
    here, partner = join(own, len(own_rows), there)
    return own_rows.take(here), other_rows.take(partner), other


def _filtered(column: Callable[[str], Column], size: int, record: Mapping[str, Any], single: bool) -> pa.Array:
    keep = np.ones(size, bool)
    wanted = [("USUBJID", record["USUBJID"]), *([(record["IDVAR"], record["IDVARVAL"])] if single else [])]
    for name, value in wanted:
        if value:
            cells = normal(column(name))
            fits = pc.equal(cells, normal(pa.array([str(value)]))[0])  # type: ignore[index]
            keep &= pc.fill_null(fits, False).to_numpy(zero_copy_only=False)
    return pa.array(np.flatnonzero(keep))
