"""The operators of conditions by name: each takes the rows and a condition and gives a flag for every row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.model import Check

Operator: TypeAlias = Callable[[Frame, Check], pa.Array]
OPERATORS: dict[str, Operator] = {}
"""Every operator by the name that rules use."""


def about(function: Operator, text: str) -> Operator:
    """The operator with a docstring: those made by a function have none of their own; the reference shows it."""
    function.__doc__ = text
    return function


def operator(name: str, opposite: str = "") -> Callable[[Operator], Operator]:
    """Registers an operator, and its opposite, which is true exactly where the operator is not."""

    def register(function: Operator) -> Operator:
        OPERATORS[name] = function
        if opposite:
            OPERATORS[opposite] = about(lambda frame, check: pc.invert(function(frame, check)), f"Not `{name}`.")
        return function

    return register
