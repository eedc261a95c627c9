"""What is known of a study beside its datasets, and the define.xml that both give."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from fhirspace.errors import Problem
from fhirspace.forms.library import SourceLibrary
from fhirspace.sdtm.define import agreement, making
from fhirspace.sdtm.define.merging import merged
from fhirspace.sdtm.define.model import Define
from fhirspace.sdtm.derive.work import Derived
from fhirspace.study import pipeline
from fhirspace.study.define.cells import cells_of
from fhirspace.study.inputs import Input
from fhirspace.tables.datasetjson.opening import FORMATS
from fhirspace.tables.description import Description as FileDescription

_REMARKS = {
    "records": "Made by fhirspace from the records of an EDC export, by the source mapping {source}.",
    "views": "Made by fhirspace from FHIR of an EHR, by views and the source mapping {source}.",
    "sdtm": "Made by fhirspace from SDTM datasets.",
    "fhir": "Made by fhirspace from FHIR resources.",
}


@dataclass(frozen=True, slots=True)
class Description:
    """What a define.xml says beside the datasets.

    Attributes:
        kind: what the input was: records, views, sdtm or fhir.
        sources: the mappings of an EDC export. derived: what was derived how.
        given: the define.xml of the input. written: whether there is to be a define.xml beside the datasets.
    """

    kind: str
    sources: SourceLibrary | None = None
    derived: tuple[Derived, ...] = ()
    given: Define | None = None
    written: bool = True

    def of(self, datasets: Mapping[str, making.Dataset]) -> Define:
        """The definitions of datasets as they are written; what the input's own define.xml says of them is used."""
        word = "EHR" if self.kind == "views" else "Form"
        cells = tuple(cells_of(self.sources, word)) if self.sources else ()
        remark = _REMARKS[self.kind].format(source=self.sources.folder.name if self.sources else "")
        taken = self.given.oids() if self.given else ()
        made = making.make(datasets, making.Known(cells, self.derived, remark, taken), created=_created())
        return merged(made, self.given) if self.given else made

    def differences(self, define: Define, datasets: Mapping[str, making.Dataset]) -> Iterator[Problem]:
        """Where the input's own define.xml does not agree with the datasets as they are written."""
        if self.given:
            tables = {name: each.table for name, each in datasets.items()}
            gone = (each for each in agreement.check(self.given, tables) if each.code == "FS771")
            yield from (*gone, *agreement.check(define, tables))


def describe(
    given: Input,
    prepared: pipeline.Prepared,
    source: str | None,
    mappings: Sequence[Path],
    *,
    wanted: bool | None,
    formats: Sequence[str] = (),
) -> Description | None:
    """What is known of a study beside its datasets; None where nothing is to be written that says it.

    Args:
        given: the input; prepared: its datasets.
        source, mappings: the source mappings of an EDC export, as in `pipeline.source_library`.
        wanted: whether there is to be a define.xml; None: if the input has one.
        formats: those to be written; Dataset-JSON says of each variable what the define.xml says.
    """
    own = prepared.define
    written = bool(own) if wanted is None else wanted
    if not written and not FORMATS.keys() & set(formats):
        return None
    if given.kind == "records":
        sources = pipeline.source_library(source, given.forms, mappings)
        return Description(given.source, sources, tuple(prepared.derived), written=written)
    derived = tuple(prepared.finished.derived) if prepared.finished else ()
    return Description(given.kind, derived=derived, given=own, written=written)


def dataset_of(
    table: pa.Table, about: FileDescription, lengths: Mapping[tuple[str, str], int], file: str
) -> making.Dataset:
    """A dataset as it is written, for its definition.

    Args:
        table: its rows; about: the description that its file gets; file: the name of that.
        lengths: by dataset and variable, the bytes of the longest cell.
    """
    columns = []
    for each in about.columns:
        length = each.length or lengths.get((about.name, each.name), 1)
        columns.append(making.Column(each.name, each.label, each.type or "Char", length))
    return making.Dataset(table, columns, about.label, file)


def _created() -> str:
    """The instant of the environment's SOURCE_DATE_EPOCH, else the start of 1970, as in transport files."""
    return datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC).isoformat()
