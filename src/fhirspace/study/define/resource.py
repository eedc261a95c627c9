"""The define.xml of a package as FHIR: a Library whose content it is, so that it comes back with the datasets."""

from __future__ import annotations

from fhirspace.errors import InputError, Place, Problem
from fhirspace.idkey import IdKey
from fhirspace.sdtm.define.document import reading
from fhirspace.sdtm.define.document.writing import as_bytes
from fhirspace.sdtm.define.links import tidy
from fhirspace.sdtm.define.model import Define
from fhirspace.study.metadata.library import Content, content_of, library

SYSTEM = "https://fhirspace.org/define-xml"
_LONGEST = 16_000_000
"""Bytes of a define.xml that a resource can hold: a server would refuse more."""


def resource(define: Define, study: str, key: IdKey) -> bytes | Problem:
    """The Library with a define.xml, as a line of NDJSON; a Problem (FS451) where it is too large for a resource."""
    data = as_bytes(tidy(define))
    if len(data) > _LONGEST:
        return Problem("FS451", Place("define.xml"), f"at most {_LONGEST:,} bytes")
    content = Content("application/xml", data, f"Define-XML of the study {study}".strip())
    return library(SYSTEM, study or "study", content, study=study, key=key)


def found_in(raw: bytes, place: Place) -> Define | Problem | None:
    """The define.xml that a resource holds; None for any other resource, a Problem (FS449) where it cannot be used."""
    data = content_of(raw, SYSTEM)
    if data is None:
        return None
    try:
        return reading.parse(data, place.file)
    except InputError:
        return Problem("FS449", place, "a define.xml, as it was written")
