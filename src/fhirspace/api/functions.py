"""The public API: each function checks its arguments, then calls the function of its room.

Paths are strings or `pathlib.Path`. Each choice is checked here, so that a misspelt one ends with a `UsageError` that
lists the choices. The release of FHIR is called ``fhir`` in every function.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, get_args

from fhirspace import arguments
from fhirspace.api.checks import checked
from fhirspace.arguments import PathLike
from fhirspace.errors import Problem, UsageError
from fhirspace.fhir.judging import Judging
from fhirspace.fhirserver.http.client import Client
from fhirspace.idkey import IdKey
from fhirspace.standards.fhir import RELEASES, Release
from fhirspace.study import convert as conversion, roundtrip as trip, validate as checks
from fhirspace.study.convert import Conversion, Target
from fhirspace.study.roundtrip import Proof
from fhirspace.study.to_fhir import Progress

Format = Literal["xpt", "parquet", "csv", "dataset-json", "dataset-ndjson", "dsjc"]
Engine = Literal["inline", "processes"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
ENGINES: Final[tuple[Engine, ...]] = get_args(Engine)


def convert(
    paths: PathLike | Iterable[PathLike],
    *,
    to: Target,
    out: PathLike,
    source: PathLike | None = None,
    mappings: PathLike | Iterable[PathLike] = (),
    fhir: Release = "R4",
    formats: Format | Iterable[Format] = ("xpt",),
    engine: Engine = "inline",
    workers: int | None = None,
    gzip: bool = False,
    shared: bool = False,
    id_key: IdKey | PathLike | None = None,
    new_ids: bool = False,
    follow_links: bool = False,
    encoding: str | None = None,
    strict: bool = False,
    define: bool | None = None,
    derive: bool = True,
    study: PathLike | None = None,
    guide: bool = False,
    views: PathLike | None = None,
    enrolment: PathLike | None = None,
    validate: Judging | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Convert EDC records, SDTM datasets or FHIR resources into one of the others, and write the result to a folder.

    Args:
        paths: a folder, a file, or several; what they hold is recognised.
        to: "fhir" (``fhir/<Type>.ndjson``), "sdtm" (``sdtm/<dataset>.<format>``) or "records" (``records/*.csv``).
        out: the output folder; it also gets ``problems.ndjson``, ``quarantine/`` and ``manifest.json``.
        source: the name or folder of the source mappings of an EDC export; without it they are found by the forms.
        mappings: a folder with your own mappings, or several; they win over the shipped ones.
        fhir: the FHIR release, "R4", "R4B" or "R5".
        formats: one or several formats of SDTM datasets: "xpt", "parquet", "csv", "dataset-json" (``.json``),
            "dataset-ndjson" (``.ndjson``), "dsjc".
        engine: "inline" (this process) or "processes".
        workers: with "processes": how many; one a core without it.
        gzip: with ``to="fhir"``: compress the files (``.ndjson.gz``).
        shared: files get the modes that the umask gives, instead of being readable by their owner only.
        id_key: the key of the ids, or its file; None: your site's. "demo" is the published key.
        new_ids: the folder may hold output of another key, whose ids are replaced.
        follow_links: follow links that lead out of the input folder, too.
        encoding: that of the texts of SAS transport files; found by itself when absent.
        strict: quarantine each row with an error, instead of those only that the output cannot hold.
        define: SDTM: also write ``sdtm/define.xml`` (Define-XML 2.1); None: if the input has one.
        derive: SDTM from SDTM: derive what is empty, and bring variables in order; False: only write datasets again.
        guide: SDTM: also write a guide for reviewers, ``reviewers-guide.md`` and ``.html``.
        study: the file with the design of the study; None: ``study.yaml`` of the source mappings, or beside datasets.
        views: the name or folder of views for FHIR that fhirspace did not write; its records are the result, or become
            SDTM by the forms of `source`.
        enrolment: with `views`: the table of the patients in the study; None: that of the views.
        validate: with ``to="fhir"``: judge what is written, by FHIR's rules ("errors"), or also by what FHIR only
            recommends ("full"). Findings are problems of the result; what is written stays.
        progress: a function called after each batch with the dataset, the rows done, and all rows.

    Returns:
        A `Conversion`: rows read, written and quarantined by table, the problems, and the exit code of the command.

    Raises:
        UsageError: FS640, FS641 an argument; FS610 to FS614 the input does not fit `to` or `source`; FS630 to FS634
            the key of ids; FS144 to FS149 the output folder. MappingError: a mapping is wrong.
        InputError: nothing can be read. The output folder is unchanged after an error.
    """
    target = arguments.choice("to", to, TARGETS)
    many = _workers(engine, workers)
    if arguments.flag("gzip", gzip) and target != "fhir":
        raise UsageError("FS641", "gzip", 'False, unless to="fhir"')
    if validate is not None and arguments.choice("validate", validate, get_args(Judging)) and target != "fhir":
        raise UsageError("FS641", "validate", 'None, unless to="fhir"')
    return conversion.convert(
        arguments.paths("paths", paths),
        to=target,
        out=arguments.path("out", out),
        formats=arguments.several("formats", formats, FORMATS),
        workers=many,
        gzip=gzip,
        shared=arguments.flag("shared", shared),
        new_ids=arguments.flag("new_ids", new_ids),
        strict=arguments.flag("strict", strict),
        define=None if define is None else arguments.flag("define", define),
        derive=arguments.flag("derive", derive),
        study=None if study is None else arguments.path("study", study),
        guide=arguments.flag("guide", guide),
        views=None if views is None else str(arguments.path("views", views)),
        enrolment=None if enrolment is None else arguments.path("enrolment", enrolment),
        validate=validate,
        progress=None if progress is None else arguments.function("progress", progress),
        **_common(source, mappings, fhir, id_key, follow_links),
        encoding=arguments.encoding(encoding),
    )


