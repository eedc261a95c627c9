"""XML as a tree of nodes: read with bounds and without anything that a document could reach outside, and written.

A define.xml comes from anywhere. A document type declaration is refused, since entities (which unfold to any size, or
read files and addresses) are declared there and Define-XML needs none. Depth, number of nodes, and the length of a
text are bounded. The parser is expat, which is part of Python: no address is opened and nothing is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from fhirspace.errors import InputError, Place
from fhirspace.limits import limit, too_much

_CHUNK = 1 << 20
# What XML 1.0 cannot hold: control characters, halves of surrogate pairs, and two that are no characters.
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ATTRIBUTE = _TEXT | str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})
_REPLACEMENT = "\ufffd"
_DOCTYPE = "an XML document without a document type declaration"


@dataclass(slots=True)
class Node:
    """An element: its name, its attributes, what is in it. Names are as written, or ``namespace name`` when read."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    text: str = ""
    line: int = 0

    def all(self, name: str) -> Iterator[Node]:
        """The children of this name."""
        return (child for child in self.children if child.name == name)

    def first(self, name: str) -> Node | None:
        """The first child of this name, None where there is none."""
        return next(self.all(name), None)


def read(path: Path) -> Node:
    """The root of an XML document; names are ``namespace name`` (a blank between), or the name where there is none.

    Raises:
        InputError: FS770, it is no well-formed XML, or has a document type declaration; FS160, it is larger, deeper or
            longer than a bound allows; FS101, there is no such file.
    """
    if not path.is_file():
        raise InputError("FS101", Place(path.name))
    with path.open("rb") as stream:
        return parse(stream, path.name)


def parse(stream: BinaryIO, file: str) -> Node:
    """The root of an XML document in a stream; `file` is its name in messages. Raises InputError as `read`."""
    builder = _Builder(file)
    left = limit("define-bytes")
    try:
        while chunk := stream.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise too_much("define-bytes", Place(file))
            builder.feed(chunk)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise InputError("FS770", Place(file, line), "well-formed XML") from None


class _Builder:
    """Makes the tree while expat reads."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._depth, self._nodes, self._text = limit("xml-depth"), limit("xml-nodes"), limit("cell-bytes")
        self._open: list[Node] = []
        self._parts: list[list[str]] = []
        self._sizes: list[int] = []
        self._root: Node | None = None
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, chunk: bytes) -> None:
        """Reads on."""
        self._parser.Parse(chunk, False)

    def close(self) -> Node:
        """The root. Raises ExpatError: the document ends too early."""
        self._parser.Parse(b"", True)
        if self._root is None:
            raise InputError("FS770", Place(self._file), "well-formed XML")
        return self._root

    def _place(self) -> Place:
        return Place(self._file, self._parser.CurrentLineNumber)

    def _doctype(self, *_: object) -> None:
        raise InputError("FS770", self._place(), _DOCTYPE)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._nodes -= 1
        if self._nodes < 0:
            raise too_much("xml-nodes", self._place())
        if len(self._open) >= self._depth:
            raise too_much("xml-depth", self._place())
        if any(len(value) > self._text for value in attributes.values()):
            raise too_much("cell-bytes", self._place())
        node = Node(name, attributes, line=self._parser.CurrentLineNumber)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self._root = node
        self._open.append(node)
        self._parts.append([])
        self._sizes.append(0)

    def _characters(self, text: str) -> None:
        self._sizes[-1] += len(text)
        if self._sizes[-1] > self._text:
            raise too_much("cell-bytes", self._place())
        self._parts[-1].append(text)

    def _end(self, _: str) -> None:
        node, parts = self._open.pop(), self._parts.pop()
        self._sizes.pop()
        node.text = "".join(parts)


def written(root: Node, *, stylesheet: str = "") -> bytes:
    """A document as bytes: UTF-8, an element a line, attributes in their order, the same bytes for the same tree.

    Args:
        root: its names are written as they are, so the root declares their prefixes.
        stylesheet: the file that a browser shows the document with.
    """
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    if stylesheet:
        head += f'<?xml-stylesheet type="text/xsl" href="{escaped(stylesheet)}"?>\n'
    return "".join([head, *_lines(root, "")]).encode()


def escaped(text: str) -> str:
    """A text as the value of an attribute; a character that XML cannot hold becomes U+FFFD."""
    return _UNFIT.sub(_REPLACEMENT, text).translate(_ATTRIBUTE)


def _lines(node: Node, indent: str) -> Iterator[str]:
    start = "".join([indent, "<", node.name, *(f' {name}="{escaped(text)}"' for name, text in node.attributes.items())])
    if node.children:
        yield f"{start}>\n"
        for child in node.children:
            yield from _lines(child, indent + "  ")
        yield f"{indent}</{node.name}>\n"
    elif node.text:
        text = _UNFIT.sub(_REPLACEMENT, node.text).translate(_TEXT)
        yield f"{start}>{text}</{node.name}>\n"
    else:
        yield f"{start}/>\n"
