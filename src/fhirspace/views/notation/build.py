"""From YAML to views: each document of a file read and checked against HL7's definitions of a release."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from fhirspace.errors import MappingError
from fhirspace.forms.cells import CellReader
from fhirspace.standards.fhir import Release, definitions
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codelists import CodeLists
from fhirspace.template.slots import Cond
from fhirspace.template.syntax import Conditions
from fhirspace.views.definition.model import Definition
from fhirspace.views.notation.address import Address, AddressError, address_of
from fhirspace.views.notation.check import WrongAddressError, checked, walk
from fhirspace.views.notation.model import Computed, Merge, View

VIEW: Final = ("view", "of", "when", "each", "columns", "merge", "left", "subject", "never", "let", "codes")
_EACH: Final = re.compile(r"(?P<name>\w+)(?:\s*(?P<own>\||\band\b)\s*\.)?")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_COLUMN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SUBJECTS: Final = ("subject", "patient", "individual")
_COMPUTED: Final = {
    "visit": ("visit", "visit number"),
    "phase": ("phase",),
    "enrolment": ("enrolment",),
    "least": ("least",),
    "greatest": ("greatest",),
    "item": ("item",),
    "unless": ("unless",),
}
_MERGE: Final = ("by", "least", "greatest")


class _ViewConditions(Conditions):
    """Conditions on columns and addresses: ``category.coding[system=$cat].code is laboratory``, ``rxnorm in LIST``."""

    TOKEN: ClassVar = re.compile(
        r"\s*(?:'(?P<quoted>[^']*)'|(?P<word>\^?[\w.~/+:-]+(?:(?<=\w)\[[^\[\]]*\][\w.]*)*)|(?P<mark>[()\[\],]))"
    )
    COLUMN: ClassVar = re.compile(r"\^?[A-Za-z_].*")
    lists: CodeLists
    place: tuple[str, int]

    def _values(self) -> Iterator[str]:
        """The values after ``in``: a list in brackets, or all cells of a code list."""
        if self._peek() == "[":
            yield from super()._values()
        else:
            yield from self.lists.cells(self._next().removeprefix("'"), self.place)


@dataclass(slots=True)
class Scope:
    """What all views of a folder see: constants, code lists, status codes of which no record is made."""

    lets: dict[str, nodes.Node] = field(default_factory=dict)
    lists: CodeLists = field(default_factory=CodeLists)
    never: dict[str, frozenset[str]] = field(default_factory=dict)


class ViewReader(CellReader):
    """Reads the views of one file.

    Args:
        file: its name, for messages. scope: what all views see. release: to be read.
    """

    def __init__(self, file: str, scope: Scope, release: Release) -> None:
        super().__init__(file, scope.lists)
        self._scope, self._release, self._defs = scope, release, definitions(release)
        self._lets = dict(scope.lets)

    def head(self, document: nodes.Map) -> None:
        """Adds the constants of a document without a view to those of the file."""
        self._known(document, ("let",))
        self._lets |= {name.text: node for name, node in self._map(document, "let")}

    def read(self, document: nodes.Map) -> View:
        """One view. Raises MappingError with file, line, key and what was expected."""
        self._known(document, VIEW)
        self._lets |= {name.text: node for name, node in self._map(document, "let")}
        name, kind = self._plain(document.get("view"), "view"), self._plain(document.get("of"), "of")
        if not _NAME.fullmatch(name):
            raise self._error("FS373", document.line, "view", "a name of small letters, digits and _")
        if kind not in self._defs.resources:
            near = " or ".join(self._defs.suggest(kind)) or f"a resource type of {self._release}"
            raise self._error("FS371", document.line, "of", near)
        each, own = self._each(document, kind)
        made = View(name, kind, self._file, document.line, each=each, own=bool(own), also=own == "and")
        made = replace(made, subject=self._subject(document, kind))
        made = self._with_columns(document, made)
        return self._conditioned(document, replace(made, merge=self._merge(document, made)))

    def defined(self, definition: Definition, file: str) -> View:
        """The view of a ViewDefinition: its subject and the status codes of which no record is made are as of others.

        Args:
            definition: it. file: where it was read.
        """
        found = self._subject(nodes.Map((), 0), definition.resource)
        return View(
            definition.name, definition.resource, file, 1, subject=found, never=self._scope.never, definition=definition
        )

    def never(self, document: nodes.Map) -> dict[str, frozenset[str]]:
        """``never: {status: [draft, on-hold]}``: status elements and codes."""
        return {name.text: frozenset(self._listed(node, name)) for name, node in self._map(document, "never")}

    def _listed(self, node: nodes.Node, name: nodes.Text) -> Iterator[str]:
        for item in node.items if isinstance(node, nodes.Seq) else (node,):
            yield self._plain(item if isinstance(item, nodes.Text) else None, name.text)

    def _merge(self, document: nodes.Map, view: View) -> Merge | None:
        """``merge: {by: [visitnum], least: [start], greatest: [end]}``: columns of the view."""
        given = self._map(document, "merge")
        if not given:
            return None
        found = {name.text: tuple(self._listed(node, name)) for name, node in given}
        for name, node in given:
            wrong = [each for each in found[name.text] if each not in view.columns]
            if name.text not in _MERGE or wrong or not found.get("by"):
                hint = "`by: [COLUMN]`, `least: [COLUMN]`, `greatest: [COLUMN]` with columns of this view"
                raise self._error("FS373", node.line, "merge", hint)
        return Merge(**found)

    def _each(self, document: nodes.Map, kind: str) -> tuple[str, str]:
        """The element whose items make records; how the resource itself makes one: ``|`` without items, ``and``."""
        node = document.get("each")
        if node is None:
            return "", "|"
        found = _EACH.fullmatch(self._plain(node, "each").strip())
        known = self._defs.children(kind)
        element = known.get(found["name"]) if found else None
        if found is None or element is None or not element.is_list or element.primitive:
            lists = ", ".join(name for name, each in known.items() if each.type == "BackboneElement" and each.is_list)
            hint = f"`each: NAME`, `each: NAME | .` or `each: NAME and .` with one of {lists or 'no element'}"
            raise self._error("FS373", node.line, "each", hint)
        return found["name"], found["own"] or ""

    def _subject(self, document: nodes.Map, kind: str) -> Address | None:
        node = document.get("subject")
        known = self._defs.children(kind)
        default = next((name for name in _SUBJECTS if name in known), "")
        if kind == "Patient" or (node is None and not default):
            return None
        text = self._filled(node) if isinstance(node, nodes.Text) else default
        try:
            address = address_of(text)
            ends = [walk(way.steps, kind, self._defs) for way in address.alternatives]
        except (AddressError, WrongAddressError) as error:
            raise self._error("FS371", document.line, "subject", error.expected) from None
        if any(end.type != "Reference" for end in ends):
            raise self._error("FS372", document.line, "subject", "an element of the type Reference")
        return address

    def _with_columns(self, document: nodes.Map, view: View) -> View:
        columns: dict[str, Address | Computed] = {}
        times = set[str]()
        for name, node in self._map(document, "columns"):
            if not _COLUMN.fullmatch(name.text):
                raise self._error("FS373", name.line, name.text, "letters, digits and _ as the name of a column")
            value = self._resolve(node)
            if isinstance(value, nodes.Map):
                columns[name.text] = self._computed(value, name, view)
                continue
            address, timed = self._address(self._text(value, name.text), view, node.line, name.text)
            columns[name.text] = address
            times |= {name.text} if timed else set()
        for name, _ in self._map(document, "columns"):
            made = columns[name.text]
            needed = (
                {
                    "visit": ("column",),
                    "visit number": ("column",),
                    "phase": ("column",),
                    "unless": ("column", "other"),
                }.get(made.kind, ())
                if isinstance(made, Computed)
                else ()
            )
            if any(not isinstance(columns.get(getattr(made, each)), Address) for each in needed):
                raise self._error("FS373", name.line, name.text, "a column of this view with an address")
        return replace(view, columns=columns, times=frozenset(times))

    def _text(self, node: nodes.Node, key: str) -> str:
        if not isinstance(node, nodes.Text):
            raise self._error("FS373", node.line, key, "an address, or one of " + ", ".join(_COMPUTED))
        return self._filled(node)

    def _computed(self, node: nodes.Map, name: nodes.Text, view: View) -> Computed:
        key, value = node.items[0] if node.items else (name, nodes.Text("", node.line))
        self._known(node, (*_COMPUTED, "give"))
        if key.text not in _COMPUTED:
            raise self._error("FS373", name.line, name.text, "one of " + ", ".join(_COMPUTED))
        text = self._plain(value, key.text)
        give = node.get("give")
        if key.text == "unless":
            return Computed("unless", text, other=self._plain(give, "give"))
        if give is not None and (key.text != "visit" or self._plain(give, "give") != "number"):
            raise self._error("FS373", node.line, "give", "`give: number` beside `visit:`")
        if key.text == "item" and text != view.each:
            raise self._error("FS373", name.line, name.text, "the element of `each:`, whose items are numbered")
        kind = "visit number" if give is not None else _COMPUTED[key.text][0]
        if kind in ("least", "greatest"):
            return self.extreme(kind, text, node.line)
        return Computed(kind, text)  # type: ignore[arg-type]  # one of the texts above

    def extreme(self, kind: str, text: str, line: int) -> Computed:
        """``{least: dose.start}``: the earliest date in a column of a view, by subject. Raises MappingError FS373."""
        view, dot, column = text.partition(".")
        if not dot:
            raise self._error("FS373", line, kind, "the column of a view, as in `least: dose.start`")
        return Computed(kind, column, view)  # type: ignore[arg-type]

    def _address(self, text: str, view: View, line: int, key: str, *, needed: bool = True) -> tuple[Address, bool]:
        """An address of a view, checked. With `each` it reads an item; a resource without items may not have it."""
        start = f"{view.of}.{view.each}" if view.each else view.of
        try:
            made, timed = checked(address_of(text), start, self._release, view.of if view.each else "", needed=needed)
        except AddressError as error:
            raise self._error("FS370", line, key, error.expected) from None
        except WrongAddressError as error:
            raise self._error(error.code, line, key, error.expected) from None
        return made, timed

    def _conditioned(self, document: nodes.Map, view: View) -> View:
        """The view with its conditions, and the addresses that they name."""
        when = document.get("when")
        made = self._cond(when, "when") if when is not None else None
        left = tuple((name.text, self._cond(node, name.text)) for name, node in self._map(document, "left"))
        names = {name for each in (*([made] if made else []), *(cond for _, cond in left)) for name in each.columns()}
        addresses, times = dict[str, Address](), set(view.times)
        for name in sorted(names - view.columns.keys()):
            addresses[name], timed = self._address(name, view, document.line, name, needed=False)
            times |= {name} if timed else set()
        never = merged(self._scope.never, self.never(document))
        return replace(view, when=made, left=left, addresses=addresses, never=never, times=frozenset(times))

    def _cond(self, node: nodes.Node, key: str) -> Cond:
        if not isinstance(node, nodes.Text):
            raise self._error("FS317", node.line, key, "a condition as text")

        def fail(hint: str) -> MappingError:
            return self._error("FS317", node.line, key, hint)

        reader = _ViewConditions(self._filled(node), fail)
        reader.lists, reader.place = self._scope.lists, (self._file, node.line)
        return reader.parse()


def merged(one: Mapping[str, frozenset[str]], other: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The codes of two declarations ``never:`` together."""
    return {name: one.get(name, frozenset()) | other.get(name, frozenset()) for name in {**one, **other}}
