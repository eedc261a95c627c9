"""The versions of the guide and of controlled terminology that a study names, in its define.xml or in TS."""

from __future__ import annotations

import re
from collections import Counter

import pyarrow as pa

from fhirspace.sdtm import columns
from fhirspace.sdtm.define.model import Define
from fhirspace.tables.text import has

_GUIDES = ("SDTMIG", "STDTMIG")
"""Names of the guide; the second is misspelt in a published sample."""
_NUMBER = re.compile(r"\d+(\.\d+)*")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def guide(define: Define | None, parameters: pa.Table | None) -> str:
    """The version of SDTMIG that a define.xml names, or the parameter SDTIGVER of TS; "" for none."""
    for each in define.standards.values() if define else ():
        if each.type == "IG" and each.name in _GUIDES:
            return each.version
    cells = _cells(parameters, "TSPARMCD", "TSVAL")
    return next((value for code, value in cells if code == "SDTIGVER" and _NUMBER.fullmatch(value or "")), None) or ""


def terminology(define: Define | None, parameters: pa.Table | None) -> str:
    """The version of SDTM terminology that a define.xml names, or most of the codes in TS; "" for none."""
    standards = define.standards.values() if define else ()
    sets = [each for each in standards if each.type == "CT" and each.publishing_set in ("SDTM", "")]
    if sets:
        return sets[0].version
    cells = _cells(parameters, "TSVCDREF", "TSVCDVER")
    named = Counter(at for of, at in cells if (of or "").startswith("CDISC") and at and _DATE.fullmatch(at))
    return min(named, key=lambda at: (-named[at], at)) if named else ""


def _cells(table: pa.Table | None, *names: str) -> list[tuple[str | None, str | None]]:
    if table is None or not all(has(table, name) for name in names):
        return []
    first, second = (columns.text(table, name).to_pylist() for name in names)
    return list(zip(first, second, strict=True))
