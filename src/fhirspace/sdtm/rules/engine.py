"""Runs a rule over a study: for each dataset in its scope the rows at fault, or why the rule says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.rules import operations
from fhirspace.sdtm.rules.errors import CannotRun, MissingColumn, MissingDataset
from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.joins import join
from fhirspace.sdtm.rules.model import OPTIONS, Check, Group, Rule
from fhirspace.sdtm.rules.operators import OPERATORS
from fhirspace.sdtm.rules.scope import applies
from fhirspace.sdtm.rules.study import Dataset, Study
from fhirspace.sdtm.rules.tables import BUILDERS, Builder
from fhirspace.sdtm.rules.values import Lists, every

PRESENCE = "Domain Presence Check"
_FOREIGN = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError, pa.ArrowException
)  # fmt: skip
"""What a rule of any shape may cause: its values are of no known type. The rule is reported, and the others run."""
_WITHOUT = frozenset({"exists", "not_exists", "is_unique_set", "is_not_unique_set"})
"""Operators that answer also where the variable is not there."""
VALUES = "Value Check with Variable Metadata"


@dataclass(frozen=True, slots=True)
class Fault:
    """The rows of a dataset that a rule flags: the frame of its check, and their places in it."""

    dataset: Dataset
    frame: Frame
    rows: pa.Array

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.rows)


@dataclass
class Outcome:
    """What a rule says of a study. `errors`: the datasets it could not judge, and why; `judged`: those it could."""

    rule: Rule
    faults: list[Fault] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    judged: list[str] = field(default_factory=list)


class Engine:
    """Runs rules over one study; rows that were prepared for a rule are there for the next."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._frames: dict[tuple[str, ...], list[Frame]] = {}

    def run(self, rule: Rule) -> Outcome:
        """A rule over all datasets of its scope. A rule that cannot be run never raises: `Outcome.errors` says why."""
        outcome = Outcome(rule)
        builder = BUILDERS.get(rule.kind)
        if builder is None:
            outcome.errors["*"] = f"rules of the type `{rule.kind}` are not supported"
            return outcome
        if rule.unsupported:
            outcome.errors["*"] = f"not supported: {', '.join(rule.unsupported)}"
            return outcome
        done = set[str]()
        for dataset in self._study.datasets.values():
            if dataset.whole in done and not rule.domains.split:
                continue  # judged with the first part of its domain, or with it out of scope
            done.add(dataset.whole)
            if applies(rule, dataset, self._study):
                self._judge(rule, builder, dataset, outcome)
        return outcome

    def _judge(self, rule: Rule, builder: Builder, dataset: Dataset, outcome: Outcome) -> None:
        try:
            faults = list(self._faults(rule, builder, dataset))
        except CannotRun as error:
            outcome.errors[dataset.name] = str(error)
        except MissingColumn as error:
            outcome.skipped[dataset.name] = f"no variable {error}"
        except MissingDataset as error:
            outcome.skipped[dataset.name] = f"no dataset {error}"
        except _FOREIGN as error:
            outcome.errors[dataset.name] = f"the rule does not fit the data ({type(error).__name__})"
        else:
            outcome.judged.append(dataset.name)
            outcome.faults += faults

    def _faults(self, rule: Rule, builder: Builder, dataset: Dataset) -> Iterator[Fault]:
        parts = [dataset] if rule.domains.split else self._study.parts(dataset)
        for plain in self._prepared(rule.kind, builder, parts):
            frame = reduce(
                lambda before, work: operations.apply(before, work, self._study),
                rule.operations,
                join(plain, rule, self._study),
            )
            rows = pc.indices_nonzero(_flags(rule.check, frame)).cast(pa.int64()) if frame.size else []
            if len(rows):
                fault = Fault(dataset, frame, rows)
                targets(fault, rule)  # reads their columns, which may be no numbers as they should be
                yield fault

    def _prepared(self, kind: str, builder: Builder, parts: Sequence[Dataset]) -> Iterable[Frame]:
        if builder is BUILDERS[VALUES]:  # a frame for each variable: together they would be as large as the study
            return builder(parts, self._study)
        key = (kind, *(part.name for part in parts))
        if key not in self._frames:
            self._frames[key] = list(builder(parts, self._study))
        return self._frames[key]


def _flags(check: Group, frame: Frame) -> pa.Array:
    """The flags of a whole check. Where all conditions must be true, the rest is not looked at once no row is left."""
    if check.kind != "all":
        return evaluate(check, frame)
    flags = every(True, frame.size)
    for at, each in enumerate(check.checks):
        flags = pc.and_(flags, evaluate(each, frame))
        if not pc.any(flags).as_py():
            for other in check.checks[at + 1 :]:
                _require(other, frame)
            break
    return flags


def _require(check: Check | Group, frame: Frame) -> None:
    """Raises MissingColumn where a condition looks at a variable that is not there, as its operator would."""
    if isinstance(check, Check) and check.operator not in _WITHOUT and not frame.has(frame.resolve(check.name)):
        raise MissingColumn(check.name)


def evaluate(check: Check | Group, frame: Frame) -> pa.Array:
    """The flags of a condition. Raises MissingColumn, and CannotRun: an unknown operator, or what it does not allow."""
    if isinstance(check, Group):
        return _group(check, frame)
    function = OPERATORS.get(check.operator)
    if function is None:
        raise CannotRun(f"the operator `{check.operator}` is not supported")
    if unknown := sorted(check.options.keys() - OPTIONS):
        raise CannotRun(f"`{check.operator}` with `{unknown[0]}` is not supported")
    key = repr(check)
    if key not in frame.memo:
        flags = function(frame, check)
        frame.memo[key] = flags.combine_chunks() if isinstance(flags, pa.ChunkedArray) else flags
    return frame.memo[key]


def _group(group: Group, frame: Frame) -> pa.Array:
    if group.kind == "not":
        return pc.invert(evaluate(group.checks[0], frame))
    if group.kind == "all":
        return reduce(pc.and_, (evaluate(each, frame) for each in group.checks))
    found, missing = every(False, frame.size), list[str]()
    for each in group.checks:
        try:
            found = pc.or_(found, evaluate(each, frame))
        except MissingColumn as error:
            missing.append(str(error))
    if len(missing) == len(group.checks):
        raise MissingColumn(", ".join(dict.fromkeys(missing)))
    return found


def targets(fault: Fault, rule: Rule) -> list[str]:
    """The variables that a finding shows: those of the outcome, or those that the check looks at, each once."""
    frame = fault.frame
    names = rule.output or tuple(check.name for check in rule.check.leaves())
    prefix = frame.dataset.prefix
    found = list(
        dict.fromkeys(name.replace("--", prefix, 1) if rule.output else name.replace("--", prefix) for name in names)
    )
    for name in tuple(found):
        column = frame.column(name) if frame.has(name) else None
        if isinstance(column, Lists):
            listed = (item for row in fault.rows.to_pylist()[:1] for item in column.at(row) or ())
            found += [item for item in listed if isinstance(item, str) and frame.has(item) and item not in found]
    return found


def cell(frame: Frame, name: str, row: int) -> Any:
    """One value of a row, None for none."""
    column = frame.column(name)
    return column.at(row) if isinstance(column, Lists) else column[row].as_py()
