"""The versions of fhirspace and of the mapping language, in the one place where they are written."""

__version__ = "0.1.0"

MAPPING_LANGUAGE = 1
"""The newest version of the mapping language that this fhirspace reads; see docs/stability.md."""
