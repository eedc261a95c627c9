"""From YAML to the typed tree: ``let``, ``for``, release alternatives and lists resolved against HL7's definitions.

Each element is looked up in the definitions of its release while the tree is made, so that a name that does not
exist, a list that cannot be one, or a codec that does not fit its type is refused with its line and what was expected.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from fhirspace.mapping.elements import Elements, Scope
from fhirspace.mapping.model import (
    Arr,
    Attach,
    Block,
    Carried,
    Each,
    Mapping,
    Node,
    Obj,
    OneOf,
    Required,
    dynamic,
    slots,
)
from fhirspace.standards import sdtm, sdtm_model
from fhirspace.standards.fhir import Element
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.slots import Form, Leaf
from fhirspace.template.syntax import DATASET, Special, Syntax

_HEAD = ("domain", "extends", "key", "let", "codes", "carried", "forms", "attach", "item")
_OBJECT = 10
"""An object counts as so many nodes: more is looked up for it than for a text."""


class Builder(Elements):
    """Builds the tree of one document of a mapping file.

    Args:
        file: the file's name; definitions: HL7's, of the release; lists: code lists; lets: common constants;
        key: the key of ids; None: the site's.
    """

    def mapping(self, document: nodes.Map, dataset: str = "") -> Mapping:
        """The mapping of a document. Raises MappingError with file, line, key and what was expected.

        Args:
            document: with what its class gives (`classes.Classes.extended`).
            dataset: a split dataset of the domain, whose name takes the place of the domain's in `$domain`.
        """
        lets = dict(self._lets)
        local = self._map(document, "let")
        lets.update({name.text: node for name, node in local.items} if local else {})
        code = self._text(document, "domain", Scope(lets, {}))
        if not DATASET.fullmatch(code):  # it becomes a part of file names
            raise self._error("FS321", document.line, "domain", "the name of a dataset, as in `domain: AE`")
        domain = dataset or code
        lets["domain"] = nodes.Text(domain, document.line)
        if not domain.endswith("--"):
            document = nodes.prefixed_map(document, code[:2])
            lets = {name: nodes.prefixed(node, code[:2]) for name, node in lets.items()}
        if own := self._codes(document):
            self._syntax = Syntax(self._file, self._lists.including(own), self._key)
        scope = Scope(lets, {})
        attach = self._attach(document)
        blocks = tuple(self._blocks(document, scope))
        item = self._item(document, scope) if attach else None
        if not blocks and not item:
            raise self._error(
                "FS320", document.line, None, "a resource such as `Observation:`, or `attach:` with `item:`"
            )
        return Mapping(
            domain=domain, file=self._file, release=self._defs.release,
            key=tuple(self._words(document, "key", scope)), blocks=blocks, forms=self._forms(document, scope),
            carried=tuple(self._words(document, "carried", scope)), attach=attach, item=item,
            code=code if _has_domain(code) else "",
        )  # fmt: skip

    # -- the head of a document

    def _map(self, document: nodes.Map, key: str) -> nodes.Map | None:
        node = document.get(key)
        if node is None or isinstance(node, nodes.Map):
            return node
        raise self._error("FS321", node.line, key, "keys and values")

    def _text(self, document: nodes.Map, key: str, scope: Scope) -> str:
        node = document.get(key)
        if not isinstance(node, nodes.Text):
            raise self._error("FS321", document.line, key, f"a text, as in `{key}: AE`")
        return self._filled(node, scope)

    def _words(self, document: nodes.Map, key: str, scope: Scope) -> Iterator[str]:
        node = document.get(key)
        if node is None:
            return
        for item in self._spliced(node, scope):
            if not isinstance(item, nodes.Text):
                raise self._error("FS321", item.line, key, "a list of columns")
            yield self._filled(item, scope)

    def _spliced(self, node: nodes.Node, scope: Scope) -> Iterator[nodes.Node]:
        """The items of a list, those of a ``$name`` that is itself a list in its place; a single node as one item."""
        node, inside = self._resolve(node, scope)
        if not isinstance(node, nodes.Seq):
            yield node
            return
        for item in node.items:
            found, _ = self._resolve(item, inside)
            if isinstance(item, nodes.Text) and isinstance(found, nodes.Seq):
                yield from self._spliced(item, inside)
            else:
                yield item

    def _codes(self, document: nodes.Map) -> dict[str, dict[str, str]]:
        lists = self._map(document, "codes")
        made: dict[str, dict[str, str]] = {}
        for name, node in lists.items if lists else ():
            if not isinstance(node, nodes.Map) or not all(isinstance(code, nodes.Text) for _, code in node.items):
                raise self._error("FS321", name.line, name.text, "pairs of cell and code, as in `{Yes: Y, No: N}`")
            made[name.text] = {cell.text: code.text for cell, code in node.items if isinstance(code, nodes.Text)}
        return made

    def _forms(self, document: nodes.Map, scope: Scope) -> dict[str, tuple[Form, ...]]:
        columns = self._map(document, "forms")
        made: dict[str, tuple[Form, ...]] = {}
        for column, given in columns.items if columns else ():
            node, _ = self._resolve(given, scope)
            if not isinstance(node, nodes.Map):
                raise self._error(
                    "FS321", column.line, column.text, "forms and their patterns, as in `number: <value decimal>`"
                )
            made[column.text] = tuple(self._form(name, text) for name, text in node.items)
        return made

    def _form(self, name: nodes.Text, node: nodes.Node) -> Form:
        if not isinstance(node, nodes.Text):
            raise self._error("FS315", name.line, name.text, "a pattern such as <low decimal>-<high decimal>")
        return self._syntax.form(name.text, node.text, node.line)

    def _attach(self, document: nodes.Map) -> Attach | None:
        node = self._map(document, "attach")
        if node is None:
            return None
        scope = Scope(self._lets, {})
        self._known(node, ("to", "on", "order", "via"))
        via = tuple(self._words(node, "via", scope))
        if via and len(via) != 2:
            raise self._error("FS321", node.line, "via", "two columns, as in [IDVAR, IDVARVAL]")
        return Attach(
            self._text(node, "to", scope), tuple(self._words(node, "on", scope)),
            tuple(self._words(node, "order", scope)), (via[0], via[1]) if via else None,
        )  # fmt: skip

    def _item(self, document: nodes.Map, scope: Scope) -> Obj:
        """``item ELEMENT:``, or ``item R4 ELEMENT:`` where releases differ; the element gives the item's type."""
        for key, node in document.items:
            found = re.fullmatch(r"item(?: (R4|R5))? ([A-Za-z.|-]+)", key.text)
            if found is None or (found[1] or self._defs.release[:2]) != self._defs.release[:2]:
                continue
            parent, _, name = found[2].rpartition(".")
            element = self._element(parent, name, key.line)
            built = self._single(node, element, scope)
            if isinstance(built, Obj):
                return built
        raise self._error("FS320", document.line, "item", "`item Observation.extension:` and what each row puts there")

    # -- resources

    def _blocks(self, document: nodes.Map, scope: Scope) -> Iterator[Block]:
        for key, node in document.items:
            if key.text in _HEAD or key.text.startswith("item "):
                continue
            name = self._syntax.names(re.sub(r" as \w+$", "", key.text), key.line, self._defs.release)
            if name is None:
                continue
            if name not in self._defs.resources:
                near = difflib.get_close_matches(name, [*self._defs.resources, *_HEAD], 3, 0.6)
                raise self._error(
                    "FS322", key.line, key.text, " or ".join(near) or f"a resource of {self._defs.release}"
                )
            if not isinstance(node, nodes.Map):
                raise self._error("FS321", key.line, key.text, "elements and their values")
            root = self._object(node.without("one per", "when"), name, scope)
            if root is None or "id" not in dict(root.fields):
                raise self._error("FS323", key.line, name, "an `id`, as in `id: <USUBJID id>-AE-<AESEQ integer>`")
            once = tuple(self._words(node, "one per", scope))
            typed = Leaf((name,), "code", key.line)
            required = (*root.required, *_identity(dict(root.fields)["id"]))
            root = replace(root, fields=(("resourceType", typed), *root.fields), required=required)
            yield Block(name, root if once else repeatable(root), once, self._when(node, scope))

    def _object(
        self, node: nodes.Map, path: str, scope: Scope, *, always: bool = False, _option: bool = False
    ) -> Obj | None:
        """An object at a path of the definitions; None where this release has none of its fields."""
        fields: list[tuple[str, Node]] = []
        if path == "Resource" and isinstance(resource := node.get("resourceType"), nodes.Text):
            path, node = self._resource(resource), node.without("resourceType")
            fields.append(("resourceType", Leaf((path,), "code", resource.line)))
        for key, value in node.items:
            if key.text in {"when", "for"}:
                continue
            if re.fullmatch(r"one of(?: \w+)*", key.text):
                if (alternatives := self._one_of(key, value, path, scope)).options:
                    fields.append(("", alternatives))
                continue
            name = self._syntax.names(key.text, key.line, self._defs.release)
            if name is None:
                continue
            built = self._node(value, self._element(path, name, key.line), scope)
            if built is not None:
                if any(name == other for other, _ in fields):
                    raise self._error("FS302", key.line, name, "each element once in an object")
                fields.append((name, built))
        if not fields:
            return None
        required = () if _option else tuple(self._required(fields, path, node.line))
        return Obj(tuple(fields), node.line, path, self._when(node, scope), always, required)

    def _resource(self, name: nodes.Text) -> str:
        if name.text not in self._defs.resources:
            raise self._error("FS322", name.line, name.text, f"a resource of {self._defs.release}")
        return name.text

    def _required(self, fields: list[tuple[str, Node]], path: str, line: int) -> Iterator[Required]:
        """The elements that HL7 requires here and a row could leave out. Raises FS333 for one not in the template."""
        for label in sorted(self._defs.required(path)):
            names = frozenset(
                name for name, child in self._defs.children(path).items() if label in (name, child.choice)
            )
            having = [node for name, node in _flat(fields) if name in names]
            if not having:
                raise self._error(
                    "FS333", line, label, f"the element {label}, which {path} requires in {self._defs.release}"
                )
            if not any(name in names and not dynamic(node) for name, node in fields):
                columns = [slot.base for node in having for _, slot in slots(node)]
                yield Required(label, names, columns[0] if columns else "")

    def _one_of(self, key: nodes.Text, value: nodes.Node, path: str, scope: Scope) -> OneOf:
        value, scope = self._resolve(value, scope)
        if not isinstance(value, nodes.Seq):
            raise self._error("FS321", key.line, "one of", "a list of alternatives")
        options = [self._object(self._as_map(item, scope), path, scope, _option=True) for item in value.items]
        return OneOf(tuple(option for option in options if option is not None))

    def _node(self, node: nodes.Node, element: Element, scope: Scope) -> Node | None:
        """A value at an element: a list where the release has one, wrapped or unwrapped as it needs."""
        node, scope = self._resolve(node, scope)
        if element.is_list:
            items = [built for item in self._spliced(node, scope) for built in self._items(item, element, scope)]
            return Arr(tuple(items), node.line) if items else None
        if isinstance(node, nodes.Seq):
            expanded = [built for item in self._spliced(node, scope) for built in self._items(item, element, scope)]
            if len(expanded) > 1:
                raise self._error(
                    "FS324", node.line, element.name, f"one value: {element.path} is no list in {self._defs.release}"
                )
            return expanded[0] if expanded else None
        return self._single(node, element, scope)

    def _items(self, node: nodes.Node, element: Element, scope: Scope) -> Iterator[Obj | Leaf | Each | Carried]:
        node, scope = self._resolve(node, scope)
        if isinstance(node, nodes.Text) and (special := self._syntax.special(node.text, node.line)):
            yield self._special(special, element, node.line)
            return
        if isinstance(node, nodes.Map) and (inner := node.get("always")) is not None:
            self._known(node, ("always",))
            resolved, scope = self._resolve(inner, scope)
            built = self._object(self._as_map(resolved, scope), self._inside(element), scope, always=True)
            if built is not None:
                yield built
            return
        for variables in self._loop(node, scope):
            single = self._single(node, element, replace(scope, variables={**scope.variables, **variables}))
            if single is not None:
                yield single

    def _special(self, special: Special, element: Element, line: int) -> Each | Carried:
        if special.kind == "each":
            return Each(special.domain, self._inside(element))
        if element.type != "Extension":
            raise self._error("FS325", line, "<carried>", "a place in a list of extensions")
        return Carried()

    def _loop(self, node: nodes.Node, scope: Scope) -> Iterator[dict[str, str]]:
        """The values of ``for: {CODE VAR: [C1 AESDTH, C2 AESLIFE]}``, one dict a line; one empty dict without it."""
        loop = node.get("for") if isinstance(node, nodes.Map) else None
        if loop is None:
            yield {}
            return
        if not isinstance(loop, nodes.Map) or len(loop.items) != 1 or not isinstance(loop.items[0][1], nodes.Seq):
            raise self._error(
                "FS326", loop.line, "for", "variables and lines, as in {CODE VAR: [C48275 AESDTH, C84266 AESLIFE]}"
            )
        (names, lines) = loop.items[0]
        for line in lines.items if isinstance(lines, nodes.Seq) else ():
            words = (
                [item.text for item in line.items if isinstance(item, nodes.Text)]
                if isinstance(line, nodes.Seq)
                else line.text.split()
                if isinstance(line, nodes.Text)
                else []
            )
            if len(words) != len(names.text.split()):
                raise self._error("FS326", line.line, "for", f"a value for each of {names.text}")
            yield dict(zip(names.text.split(), words, strict=True))

    def _single(self, node: nodes.Node, element: Element, scope: Scope) -> Obj | Leaf | None:
        node, scope = self._resolve(node, scope)
        if element.primitive:
            if not isinstance(node, nodes.Text):
                raise self._error("FS327", node.line, element.name, f"a text or slot of type {element.type}")
            return self._leaf(node, element, scope)
        self._count(node.line, _OBJECT, scope)
        return self._object(self._as_map(node, scope, element), self._inside(element), scope.at(element))


