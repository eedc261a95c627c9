"""The operations by name, and what each is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fhirspace.sdtm.rules.errors import CannotRun, MissingDataset
from fhirspace.sdtm.rules.frame import Frame, of_dataset, stacked
from fhirspace.sdtm.rules.model import Operation
from fhirspace.sdtm.rules.study import Dataset, Study
from fhirspace.sdtm.rules.values import Column


@dataclass(frozen=True, slots=True)
class Context:
    """What an operation works on: its parameters, the rows under judgement, and the study."""

    operation: Operation
    frame: Frame
    study: Study

    @property
    def domain(self) -> str:
        """The domain that the operation is about: its own `domain`, or that of the rows."""
        asked = self.operation.parameters.get("domain")
        if not isinstance(asked, str):
            return self.frame.dataset.whole
        related = self.frame.dataset.related
        return asked.replace("--", related) if asked.startswith(("SUPP", "SQ")) and related else asked

    @property
    def source(self) -> Frame:
        """The rows of that domain: those under judgement, or another dataset's. Raises MissingDataset."""
        if _first(self.frame) == self.domain:
            return self.frame
        found = self.study.first(self.domain)
        if found is None:
            raise MissingDataset(self.domain)
        return stacked([of_dataset(each) for each in self.study.named(found.whole)])

    @property
    def prefix(self) -> str:
        """What ``--`` stands for in the names of the operation."""
        asked = self.operation.parameters.get("domain")
        return asked if isinstance(asked, str) else self.frame.dataset.prefix

    def named(self, name: Any) -> str:
        """A variable's name with the prefix filled in. Raises CannotRun: the operation names none."""
        if not isinstance(name, str):
            raise CannotRun(f"`{self.operation.operator}` needs the name of a variable")
        return name.replace("--", self.prefix)

    @property
    def target(self) -> str:
        """The variable that the operation is about."""
        return self.named(self.operation.parameters.get("name"))

    @property
    def group(self) -> list[str]:
        """The variables that make groups; a computed list stands for what it lists."""
        names = self.operation.parameters.get("group") or ()
        return self.frame.expand(tuple(self.named(name) for name in names))

    @property
    def dataset(self) -> Dataset:
        """The dataset under judgement."""
        return self.frame.dataset


def _first(frame: Frame) -> str | None:
    """The domain that the first row names; rows about variables or datasets name none."""
    if not frame.size or not frame.has("DOMAIN"):
        return None
    cell = frame.plain("DOMAIN")[0].as_py()
    return None if cell is None else str(cell)


Work: TypeAlias = Callable[[Context], Column]
OPERATIONS: dict[str, Work] = {}
"""Every operation by the name that rules use."""


def operation(name: str) -> Callable[[Work], Work]:
    """Registers an operation."""

    def register(function: Work) -> Work:
        OPERATIONS[name] = function
        return function

    return register


def apply(frame: Frame, work: Operation, study: Study) -> Frame:
    """The frame with the result of an operation as a column. Raises CannotRun, MissingColumn or MissingDataset."""
    function = OPERATIONS.get(work.operator)
    if function is None:
        raise CannotRun(f"the operation `{work.operator}` is not supported")
    return frame.with_column(work.id, function(Context(work, frame, study)))
