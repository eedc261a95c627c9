"""The small parts of a source mapping: a text with slots, a cell with alternatives, conditions, constants."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from fhirspace.errors import MappingError, Place
from fhirspace.forms.model import Cell, Given, Option
from fhirspace.standards import iso8601
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codec import CellError, Codec
from fhirspace.template.codelists import CodeLists
from fhirspace.template.shapes import ShapeError, time_shape
from fhirspace.template.slots import Cond, Form, Leaf, Slot
from fhirspace.template.syntax import Syntax, circle, substitute

_NAME = re.compile(r"\$[a-zA-Z][A-Za-z0-9]*")
_TIME = re.compile(r"time(?P<open>\+)?(?:\((?P<shape>[^()]*)\))?")
_CLOCK = re.compile(r"([0-9]{2}|UN|UNK|NK|XX)(?::([0-9]{2}|UN|UNK|NK|XX))?(?::([0-9]{2}|UN|UNK|NK|XX))?")
_CLOCK_HINT = "a time of day that exists, as hh:mm, from 00:00 to 23:59, unknown parts as UN"


class SourceSyntax(Syntax):
    """The texts of a source mapping: the codecs of the language, and ``time`` for a time of day in its own column."""

    def __init__(self, file: str, lists: CodeLists) -> None:
        super().__init__(file, lists, None)
        self._made: dict[str, Codec] = {}

    def codec(self, text: str, line: int, column: str = "") -> Codec:
        """A codec as written. Raises MappingError FS311, FS312, FS314, FS358 (its texts are none of a variable)."""
        if text not in self._made:
            self._made[text] = self._codec(text, line)
        return self._made[text]

    def _codec(self, text: str, line: int) -> Codec:
        timed = _TIME.fullmatch(text)
        if timed:
            try:
                out, back = time_shape(timed["shape"]) if timed["shape"] else (_time, _time_back)
            except ShapeError as error:
                raise MappingError("FS314", Place(self.file, line, text), str(error)) from None
            return Codec(text, out, back, frozenset({"cell"}), ".+", open=bool(timed["open"]))
        made = super().codec(text, line)
        if "cell" not in made.types:
            hint = "a codec that writes tabulation text: text, integer, decimal, day, time, checkbox, codes(LIST)"
            raise MappingError("FS358", Place(self.file, line, text), hint)
        return made


def _time(cell: str) -> str | None:
    """A time of day as ISO 8601: hh, hh:mm or hh:mm:ss, what is unknown left out; None where all of it is."""
    found = _CLOCK.fullmatch(cell)
    if found is None:
        raise CellError("FS205", _CLOCK_HINT)
    known = [part for part in found.groups() if part and part[0].isdigit()]
    if "".join(part or "" for part in found.groups()[len(known) :]).strip("UNKX"):
        raise CellError("FS205", _CLOCK_HINT)
    if known and not iso8601.valid("-----T" + ":".join(known)):
        raise CellError("FS206", _CLOCK_HINT)
    return ":".join(known) or None


def _time_back(text: str) -> str | None:
    if not iso8601.valid("-----T" + text) or "-" in text or "+" in text:
        return None
    return f"{text}:UN" if len(text) == 2 else text


class CellReader:
    """Reads the parts of one document, with the constants, code lists and forms of cells that it sees.

    Args:
        file: the file's name, for messages; lists: the code lists.
    """

    def __init__(self, file: str, lists: CodeLists) -> None:
        self._file, self._lists = file, lists
        self._syntax = SourceSyntax(file, lists)
        self._lets: dict[str, nodes.Node] = {}
        self._forms: dict[str, tuple[Form, ...]] = {}

    def _spellings(self, document: nodes.Map) -> dict[str, tuple[Form, ...]]:
        """``forms: {dose: {number: <value decimal>, other: <text>}}``: ways to spell a cell, in order."""
        made: dict[str, tuple[Form, ...]] = {}
        for name, node in self._map(document, "forms"):
            shapes = self._as_map(node, name.text).items
            made[name.text] = tuple(
                self._syntax.form(shape.text, self._plain(text, shape.text), shape.line) for shape, text in shapes
            )
        return made

    def _cells(self, items: Iterable[tuple[nodes.Text, nodes.Node]], variables: dict[str, str]) -> dict[str, Cell]:
        cells: dict[str, Cell] = {}
        for name, value in items:
            if name.text not in variables:
                near = difflib.get_close_matches(name.text, variables, 3, 0.6)
                hint = " or ".join([*near, "a variable under `supplemental:`"])
                raise self._error("FS353", name.line, name.text, hint)
            cells[name.text] = self._cell(value, name, variables[name.text])
        return cells

    def _cell(self, node: nodes.Node, name: nodes.Text, kind: str) -> Cell:
        node = self._resolve(node)
        if isinstance(node, nodes.Text):
            return Cell((Option(self._leaf(node, name, kind)),), kind)
        items = self._as_map(node, name.text)
        self._known(items, ("one of",))
        options = items.get("one of")
        if not isinstance(options, nodes.Seq) or not options.items:
            raise self._error(
                "FS360", node.line, name.text, "`one of:` with a list of texts, or of {when: ..., text: ...}"
            )
        return Cell(tuple(self._option(self._resolve(item), name, kind) for item in options.items), kind)

    def _option(self, node: nodes.Node, name: nodes.Text, kind: str) -> Option:
        if isinstance(node, nodes.Text):
            return Option(self._leaf(node, name, kind))
        item = self._as_map(node, name.text)
        self._known(item, ("when", "given", "text"))
        text = item.get("text")
        if not isinstance(text, nodes.Text):
            raise self._error("FS360", item.line, name.text, "`text:` in each alternative, with its condition")
        return Option(self._leaf(text, name, kind), *self._conditions(item))

    def _leaf(self, node: nodes.Text, name: nodes.Text, kind: str) -> Leaf:
        parts = tuple(self._spelt(part, node.line) for part in self._syntax.parts(self._filled(node), node.line))
        if not parts:
            raise self._error("FS360", node.line, name.text, "a text that is not empty")
        for before, part in zip((None, *parts), parts, strict=False):
            if isinstance(part, Slot) and isinstance(before, Slot):
                raise self._error("FS344", node.line, name.text, "a constant between the two slots")
            if isinstance(part, Slot) and part.column.startswith(("_", "@")):
                raise self._error(
                    "FS360", node.line, part.column, "a column of the form: those with _ or @ are reserved"
                )
        leaf = Leaf(parts, "cell", node.line)
        if kind == "Num" and not _numeric(leaf):
            raise self._error(
                "FS358", node.line, name.text, "a number: a constant, or a slot with integer, decimal or codes"
            )
        return leaf

    def _spelt(self, part: str | Slot, line: int) -> str | Slot:
        """``<dose.number decimal>`` as a slot of `dose` that declines cells spelt in another form."""
        if isinstance(part, str) or part.base not in self._forms:
            return part
        name = part.column.partition(".")[2]
        if name not in {form.name for form in self._forms[part.base]}:
            hint = "one of its forms: " + ", ".join(form.name for form in self._forms[part.base])
            raise self._error("FS342", line, part.column, hint)
        return Slot(part.base, _only(part.codec, self._forms[part.base], name))

    def _conditions(self, node: nodes.Map) -> tuple[Cond | None, Given]:
        text, given = node.get("when"), []
        for name, value in self._map(node, "given"):
            if not isinstance(value, nodes.Text):
                hint = f"one text; several ones are a condition: `when: {name.text} in [A, B]`"
                raise self._error("FS321", value.line, name.text, hint)
            given.append((name.text, self._filled(value)))
        return None if text is None else self._condition(text, "when"), tuple(given)

    def _identifying(self, node: nodes.Map) -> tuple[Cond | None, Given]:
        """The conditions of a row; what `when` leaves no choice about is given, and read back like that."""
        when, given = self._conditions(node)
        return when, tuple(dict.fromkeys((*given, *(_certain(when) if when else ()))))

    def _condition(self, text: nodes.Node, key: str) -> Cond:
        """A condition on a record. Raises MappingError FS317."""
        if not isinstance(text, nodes.Text):
            raise self._error("FS317", text.line, key, "a condition as text")
        made = self._syntax.condition(self._filled(text), text.line)
        if any(column.startswith(("_has_", "_upto_")) for column in made.columns()):
            raise self._error("FS317", text.line, key, "columns of the form: `has` and `upto` look at datasets")
        return made

    # -- the shapes of nodes

    def _resolve(self, node: nodes.Node) -> nodes.Node:
        seen: list[str] = []
        while isinstance(node, nodes.Text) and _NAME.fullmatch(node.text):
            name = node.text[1:]
            if name in seen:
                raise MappingError("FS303", Place(self._file, node.line, node.text), detail=circle(name, seen))
            seen.append(name)
            found = self._lets.get(name)
            if found is None:
                raise self._unknown(node.line)(node.text, (f"${name}" for name in self._lets))
            node = found
        return node

    def _filled(self, node: nodes.Text) -> str:
        texts = {name: value.text for name, value in self._lets.items() if isinstance(value, nodes.Text)}
        return substitute(node.text, texts, {}, self._unknown(node.line))

    def _unknown(self, line: int) -> Callable[[str, Iterable[str]], MappingError]:
        def fail(name: str, known: Iterable[str]) -> MappingError:
            near = difflib.get_close_matches(name, list(known), 3, 0.4)
            return self._error("FS331", line, name, " or ".join(near) or "a constant of `let:`")

        return fail

    def _map(self, document: nodes.Map, key: str) -> tuple[tuple[nodes.Text, nodes.Node], ...]:
        node = document.get(key)
        if isinstance(node, nodes.Text) and key != "let":
            node = self._resolve(node)
        return () if node is None else self._as_map(node, key).items

    def _as_map(self, node: nodes.Node, key: str) -> nodes.Map:
        if not isinstance(node, nodes.Map):
            raise self._error("FS321", node.line, key, "keys and values")
        return node

    def _plain(self, node: nodes.Node | None, key: str) -> str:
        if not isinstance(node, nodes.Text) or not node.text:
            raise self._error("FS321", node.line if node else 1, key, "a text")
        return node.text

    def _words(self, document: nodes.Map, key: str) -> Iterator[str]:
        node = document.get(key)
        items = () if node is None else node.items if isinstance(node, nodes.Seq) else (node,)
        for item in items:
            if not isinstance(item, nodes.Text):
                raise self._error("FS321", document.line, key, "a list of names")
            yield item.text

    def _known(self, node: nodes.Map, keys: Iterable[str]) -> None:
        for key, _ in node.items:
            if key.text not in keys:
                near = difflib.get_close_matches(key.text, list(keys), 3, 0.5)
                raise self._error("FS304", key.line, key.text, " or ".join(near) or "one of " + ", ".join(keys))

    def _error(self, code: str, line: int, key: str | None, expected: str) -> MappingError:
        return MappingError(code, Place(self._file, line, key), expected)


def _certain(when: Cond) -> Iterator[tuple[str, str]]:
    """The columns that have just one text where a condition is true."""
    if when.op == "is" and len(when.values) == 1:
        yield when.column, next(iter(when.values))
    elif when.op == "not" and when.args[0].op == "filled":
        yield when.args[0].column, ""
    elif when.op == "and":
        for arg in when.args:
            yield from _certain(arg)


def _only(codec: Codec, forms: tuple[Form, ...], name: str) -> Codec:
    """The codec for the cells of one form alone."""

    def out(cell: str) -> str | None:
        first = next((form for form in forms if re.fullmatch(form.pattern, cell)), None)
        return codec.out(cell) if first is not None and first.name == name else None

    return replace(codec, name=f"{codec.name} of {name}", out=out)


def _numeric(leaf: Leaf) -> bool:
    """Whether a template can only write numbers."""
    if leaf.constant is not None:
        return bool(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", leaf.constant))
    slot = leaf.slots[0]
    outputs = slot.codec.outputs
    coded = outputs is not None and all(re.fullmatch(r"(-?[0-9]+(\.[0-9]+)?)?", text) for text in outputs)
    name = slot.codec.name.split()[0].rstrip("+")
    return len(leaf.parts) == 1 and (coded or name in {"integer", "decimal", "number"})
