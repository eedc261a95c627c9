"""The state that the derivations share: tables, study design, findings, and what was derived how."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from fhirspace.errors import Problem
from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.design import StudyDesign
from fhirspace.sdtm.derive.differences import Difference, differences
from fhirspace.standards import sdtm


class Visit(NamedTuple):
    """The label, number and day of a visit in TV or SV, as far as they are filled."""

    label: str | None
    number: str | None
    day: str | None


class Derived(NamedTuple):
    """One variable that derivations filled (wholly or in part), and the method's text for Define-XML."""

    dataset: str
    variable: str
    method: str


@dataclass(slots=True)
class Work:
    """What a run of the derivations holds; `fill` and `derive_elements` alone change the tables.

    Attributes:
        tables: those of some subjects; study: its design.
        filled: by dataset of the study, the columns that came in filled. visits: those of the study's TV and SV.
        comparing: whether cells that came in are compared with what is derived for them.
        problems: what was noted; derived: what was derived how; differing: where cells that came in differ.
    """

    tables: dict[str, pa.Table]
    study: StudyDesign
    filled: Mapping[str, Collection[str]]
    visits: Sequence[Visit]
    comparing: bool = False
    problems: list[Problem] = field(default_factory=list)
    derived: dict[tuple[str, str], Derived] = field(default_factory=dict)
    differing: list[Difference] = field(default_factory=list)

    def fill(self, dataset: str, variable: str, values: pa.Array, method: str) -> None:
        """Fill the empty cells of a variable and remember how; nothing is remembered where none was empty.

        The cells that came in are compared with the values.
        """
        self.compare(dataset, variable, values)
        self.tables[dataset], count = columns.fill(self.tables[dataset], variable, values)
        if count:
            self.derived[dataset, variable] = Derived(dataset, variable, method)

    def compare(self, dataset: str, variable: str, values: pa.Array) -> None:
        """Remember where cells that came in differ from the values that are derived for them, if that is asked for."""
        if self.comparing:
            self.differ(differences(self.tables[dataset], dataset, variable, values))

    def differ(self, found: Difference | None) -> None:
        """Remember a difference, if there is one."""
        if found is not None:
            self.differing.append(found)

    def note(self, code: str, dataset: str, rows: Sequence[int], column: str, expected: str) -> None:
        """Record one finding for each of the rows."""
        for place in columns.places(self.tables[dataset], dataset, rows, column):
            self.problems.append(Problem(code, place, expected, dataset))

    def known(self) -> Iterator[tuple[str, sdtm.Domain]]:
        """The datasets which the guide specifies, in the order of their names, supplemental qualifiers left out."""
        for name in sorted(self.tables):
            if sdtm.known(name) and not name.startswith("SUPP"):
                yield name, sdtm.domain(name)

    def general(self) -> Iterator[tuple[str, sdtm.Domain]]:
        """The datasets of the general observation classes."""
        return ((name, spec) for name, spec in self.known() if spec.klass in sdtm.GENERAL_CLASSES)

    def subjects(self, name: str) -> dict[str, str]:
        """USUBJID -> cell of a DM variable, for subjects whose cell is filled."""
        return dict(columns.lookup(self.tables["DM"], "USUBJID", name)) if "DM" in self.tables else {}
