"""Folders with views: the shipped ones and those of users, which may extend another one.

A folder has YAML files with a view a document, JSON files with a ViewDefinition each, and ``common.yaml`` with what
holds for all of them::

    extends: us-core                 # the views of another folder; views of the same name here replace them
    let: {loinc: http://loinc.org}   # constants, seen by the views of the other folder as well
    codes: {STUDYDRUG: {"1535362": SODIUM FLUORIDE}}   # code lists, as do the files codes/*.csv beside it
    left: [Claim, ExplanationOfBenefit]                # resource types that no view is for, on purpose
    never: {status: [draft, on-hold]}                  # status codes of which no record is made
    zone: America/New_York           # of all sites, or by SITEID: {"01": America/New_York}
    subjects: enrolment.csv          # who is in the study (see `subjects`), or {view: enrolment}
    visits: visits.csv               # the windows of visits (see `visits`)
    day one: {least: dose.start}     # the date that study days count from; without it that of the enrolment table
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from fhirspace.errors import MappingError, Place, UsageError
from fhirspace.forms.build import code_lists
from fhirspace.standards.fhir import Release, resource_types
from fhirspace.standards.timezones import alike, is_zone
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codelists import CodeLists
from fhirspace.template.folders import shipped
from fhirspace.views.definition.build import read
from fhirspace.views.notation.address import Address
from fhirspace.views.notation.build import Scope, ViewReader, merged
from fhirspace.views.notation.model import Computed, View, ViewSet

COMMON: Final = ("extends", "let", "codes", "left", "never", "zone", "subjects", "visits", "day one")
_APART: Final = "common.yaml"
_ENROLMENT: Final = "enrolment"
"""The view that makes the enrolment table, if `subjects:` names it; else it is not used."""
_KINDS: Final = ("*.yaml", "*.json")


def view_set(name: str, folders: Iterable[Path] = (), release: Release = "R4") -> ViewSet:
    """The views of a name or of a folder, with those that it extends.

    Args:
        name: of a folder of ``views/`` in one of the mapping folders, or its path, or that of a ViewDefinition.
        folders: the user's mapping folders.
        release: to be read.

    Raises:
        UsageError: FS374, there is none. MappingError: one is wrong, with file, line, key and what was expected.
    """
    roots = [shipped(), *folders]
    known = {path.name: path for root in roots for path in sorted((root / "views").glob("*")) if path.is_dir()}
    if Path(name).suffix == ".json" and Path(name).is_file():
        return _alone(Path(name), release)
    chain = _chain(known.get(name, Path(name)), known)
    return _Loader(chain, [root / "codes" for root in roots], release).load()


def _alone(file: Path, release: Release) -> ViewSet:
    """A ViewDefinition as the only view."""
    view = ViewReader(file.name, Scope(), release).defined(read(file, release), file.name)
    return ViewSet(file.stem, {view.name: view}, folders=(file.parent,))


def _chain(path: Path, known: Mapping[str, Path]) -> list[Path]:
    """A folder and those that it extends, the last extended one first."""
    found = list[Path]()
    while True:
        if not path.is_dir() or not any(each for kind in _KINDS for each in path.glob(kind)):
            hint = f"a folder with view files, or one of these names: {', '.join(known)}"
            raise UsageError("FS374", Place(path.name), hint)
        if path.resolve() in [each.resolve() for each in found]:
            raise MappingError("FS303", Place(_APART), detail=f"{path.name} extends itself")
        found.insert(0, path)
        above = next((node for document in _common(path) if (node := document.get("extends")) is not None), None)
        if above is None:
            return found
        if not isinstance(above, nodes.Text):
            raise MappingError("FS321", Place(_APART, above.line, "extends"), "the name of a folder with views")
        path = known.get(above.text, path / above.text)


def _common(path: Path) -> list[nodes.Map]:
    return nodes.load(path / _APART) if (path / _APART).is_file() else []


class _Loader:
    def __init__(self, chain: list[Path], codes: list[Path], release: Release) -> None:
        self._chain, self._release = chain, release
        self._heads = [(path, document) for path in chain for document in _common(path)]
        local: dict[str, dict[str, str]] = {}
        lets: dict[str, nodes.Node] = {}
        for _, document in self._heads:
            _check_known(document)
            local |= code_lists(_APART, document)
            let = document.get("let")
            lets |= {name.text: node for name, node in let.items} if isinstance(let, nodes.Map) else {}
        self._scope = Scope(lets, CodeLists([*codes, *(path / "codes" for path in chain)], local))
        self._reader = ViewReader(_APART, self._scope, release)

    def load(self) -> ViewSet:
        found = ViewSet(self._chain[-1].name, {}, lists=self._scope.lists, folders=tuple(self._chain))
        for path, document in self._heads:
            found = self._declared(found, path, document)
        views: dict[str, View] = {}
        for path in self._chain:
            own: dict[str, View] = {}
            files = sorted(each for kind in _KINDS for each in path.glob(kind))
            for view in (each for file in files for each in self._file(file)):
                if own.setdefault(view.name, view) is not view:
                    raise MappingError("FS373", Place(view.file, view.line, view.name), "each view once in a folder")
            views |= own
        if found.enrolling != _ENROLMENT:
            views.pop(_ENROLMENT, None)
        made = replace(found, views=views)
        _check_between(made)
        return made

    def _declared(self, found: ViewSet, path: Path, document: nodes.Map) -> ViewSet:
        left, types = document.get("left"), resource_types()
        for node in left.items if isinstance(left, nodes.Seq) else ():
            if not isinstance(node, nodes.Text) or node.text not in types:
                raise MappingError("FS371", Place(_APART, node.line, "left"), "a list of resource types")
            found = replace(found, left=found.left | {node.text})
        self._scope.never = merged(self._scope.never, self._reader.never(document))
        if (subjects := document.get("subjects")) is not None:
            found = self._enrolled(found, path, subjects)
        if (visits := document.get("visits")) is not None:
            found = replace(found, visits=path / self._text(visits, "visits"))
        if (zone := document.get("zone")) is not None:
            found = replace(found, zones=self._zones(zone))
        if (day := document.get("day one")) is not None:
            found = replace(found, day_one=self._day_one(day))
        return found

    def _enrolled(self, found: ViewSet, path: Path, node: nodes.Node) -> ViewSet:
        """``subjects: enrolment.csv``, or ``subjects: {view: enrolment}``."""
        if not isinstance(node, nodes.Map):
            return replace(found, subjects=path / self._text(node, "subjects"), enrolling="")
        if [name.text for name, _ in node.items] != ["view"]:
            raise MappingError("FS373", Place(_APART, node.line, "subjects"), "a file, or `{view: NAME}`")
        return replace(found, subjects=None, enrolling=self._text(node.items[0][1], "view"))

    def _text(self, node: nodes.Node, key: str) -> str:
        if not isinstance(node, nodes.Text) or not node.text:
            raise MappingError("FS321", Place(_APART, node.line, key), "a text")
        return node.text

    def _zones(self, node: nodes.Node) -> dict[str, str]:
        pairs = [(name.text, value) for name, value in node.items] if isinstance(node, nodes.Map) else [("", node)]
        zones = {site: self._text(value, "zone") for site, value in pairs}
        for zone in zones.values():
            if not is_zone(zone):
                raise MappingError("FS364", Place(_APART, node.line, "zone"), alike(zone))
        return zones

    def _day_one(self, node: nodes.Node) -> Computed:
        if isinstance(node, nodes.Map) and [name.text for name, _ in node.items] in (["least"], ["greatest"]):
            name, value = node.items[0]
            return self._reader.extreme(name.text, self._text(value, name.text), node.line)
        raise MappingError("FS373", Place(_APART, node.line, "day one"), "`{least: VIEW.COLUMN}`")

    def _file(self, file: Path) -> Iterator[View]:
        if file.name == _APART:
            return
        if file.suffix == ".json":
            yield self._reader.defined(read(file, self._release), file.name)
            return
        reader = ViewReader(file.name, self._scope, self._release)
        for document in nodes.load(file):
            if document.get("view") is None:
                reader.head(document)
            else:
                yield reader.read(document)


def _check_known(document: nodes.Map) -> None:
    for key, _ in document.items:
        if key.text not in COMMON:
            raise MappingError("FS304", Place(_APART, key.line, key.text), "one of " + ", ".join(COMMON))


def _check_between(made: ViewSet) -> None:
    """What a view computes of another one must be a column of it with an address."""
    enrolling = made.views.get(made.enrolling)
    if made.enrolling and (enrolling is None or not {"STUDYID", "SUBJID"} <= enrolling.columns.keys()):
        hint = "the name of a view with the columns STUDYID and SUBJID"
        raise MappingError("FS373", Place(_APART, None, "subjects"), hint)
    named = [(view.file, view.line, each) for view in made.views.values() for each in view.columns.values()]
    named += [(_APART, None, made.day_one)] if made.day_one else []  # type: ignore[list-item]
    for file, line, each in named:
        if isinstance(each, Computed) and each.view:
            other = made.views.get(each.view)
            if other is None or not isinstance(other.columns.get(each.column), Address):
                hint = "a view and its column with an address, as in `least: dose.start`"
                raise MappingError("FS373", Place(file, line, f"{each.view}.{each.column}"), hint)
