"""From YAML to source mappings: the head of a document, its rows and lines, and the small texts in them.

What is wrong is refused where it stands, with its file, line, key and what would fit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from fhirspace.errors import MappingError, Place, UsageError
from fhirspace.mapping import nodes
from fhirspace.mapping.codecs import CellError, Codec
from fhirspace.mapping.codelists import CodeLists
from fhirspace.mapping.source_tree import Cell, Document, FormMapping, Given, Line, Option
from fhirspace.mapping.syntax import Syntax, substitute
from fhirspace.mapping.tree import Cond, Form, Leaf, Slot
from fhirspace.standards import sdtm

_HEAD = (
    "form", "key", "makes", "one per", "when", "given", "always", "codes", "let", "forms", "rows", "each", "needs",
    "supplemental", "columns",
)  # fmt: skip
_LINE = ("when", "given", "always")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]{0,7}")
_NAME = re.compile(r"\$[a-zA-Z][A-Za-z0-9]*")
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?")


class SourceSyntax(Syntax):
    """The texts of a source mapping: the codecs of the language, and ``time`` for a time of day in its own column."""

    def __init__(self, file: str, lists: CodeLists) -> None:
        super().__init__(file, lists, b"")
        self._made: dict[str, Codec] = {}

    def codec(self, text: str, line: int) -> Codec:
        """A codec as written. Raises MappingError FS311, FS312, FS314, FS358 (its texts are none of a variable)."""
        if text not in self._made:
            self._made[text] = self._codec(text, line)
        return self._made[text]

    def _codec(self, text: str, line: int) -> Codec:
        if text.rstrip("+") == "time":
            return Codec(
                text, _time, lambda cell: cell, frozenset({"cell"}), _CLOCK.pattern, True, 0, open=text[-1] == "+"
            )
        made = super().codec(text, line)
        if "cell" not in made.types:
            hint = "a codec that writes tabulation text: text, integer, decimal, day, time, checkbox, codes(LIST)"
            raise MappingError("FS358", Place(self.file, line, text), hint)
        return made


def _time(cell: str) -> str:
    if not _CLOCK.fullmatch(cell):
        raise CellError("FS205", "a time of day that exists, as hh:mm, from 00:00 to 23:59")
    return cell


@dataclass(slots=True)
class _Scope:
    """What the documents of one file see: constants and code lists."""

    lets: dict[str, nodes.Node]
    codes: dict[str, dict[str, str]]
    form: str = ""


@dataclass(slots=True)
class _Draft:
    """A form while its documents are read."""

    file: str
    line: int
    key: tuple[str, ...] = ()
    documents: list[Document] = field(default_factory=list)
    needs: dict[str, str] = field(default_factory=dict)
    kept: dict[str, None] = field(default_factory=dict)


class SourceBuilder:
    """Builds the forms of one source folder, file by file.

    Args:
        lists: code lists of files; lets, codes: constants and code lists that all files see (``common.yaml``).
    """

    def __init__(self, lists: CodeLists, lets: dict[str, nodes.Node], codes: dict[str, dict[str, str]]) -> None:
        self._lists, self._lets, self._codes = lists, lets, codes
        self._drafts: dict[str, _Draft] = {}

    def add(self, file: str, documents: Iterable[nodes.Map]) -> None:
        """Reads the documents of a file. Raises MappingError with file, line, key and what would fit."""
        scope = _Scope(dict(self._lets), dict(self._codes))
        for document in documents:
            _Reader(file, self._lists, scope, self._drafts).read(document)

    def forms(self) -> dict[str, FormMapping]:
        """The forms by name. Raises MappingError FS351 for a form without key or without anything to make."""
        return {name: _finished(name, draft) for name, draft in sorted(self._drafts.items())}


def _finished(form: str, draft: _Draft) -> FormMapping:
    if not draft.key:
        raise MappingError("FS351", Place(draft.file, draft.line, "key"), f"`key:` with the columns of {form}, once")
    if not draft.documents:
        raise MappingError("FS351", Place(draft.file, draft.line, "makes"), f"`makes:` with a dataset, for {form}")
    key = tuple(name.removesuffix("?") for name in draft.key)
    optional = frozenset(name.removesuffix("?") for name in draft.key if name.endswith("?"))
    made = FormMapping(
        form, draft.file, key, optional, tuple(draft.documents), tuple(draft.needs.items()), tuple(draft.kept)
    )
    return replace(made, documents=tuple(_with_own(document, frozenset(key)) for document in made.documents))


def _with_own(document: Document, key: frozenset[str]) -> Document:
    """The document with `own` of its lines less the cells that hold nothing but the record's key."""

    def own(line: Line) -> Line:
        if line.own is None:
            return line
        cells = dict(line.cells)
        told = tuple(name for name in line.own if cells[name].constant is None and set(cells[name].columns()) - key)
        if not told:
            hint = "a slot of its own, a condition (`when:` or `given:`), or `always: true`"
            raise MappingError("FS360", Place(document.file, line.line), hint)
        return replace(line, own=told)

    return replace(document, lines=tuple(own(line) for line in document.lines))


