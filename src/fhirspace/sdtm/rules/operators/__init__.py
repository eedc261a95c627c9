"""What a condition can ask of a row. `OPERATORS` has them by name; the modules register theirs when imported."""

from fhirspace.sdtm.rules.operators import dates, equality, membership, order, presence, sets, text
from fhirspace.sdtm.rules.operators.registry import OPERATORS

__all__ = ["OPERATORS", "dates", "equality", "membership", "order", "presence", "sets", "text"]
