"""Mapping folders: the shipped ones, their constants, and one digest over their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from fhirspace.errors import MappingError, Place
from fhirspace.template import yaml_nodes as nodes


def shipped() -> Path:
    """The folder of the mappings that come with fhirspace."""
    package = Path(__file__).parents[1]
    inside = package / "mappings"
    return inside if inside.is_dir() else package.parents[1] / "mappings"


def digest_of(folders: Iterable[Path], patterns: Iterable[str]) -> str:
    """One SHA-256 over the files of some folders that fit one of the patterns: names and bytes.

    Raises:
        MappingError: FS300, one of them is a pipe or a device.
    """
    whole = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
            nodes.require_file(path)
            whole.update(f"{path.relative_to(folder).as_posix()}\n".encode())
            whole.update(_known(path) if folder == shipped() else _content(path))
    return whole.hexdigest()


def _known(path: Path) -> bytes:
    """The digest of a shipped file, which nobody writes while it is read: once for the same time and size."""
    state = path.stat()
    return _at(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=512)
def _at(path: Path, _time: int, _size: int) -> bytes:
    return _content(path)


def _content(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def common(folders: Iterable[Path]) -> dict[str, nodes.Node]:
    """The constants of the ``common.yaml`` of mapping folders, later ones winning."""
    lets: dict[str, nodes.Node] = {}
    for folder in folders:
        path = folder / "common.yaml"
        for document in nodes.load(path) if path.is_file() else ():
            node = document.get("let")
            if not isinstance(node, nodes.Map) or len(document.items) != 1:
                raise MappingError(
                    "FS321", Place(path.name, document.line, "let"), "`let:` with constants, and nothing else"
                )
            lets.update((name.text, value) for name, value in node.items)
    return lets
