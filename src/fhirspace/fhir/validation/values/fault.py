"""What a rule of a value returns."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A rule that a value breaks. Attributes: the key of the rule (``txt-1``, ``ucum``), and what was expected."""

    key: str
    expected: str
