"""Values that a rule computes before its check. `OPERATIONS` has them by name; the modules register theirs."""

from fhirspace.sdtm.rules.operations import data, library, metadata
from fhirspace.sdtm.rules.operations.registry import OPERATIONS, Context, apply

__all__ = ["OPERATIONS", "Context", "apply", "data", "library", "metadata"]
