"""SDTM files as datasets: those in memory, and large Parquet files that stay on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa

from fhirspace.errors import InputError, Place, Problem
from fhirspace.mapping.library import Library
from fhirspace.standards import sdtm
from fhirspace.study.accounting import Accounting
from fhirspace.study.dataset import InMemory, Tabulation, tabulation
from fhirspace.study.inputs import Input
from fhirspace.study.metadata.describe import disagreements, reduced
from fhirspace.tables.description import Description


class SdtmFiles(NamedTuple):
    """The datasets of an input.

    Attributes:
        tables: those in memory. lazy: those that stay on the disk, since they are large Parquet files.
        metadata: the descriptions in all files, without what follows from the guide and the cells; a dataset without
            rows is in it alone. files: the same as the files have them.
    """

    tables: dict[str, pa.Table]
    lazy: dict[str, Tabulation]
    metadata: dict[str, Description]
    files: dict[str, Description]


def read_sdtm(given: Input, library: Library, accounting: Accounting) -> SdtmFiles:
    """The datasets of an input; those that stay on the disk are reported (note FS741).

    A dataset that neither the guide nor a mapping knows goes to quarantine whole.

    Args:
        given: the input; library: the mappings; accounting: of the run.

    Raises:
        InputError: of the first file, where no file at all can be read.
    """
    loaded: dict[str, Tabulation] = {}
    faults: list[InputError] = []
    for name, found in given.files.items():
        try:
            data, rejected, problems = tabulation(found)
        except InputError as fault:
            faults.append(fault)
            accounting.refuse(found.path, fault)
            continue
        accounting.note([*problems, *rejected.problems])
        accounting.read(name, data.rows + len(rejected))
        accounting.quarantine(name, rejected.columns, (row.fields for row in rejected.rows))
        loaded[name] = data
        accounting.note(disagreements(name, data.description, found.path.name))
    if faults and len(faults) == len(given.files):
        raise faults[0]
    for name in _unknown(loaded, library):
        place = Place(given.files[name].path.name)
        accounting.note([Problem("FS753", place, "a dataset of SDTMIG " + sdtm.version(), name)])
        accounting.quarantine_rows(name, loaded[name].table(), range(loaded[name].rows))
        del loaded[name]
    tables = {name: data.data for name, data in loaded.items() if isinstance(data, InMemory) and data.rows}
    lazy = {name: data for name, data in loaded.items() if not isinstance(data, InMemory)}
    metadata = {
        name: reduced(name, data.description, data.table()) if isinstance(data, InMemory) else data.description
        for name, data in loaded.items()
    }
    return SdtmFiles(tables, lazy, metadata, {name: data.description for name, data in loaded.items()})


def _unknown(loaded: Mapping[str, Tabulation], library: Library) -> list[str]:
    """The datasets that neither the guide nor a mapping knows; each gets its mapping, supplemental qualifiers last."""
    for name in sorted(loaded, key=lambda each: each.startswith("SUPP")):
        library.adopt(name, loaded[name].columns)
    return [name for name in loaded if not sdtm.known(name.removeprefix("SUPP")) and name not in library.mappings]