class _Reader:
    """Reads one document."""

    def __init__(self, file: str, lists: CodeLists, scope: _Scope, drafts: dict[str, _Draft]) -> None:
        self._file, self._lists, self._scope, self._drafts = file, lists, scope, drafts
        self._syntax = SourceSyntax(file, lists)

    def read(self, document: nodes.Map) -> None:
        self._known(document, _HEAD)
        lets = {name.text: node for name, node in self._map(document, "let")}
        codes = code_lists(self._file, document)
        if document.get("makes") is None:
            # A head: what it defines is seen by all documents that follow in the file.
            self._scope.lets |= lets
            self._scope.codes |= codes
        here = _Scope(self._scope.lets | lets, self._scope.codes | codes)
        self._syntax = SourceSyntax(self._file, self._lists.including(here.codes))
        self._lets = here.lets
        self._forms = self._spellings(document)
        draft = self._draft(document)
        draft.needs.update((name.text, self._plain(node, "needs")) for name, node in self._map(document, "needs"))
        draft.kept.update(dict.fromkeys(self._words(document, "columns")))
        if document.get("makes") is not None:
            draft.documents.append(self._document(document))

    def _draft(self, document: nodes.Map) -> _Draft:
        node = document.get("form")
        self._scope.form = self._plain(node, "form") if node is not None else self._scope.form
        if not self._scope.form:
            raise self._error("FS351", document.line, "form", "`form:` with the name of the form's file, without .csv")
        draft = self._drafts.setdefault(self._scope.form, _Draft(self._file, document.line))
        key = tuple(self._words(document, "key"))
        if key and draft.key not in ((), key):
            raise self._error(
                "FS351", document.line, "key", "the same key in all documents of the form: " + ", ".join(draft.key)
            )
        draft.key = key or draft.key
        return draft

    def _document(self, document: nodes.Map) -> Document:
        dataset = self._plain(document.get("makes"), "makes")
        try:
            known = {variable.name: variable for variable in sdtm.standard_variables(dataset)}
        except UsageError:
            raise self._error("FS352", document.line, "makes", "a dataset of SDTMIG, as in `makes: LB`") from None
        extra = dict(self._supplemental(document, known))
        variables = {name: _kind(variable) for name, variable in known.items()} | dict.fromkeys(extra, "Char")
        rows = self._cells(self._map(document, "rows"), variables)
        one_per = tuple(self._words(document, "one per"))
        each = document.get("each")
        merged = bool(one_per)
        if each is None:
            lines = [self._line(document, rows, variables, alone=True, merged=merged)]
        elif isinstance(each, nodes.Seq):
            items = [self._as_map(item, "each") for item in each.items]
            lines = [self._line(item, rows, variables, alone=False, merged=merged) for item in items]
        else:
            raise self._error("FS321", each.line, "each", "a list of rows, each with its own variables")
        when, given = self._conditions(document)
        return Document(dataset, self._file, document.line, tuple(lines), when, given, one_per, tuple(extra.items()))

    def _spellings(self, document: nodes.Map) -> dict[str, tuple[Form, ...]]:
        """``forms: {dose: {number: <value decimal>, other: <text>}}``: ways to spell a cell, in order."""
        made: dict[str, tuple[Form, ...]] = {}
        for name, node in self._map(document, "forms"):
            shapes = self._as_map(node, name.text).items
            made[name.text] = tuple(
                self._syntax.form(shape.text, self._plain(text, shape.text), shape.line) for shape, text in shapes
            )
        return made

    def _supplemental(self, document: nodes.Map, known: Iterable[str]) -> Iterator[tuple[str, str]]:
        for name, node in self._map(document, "supplemental"):
            label = self._plain(node, "supplemental")
            if not _VARIABLE.fullmatch(name.text) or name.text in known or len(label) > 40:
                hint = "a name of at most 8 capital letters and digits that is not standard, and a label of at most 40"
                raise self._error("FS354", name.line, name.text, hint)
            yield name.text, label

    def _cells(self, items: Iterable[tuple[nodes.Text, nodes.Node]], variables: dict[str, str]) -> dict[str, Cell]:
        cells: dict[str, Cell] = {}
        for name, value in items:
            if name.text not in variables:
                near = difflib.get_close_matches(name.text, variables, 3, 0.6)
                hint = " or ".join([*near, "a variable under `supplemental:`"])
                raise self._error("FS353", name.line, name.text, hint)
            cells[name.text] = self._cell(value, name, variables[name.text])
        return cells

    def _line(
        self, node: nodes.Map, rows: dict[str, Cell], variables: dict[str, str], *, alone: bool, merged: bool
    ) -> Line:
        own = {} if alone else self._cells(((n, v) for n, v in node.items if n.text not in _LINE), variables)
        cells = {name: cell for name, cell in rows.items() if name not in own} | own
        if not cells:
            raise self._error("FS320", node.line, None, "variables under `rows:` or `each:`")
        when, given = self._conditions(node)
        # Rows that several forms make together must show which of them had a part in it.
        free = self._always(node) or ((when is not None or bool(given)) and not merged)
        own_names = None if free else tuple(cells if alone else own)
        # Conditions of a document without `each` stand in the document already.
        return Line(tuple(cells.items()), own_names, node.line, *((None, ()) if alone else (when, given)))

    def _always(self, node: nodes.Map) -> bool:
        value = node.get("always")
        if value is not None and self._plain(value, "always") != "true":
            raise self._error("FS321", value.line, "always", "`always: true`")
        return value is not None

    # -- cells

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
        if text is not None and not isinstance(text, nodes.Text):
            raise self._error("FS317", text.line, "when", "a condition as text")
        for name, value in self._map(node, "given"):
            given.append((name.text, self._filled(value) if isinstance(value, nodes.Text) else ""))
        when = None if text is None else self._syntax.condition(self._filled(text), text.line)
        if when is not None and any(column.startswith("_has_") for column in when.columns()):
            raise self._error("FS317", node.line, "when", "columns of the form: `has` looks at datasets")
        return when, tuple(given)

    # -- the shapes of nodes

    def _resolve(self, node: nodes.Node) -> nodes.Node:
        seen: set[str] = set()
        while isinstance(node, nodes.Text) and _NAME.fullmatch(node.text):
            if node.text in seen:
                raise self._error("FS303", node.line, node.text, "constants that do not stand for themselves")
            seen.add(node.text)
            found = self._lets.get(node.text[1:])
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


