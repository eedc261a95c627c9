"""YAML with every scalar as text and every node with its line: the syntax of a mapping file.

No scalar is ever read as a number, a date or a truth value (``NO`` is a country, ``007`` is a label), a key may occur
once only, and an alias that contains itself is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from fhirspace.errors import MappingError, Place
from fhirspace.limits import allowed, limit
from fhirspace.version import MAPPING_LANGUAGE

VERSION_KEY: Final = "fhirspace"
"""The key of a mapping file that names the version of the mapping language; without it, version 1."""

_SMALL: Final = 65536
"""The longest text whose documents are remembered: many libraries read the shipped files."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar: its text and its line."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Seq:
    """A list of nodes."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Map:
    """Keys and nodes, in the order of the file."""

    items: tuple[tuple[Text, Node], ...]
    line: int

    def get(self, key: str) -> Node | None:
        """The node of a key, or None."""
        return next((node for name, node in self.items if name.text == key), None)

    def without(self, *keys: str) -> Map:
        """The same map less some keys."""
        return Map(tuple(item for item in self.items if item[0].text not in keys), self.line)


Node: TypeAlias = Text | Seq | Map


def read(text: str, file: str) -> Iterator[Map]:
    """The documents of a YAML text, each a Map.

    Raises:
        MappingError: FS160 (too large or too deep), FS301, FS302, FS303, with file and line.
    """
    try:
        check_size(text, file)
        documents = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise MappingError("FS301", Place(file, mark.line + 1 if mark else None), detail=str(error.problem)) from None
    except yaml.YAMLError:
        raise MappingError("FS301", Place(file), "printable UTF-8 text") from None
    for document in documents:
        node = _node(document, file, ())
        if not isinstance(node, Map):
            raise MappingError("FS301", Place(file, node.line), "keys and values, as in `domain: AE`")
        yield node


def require_file(path: Path) -> None:
    """Raises MappingError (FS300) for a mapping that is no file: a pipe would block, and a device never end."""
    if not path.is_file():
        raise MappingError("FS300", path.name, "a readable UTF-8 file")


def load(path: Path) -> list[Map]:
    """The documents of a mapping file, without the key ``fhirspace:`` that names the language's version.

    Raises:
        MappingError: as `read` and `text_of`; FS305 the file is of a newer version, FS321 the version is no number.
    """
    text = text_of(path)
    made = _documents(text, path.name) if len(text) > _SMALL else _remembered(text, path.name)
    return list(made)


def _documents(text: str, file: str) -> tuple[Map, ...]:
    documents = list(read(text, file))
    for document in documents:
        _check_version(document, file)
    plain = [document.without(VERSION_KEY) for document in documents]
    # A document that contains nothing but the version is not passed on.
    return tuple(each for each, document in zip(plain, documents, strict=True) if each.items or not document.items)


_remembered = lru_cache(maxsize=128)(_documents)


def _check_version(document: Map, file: str) -> None:
    node = document.get(VERSION_KEY)
    if node is None:
        return
    place = Place(file, node.line, VERSION_KEY)
    if not isinstance(node, Text) or not re.fullmatch("[1-9][0-9]{0,5}", node.text):
        raise MappingError(
            "FS321", place, f"a version of the mapping language, as in `{VERSION_KEY}: {MAPPING_LANGUAGE}`"
        )
    if int(node.text) > MAPPING_LANGUAGE:
        raise MappingError("FS305", place, f"version {MAPPING_LANGUAGE} or earlier")


def text_of(path: Path) -> str:
    """The text of a YAML file. Raises MappingError: FS300 (cannot be read), FS160 (too large)."""
    require_file(path)
    most = limit("yaml-bytes")
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)
        text = content[:most].decode()
    except (OSError, UnicodeDecodeError):
        raise MappingError("FS300", path.name, "a readable UTF-8 file") from None
    if len(content) > most:
        raise MappingError("FS160", Place(path.name), allowed("yaml-bytes"))
    return text


@dataclass(slots=True)
class _Open:
    """A list or map that has not ended: its anchor, the count of nodes before it, and the levels in it."""

    anchor: str | None
    start: int
    levels: int = 1


def check_size(text: str, file: str) -> None:
    """Checks depth and number of nodes before anything is built; an alias counts as all nodes that it refers to.

    Raises:
        MappingError: FS160. yaml.YAMLError: the text is no YAML.
    """
    most, deepest = limit("yaml-nodes"), limit("yaml-depth")
    whole: dict[str, tuple[int, int]] = {}  # nodes and levels of each anchor, its aliases spelt out
    open_: list[_Open] = []
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            last = open_.pop()
            if last.anchor:
                whole[last.anchor] = count - last.start, last.levels
            if open_:
                open_[-1].levels = max(open_[-1].levels, last.levels + 1)
            continue
        if not isinstance(event, yaml.NodeEvent):
            continue
        alias = isinstance(event, yaml.AliasEvent)
        nodes, levels = whole.get(event.anchor or "", (1, 0)) if alias else (1, 0)
        count += nodes
        if open_ and alias:
            open_[-1].levels = max(open_[-1].levels, levels + 1)
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append(_Open(event.anchor, count - 1))
        if count > most or len(open_) + levels > deepest:
            name = "yaml-nodes" if count > most else "yaml-depth"
            line = event.start_mark.line + 1 if event.start_mark else None
            raise MappingError("FS160", Place(file, line), allowed(name))


def plain(node: Node) -> Any:
    """A node as Python's str, list and dict."""
    if isinstance(node, Text):
        return node.text
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    return {name.text: plain(value) for name, value in node.items}


_OWN: Final = re.compile(r"(?<![A-Za-z0-9-])--(?=[A-Z])")


def prefixed(node: Node, prefix: str) -> Node:
    """A node in whose texts and keys SDTM's ``--`` before a variable's name is the prefix of a domain: ``--SEQ``."""
    if isinstance(node, Text):
        return prefixed_text(node, prefix)
    if isinstance(node, Seq):
        return Seq(tuple([prefixed(item, prefix) for item in node.items]), node.line)
    return prefixed_map(node, prefix)


def prefixed_text(node: Text, prefix: str) -> Text:
    """The same of a text."""
    return Text(_OWN.sub(prefix, node.text), node.line) if "--" in node.text else node


def prefixed_map(node: Map, prefix: str) -> Map:
    """The same of keys and values."""
    return Map(tuple([(prefixed_text(key, prefix), prefixed(value, prefix)) for key, value in node.items]), node.line)


def _node(node: yaml.Node, file: str, above: tuple[int, ...]) -> Node:
    line = node.start_mark.line + 1
    if id(node) in above:
        raise MappingError("FS303", Place(file, line), detail="a YAML alias contains itself")
    inside = (*above, id(node))
    if isinstance(node, yaml.ScalarNode):
        return Text(str(node.value), line)
    if isinstance(node, yaml.SequenceNode):
        return Seq(tuple(_node(item, file, inside) for item in node.value), line)
    pairs: list[tuple[Text, Node]] = []
    names = set[str]()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise MappingError("FS301", Place(file, line), "a plain text as key")
        name = Text(str(key.value), key.start_mark.line + 1)
        if name.text in names:
            raise MappingError("FS302", Place(file, name.line, name.text), "each key once")
        names.add(name.text)
        pairs.append((name, _node(value, file, inside)))
    return Map(tuple(pairs), line)
