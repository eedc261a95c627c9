"""Derivations of SDTM variables: one pure function over the tabulations of subjects.

Collected values are never overwritten: a derived value only fills an empty cell. Each rule is described in the
docstring of its function, and in one sentence in `methods`, for Define-XML and docs/derivations.md.
Decisions: docs/decisions/0005.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from fhirspace.errors import Problem
from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.baseline import derive_last_observations
from fhirspace.sdtm.derive.design import StudyDesign
from fhirspace.sdtm.derive.differences import Difference
from fhirspace.sdtm.derive.methods import method
from fhirspace.sdtm.derive.order import derive_sequences
from fhirspace.sdtm.derive.results import derive_results
from fhirspace.sdtm.derive.subject_visits import derive_subject_visits
from fhirspace.sdtm.derive.subjects import derive_elements, derive_subjects
from fhirspace.sdtm.derive.timing import derive_days, derive_epochs, derive_visits, planned_visits
from fhirspace.sdtm.derive.work import Derived, Visit, Work


class Derivation(NamedTuple):
    """The tables with the derived variables, the problems found, the methods used, and the given values that differ."""

    tables: dict[str, pa.Table]
    problems: list[Problem]
    derived: list[Derived]
    differences: list[Difference]


def derive(
    tables: dict[str, pa.Table],
    study: StudyDesign | None = None,
    *,
    filled: Mapping[str, Collection[str]] | None = None,
    visits: Sequence[Visit] | None = None,
    finishing: bool = False,
) -> Derivation:
    """Fill the derivable variables of tabulations.

    Args:
        tables: text tables by dataset name, with all rows of some subjects and the datasets about no subject; none of
            them is changed. Datasets that the guide does not know pass as they are.
        study: visits, elements, units and rules of the study; without it only what follows from the data is derived.
        filled: by dataset of the study, the columns that are filled in any row; of these tables if it is not given.
        visits: `planned_visits` of the study; of these tables if they are not given.
        finishing: the tables came in as datasets. Also look where cells that came in are other than what is derived for
            them, and make SV where there is none.

    Returns:
        The tables (SE and SV may be new), problems (notes FS710 to FS719), the variables derived, in order, and
        differences.
    """
    known = columns.filled_columns(tables) if filled is None else filled
    planned = tuple(planned_visits(tables) if visits is None else visits)
    work = Work(dict(tables), study or StudyDesign(), known, planned, finishing)
    _derive_domain(work)
    derive_subjects(work)
    derive_elements(work)
    derive_visits(work)
    if finishing:
        derive_subject_visits(work)
    derive_results(work)
    derive_days(work)
    derive_epochs(work)
    derive_sequences(work)
    derive_last_observations(work)
    return Derivation(work.tables, work.problems, sorted(work.derived.values()), sorted(work.differing))


def _derive_domain(work: Work) -> None:
    for name, spec in work.known():
        if "DOMAIN" in spec.names:
            code = spec.prefix or name[:2]
            constant = pa.repeat(pa.scalar(code, pa.string()), work.tables[name].num_rows)
            work.fill(name, "DOMAIN", constant, method("DOMAIN", code=code))
