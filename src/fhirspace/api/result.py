"""What a study became: FHIR resources or tables, with problems and quarantined rows, in a private temporary folder."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict

import pyarrow as pa

from fhirspace import json
from fhirspace.api import functions
from fhirspace.api.functions import Engine, Format
from fhirspace.api.quarantine import quarantined_tables
from fhirspace.arguments import PathLike
from fhirspace.errors import InputError, Place, Problem, UsageError
from fhirspace.fhir import ndjson
from fhirspace.fhir.validation.models import by_models, models_of
from fhirspace.folders import scratch
from fhirspace.foreign import counted, listed
from fhirspace.idkey import IdKey
from fhirspace.standards.fhir import Release, resource_types
from fhirspace.study.convert import Conversion, Target
from fhirspace.study.to_fhir import Progress
from fhirspace.tables import csv, parquet
from fhirspace.tables.text import without_reserved

_PROBLEM = pa.schema(
    [
        (name, pa.int64() if name == "row" else pa.string())
        for name in ("code", "level", "table", "file", "row", "column", "sentence", "expected", "fix")
    ]
)
_SUFFIX = ".ndjson"
_as_dict = json.decoder(dict[str, Any], float_hook=Decimal)


class Options(TypedDict):
    """What every conversion of a study has in common; see `fhirspace.convert`."""

    source: PathLike | None
    mappings: list[Path]
    id_key: IdKey | PathLike | None
    follow_links: bool
    encoding: str | None
    strict: bool


def problem_table(problems: Iterable[Problem]) -> pa.Table:
    """Problems as a table: code, level, table, file, row (the first record is row 2), column, sentence and others."""
    return pa.Table.from_pylist([problem.as_dict() for problem in problems], schema=_PROBLEM)


class _Result:
    """A conversion into a private temporary folder, which is removed with the object or by `close`.

    Attributes:
        problems: a table of the problems. quarantined: tables of the quarantined rows, by the name of their table.
        counts: the rows read, written and quarantined by table. exit_code: that of the command ``fhirspace convert``.
    """

    def __init__(
        self,
        study: object,
        paths: list[Path],
        options: Options,
        *,
        to: Target,
        fhir: Release,
        engine: Engine = "inline",
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._study = study  # `write` reads its files again
        stack = ExitStack()
        self.close = weakref.finalize(self, stack.close)

        def convert(out: PathLike, **more: Any) -> Conversion:
            return functions.convert(
                paths,
                to=to,
                out=out,
                fhir=fhir,
                **options,
                engine=engine,
                workers=workers,
                **more,
            )

        self._convert = convert
        try:
            self._out = stack.enter_context(scratch()) / "out"
            done = convert(self._out, formats="parquet", progress=progress)
            self.problems = problem_table(done.problems)
            self.quarantined = quarantined_tables(self._out / "quarantine")
        except BaseException:
            self.close()
            raise
        self.counts, self.exit_code, self._to, self._release = done.tables, done.exit_code, to, fhir

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        rows = sum(each["quarantined"] for each in self.counts.values())
        problems = counted(self.problems.num_rows, "problem")
        return f"<{self._about()}; {problems}, {counted(rows, 'quarantined row')}>"

    def _about(self) -> str:
        raise NotImplementedError

    def validate(self, *, full: bool = False, profile: PathLike | None = None) -> pa.Table:
        """A table of the problems of the result itself. Args and errors as of `fhirspace.validate`."""
        return problem_table(functions.validate(self._folder(), fhir=self._release, full=full, profile=profile))

    def write(
        self,
        out: PathLike,
        *,
        formats: Format | Iterable[Format] = ("xpt",),
        gzip: bool = False,
        shared: bool = False,
        new_ids: bool = False,
    ) -> Conversion:
        """Convert the study again and write the result to a folder. Args and errors as of `fhirspace.convert`.

        The study of a result that is written must not be closed.
        """
        return self._convert(out, formats=formats, gzip=gzip, shared=shared, new_ids=new_ids)

    def _folder(self) -> Path:
        """The folder of the output. Raises UsageError (FS642): it was removed by `close`."""
        if not self.close.alive:
            raise UsageError("FS642", type(self).__name__)
        return self._out

    def _files(self, suffix: str) -> dict[str, Path]:
        found = (self._folder() / self._to).glob(f"*{suffix}")
        return {path.name.removesuffix(suffix): path for path in sorted(found)}


class Resources(_Result):
    """The FHIR resources of a study, by type."""

    @property
    def types(self) -> list[str]:
        """The resource types that there are."""
        return list(self._files(_SUFFIX))

    def _about(self) -> str:
        return f"Resources {self._release}: {listed(self.types)}" if self.close.alive else "Resources, closed"

    def resources(self, type: str) -> Iterator[dict[str, Any]]:
        """The resources of a type as dicts, in the order of the file; numbers with a fraction are `decimal.Decimal`.

        Raises:
            UsageError: FS640, FHIR has no such type; FS642 the result is closed.
        """
        return (_as_dict(raw) for _, raw in self._lines(type))

    def models(self, type: str) -> Iterator[Any]:
        """The resources of a type as objects of fhir.resources (needs the extra ``full``).

        Raises:
            UsageError: FS432 fhir.resources is not installed; FS640, FS642 as `resources`. InputError: FS430, FS431, a
                resource that fhir.resources refuses.
        """
        lines, classes = self._lines(type), models_of(self._release)
        return (_model(place, raw, type, classes) for place, raw in lines)

    def _lines(self, name: Any) -> Iterator[tuple[Place, bytes]]:
        if not isinstance(name, str) or name not in resource_types(self._release):
            raise UsageError("FS640", "type", f"a resource type of FHIR; this study has {', '.join(self.types)}")
        file = self._files(_SUFFIX).get(name)
        return self._read(file) if file else iter(())

    def _read(self, file: Path) -> Iterator[tuple[Place, bytes]]:
        for line, raw in ndjson.read(file):  # an iterator that is not at its end keeps this object, and so the folder
            yield Place(file.name, line), raw


class Tables(_Result, Mapping[str, pa.Table]):
    """The SDTM datasets or EDC records of a study by name: pyarrow tables of text, each read when it is asked for."""

    def __getitem__(self, name: str) -> pa.Table:
        file = self._paths_by_name()[name]
        return without_reserved(parquet.read(file) if file.suffix == ".parquet" else csv.read(file)[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths_by_name())

    def __len__(self) -> int:
        return len(self._paths_by_name())

    def _about(self) -> str:
        return f"Tables: {listed(self)}" if self.close.alive else "Tables, closed"

    def _paths_by_name(self) -> dict[str, Path]:
        if self._to == "records":
            return self._files(".csv")
        return {name.upper(): path for name, path in self._files(".parquet").items()}


def _model(place: Place, raw: bytes, kind: str, classes: Any) -> Any:
    """The object of fhir.resources. Raises InputError with the element and the rule, never with the value."""
    faults = by_models(raw, classes)
    if faults:
        path, code, expected = faults[0]
        raise InputError(code, Place(place.file, place.row, path), expected)
    return classes.get_fhir_model_class(kind).model_validate_json(raw)