def roundtrip(
    paths: PathLike | Iterable[PathLike],
    *,
    source: PathLike | None = None,
    mappings: PathLike | Iterable[PathLike] = (),
    fhir: Release = "R4",
    id_key: IdKey | PathLike | None = None,
    follow_links: bool = False,
    encoding: str | None = None,
    strict: bool = False,
) -> Proof:
    """Carry an input to FHIR and back, and compare every cell (of FHIR input: every resource). Nothing is written.

    Args:
        paths, source, mappings, fhir, follow_links, encoding, strict: as in `convert`.
        id_key: for FHIR input: compare the ids too, which this key must have made.

    Returns:
        A `Proof`: the comparison of each table, the declared losses, and the problems of the data.

    Raises:
        InputError, UsageError, MappingError: as in `convert`.
    """
    return trip.roundtrip(
        arguments.paths("paths", paths),
        encoding=arguments.encoding(encoding),
        strict=arguments.flag("strict", strict),
        **_common(source, mappings, fhir, id_key, follow_links),
    )


def validate(
    paths: PathLike | Iterable[PathLike],
    *,
    fhir: Release = "R4",
    full: bool = False,
    profile: PathLike | None = None,
    terminology: PathLike | Iterable[PathLike] = (),
    follow_links: bool = False,
    encoding: str | None = None,
    client: Client | None = None,
) -> Iterator[Problem]:
    """Find the problems of FHIR files or SDTM datasets. Arguments are checked at once, files as problems are taken.

    Args:
        paths: a folder, a file, or several; of an output folder ``sdtm/`` and ``fhir/`` are both checked.
        fhir: the FHIR release, "R4", "R4B" or "R5".
        full: with what FHIR only recommends: warnings about extensible bindings, notes on unknown profiles.
        profile: a package (folder or .tgz) of profiles and extensions to check them by.
        terminology: code systems and value sets, one path or several: JSON, CSV with the columns system and code (for
            licensed systems), or folders of these. A code that a system given here does not have is an error.
        follow_links: follow links that lead out of an input folder, too.
        encoding: as in `convert`.
        client: a server that is asked for what references name and the files do not have: ``connect(server).client``.

    Raises:
        UsageError: FS640, FS641 an argument; FS615 there is nothing to validate; FS617, FS645 no profile, no codes.
        InputError: a file is missing or cannot be read. ServerError: FS510 to FS512, the server's answers.
    """
    return checks.validate(
        arguments.paths("paths", paths),
        fhir=arguments.choice("fhir", fhir, RELEASES),
        full=arguments.flag("full", full),
        profile=None if profile is None else arguments.path("profile", profile),
        terminology=arguments.paths("terminology", terminology, empty=True),
        follow_links=arguments.flag("follow_links", follow_links),
        encoding=arguments.encoding(encoding),
        **checked((), client=client),
    )


def _workers(engine: Any, workers: Any) -> int:
    """The number of processes: 1 inline."""
    chosen = arguments.choice("engine", engine, ENGINES)
    if workers is not None:
        arguments.count("workers", workers)
        if chosen == "inline" and workers > 1:
            raise UsageError("FS641", "workers", '1 or None, unless engine="processes"')
        return int(workers)
    return 1 if chosen == "inline" else max(2, os.cpu_count() or 2)


def _common(source: Any, mappings: Any, fhir: Any, id_key: Any, follow_links: Any) -> dict[str, Any]:
    """The arguments that `convert` and `roundtrip` share, checked."""
    key = id_key if id_key is None or isinstance(id_key, IdKey) else arguments.text("id_key", id_key)
    return {
        "source": None if source is None else arguments.text("source", source),
        "mappings": arguments.paths("mappings", mappings, empty=True),
        "fhir": arguments.choice("fhir", fhir, RELEASES),
        "id_key": key,
        "follow_links": arguments.flag("follow_links", follow_links),
    }
