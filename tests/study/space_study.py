"""The SPACE sample and what it becomes, each made once, whatever number of processes run the tests."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fhirspace.folders import locked
from fhirspace.standards.fhir import Release
from fhirspace.study.convert import Conversion, convert
from fhirspace.study.demo.run import sample


@dataclass(frozen=True)
class Space:
    """The SPACE sample and what it becomes; each is made when it is first asked for. Look, do not write.

    `folder` is one for all processes of the session; `subjects` are those that it is about, all if none is named.
    """

    folder: Path
    subjects: tuple[str, ...] = ()

    @property
    def records(self) -> Path:
        """The EDC export."""
        whole = sample() / "records"
        return self._some(whole) if self.subjects else whole

    @cache  # noqa: B019 - one a session
    def _some(self, whole: Path) -> Path:
        """The records of some subjects, and those that are of none."""
        made = self.folder / "records"
        with locked(self.folder / "records.lock"):
            if not made.exists():
                half = self.folder / "half"
                half.mkdir()
                for path in whole.glob("*.csv"):
                    self._form(path, half / path.name)
                half.rename(made)
        return made

    def _form(self, path: Path, made: Path) -> None:
        with path.open(encoding="utf-8", newline="") as stream, made.open("w", encoding="utf-8", newline="") as out:
            rows = csv.DictReader(stream)
            some = csv.DictWriter(out, rows.fieldnames or (), lineterminator="\n")
            some.writeheader()
            some.writerows(row for row in rows if row.get("subject_no", self.subjects[0]) in self.subjects)

    @cache  # noqa: B019 - one a session
    def sdtm(self) -> Conversion:
        """Its datasets in all formats, and their define.xml."""
        return self._once(
            "sdtm",
            lambda out: convert(self.records, to="sdtm", out=out, formats=("xpt", "parquet", "csv"), define=True),
        )

    @cache  # noqa: B019 - one a session
    def fhir(self, release: Release = "R4") -> Conversion:
        """Its resources in a release."""
        return self._once(release, lambda out: convert(self.records, to="fhir", out=out, fhir=release))

    def _once(self, name: str, make: Callable[[Path], Conversion]) -> Conversion:
        """A conversion by the first process that asks for it."""
        told = self.folder / f"{name}.pickle"
        with locked(self.folder / f"{name}.lock"):
            if not told.exists():
                told.write_bytes(pickle.dumps(make(self.folder / name)))
        found: Conversion = pickle.loads(told.read_bytes())
        return found
