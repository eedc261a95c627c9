"""What is known of a study beside its datasets, and the define.xml that both give."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from fhirspace.forms.library import SourceLibrary
from fhirspace.sdtm.define import making, writing
from fhirspace.sdtm.derive.work import Derived
from fhirspace.study.define.cells import cells_of

_REMARKS = {
    "records": "Made by fhirspace from the records of an EDC export, by the source mapping {source}.",
    "sdtm": "Made by fhirspace from SDTM datasets.",
    "fhir": "Made by fhirspace from FHIR resources.",
}


@dataclass(frozen=True, slots=True)
class Description:
    """What a define.xml says beside the datasets.

    Attributes:
        kind: what the input was: records, sdtm or fhir.
        sources: the mappings of an EDC export. derived: what was derived how.
    """

    kind: str
    sources: SourceLibrary | None = None
    derived: tuple[Derived, ...] = ()

    def as_bytes(self, datasets: Mapping[str, making.Dataset]) -> bytes:
        """The define.xml of datasets as they are written: the same bytes for the same datasets."""
        cells = tuple(cells_of(self.sources)) if self.sources else ()
        remark = _REMARKS[self.kind].format(source=self.sources.folder.name if self.sources else "")
        known = making.Known(cells, self.derived, remark)
        return writing.as_bytes(making.make(datasets, known, created=_created()))


def _created() -> str:
    """The instant of the environment's SOURCE_DATE_EPOCH, else the start of 1970, as in transport files."""
    return datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC).isoformat()
