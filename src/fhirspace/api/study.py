"""A study in memory: `Study` of tables or files, and what it becomes: `Resources` (FHIR) or `Tables` (SDTM, records).

A conversion runs through a private temporary folder: the tables are written there as Parquet files, and `convert`
writes its output there, so that each result is what the command line makes. The folder can be read by its owner only.
It is removed by `close`, at the end of a ``with`` block, when the object is no longer used, or by a later run of
fhirspace if the process was killed.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import pyarrow as pa

from fhirspace import arguments
from fhirspace.api import frames, functions
from fhirspace.api.functions import Engine, Format
from fhirspace.api.result import Options, Resources, Tables, problem_table
from fhirspace.arguments import PathLike
from fhirspace.errors import UsageError
from fhirspace.folders import scratch
from fhirspace.foreign import listed, shown
from fhirspace.idkey import IdKey
from fhirspace.mapping.library import Library
from fhirspace.standards import sdtm
from fhirspace.standards.fhir import RELEASES, Release
from fhirspace.study.convert import Conversion, Target
from fhirspace.study.inspect.variables import targets
from fhirspace.study.pipeline import own_folders
from fhirspace.study.to_fhir import Progress


class Study:
    """A study out of tables in memory, or, by `Study.open`, out of files.

    Example::

        study = Study({"DM": df, "AE": table})
        fhir = study.to_fhir("R4")
        for patient in fhir.resources("Patient"): ...
        study.where("AESEV")  # ["AdverseEvent.severity..."]

    Attributes:
        problems: a table of the problems of the latest conversion of this study; it is empty before the first.
        quarantined: tables by name of the rows that the latest conversion quarantined.
    """

    def __init__(
        self,
        tables: Any,
        *,
        source: PathLike | None = None,
        mappings: PathLike | Iterable[PathLike] = (),
        id_key: IdKey | PathLike | None = None,
        strict: bool = False,
    ) -> None:
        """Take tables, SDTM datasets or EDC forms, each with the Arrow PyCapsule interface.

        Args:
            tables: a dict of tables by name, ``{"DM": df}``: of pandas, polars, pyarrow, duckdb and others. What is not
                text becomes text by the rule of `fhirspace.api.frames`. The tables are copied.
            source: the name or folder of the source mappings of EDC forms; without it they are found by the forms.
            mappings: a folder with your own mappings, or several; they win over the shipped ones.
            id_key: the key of the ids, or its file; None: your site's. "demo" is the published key.
            strict: quarantine each row with an error, instead of those only that the output cannot hold.

        Raises:
            UsageError: FS640, FS641 an argument. InputError: FS107, FS108, FS116, FS122, FS123: a column cannot be
                taken; the place names the table and the column.
        """
        self._start(source, mappings, id_key, strict=strict)
        stack = ExitStack()
        self.close = weakref.finalize(self, stack.close)
        try:
            self._paths = frames.write(tables, stack.enter_context(scratch()))
        except BaseException:
            self.close()
            raise
        self._name = listed(tables)

    @classmethod
    def open(
        cls,
        paths: PathLike | Iterable[PathLike],
        *,
        source: PathLike | None = None,
        mappings: PathLike | Iterable[PathLike] = (),
        id_key: IdKey | PathLike | None = None,
        follow_links: bool = False,
        encoding: str | None = None,
        strict: bool = False,
    ) -> Study:
        """A study out of a folder, a file, or several, which are read by each conversion.

        Args:
            paths, source, mappings, id_key, follow_links, encoding, strict: as of `fhirspace.convert`.

        Raises:
            UsageError: FS641 an argument. Files are not looked at before a conversion.
        """
        study = cls.__new__(cls)
        study._start(source, mappings, id_key, follow_links=follow_links, encoding=encoding, strict=strict)
        study._paths = arguments.paths("paths", paths)
        study._name = listed(path.name for path in study._paths)
        study.close = weakref.finalize(study, lambda: None)
        return study

    def _start(
        self, source: Any, mappings: Any, id_key: Any, *, follow_links: Any = False, encoding: Any = None, strict: Any
    ) -> None:
        self._options: Options = {
            "source": None if source is None else arguments.text("source", source),
            "mappings": arguments.paths("mappings", mappings, empty=True),
            "id_key": id_key if id_key is None or isinstance(id_key, IdKey) else arguments.text("id_key", id_key),
            "follow_links": arguments.flag("follow_links", follow_links),
            "encoding": arguments.encoding(encoding),
            "strict": arguments.flag("strict", strict),
        }
        self.problems = problem_table(())
        self.quarantined: dict[str, pa.Table] = {}

    def __repr__(self) -> str:
        return f"<Study: {shown(self._name)}>"

    def __enter__(self) -> Study:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def to_fhir(
        self,
        fhir: Release = "R4",
        *,
        engine: Engine = "inline",
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Resources:
        """The FHIR resources of the study. Args and errors are those of `fhirspace.convert`."""
        made = Resources(
            self,
            self._paths,
            self._options,
            fhir=fhir,
            to="fhir",
            engine=engine,
            workers=workers,
            progress=progress,
        )
        self.problems, self.quarantined = made.problems, made.quarantined
        return made

    def to_sdtm(self, *, fhir: Release = "R4") -> Tables:
        """The SDTM datasets of EDC records or of FHIR resources, which are of the release `fhir`.

        Long texts stay whole; `write` divides them where a format needs it. Raises what `fhirspace.convert` raises.
        """
        return self._tables("sdtm", fhir)

    def to_records(self, *, fhir: Release = "R4") -> Tables:
        """The EDC records of SDTM datasets or FHIR resources; the study's `source` says of which forms.

        Raises what `fhirspace.convert` raises.
        """
        return self._tables("records", fhir)

    def _tables(self, to: Target, fhir: Release) -> Tables:
        made = Tables(self, self._paths, self._options, fhir=fhir, to=to)
        self.problems, self.quarantined = made.problems, made.quarantined
        return made

    def validate(self, *, fhir: Release = "R4", full: bool = False, profile: PathLike | None = None) -> pa.Table:
        """A table of the problems of SDTM datasets or FHIR resources. Args and errors as of `fhirspace.validate`."""
        links = self._options["follow_links"]
        return problem_table(functions.validate(self._paths, fhir=fhir, full=full, profile=profile, follow_links=links))

    def write(
        self,
        out: PathLike,
        *,
        to: Target,
        fhir: Release = "R4",
        formats: Format | Iterable[Format] = ("xpt",),
        engine: Engine = "inline",
        workers: int | None = None,
        gzip: bool = False,
        shared: bool = False,
        new_ids: bool = False,
        progress: Progress | None = None,
    ) -> Conversion:
        """Convert the study and write the result to a folder, as `fhirspace.convert`, whose arguments these are."""
        return functions.convert(
            self._paths,
            **self._options,
            to=to,
            out=out,
            fhir=fhir,
            formats=formats,
            engine=engine,
            workers=workers,
            gzip=gzip,
            shared=shared,
            new_ids=new_ids,
            progress=progress,
        )

    def where(self, variable: str, *, fhir: Release = "R4") -> list[str]:
        """The FHIR paths that a variable of SDTM is written to, by the mappings of all datasets.

        Args:
            variable: such as "AESEV". fhir: the FHIR release.

        Returns:
            Each path once, such as ``AdverseEvent.severity.text``; none for a variable that is carried only.

        Raises:
            UsageError: FS641, neither a mapping nor the standard has the variable; FS640 the release.
        """
        name = arguments.text("variable", variable)
        library = Library(arguments.choice("fhir", fhir, RELEASES), own_folders(self._options["mappings"]))
        found = [home.path for each in library.complete().values() for home in targets(each) if home.variable == name]
        if not found and not any(_has(domain, name) for domain in library.mappings):
            raise UsageError("FS641", "variable", "a variable of SDTM in capital letters, such as AESEV")
        return list(dict.fromkeys(found))


def _has(domain: str, variable: str) -> bool:
    return sdtm.known(domain) and sdtm.variable(domain, variable) is not None
