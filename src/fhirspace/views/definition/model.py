"""What a ViewDefinition is once its file was read and checked. Source: SQL on FHIR 2, "ViewDefinition"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fhirspace.fhir.validation.invariants.compiler import Expression
from fhirspace.standards.fhir import Release

Loop = Literal["", "forEach", "forEachOrNull", "repeat"]


@dataclass(frozen=True, slots=True)
class Path:
    """A FHIRPath expression of a definition.

    Attributes:
        text: as written. run: its function.
        elements: the elements of the resource that its value depends on, by their JSON names; None: all of them.
    """

    text: str
    run: Expression
    elements: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name and path, and whether it has all values, as a JSON array, instead of the only one."""

    name: str
    path: Path
    collection: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """A part of a definition: rows of columns, joined with those of nested parts.

    Attributes:
        loop: whether, and how, there are rows for each item of `paths`.
        columns: its own. nested: parts whose rows are combined with these. unions: parts whose rows come one after the
            other.
    """

    loop: Loop = ""
    paths: tuple[Path, ...] = ()
    columns: tuple[Column, ...] = ()
    nested: tuple[Select, ...] = ()
    unions: tuple[Select, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of all columns, in their order."""
        found = [each.name for each in self.columns] + [name for each in self.nested for name in each.names]
        return found + (self.unions[0].names if self.unions else [])

    def all_paths(self) -> Iterator[Path]:
        """The paths that its rows depend on, beginning at the resource: those of a loop are enough for what is in it.

        Paths within a loop begin at an item of it; they are given if they look at the resource as well.
        """
        if self.loop:
            yield from self.paths
            yield from (path for path in self._inner() if path.elements is None)
        else:
            yield from self._inner()

    def _inner(self) -> Iterator[Path]:
        yield from (each.path for each in self.columns)
        for part in (*self.nested, *self.unions):
            yield from part.all_paths()


@dataclass(frozen=True, slots=True)
class Definition:
    """A ViewDefinition: conditions on resources of a type, and the parts whose rows are combined.

    Attributes:
        name: of its table. resource: the type. where: paths that must be true. selects: the parts. release: of FHIR.
    """

    name: str
    resource: str
    where: tuple[Path, ...]
    selects: tuple[Select, ...]
    release: Release

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return [name for each in self.selects for name in each.names]

    def elements(self) -> frozenset[str] | None:
        """The elements of the resource that it reads; None: it may be all of them."""
        found = [path.elements for path in (*self.where, *(path for each in self.selects for path in each.all_paths()))]
        return together(found)


def together(parts: list[frozenset[str] | None]) -> frozenset[str] | None:
    """All elements that some paths depend on; None where one depends on the whole resource."""
    known = [each for each in parts if each is not None]
    return frozenset().union(*known) if len(known) == len(parts) else None
