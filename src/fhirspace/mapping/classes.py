"""Class mappings: what all datasets of an observation class have in common (``classes/*.yaml``), and ``extends:``.

A domain mapping that extends a class says only what differs: constants of ``let:``, elements of a resource, the head.
A dataset for which nobody wrote a file is mapped by its class, which its topic variable shows (``--TESTCD``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from fhirspace.errors import MappingError, Place
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.syntax import circle

_JOINED: Final = frozenset({"let", "codes", "forms"})
"""Parts of the head whose entries are overridden one by one."""
_OF_A_CLASS: Final = ("class", "topic")


class Classes:
    """The classes of mapping folders, later ones winning.

    Raises:
        MappingError: FS321, a file of ``classes/`` names no class.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._documents: dict[str, nodes.Map] = {}
        self.files: dict[str, str] = {}
        for path in (path for folder in folders for path in sorted((folder / "classes").glob("*.yaml"))):
            for document in nodes.load(path):
                name = document.get("class")
                if not isinstance(name, nodes.Text):
                    hint = "a name, as in `class: events`"
                    raise MappingError("FS321", Place(path.name, document.line, "class"), hint)
                self._documents[name.text], self.files[name.text] = document, path.name

    def extended(self, document: nodes.Map, file: str, below: tuple[str, ...] = ()) -> nodes.Map:
        """A document with what its class gives where it says nothing itself; the same one if it extends none.

        Raises:
            MappingError: FS306, there is no such class; FS303, a class extends itself.
        """
        base = document.get("extends")
        if base is None:
            return document
        if not isinstance(base, nodes.Text) or base.text not in self._documents:
            known = ", ".join(sorted(self._documents))
            raise MappingError("FS306", Place(file, base.line, "extends"), f"one of the classes {known}")
        if base.text in below:
            raise MappingError("FS303", Place(file, base.line, "extends"), detail=circle(base.text, below))
        whole = self.extended(self._documents[base.text], self.files[base.text], (*below, base.text))
        return _over(whole.without(*_OF_A_CLASS), document.without("extends"))

    def of(self, prefix: str, columns: Collection[str]) -> str | None:
        """The class of a dataset without a mapping of its own: the one whose topic and key are among its columns.

        A class whose topic is no variable of the domain's own (DOMAIN) takes what no other class does.
        """
        for name, document in sorted(self._documents.items(), key=lambda item: not _topics(item[1], "--")):
            if any(each in columns for each in _topics(document, prefix)) and _key(document, prefix) <= set(columns):
                return name
        return None

    def document(self, name: str, dataset: str) -> nodes.Map:
        """The mapping of a dataset that has nothing of its own beside its class."""
        line = self._documents[name].line
        head = (("domain", dataset), ("extends", name))
        return nodes.Map(tuple((nodes.Text(key, line), nodes.Text(text, line)) for key, text in head), line)

    def making(self, resource: str) -> str | None:
        """The class whose rows a resource of a type can be, if a dataset of no file wrote it."""
        return next((name for name, document in self._documents.items() if _makes(document, resource)), None)


def _topics(document: nodes.Map, prefix: str) -> list[str]:
    """The topic variables of a class; with ``--`` as the prefix only those of the domain's own."""
    found = [text for node in (document.get("topic"),) if node is not None for text in _texts(node)]
    own = [text.replace("--", prefix) for text in found if text.startswith("--")]
    return own if prefix == "--" else [*own, *(text for text in found if not text.startswith("--"))]


def _key(document: nodes.Map, prefix: str) -> set[str]:
    node = document.get("key")
    return {text.replace("--", prefix) for text in (_texts(node) if node else ())}


def _texts(node: nodes.Node) -> list[str]:
    items = node.items if isinstance(node, nodes.Seq) else (node,)
    return [item.text for item in items if isinstance(item, nodes.Text)]


def _makes(document: nodes.Map, resource: str) -> bool:
    return document.get("topic") is not None and any(resource in key.text.split("|") for key, _ in document.items)


def _over(base: nodes.Map, own: nodes.Map) -> nodes.Map:
    """A map whose entries are those of `own`, and those of `base` that it lacks; resources and constants joined."""
    more = {key.text: node for key, node in own.items}
    items: list[tuple[nodes.Text, nodes.Node]] = []
    for key, node in base.items:
        found = more.pop(key.text, None)
        if found is None:
            items.append((key, node))
        elif isinstance(node, nodes.Map) and isinstance(found, nodes.Map) and _parts(key.text):
            items.append((key, nodes.Map(tuple(_each(node, found)), found.line)))
        else:
            items.append((key, found))
    return nodes.Map((*items, *((key, node) for key, node in own.items if key.text in more)), own.line)


def _parts(key: str) -> bool:
    """Whether entries below a key are overridden one by one: constants, code lists, forms, elements of a resource."""
    return key in _JOINED or key[:1].isupper() or key.startswith(("item ", "-|"))


def _each(base: nodes.Map, own: nodes.Map) -> Iterable[tuple[nodes.Text, nodes.Node]]:
    more = {key.text: (key, node) for key, node in own.items}
    for key, node in base.items:
        yield more.pop(key.text, (key, node))
    yield from more.values()
