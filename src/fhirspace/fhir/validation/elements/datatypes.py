"""The checks of data types with rules beyond their elements: extensions, and types with a code and a system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhirspace.fhir.validation.elements import codes
from fhirspace.fhir.validation.elements.findings import ADVICE, Finding
from fhirspace.fhir.validation.elements.objects import ObjectCheck


class ExtensionCheck(ObjectCheck):
    """The check of an extension: a value or further extensions, and what its definition says."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Exactly one of value[x] and extension (ext-1); what a definition that is known says."""
        found = super().whole(value) or []
        values = [name for name in value if name.startswith(("value", "_value"))]
        if bool(values) == ("extension" in value):
            found.append(("", "FS422", "either value[x] or extension"))
        url = value.get("url")
        if type(url) is not str or self._checker.registry.extension(url) is None:
            return found
        judged = self._checker.registry.judge(value, url) or ()
        found += (each for each in judged if self._checker.full or each[1] not in ADVICE)
        return [*found, *self._parts(value, url)]

    def _parts(self, value: Mapping[str, Any], url: str) -> Iterable[Finding]:
        """Parts with a name that the definition has not: no slice of it is closed, yet nobody else can define them."""
        published = self._checker.definitions.extensions.get(url)
        parts = value.get("extension")
        if published is None or not published.parts or type(parts) is not list:
            return
        for place, part in enumerate(parts):
            name = part.get("url") if isinstance(part, dict) else None
            if isinstance(name, str) and ":" not in name and name not in published.parts:
                yield f"extension[{place}].url", "FS423", f"one of {', '.join(published.parts)}"


class CodingCheck(ObjectCheck):
    """The check of a Coding or Quantity: a complete code system has its code."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also that the code is one of its system, where that is complete."""
        found = super().whole(value)
        more = codes.unknown(value, self._checker.registry)
        return [*(found or ()), *more] if more else found


KINDS: dict[str, type[ObjectCheck]] = {
    "Extension": ExtensionCheck,
    **dict.fromkeys(("Coding", "Quantity", "SimpleQuantity", "Age", "Count", "Distance", "Duration"), CodingCheck),
}
"""By the names of the types."""
