"""Why a rule cannot be judged. None of these leaves the engine: it reports the rule with the reason."""

from __future__ import annotations


class MissingColumn(Exception):
    """The data have no variable that the rule looks at: the rule says nothing about this dataset."""


class MissingDataset(Exception):
    """The study has no dataset that an operation asks for: the rule says nothing about this dataset."""


class CannotRun(Exception):
    """The rule asks for what fhirspace does not have, or what the data do not allow. The text says what, no value."""
