"""The file NOTICE: where the facts come from that this package holds, and on which terms."""

from __future__ import annotations

from pathlib import Path

import fhirspace

_NAME = "NOTICE"


def notices() -> str:
    """The text of the file: in an installed package beside its modules, in a checkout at the top. ASCII only."""
    package = Path(fhirspace.__file__).parent
    inside = package / _NAME
    return (inside if inside.is_file() else package.parents[1] / _NAME).read_text("ascii")
