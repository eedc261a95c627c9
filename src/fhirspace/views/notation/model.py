"""What a view is once its file was read and checked against HL7's definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fhirspace.template.codelists import CodeLists
from fhirspace.template.slots import Cond
from fhirspace.views.definition.model import Definition
from fhirspace.views.notation.address import Address

Kind = Literal["visit", "visit number", "phase", "enrolment", "least", "greatest", "item", "unless"]
BEFORE, DURING, AFTER = "BEFORE", "DURING", "AFTER"
"""The texts of a column ``{phase: ...}``: relative to the participation in the study."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A column that is computed: from another column of the view, from the enrolment table, or from another view.

    Attributes:
        kind: what is computed. column: what it is computed of, a column of `view` (empty: of the view itself).
        other: of ``unless``, the column whose cell is taken where `column` is empty.
    """

    kind: Kind
    column: str
    view: str = ""
    other: str = ""


@dataclass(frozen=True, slots=True)
class Merge:
    """Which records of a subject are one record.

    Attributes:
        by: the columns that agree. least, greatest: columns of dates of which the earliest or the latest is taken.
    """

    by: tuple[str, ...]
    least: tuple[str, ...] = ()
    greatest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """One view: which resources it claims, and the columns of the records that it makes of them.

    Attributes:
        name: of the view and of its records. of: the resource type. file, line: where it is written.
        when: the condition on which it claims a resource, None for all of the type.
        each: the element of which each item makes a record; empty: one record a resource.
        own: with `each`, a resource without such items makes a record itself. also: one with items does so, too.
        columns: by name; an address reads an item where `each` has some.
        merge: which records of a subject are one; None: each is one.
        left: reasons with the conditions on which a claimed resource or item makes no record.
        subject: the reference to the patient; None: the resource is the patient.
        never: status elements with the codes of which no record is made, besides the rules of `fhir.status`.
        addresses: those that conditions name, as they are written there.
        times: the columns and addresses whose values can have a time of day with an offset.
        definition: of a view that was read as a ViewDefinition, which has the columns and conditions then.
    """

    name: str
    of: str
    file: str
    line: int
    when: Cond | None = None
    each: str = ""
    own: bool = True
    also: bool = False
    columns: Mapping[str, Address | Computed] = field(default_factory=dict)
    merge: Merge | None = None
    left: tuple[tuple[str, Cond], ...] = ()
    subject: Address | None = None
    never: Mapping[str, frozenset[str]] = field(default_factory=dict)
    addresses: Mapping[str, Address] = field(default_factory=dict)
    times: frozenset[str] = frozenset()
    definition: Definition | None = None

    def read(self) -> Iterator[tuple[str, Address]]:
        """All addresses by the names of their columns, then those of conditions."""
        yield from ((name, each) for name, each in self.columns.items() if isinstance(each, Address))
        yield from self.addresses.items()

    def read_by(self, cond: Cond) -> frozenset[str]:
        """The columns that a condition depends on, those that computed ones are computed of as well."""
        found, open_ = set[str](), list(cond.columns())
        while open_:
            name = open_.pop()
            column = self.columns.get(name)
            if name not in found and isinstance(column, Computed) and column.view in ("", self.name):
                open_ += [column.column, column.other]
            found.add(name)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class ViewSet:
    """The views of a folder and what it declares for all of them.

    Attributes:
        name: the folder's. views: by name.
        left: resource types that no view is for, on purpose.
        zones: the time zone by SITEID, "" for all other sites.
        subjects: the enrolment table; visits: the windows of visits; None where the folder names none.
        enrolling: the view whose records are the enrolment table, "" where that is a file.
        day_one: the date that study days are counted from: a column of a view, or None: of the enrolment table.
        lists: the code lists that conditions name. folders: that of the views, after those that it extends.
    """

    name: str
    views: Mapping[str, View]
    left: frozenset[str] = frozenset()
    zones: Mapping[str, str] = field(default_factory=dict)
    subjects: Path | None = None
    enrolling: str = ""
    visits: Path | None = None
    day_one: Computed | None = None
    lists: CodeLists = field(default_factory=CodeLists)
    folders: tuple[Path, ...] = ()

    def of(self, kind: str) -> list[View]:
        """The views of a resource type."""
        return [view for view in self.views.values() if view.of == kind]

    @property
    def types(self) -> frozenset[str]:
        """The resource types that have a view."""
        return frozenset(view.of for view in self.views.values())
