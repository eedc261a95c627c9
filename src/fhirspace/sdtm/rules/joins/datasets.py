"""Datasets that a rule joins to the one under judgement (``Match Datasets``): hash joins that keep the rows' order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.limits import allowed, limit
from fhirspace.sdtm.rules.errors import CannotRun, MissingColumn
from fhirspace.sdtm.rules.frame import Frame, Source, joined
from fhirspace.sdtm.rules.joins.qualifiers import with_qualifiers
from fhirspace.sdtm.rules.joins.relrec import with_related
from fhirspace.sdtm.rules.model import Match, Rule
from fhirspace.sdtm.rules.operators.equality import normal
from fhirspace.sdtm.rules.study import SUPPLEMENTARY, Dataset, Study
from fhirspace.sdtm.rules.values import TEXT, Column, Lists, codes_of, is_text, take


def join(frame: Frame, rule: Rule, study: Study) -> Frame:
    """The rows of a frame with those of the datasets that the rule names; a dataset the study lacks is passed over.

    Raises:
        MissingColumn: a key is none of the columns. CannotRun: keys of different types, or too many rows.
    """
    done = set[str]()
    for match in rule.matches:
        for dataset in _partners(frame.dataset, match, study):
            name = dataset.domain or dataset.name
            if name not in done:
                frame = _joined(frame, rule, match, dataset, study)
                done.add(name)
    return frame


def _partners(own: Dataset, match: Match, study: Study) -> list[Dataset]:
    if match.child:
        return _parents(own, match, study)
    if match.name == own.whole:
        return []
    target = own.domain or own.name
    supplementary = [each for each in study.datasets.values() if each.related == target]
    return supplementary if match.name == "SUPP--" and not own.supplementary else study.named(match.name)


def _parents(own: Dataset, match: Match, study: Study) -> list[Dataset]:
    if own.supplementary and match.name.startswith(("SUPP", "SQAP")):
        mine = match.name in ("SUPP--", own.name)
        return [each for each in study.datasets.values() if mine and each.domain == own.related and each.domain]
    if match.name not in (own.domain, own.name):
        return []
    if "RDOMAIN" in own.names:
        related = set(own.column("RDOMAIN").unique().to_pylist())
        return [each for each in study.datasets.values() if each.domain and each.domain in related]
    keys = [left for left, _ in match.keys]
    return [each for each in study.datasets.values() if all(key in each.names for key in keys)]


def _joined(frame: Frame, rule: Rule, match: Match, dataset: Dataset, study: Study) -> Frame:
    if match.child:
        return _with_parent(frame, match, dataset)
    if match.name == "RELREC":
        return with_related(frame, dataset, study, match.wildcard, inner)
    if match.name.startswith(SUPPLEMENTARY):
        return with_qualifiers(frame, dataset)
    left = [_named(key, frame.dataset.domain) for key, _ in match.keys]
    right = [_named(key, match.name) for _, key in match.keys]
    rows, other = inner(
        [frame.column(key) for key in left],
        frame.size,
        [dataset.column(key) for key in right],
        left_too=match.kind == "left",
    )
    return frame.taken(
        rows, _beside(frame, dataset, other, keys=right, name=match.name, asked=_asked(rule, match.name))
    )


def _named(key: str, prefix: str | None) -> str:
    return key.replace("--", prefix or "")


def _asked(rule: Rule, name: str) -> set[str]:
    """The variables of a joined dataset that the rule names with the dataset before them: ``SE.EPOCH``."""
    texts = [text for check in rule.check.leaves() for text in (check.name, check.value) if isinstance(text, str)]
    return {text.removeprefix(f"{name}.") for text in texts if text.startswith(f"{name}.")}


def _beside(
    frame: Frame, dataset: Dataset, rows: pa.Array, *, keys: Iterable[str], name: str, asked: set[str]
) -> dict[str, Source]:
    """The columns of joined rows. One that both have gets the other dataset's name behind it, keys appear once."""
    found: dict[str, Source] = {}
    for column in dataset.names:
        own = f"{name}.{column}" if column in asked else column
        if column in keys and frame.has(column) and column not in asked:
            continue
        found[f"{own}.{name}" if frame.has(own) else own] = _taken(dataset, column, rows)
    return found


def _taken(dataset: Dataset, column: str, rows: pa.Array) -> Source:
    return lambda: take(dataset.column(column), rows)


