"""The rows that each type of rule looks at: records, variables, datasets, or single values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import pyarrow as pa

from fhirspace.sdtm.rules import defined
from fhirspace.sdtm.rules.errors import CannotRun
from fhirspace.sdtm.rules.frame import Frame, Source, of_columns, of_dataset, stacked
from fhirspace.sdtm.rules.operations.metadata import about
from fhirspace.sdtm.rules.study import Dataset, Study
from fhirspace.sdtm.rules.values import Column, constant

Builder: TypeAlias = Callable[[Sequence[Dataset], Study], Iterator[Frame]]
"""Takes a dataset, or all parts of a split one that are judged together, and gives the rows."""


def _records(parts: Sequence[Dataset], _study: Study) -> Iterator[Frame]:
    yield stacked([of_dataset(each) for each in parts])


def _variables(parts: Sequence[Dataset], _study: Study) -> Iterator[Frame]:
    yield stacked([_of_variables(each) for each in parts])


def _of_variables(dataset: Dataset) -> Frame:
    names = list(dataset.described)
    facts = [dataset.about.get(name) for name in names]
    columns: dict[str, Column] = {
        "variable_name": pa.array(names, pa.string()),
        "variable_order_number": pa.array(range(1, len(names) + 1), pa.int64()),
        "variable_label": pa.array([each and (each.label or None) for each in facts], pa.string()),
        "variable_size": pa.array([each and each.length for each in facts], pa.int64()),
        "variable_data_type": pa.array([each.type if each else "Char" for each in facts], pa.string()),
    }
    return of_columns(dataset, columns, len(names))


def _datasets(parts: Sequence[Dataset], _study: Study) -> Iterator[Frame]:
    yield stacked([_of_dataset(each) for each in parts])


def _of_dataset(dataset: Dataset) -> Frame:
    return of_columns(dataset, {name: constant(value, 1) for name, value in about(dataset).items()}, 1)


def _presence(parts: Sequence[Dataset], study: Study) -> Iterator[Frame]:
    columns = {each.whole: constant(each.file, 1) for each in study.datasets.values()}
    yield of_columns(parts[0], columns, 1)


def _defined(parts: Sequence[Dataset], study: Study) -> Iterator[Frame]:
    yield from defined.variables(parts[0], study)


def _values(parts: Sequence[Dataset], _study: Study) -> Iterator[Frame]:
    """The cells of one variable after the other, with what is known of the variable and of the dataset."""
    for part in parts:
        if not part.about:
            raise CannotRun("nothing is known of the variables")
        size = part.table.num_rows
        for at, name in enumerate(part.names, 1):
            known = part.about.get(name)
            facts = {**about(part), "variable_name": name, "variable_order_number": at}
            facts |= {
                "variable_label": known.label if known else "",
                "variable_data_type": known.type if known else "Char",
            }
            sources: dict[str, Source] = {key: partial(constant, value, size) for key, value in facts.items()}
            sources["variable_value"] = partial(part.column, name)
            yield Frame(part, size, part.rows, sources)


BUILDERS: dict[str, Builder] = {
    "Record Data": _records,
    "Variable Metadata Check": _variables,
    "Dataset Metadata Check": _datasets,
    "Domain Presence Check": _presence,
    "Define Item Metadata Check": _defined,
    "Define Item Metadata Check against Library Metadata": _defined,
    "Value Check with Variable Metadata": _values,
    "Value Check with Dataset Metadata": _values,
}
"""For each type of rule that can be run, what gives its rows."""
