"""Views as ViewDefinitions of SQL on FHIR, with what these cannot say.

References are not followed there: a column that does is left out, and the key of its resource is a column instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fhirspace.fhir.status import rules
from fhirspace.standards.fhir import Release, definitions
from fhirspace.template.slots import Cond
from fhirspace.views.definition.fhirpath import AbsentError, NoFhirPathError, condition, one_of, path, value
from fhirspace.views.notation.address import Address, Step
from fhirspace.views.notation.model import View

_RECORDS: Final = ("row", "finding")


@dataclass(slots=True)
class Exported:
    """A ViewDefinition, and what of the view it does not have: the name of the part, and why."""

    definition: dict[str, Any]
    lost: list[tuple[str, str]] = field(default_factory=list)


def exported(view: View, release: Release = "R4") -> Exported:
    """The ViewDefinition of a view. With conditions on items of ``each:`` these are in the path of its loop."""
    return _Export(view, release).made()


class _Export:
    def __init__(self, view: View, release: Release) -> None:
        self._view, self._known = view, definitions(release)
        self._lost: dict[str, str] = {}

    def made(self) -> Exported:
        """The definition."""
        found: dict[str, Any] = {"resourceType": "ViewDefinition", "name": self._view.name, "status": "active"}
        found |= {"fhirVersion": [self._known.version], "resource": self._view.of, "select": self._selects()}
        where = [*self._status(), *(() if self._view.each else self._conditions(item=False))]
        found |= {"where": [{"path": each} for each in where]} if where else {}
        if self._view.merge:
            self._lost["merge"] = "a definition makes a row of each resource"
        return Exported(found, list(self._lost.items()))

    def _selects(self) -> list[dict[str, Any]]:
        view = self._view
        if not view.each:
            return [{"column": list(self._columns(item=False))}]
        items = _filtered(view.each, [*self._conditions(item=True)])
        loop: dict[str, Any] = {"forEach": items, "column": list(self._columns(item=True))}
        if not view.own:
            return [loop]
        empty = [] if view.also else [f"{view.each}.empty()"]
        alone = _filtered("$this", [*empty, *self._conditions(item=False)])
        own = {each["name"]: each for each in self._columns(item=False)}
        columns = [own.get(each["name"], {"name": each["name"], "path": "{}"}) for each in loop["column"]]
        return [{"unionAll": [loop, {"forEach": alone, "column": columns}]}]

    def _columns(self, *, item: bool) -> Iterator[dict[str, Any]]:
        for name, address in self._view.columns.items():
            if not isinstance(address, Address):
                self._lost[name] = f"it is computed ({address.kind})"
                continue
            if any(way.back for way in address.alternatives):
                self._lost[name] = "it reads resources that refer to this one"
            elif any(way.then for way in address.alternatives):
                self._lost[name] = "it follows a reference, whose key is a column"
            try:
                text, kind = value(address, self._view, self._known, item=item)
                yield {"name": name, "path": text, "type": kind}
            except NoFhirPathError:
                pass
            yield from self._key(name, address, item=item)

    def _key(self, name: str, address: Address, *, item: bool) -> Iterator[dict[str, Any]]:
        """The key of the resource that a column reads through a reference."""
        way = next((way for way in address.alternatives if way.then and not way.back), None)
        if way is None or way.then is None or way.then.then is not None:
            return
        inside = item and not way.up
        start = f"{self._view.of}.{self._view.each}" if inside else self._view.of
        text, _ = path(way.steps, start, self._known)
        text = f"%resource.{text}" if item and way.up else text
        yield {"name": f"{name}_key", "path": f"{text}.first().getReferenceKey({way.target})", "type": "id"}

    def _conditions(self, *, item: bool) -> Iterator[str]:
        """What must hold: that the view claims it, and that no reason to leave it does."""
        view = self._view
        yield from self._translated("when", view.when, item=item) if view.when else ()
        for reason, cond in view.left:
            yield from self._translated(reason, Cond("not", args=(cond,)), item=item)

    def _translated(self, name: str, cond: Cond, *, item: bool) -> Iterator[str]:
        try:
            yield condition(cond, self._view, self._known, item=item)
        except NoFhirPathError as error:
            self._lost[name] = str(error)
            return
        if back := next((each for each in cond.columns() if self._reads_back(each)), None):
            self._lost[name] = f"{back} reads resources that refer to this one: taken as empty"

    def _reads_back(self, column: str) -> bool:
        address = self._view.addresses.get(column) or self._view.columns.get(column)
        return isinstance(address, Address) and any(way.back for way in address.alternatives)

    def _status(self) -> Iterator[str]:
        """The status codes of which records are made; an element that is absent says nothing against it."""
        never: Mapping[str, frozenset[str]] = self._view.never
        found = {name: list(outcomes) for name, outcomes in self._record_codes()}
        for name, codes in found.items():
            known = self._code_path(name)
            allowed = sorted(set(codes) - never.get(name, frozenset()))
            if known is not None and allowed and set(allowed) != {"true", "false"}:
                yield f"{known}.where(({one_of(allowed)}).not()).empty()"
        for name, left in never.items():
            known = self._code_path(name)
            if name not in found and known is not None:
                yield f"{known}.where({one_of(left)}).empty()"

    def _record_codes(self) -> Iterator[tuple[str, list[str]]]:
        for name, outcomes in rules().get(self._view.of, {}).items():
            yield name, [code for code, outcome in outcomes.items() if outcome in _RECORDS]

    def _code_path(self, name: str) -> str | None:
        """The path to the codes of a status element; None if this release does not have it."""
        try:
            text, element = path((Step(each) for each in name.split(".")), self._view.of, self._known)
        except AbsentError:
            return None
        if element is not None and element.type == "boolean":
            return f"{text}.select($this.toString())"
        return f"{text}.coding.code" if element is not None and element.type == "CodeableConcept" else text


def _filtered(items: str, conditions: list[str]) -> str:
    return f"{items}.where({' and '.join(conditions)})" if conditions else items
