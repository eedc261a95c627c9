"""Systems of our own in tags and identifiers of resources."""

from __future__ import annotations

from typing import Final

OWN: Final = "https://fhirspace.org/"
"""What every system of ours begins with."""

TAG_SYSTEM: Final = f"{OWN}study"
VERSION: Final = f"{OWN}version"