def inner(
    left: Sequence[Column], size: int, right: Sequence[Column], *, left_too: bool = False
) -> tuple[pa.Array, pa.Array]:
    """The pairs of rows whose keys are equal (nothing equals nothing), in the order of the left side.

    Args:
        left, right: the key columns of both sides. size: the rows of the left side. left_too: also give left rows
            without a partner, with null on the right.

    Raises:
        CannotRun: keys of different types, or more pairs than the bound ``rule-rows``.
    """
    many = len(right[0]) if right and not isinstance(right[0], Lists) else 0
    both = [_one_type(one, other) for one, other in zip(left, right, strict=True)]
    codes, count = codes_of([joined([one, other]) for one, other in both], size + many)
    own, others = codes[:size], codes[size:]
    order = np.argsort(others, kind="stable")
    per_code = np.bincount(others, minlength=count)
    counts = per_code[own]
    repeats = np.maximum(counts, 1) if left_too else counts
    total = int(repeats.sum())
    if total > limit("rule-rows"):
        raise CannotRun(f"the joined datasets have {total:,} rows: {allowed('rule-rows')}")
    starts = (np.cumsum(per_code) - per_code)[own]
    rows = np.repeat(np.arange(size), repeats)
    within = np.arange(total) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    found = np.repeat(counts, repeats) > 0
    at = np.where(found, np.repeat(starts, repeats) + within, 0)
    partners = order[at] if len(order) else np.zeros(total, np.int64)
    return pa.array(rows), pa.array(partners, mask=~found)


def _one_type(left: Column, right: Column) -> tuple[Column, Column]:
    if isinstance(left, Lists) or isinstance(right, Lists):
        raise CannotRun("a list cannot be a key")
    nothing = left.null_count == len(left) or right.null_count == len(right)
    if is_text(left) != is_text(right) and not nothing:
        raise CannotRun("the keys of the joined datasets are texts in one and numbers in the other")
    return left, right


def _with_parent(frame: Frame, match: Match, parent: Dataset) -> Frame:
    """Records that refer to others by IDVAR and IDVARVAL, with the record they refer to beside them, if there is one.

    A record of another domain keeps its row, with what it got from an earlier parent.
    """
    names = [key for key, _ in match.keys if key not in ("IDVAR", "IDVARVAL")]
    if missing := [name for name in ("IDVAR", "IDVARVAL") if not frame.has(name)]:
        raise MissingColumn(", ".join(missing))
    if len(names) == len(match.keys):
        raise CannotRun("a child is joined by other keys than IDVAR and IDVARVAL")
    mine = np.ones(frame.size, bool)
    if not frame.dataset.supplementary:
        mine = pc.fill_null(pc.equal(frame.column("RDOMAIN"), parent.domain), False).to_numpy(zero_copy_only=False)
    found = _referred(frame, parent, names, mine)
    rows = pa.array(np.arange(frame.size))
    more: dict[str, Source] = {}
    for column in parent.names:
        if not frame.has(column):
            more[column] = _taken(parent, column, found)
        elif column not in ("RDOMAIN", "IDVAR", "IDVARVAL"):
            more[column] = _replaced(frame, parent, column, found)
    return frame.taken(rows, more)


def _replaced(frame: Frame, parent: Dataset, column: str, rows: pa.Array) -> Source:
    def made() -> Column:
        before, there = frame.column(column), take(parent.column(column), rows)
        if isinstance(before, Lists) or isinstance(there, Lists):
            return before
        if before.type != there.type:
            before, there = normal(before), normal(there)
        return pc.if_else(rows.is_valid(), there, before)

    return made


def _referred(frame: Frame, parent: Dataset, names: Sequence[str], mine: Any) -> pa.Array:
    """For each row the parent's record that it refers to, null for none: the first that fits."""
    found = np.full(frame.size, -1, np.int64)
    variables, values = frame.plain("IDVAR"), normal(frame.plain("IDVARVAL"))
    keys = [name for name in names if name in parent.names]
    by_subject = [(frame.column(name), parent.column(name)) for name in keys]
    for variable in pc.unique(variables.cast(TEXT)).to_pylist():
        here = mine & pc.fill_null(pc.equal(variables, variable), False).to_numpy(zero_copy_only=False)
        if variable not in parent.names or not here.any():
            continue
        at = np.flatnonzero(here)
        rows = pa.array(at)
        left = [*(take(own, rows) for own, _ in by_subject), take(values, rows)]
        right = [*(other for _, other in by_subject), normal(parent.column(variable))]
        own, partner = inner(left, len(at), right)
        first = np.unique(own.to_numpy(), return_index=True)
        found[at[first[0]]] = partner.to_numpy()[first[1]]
    return pa.array(found, mask=found < 0)