def _only(codec: Codec, forms: tuple[Form, ...], name: str) -> Codec:
    """The codec for the cells of one form alone."""

    def out(cell: str) -> str | None:
        first = next((form for form in forms if re.fullmatch(form.pattern, cell)), None)
        return codec.out(cell) if first is not None and first.name == name else None

    return replace(codec, name=f"{codec.name} of {name}", out=out)


def _kind(variable: sdtm.Variable) -> str:
    return "Num" if variable.type == "Num" else "DTC" if variable.name.endswith("DTC") else "Char"


def _numeric(leaf: Leaf) -> bool:
    """Whether a template can only write numbers."""
    if leaf.constant is not None:
        return bool(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", leaf.constant))
    slot = leaf.slots[0]
    outputs = slot.codec.outputs
    coded = outputs is not None and all(re.fullmatch(r"(-?[0-9]+(\.[0-9]+)?)?", text) for text in outputs)
    return len(leaf.parts) == 1 and (coded or slot.codec.name.split()[0].rstrip("+") in {"integer", "decimal"})


def code_lists(file: str, document: nodes.Map) -> dict[str, dict[str, str]]:
    """The code lists under ``codes:`` of a document: name -> cell -> code. Raises MappingError FS321."""
    made: dict[str, dict[str, str]] = {}
    lists = document.get("codes")
    for name, node in lists.items if isinstance(lists, nodes.Map) else ():
        if not isinstance(node, nodes.Map) or not all(isinstance(code, nodes.Text) for _, code in node.items):
            raise MappingError("FS321", Place(file, name.line, name.text), "cells and codes, as in `{Yes: Y, No: N}`")
        made[name.text] = {cell.text: code.text for cell, code in node.items if isinstance(code, nodes.Text)}
    return made