def repeatable(root: Obj) -> Obj:
    """A resource whose id and first identifier can have the ordinal of a row (`Leaf.repeat`): decision 0023."""

    def changed(name: str, node: Node) -> Node:
        if name == "id" and isinstance(node, Leaf):
            return replace(node, repeat="-r")
        if name == "identifier" and isinstance(node, Arr):
            first = next((item for item in node.items if isinstance(item, Obj) and _system(item)), None)
            return replace(node, items=tuple(_numbered(item) if item is first else item for item in node.items))
        return _numbered(node) if name == "identifier" else node

    return replace(root, fields=tuple((name, changed(name, node)) for name, node in root.fields))


def _numbered(identifier: Any) -> Any:
    """An identifier whose system has the ordinal, and whose value may lack the last part of the key."""
    marks = {"system": "#", "value": ""}

    def changed(name: str, node: Node) -> Node:
        return replace(node, repeat=marks[name]) if name in marks and isinstance(node, Leaf) else node

    if not isinstance(identifier, Obj):
        return identifier
    return replace(identifier, fields=tuple((name, changed(name, node)) for name, node in identifier.fields))


def _system(item: Obj) -> str | None:
    system = dict(item.fields).get("system")
    return system.constant if isinstance(system, Leaf) else None


def _identity(node: Node) -> Iterator[Required]:
    """A row whose cells make no legal ``id`` is wrong: its resource could be neither sent nor referred to."""
    for _, slot in list(slots(node))[-1:]:
        yield Required("id", frozenset({"id"}), slot.base)


def _flat(fields: Iterable[tuple[str, Node]]) -> Iterator[tuple[str, Node]]:
    """Fields with those of the alternatives among them."""
    for name, node in fields:
        if isinstance(node, OneOf):
            for option in node.options:
                yield from _flat(option.fields)
        else:
            yield name, node


def _has_domain(dataset: str) -> bool:
    """Whether the rows of a dataset have the variable DOMAIN: not in relationships, nor in POOLDEF of the model."""
    if sdtm.known(dataset):
        return "DOMAIN" in sdtm.domain(dataset).names
    return dataset not in sdtm_model.DATASETS or "DOMAIN" in sdtm_model.DATASETS[dataset][1]
