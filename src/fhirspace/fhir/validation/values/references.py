"""The form of a literal reference: relative, absolute, ``urn:``, fragment, with a version; nothing else.

Source: FHIR, "References" (literal references, absolute, relative, versioned, fragments).
"""

from __future__ import annotations

from collections.abc import Collection

from fhirspace.fhir.references import parsed
from fhirspace.fhir.validation.values import addresses


def named_type(text: str, resources: Collection[str]) -> str | None:
    """The resource type that a reference names.

    Args:
        text: the value of ``reference``, not a fragment (``#id``).
        resources: the resource types of the release.

    Returns:
        The type; "" where the text does not say (``urn:uuid:``, an address that is no RESTful one); None for a text
        that is no reference, such as ``Pateint/1``, ``Patient/an id``, ``/Patient/1``.
    """
    if addresses.uri(text):
        return None
    absolute = addresses.absolute(text)
    found = parsed(text)
    if found is not None and found.type in resources and (absolute or not found.base):
        return found.type
    return "" if absolute else None
