"""The SPACE sample and what it becomes, each made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fhirspace.standards.fhir import Release
from fhirspace.study.convert import Conversion, convert
from fhirspace.study.demo import sample


@dataclass(frozen=True)
class Space:
    """The SPACE sample and what it becomes; each is made when it is first asked for. Look, do not write."""

    folder: Path

    @property
    def records(self) -> Path:
        """The EDC export."""
        return sample() / "records"

    @cache  # noqa: B019 - one a session
    def sdtm(self) -> Conversion:
        """Its datasets in all formats."""
        return convert(self.records, to="sdtm", out=self.folder / "sdtm", formats=("xpt", "parquet", "csv"))

    @cache  # noqa: B019 - one a session
    def fhir(self, release: Release = "R4") -> Conversion:
        """Its resources in a release."""
        return convert(self.records, to="fhir", out=self.folder / release, fhir=release)
