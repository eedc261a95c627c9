"""From YAML to source mappings: the documents of a file, their rows and lines.

What is wrong is refused with its file, line and key, and what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from fhirspace.errors import MappingError, Place, UsageError
from fhirspace.forms.annotations import check_comments, check_related
from fhirspace.forms.cells import SourceSyntax
from fhirspace.forms.declarations import KEYS, DeclarationReader, check_dropped, check_missing
from fhirspace.forms.model import Cell, Declared, Document, FormMapping, Line
from fhirspace.standards import sdtm
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codelists import CodeLists

_HEAD = (
    "form", "key", "makes", "one per", "when", "given", "always", "codes", "let", "forms", "rows", "each", "needs",
    "supplemental", "comments", "related", "columns", *KEYS,
)  # fmt: skip
_LINE = ("when", "given", "always")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]{0,7}")


@dataclass(slots=True)
class _Scope:
    """The constants and code lists for the documents of one file."""

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
    carried: dict[str, None] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)
    dropped: dict[str, tuple[str, int]] = field(default_factory=dict)


class SourceBuilder:
    """Builds the forms of one source folder, file by file.

    Args:
        lists: code lists of files; lets, codes, declared: constants, code lists and what is not converted in all forms
            (``common.yaml``).
    """

    def __init__(
        self,
        lists: CodeLists,
        lets: dict[str, nodes.Node],
        codes: dict[str, dict[str, str]],
        declared: Declared | None = None,
    ) -> None:
        self._lists, self._lets, self._codes, self._declared = lists, lets, codes, declared or Declared()
        self._drafts: dict[str, _Draft] = {}

    def add(self, file: str, documents: Iterable[nodes.Map]) -> None:
        """Reads the documents of a file. Raises MappingError with file, line, key and what was expected."""
        scope = _Scope(dict(self._lets), dict(self._codes))
        for document in documents:
            _Reader(file, self._lists, scope, (self._drafts, self._declared)).read(document)

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
        form, draft.file, key, optional, tuple(draft.documents), tuple(draft.needs.items()), tuple(draft.carried),
        declared=draft.declared,
    )  # fmt: skip
    check_dropped(made, draft.dropped)
    check_missing(made)
    return replace(made, documents=tuple(_with_own(document, frozenset(key)) for document in made.documents))


def _with_own(document: Document, key: frozenset[str]) -> Document:
    """The document with `own` of its lines less the cells that hold nothing but the record's key."""

    def own(line: Line) -> Line:
        if line.own is None:
            return line
        cells = dict(line.cells)
        varying = tuple(name for name in line.own if cells[name].constant is None and set(cells[name].columns()) - key)
        if not varying:
            hint = "a slot of its own, a condition (`when:` or `given:`), or `always: true`"
            raise MappingError("FS360", Place(document.file, line.line), hint)
        return replace(line, own=varying)

    return replace(document, lines=tuple(own(line) for line in document.lines))


class _Reader(DeclarationReader):
    """Reads one document into the draft of its form; a new draft has what the whole source declares."""

    def __init__(self, file: str, lists: CodeLists, scope: _Scope, drafts: tuple[dict[str, _Draft], Declared]) -> None:
        super().__init__(file, lists)
        self._scope, (self._drafts, self._before) = scope, drafts

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
        draft.carried.update(dict.fromkeys(self._words(document, "columns")))
        draft.declared = self.declared(document, draft.declared)
        draft.dropped |= self.dropped(document)
        if document.get("makes") is not None:
            draft.documents.append(self._document(document))

    def _draft(self, document: nodes.Map) -> _Draft:
        node = document.get("form")
        self._scope.form = self._plain(node, "form") if node is not None else self._scope.form
        if not self._scope.form:
            raise self._error("FS351", document.line, "form", "`form:` with the name of the form's file, without .csv")
        new = _Draft(self._file, document.line, declared=self._before)
        draft = self._drafts.setdefault(self._scope.form, new)
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
        comments = self._pairs(document, "comments")
        check_comments(self._file, dataset, comments, {*known, *extra})
        related = self._pairs(document, "related")
        check_related(self._file, dataset, related, extra)
        others = dict.fromkeys((*extra, *(name.text for name, _ in comments)), "Char")
        variables = {name: _kind(variable) for name, variable in known.items()} | others
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
        when, given = self._identifying(document)
        return Document(
            dataset, self._file, document.line, tuple(lines), when, given, one_per, tuple(extra.items()),
            _plain_pairs(comments), _plain_pairs(related),
        )  # fmt: skip

    def _pairs(self, document: nodes.Map, key: str) -> list[tuple[nodes.Text, str]]:
        return [(name, self._plain(node, name.text)) for name, node in self._map(document, key)]

    def _supplemental(self, document: nodes.Map, known: Iterable[str]) -> Iterator[tuple[str, str]]:
        for name, node in self._map(document, "supplemental"):
            label = self._plain(node, "supplemental")
            if not _VARIABLE.fullmatch(name.text) or name.text in known or len(label) > 40:
                hint = "a name of at most 8 capital letters and digits that is not standard, and a label of at most 40"
                raise self._error("FS354", name.line, name.text, hint)
            yield name.text, label

    def _line(
        self, node: nodes.Map, rows: dict[str, Cell], variables: dict[str, str], *, alone: bool, merged: bool
    ) -> Line:
        own = {} if alone else self._cells(((n, v) for n, v in node.items if n.text not in _LINE), variables)
        cells = {name: cell for name, cell in rows.items() if name not in own} | own
        if not cells:
            raise self._error("FS320", node.line, None, "variables under `rows:` or `each:`")
        when, given = self._identifying(node)
        # A row that several forms make together must show which of them contributed.
        free = self._always(node) or ((when is not None or bool(given)) and not merged)
        own_names = None if free else tuple(cells if alone else own)
        # Conditions of a document without `each` belong to the document already.
        return Line(tuple(cells.items()), own_names, node.line, *((None, ()) if alone else (when, given)))

    def _always(self, node: nodes.Map) -> bool:
        value = node.get("always")
        if value is not None and self._plain(value, "always") != "true":
            raise self._error("FS321", value.line, "always", "`always: true`")
        return value is not None


def _plain_pairs(items: Iterable[tuple[nodes.Text, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.text, text) for name, text in items)


def _kind(variable: sdtm.Variable) -> str:
    return "Num" if variable.type == "Num" else "DTC" if variable.name.endswith("DTC") else "Char"


def code_lists(file: str, document: nodes.Map) -> dict[str, dict[str, str]]:
    """The code lists under ``codes:`` of a document: name -> cell -> code. Raises MappingError FS321."""
    made: dict[str, dict[str, str]] = {}
    lists = document.get("codes")
    for name, node in lists.items if isinstance(lists, nodes.Map) else ():
        if not isinstance(node, nodes.Map) or not all(isinstance(code, nodes.Text) for _, code in node.items):
            raise MappingError("FS321", Place(file, name.line, name.text), "cells and codes, as in `{Yes: Y, No: N}`")
        made[name.text] = {cell.text: code.text for cell, code in node.items if isinstance(code, nodes.Text)}
    return made
