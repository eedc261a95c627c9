"""From the JSON of a ViewDefinition to what is evaluated, each part checked.

Source: SQL on FHIR 2, "ViewDefinition".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import Any, Final

from fhirspace.errors import MappingError, Place
from fhirspace.fhir.validation.invariants.items import Item, model
from fhirspace.foreign import listed
from fhirspace.json import JsonError, Number, parse
from fhirspace.limits import limit, too_much
from fhirspace.standards.fhir import Release, definitions
from fhirspace.views.definition.model import Column, Definition, Loop, Path, Select
from fhirspace.views.definition.paths import PathError, Paths, Types

KIND: Final = "ViewDefinition"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,254}")
_LOOPS: Final[tuple[Loop, ...]] = ("forEach", "forEachOrNull", "repeat")
_SELECT: Final = ("column", "select", "unionAll", *_LOOPS)
_COLUMN: Final = ("name", "path", "type", "collection", "description", "tag", "extension", "id")
_KEYS: Final = ("resource", "select", "where", "constant")
_DEEPEST: Final = 30
_BOOLEAN: Final = frozenset({"boolean"})


def read(file: File, release: Release) -> Definition:
    """The definition in a file.

    Raises:
        MappingError: FS376, with the place in the file and what would fit, or what is not supported.
        InputError: FS160, it is too large.
    """
    if not file.is_file():  # a pipe would be waited for
        raise MappingError("FS376", Place(file.name), "an ordinary file")
    if file.stat().st_size > limit("yaml-bytes"):
        raise too_much("yaml-bytes", Place(file.name))
    try:
        found = parse(file.read_bytes())
    except JsonError as error:
        raise MappingError("FS376", Place(file.name), error.expected, error.detail) from None
    return build(found, file.name, release)


def build(found: Any, file: str, release: Release) -> Definition:
    """The definition that a parsed file has. Raises as `read`."""
    return _Builder(file, release).definition(found)


class _Builder:
    def __init__(self, file: str, release: Release) -> None:
        self._file, self._release = file, release
        self._known = definitions(release)
        self._depth = 0

    def _error(self, where: str, expected: str, detail: str = "") -> MappingError:
        return MappingError("FS376", Place(self._file, None, where or None), expected, detail)

    def definition(self, found: Any) -> Definition:
        """The definition of a whole file."""
        if not isinstance(found, dict) or found.get("resourceType", KIND) != KIND:
            raise self._error("resourceType", f"a {KIND}")
        name, resource = found.get("name", self._file.split(".")[0].replace("-", "_")), found.get("resource")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self._error("name", "letters, digits and _ as the name of a table")
        if not isinstance(resource, str) or resource not in self._known.resources:
            near = self._known.suggest(resource) if isinstance(resource, str) else []
            raise self._error("resource", " or ".join(near) or f"a resource type of {self._release}")
        self._paths = Paths(resource, self._constants(found), self._known, model(self._release))
        focus: Types = frozenset({resource})
        where = tuple(self._where(each, at, focus) for at, each in self._objects(found, "where", ""))
        selects = tuple(self._select(each, at, focus, inside=False) for at, each in self._objects(found, "select", ""))
        made = Definition(name, resource, where, selects, self._release)
        times = Counter(made.columns)
        if not times:
            raise self._error("select", "a select with a column")
        if len(times) > limit("columns"):
            raise too_much("columns", Place(self._file))
        for each, count in times.items():
            if count > 1:
                raise self._error("select", "each name of a column once", f"{each} is there twice")
        return made

    def _objects(self, node: Mapping[str, Any], key: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a list, each with its place."""
        items = node.get(key, [])
        for number, item in enumerate(items if isinstance(items, list) else [items]):
            place = f"{where}{key}[{number}]"
            if not isinstance(item, dict):
                raise self._error(place, "an object")
            yield place, item

    def _constants(self, found: Mapping[str, Any]) -> dict[str, Item]:
        made = dict[str, Item]()
        for where, each in self._objects(found, "constant", ""):
            name, values = each.get("name"), [key for key in each if key.startswith("value")]
            if not isinstance(name, str) or not _NAME.fullmatch(name) or len(values) != 1:
                raise self._error(where, "a name and one value, as in `valueString`")
            kind = values[0].removeprefix("value")
            kind = kind[:1].lower() + kind[1:]
            value = each[values[0]]
            if kind not in self._known.primitives or not isinstance(value, str | bool | Number):
                raise self._error(f"{where}.{values[0]}", "a primitive value")
            made[name] = Item(value, kind)
        return made

    def _text(self, node: Mapping[str, Any], key: str, where: str) -> str:
        text = node.get(key)
        if not isinstance(text, str) or isinstance(text, Number) or not text.strip():
            raise self._error(f"{where}.{key}", "a text")
        return str(text)

    def _path(self, text: Any, where: str, focus: Types, *, inside: bool) -> tuple[Path, Types]:
        if not isinstance(text, str) or isinstance(text, Number) or not text.strip():
            raise self._error(where, "a path as text")
        try:
            return self._paths.path(text, focus, inside=inside)
        except PathError as error:
            raise self._error(where, error.expected) from None

    def _where(self, node: Mapping[str, Any], where: str, focus: Types) -> Path:
        path, types = self._path(node.get("path"), f"{where}.path", focus, inside=False)
        if types is not None and types != _BOOLEAN:
            raise self._error(f"{where}.path", "a path that is true or false", f"it is {listed(sorted(types))}")
        return path

    def _select(self, node: Mapping[str, Any], where: str, focus: Types, *, inside: bool) -> Select:
        for key in node:
            if key not in (*_SELECT, "id", "extension"):
                raise self._error(f"{where}.{key}", f"one of {', '.join(_SELECT)}")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(where, f"at most {_DEEPEST} selects within one another")
        loop, paths, focus = self._loop(node, where, focus, inside=inside)
        inside = inside or bool(loop)
        columns = tuple(
            self._column(each, at, focus, inside=inside) for at, each in self._objects(node, "column", f"{where}.")
        )
        nested, unions = (
            tuple(self._select(each, at, focus, inside=inside) for at, each in self._objects(node, key, f"{where}."))
            for key in ("select", "unionAll")
        )
        self._depth -= 1
        for each in unions[1:]:
            if each.names != unions[0].names:
                raise self._error(f"{where}.unionAll", "the same columns, in the same order, in all parts")
        return Select(loop, paths, columns, nested, unions)

    def _loop(
        self, node: Mapping[str, Any], where: str, focus: Types, *, inside: bool
    ) -> tuple[Loop, tuple[Path, ...], Types]:
        """The loop of a select, its paths, and the types of the items."""
        loops = [key for key in _LOOPS if key in node]
        if len(loops) > 1:
            raise self._error(where, f"one of {', '.join(_LOOPS)}")
        if not loops:
            return "", (), focus
        loop, place = loops[0], f"{where}.{loops[0]}"
        if loop != "repeat":
            path, types = self._path(node[loop], place, focus, inside=inside)
            return loop, (path,), types
        texts = node[loop]
        if not isinstance(texts, list) or not texts:
            raise self._error(place, "a list of paths")
        first = [self._path(each, place, focus, inside=inside) for each in texts if self._begins(each, focus)]
        found = [types for _, types in first]
        items = frozenset[str]().union(*(each for each in found if each)) if found and None not in found else None
        # What is repeated begins at the resource and at the items that were found: names of both are right.
        paths = [self._path(each, place, None, inside=True)[0] for each in texts]
        elements = [path.elements for path, _ in first]
        whole = None in elements or len(first) < len(texts)
        known = None if whole else frozenset[str]().union(*(each for each in elements if each))
        return loop, tuple(Path(each.text, each.run, known) for each in paths), None if whole else items

    def _begins(self, text: Any, focus: Types) -> bool:
        """Whether a path of `repeat` can begin at what is around it."""
        try:
            self._paths.path(str(text), focus, inside=False)
        except PathError:
            return False
        return True

    def _column(self, node: Mapping[str, Any], where: str, focus: Types, *, inside: bool) -> Column:
        for key in node:
            if key not in _COLUMN:
                raise self._error(f"{where}.{key}", f"one of {', '.join(_COLUMN)}")
        name, collection = self._text(node, "name", where), node.get("collection", False)
        if not _NAME.fullmatch(name):
            raise self._error(f"{where}.name", "letters, digits and _ as the name of a column")
        if not isinstance(collection, bool):
            raise self._error(f"{where}.collection", "true or false")
        path, types = self._path(node.get("path"), f"{where}.path", focus, inside=inside)
        if types is not None and not types & self._known.primitives:
            kinds = listed(sorted(types))
            raise self._error(f"{where}.path", "a path to a primitive value", f"it leads to {kinds}")
        return Column(name, path, collection)
