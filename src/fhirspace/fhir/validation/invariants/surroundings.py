"""What is around an object that is judged: its resource, the one that contains it, where references lead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fhirspace.fhir.references import parsed
from fhirspace.fhir.validation.invariants.items import Item, Model, UndecidedError


@dataclass(slots=True)
class Surroundings:
    """What an invariant may ask about beyond the object itself.

    Attributes:
        resource: the resource around the object (a contained one: itself); None where it is not known.
        root: the resource that contains it, else the same one.
        bundle: the Bundle around both, None without one.
        asked: whether an invariant asked for what is not known.
    """

    resource: dict[str, Any] | None = None
    root: dict[str, Any] | None = None
    bundle: dict[str, Any] | None = None
    asked: bool = False
    _entries: dict[str, Any] = field(default_factory=dict)

    def item(self, model: Model, *, root: bool = False) -> Item:
        """The resource, or the root, as an item. Raises UndecidedError where it is not known."""
        value = self.root if root else self.resource
        if value is None:
            self.asked = True
            raise UndecidedError
        return model.resource(value)

    def resolve(self, model: Model, address: str) -> Item | None:
        """The resource that a reference leads to, within the resource or its Bundle; None where it leads elsewhere."""
        if self.root is None:
            self.asked = True
            return None
        if address == "#":
            return model.resource(self.root)
        value = self._contained(address[1:]) if address[:1] == "#" else self._entry(address)
        return None if value is None else model.resource(value)

    def _contained(self, identity: str) -> Any:
        items = self.root.get("contained") if self.root is not None else None
        for item in items if type(items) is list else ():
            if type(item) is dict and item.get("id") == identity:
                return item
        return None

    def _entry(self, address: str) -> Any:
        entries = self.bundle.get("entry") if self.bundle is not None else None
        if type(entries) is list and not self._entries:
            for entry in entries:
                if type(entry) is dict and type(entry.get("fullUrl")) is str and type(entry.get("resource")) is dict:
                    self._entries.setdefault(entry["fullUrl"], entry["resource"])
                    named = parsed(entry["fullUrl"])
                    if named is not None and named.key:
                        self._entries.setdefault(named.key, entry["resource"])
        return self._entries.get(address.partition("/_history/")[0])
