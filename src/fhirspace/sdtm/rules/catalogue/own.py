"""The rules that come with fhirspace: ``mappings/rules/*.yml``, several in a file."""

from __future__ import annotations

from functools import cache

from fhirspace.sdtm.rules.model import Rule, load_all
from fhirspace.template.folders import shipped

_CONSISTENCY = "consistency.yml"


@cache
def consistency() -> tuple[Rule, ...]:
    """Those of them that every check of datasets asks. Raises MappingError: the file is wrong."""
    return tuple(load_all(shipped() / "rules" / _CONSISTENCY))


@cache
def rules() -> tuple[Rule, ...]:
    """All of them, by file and place in it. Raises MappingError: a file is wrong."""
    return tuple(rule for file in sorted((shipped() / "rules").glob("*.yml")) for rule in load_all(file))
