"""Systems of our own in tags and identifiers of resources."""

from __future__ import annotations

from typing import Final

TAG_SYSTEM = "https://fhirspace.org/study"


VERSION: Final = "https://fhirspace.org/version"
