"""What a form or a whole source declares: ``drop``, ``skip when``, ``missing``, ``carry unmapped``, ``zone``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fhirspace.errors import MappingError, Place
from fhirspace.forms.cells import CellReader
from fhirspace.forms.model import Declared, FormMapping, Given
from fhirspace.standards.timezones import alike, is_zone
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.slots import Cond

COMMON = ("drop", "missing", "carry unmapped")
"""What ``common.yaml`` may declare for all forms of a source."""
KEYS = (*COMMON, "skip when", "zone")


class DeclarationReader(CellReader):
    """Reads the declarations of one document."""

    def declared(self, document: nodes.Map, before: Declared) -> Declared:
        """What was declared before and what a document adds to it. Raises MappingError FS317, FS321.

        Columns to drop are added, records to skip as well; ``missing:`` and ``carry unmapped:`` replace what was there.
        """
        dropped = dict.fromkeys((*before.drop, *self.dropped(document)))
        given = document.get("missing") is not None
        missing = frozenset(node.text for node in self._texts(document, "missing")) if given else before.missing
        return replace(
            before,
            drop=tuple(dropped),
            own_drop=(*before.own_drop, *self.dropped(document)),
            missing=missing,
            skip=self._skip(document, before.skip),
            carry_unmapped=self._truth(document, "carry unmapped", before.carry_unmapped),
            zone=self._zone(document, before.zone),
        )

    def dropped(self, document: nodes.Map) -> dict[str, tuple[str, int]]:
        """The names and patterns under ``drop:`` of a document, with file and line. Raises MappingError FS321."""
        return {node.text: (self._file, node.line) for node in self._texts(document, "drop")}

    def _texts(self, document: nodes.Map, key: str) -> Iterator[nodes.Text]:
        node = document.get(key)
        for item in () if node is None else node.items if isinstance(node, nodes.Seq) else (node,):
            if not isinstance(item, nodes.Text) or not item.text:
                raise self._error(
                    "FS321", item.line, key, f"a list of texts that are not empty, as in `{key}: [a, 'b c']`"
                )
            yield item

    def _skip(self, document: nodes.Map, before: Cond | None) -> Cond | None:
        node = document.get("skip when")
        if node is None:
            return before
        made = self._condition(node, "skip when")
        return made if before is None else Cond("or", args=(before, made))

    def _zone(self, document: nodes.Map, before: str) -> str:
        node = document.get("zone")
        if node is None:
            return before
        name = self._plain(node, "zone")
        if not is_zone(name):
            raise self._error("FS364", node.line, "zone", alike(name))
        if before not in ("", name):
            raise self._error("FS351", node.line, "zone", f"one zone for all documents of the form: {before}")
        return name

    def _truth(self, document: nodes.Map, key: str, before: bool) -> bool:
        node = document.get(key)
        if node is None:
            return before
        if not isinstance(node, nodes.Text) or node.text not in {"true", "false"}:
            raise self._error("FS321", node.line, key, f"`{key}: true` or `{key}: false`")
        return node.text == "true"


def check_dropped(form: FormMapping, lines: dict[str, tuple[str, int]]) -> None:
    """Refuses to drop a column that the form uses.

    Args:
        form: the form; lines: by name under its ``drop:``, the file and the line.

    Raises:
        MappingError: FS362; a pattern is no fault, as it spares the columns of the mapping.
    """
    for name, (file, line) in lines.items():
        if name in form.named:
            hint = "a column that the form uses nowhere else, or a pattern such as '*_note'"
            raise MappingError("FS362", Place(file, line, name), hint)


def check_missing(form: FormMapping) -> None:
    """Refuses conditions that wait for a text which means an empty cell. Raises MappingError FS363."""
    parts = [(each.file, each.line, each.when, each.given) for each in form.documents]
    parts += [(document.file, line.line, line.when, line.given) for document, line in form.lines]
    for file, at, when, given in parts:
        for column, text in _awaited(when, given):
            if text in form.declared.missing and column not in form.key:
                hint = f"the condition `not {column}`, or `missing:` without this text"
                raise MappingError("FS363", Place(file, at, column), hint)


def _awaited(when: Cond | None, given: Given) -> Iterator[tuple[str, str]]:
    """The columns and texts that conditions look for."""
    yield from given
    if when is not None:
        yield from ((when.column, value) for value in when.values)
        for arg in when.args:
            yield from _awaited(arg, ())
