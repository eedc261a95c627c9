"""What a rule puts beside the rows it judges: other datasets, supplemental qualifiers, related records."""

from fhirspace.sdtm.rules.joins.datasets import join

__all__ = ["join"]
