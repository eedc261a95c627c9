"""Explanations of findings, kept beside a study in ``explained.yaml``: which finding, why it is right, who says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fhirspace.errors import MappingError, Place
from fhirspace.template.yaml_nodes import Map, Node, Seq, Text, read, text_of

FILE: Final = "explained.yaml"
_TOP: Final = "explained"
_KEYS: Final = ("rule", "scope", "records", "reason", "by")
_NEEDED: Final = ("rule", "reason", "by")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why findings of a rule need no correction.

    Attributes:
        rule: its id, or one that it has in other lists (CG0006). scope: the datasets; none means all.
        records: how many records are explained; where a dataset has more, its finding is not explained.
        reason, by: why, and who says so. place: file and line.
    """

    rule: str
    scope: tuple[str, ...]
    records: int | None
    reason: str
    by: str
    place: Place

    def fits(self, ids: Sequence[str], dataset: str, count: int) -> bool:
        """Whether it explains a finding of a rule with these ids: in its scope, and not of more records."""
        named = self.rule.upper() in map(str.upper, ids)
        return named and dataset in (self.scope or (dataset,)) and count <= (self.records or count)


def beside(paths: Sequence[Path]) -> list[Path]:
    """The files with explanations in the folders that are validated, and beside files that are."""
    folders = dict.fromkeys(path if path.is_dir() else path.parent for path in paths)
    return [folder / FILE for folder in folders if (folder / FILE).is_file()]


def load(path: Path) -> list[Explanation]:
    """The explanations of a file.

    Raises:
        MappingError: FS301 and others of `yaml_nodes.read`, no YAML; FS806, no text, or another shape.
    """
    try:
        text = text_of(path)
    except MappingError as error:
        if error.problem.code != "FS300":
            raise
        raise MappingError("FS806", Place(path.name), "a readable UTF-8 file") from None
    return [found for top in read(text, path.name) for found in _of(top, path.name)]


def _of(top: Map, file: str) -> Iterator[Explanation]:
    entries = top.get(_TOP)
    if len(top.items) != 1 or not isinstance(entries, Seq):
        raise MappingError("FS806", Place(file, top.line), f"a list under `{_TOP}`, and nothing else")
    for entry in entries.items:
        yield _explanation(entry, file)


def _explanation(node: Node, file: str) -> Explanation:
    if not isinstance(node, Map):
        raise MappingError("FS806", Place(file, node.line), ", ".join(_KEYS))
    for key, _ in node.items:
        if key.text not in _KEYS:
            raise MappingError("FS806", Place(file, key.line, key.text), "one of " + ", ".join(_KEYS))
    for name in _NEEDED:
        if not _text(node, name, file):
            raise MappingError("FS806", Place(file, node.line, name), f"a text for `{name}`")
    records = _text(node, "records", file)
    if records and not (records.isascii() and records.isdigit() and len(records) < 12 and int(records)):
        raise MappingError("FS806", Place(file, node.line, "records"), "a whole number of at least 1")
    return Explanation(
        _text(node, "rule", file),
        _scope(node, file),
        int(records) if records else None,
        _text(node, "reason", file),
        _text(node, "by", file),
        Place(file, node.line),
    )


def _text(node: Map, name: str, file: str) -> str:
    found = node.get(name)
    if found is not None and not isinstance(found, Text):
        raise MappingError("FS806", Place(file, found.line, name), f"a text for `{name}`")
    return found.text.strip() if found else ""


def _scope(node: Map, file: str) -> tuple[str, ...]:
    """The names of datasets, one or a list, as rules report them (``study`` for the study)."""
    found = node.get("scope")
    items = found.items if isinstance(found, Seq) else (found,) if found else ()
    names = [item.text.strip() for item in items if isinstance(item, Text)]
    if len(names) < len(items) or not all(names):
        raise MappingError("FS806", Place(file, node.line, "scope"), "a dataset, or a list of datasets")
    return tuple(name.lower() if name.lower() == "study" else name.upper() for name in names)
