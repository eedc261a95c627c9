"""One conversion: an input recognised, converted, and written as a whole with its accounting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fhirspace.errors import EXIT_FINDINGS, EXIT_QUARANTINED, Place, Problem, UsageError
from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.judging import Judging, findings
from fhirspace.foreign import counted, file_name, shown
from fhirspace.idkey import PUBLIC, IdKey, chosen, passing_key, site_key, unmade
from fhirspace.mapping.library import Library
from fhirspace.sdtm.derive.design import StudyDesign, load_study
from fhirspace.standards import sdtm
from fhirspace.standards.fhir import Release
from fhirspace.study import pipeline
from fhirspace.study.accounting import Accounting
from fhirspace.study.dataset import Tabulation
from fhirspace.study.define.description import describe
from fhirspace.study.finishing.steps import write_differences
from fhirspace.study.guide.collecting import collected
from fhirspace.study.guide.writing import write as write_guide
from fhirspace.study.inputs import Input, already, recognise
from fhirspace.study.reading.flat import (
    counted_records,
    flattened,
    views_of,
    write_records,
    write_unmapped_paths,
)
from fhirspace.study.reading.from_fhir import write_unmapped
from fhirspace.study.to_fhir import Progress
from fhirspace.study.writing.datasets import write_sdtm
from fhirspace.tables import csv
from fhirspace.tables.durable import ID_KEY, key_of, manifest
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.proof import Earlier
from fhirspace.tables.staging import finish
from fhirspace.views.notation.model import ViewSet

Target = Literal["fhir", "sdtm", "records"]
_NOT_CLEAN = {
    EXIT_FINDINGS: ", with findings (exit code 1)",
    EXIT_QUARANTINED: ", without what is quarantined or not read (exit code 3)",
}
"""The end of the last line by exit code, so that it does not look like success."""


@dataclass(slots=True)
class Conversion:
    """What a conversion did: rows by table, problems, where it wrote.

    `tables` holds, for each table, the rows read, written and quarantined, `files` the same of the files of the input,
    with those that are not read and those that are passed over; `converted` is the number of rows of the result,
    `resources` that of FHIR resources read where the input was FHIR; `id_key` is the fingerprint of the key that made
    the ids where the output is; `replaced` is the result of an earlier run that was in the output folder, `stays`
    whether it is still there, since nothing was converted; `declared` says what was left out by declaration; `chosen`
    is the name of the source mappings where none were named.
    """

    target: str
    out: Path
    exit_code: int
    problems: list[Problem] = field(default_factory=list, repr=False)
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    resources: int = 0
    unread: int = 0
    id_key: str = ""
    replaced: Earlier | None = None
    declared: list[str] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    converted: int = 0
    stays: bool = False
    chosen: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "target": self.target,
            "out": str(self.out),
            "exit_code": self.exit_code,
            "files": self.files,
            "converted": self.converted,
            "tables": self.tables,
            "resources": self.resources,
            "unread": self.unread,
            "declared_losses": self.declared,
            "id_key": self.id_key,
            "replaced": self.replaced.as_dict() if self.replaced else None,
            "stays": self.stays,
            "problems": [problem.as_dict() for problem in self.problems],
        }

    def summary(self) -> str:
        """A table of rows for people."""
        names = ("skipped", "dropped", "not_converted")
        more = {name: max(10, len(name) + 2) for name in names if any(name in row for row in self.tables.values())}
        head = f"{'table':<24}{'rows in':>10}{'out':>10}{'quarantined':>13}"
        lines = [head + "".join(f"{name.replace('_', ' '):>{width}}" for name, width in more.items())]
        lines += [
            f"{shown(name, 64):<24}{row['in']:>10,}{row['out']:>10,}{row['quarantined']:>13,}"
            + "".join(f"{row.get(each, 0):>{width},}" for each, width in more.items())
            for name, row in self.tables.items()
        ]
        lines += [shown(line, 4096) for line in self.declared]
        if self.unread:
            unread = counted(self.unread, "place of FHIR content is", "places of FHIR content are")
            lines.append(f"{unread} read by no mapping: see unread.ndjson")
        if self.chosen:
            lines.append(f"source mappings: {shown(self.chosen)}, which has most of the forms; `--source` names others")
        if self.replaced:
            lines.append(f"replaced {self.replaced}")
        out = shown(self.out, 4096)
        if self.converted:
            end = [f"written to {out}{_NOT_CLEAN.get(self.exit_code, '')}"]
        elif self.stays:
            end = ["NOTHING was converted", f"nothing is written: the earlier result stays in {out}"]
        else:
            end = [f"written to {out}", "NOTHING was converted: the output holds no row or resource of the input"]
        return "\n".join([*lines, *end])


def convert(
    paths: Path | Sequence[Path],
    *,
    to: Target,
    out: Path,
    source: str | None = None,
    mappings: Iterable[Path] = (),
    fhir: Release = "R4",
    formats: Sequence[str] = ("xpt",),
    workers: int = 1,
    gzip: bool = False,
    shared: bool = False,
    id_key: IdKey | Path | str | None = None,
    new_ids: bool = False,
    follow_links: bool = False,
    encoding: str | None = None,
    strict: bool = False,
    define: bool | None = None,
    derive: bool = True,
    study: Path | None = None,
    guide: bool = False,
    views: str | None = None,
    enrolment: Path | None = None,
    validate: Judging | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Converts EDC records, SDTM datasets or FHIR resources into one of the others.

    Args:
        paths: a folder or files; what they hold is recognised.
        to: ``fhir`` (``fhir/<Type>.ndjson``), ``sdtm`` (``sdtm/<dataset>.<format>``), ``records`` (``records/*.csv``).
        out: the output folder; it also gets ``problems.ndjson``, ``quarantine/`` and ``manifest.json``.
        source: the name or folder of the source mappings of an EDC export; found by its forms without it.
        mappings: folders with mappings of your own, which have priority over the shipped ones.
        fhir: the FHIR release. formats: of SDTM datasets: xpt, parquet, csv, dataset-json,
            dataset-ndjson, dsjc.
        workers: processes for large datasets. gzip: FHIR comes compressed (``.ndjson.gz``).
        shared: files get the modes that the umask gives, instead of being for their owner only.
        id_key: the key of the ids, or its file; None: the site's (see `idkey.chosen`). Only FHIR output needs one. If
            the site has none yet, it is made when the input has been read. FHIR that is read is compared with it.
        new_ids: the folder may hold the output of another key, whose ids these replace.
        follow_links: follow links that lead out of the input folder, too.
        encoding: that of the texts of SAS transport files; found by itself when absent.
        strict: quarantine each row with an error, instead of those only that the output cannot hold.
        define: SDTM: also write ``sdtm/define.xml`` (Define-XML 2.1); None: if the input has one.
        derive: SDTM from SDTM: derive what is empty, and bring variables in order; else datasets are written as they
            are.
        study: the design of the study; None: ``study.yaml`` of the source mappings, or beside SDTM datasets.
        guide: SDTM: also write a reviewer's guide, ``reviewers-guide.md`` and ``.html``: datasets, findings with their
            explanations (of ``explained.yaml`` beside the input), derivations.
        views: the name or folder of views for FHIR that fhirspace did not write: its records are the result, or become
            SDTM by the forms of `source`.
        enrolment: the table of the patients in the study, instead of that of the views.
        validate: FHIR: judge the resources written by FHIR's rules ("errors"), or also by what FHIR only recommends
            ("full"). The findings are problems of the run; what is written stays.
        progress: called after each batch of a dataset.

    Raises:
        InputError: nothing can be read; UsageError: the input cannot be recognised or nothing would come out, or the
        output folder is in use, or holds something that would be lost (see `OutputFolder`), FS630 to FS633 the key
        cannot be used, FS634 the folder was made with another one; MappingError: a mapping is wrong. Nothing is changed
        in the output folder then.
    """
    if validate and to != "fhir":
        raise UsageError("FS641", "--validate", "`--to fhir`: other output is checked in any case")
    finish(out)
    folders = pipeline.own_folders(mappings)
    given = recognise([paths] if isinstance(paths, Path) else paths, to, follow_links=follow_links, encoding=encoding)
    flat = None if views is None else views_of(views, enrolment, folders, fhir)
    if given.kind == to != "sdtm" and flat is None:  # datasets can be written in other formats
        raise already(to)
    key = _known_key(out, id_key, new_ids=new_ids) if to == "fhir" else None
    passing = _reading_key(id_key) if given.kind == "fhir" else key
    library, accounting = Library(fhir, folders, key=passing), Accounting(strict=strict)
    for path, fault in given.faults.items():
        accounting.refuse(path, fault)
    accounting.note(given.problems)
    result = Conversion(to, out, 0)
    whole = Place((paths if isinstance(paths, Path) else paths[0]).name)
    kinds = {"sdtm": tuple(formats), "records": ("csv",)}.get(to, ())
    versions = {"fhir": fhir, "sdtm": sdtm.version(), "mappings": library.digest}
    chosen_design = load_study(study) if study else None
    with OutputFolder(out, versions=versions, reads=given.paths, shared=shared) as folder:
        if flat is not None:
            given, folders = _flat(given, flat, fhir, (folder, accounting, result)), [*folders, *flat.folders]
        if flat is not None and (to == "records" or not given.records):
            result.converted = write_records(given.records, folder, formats, accounting)
        else:
            how = _How(
                to, source, folders, kinds, formats, workers, gzip, define, derive, progress, fhir, key, whole,
                chosen_design, guide, [paths] if isinstance(paths, Path) else paths, validate,
            )  # fmt: skip
            key = _converted(given, library, how, (folder, accounting, result))
        accounting.require_result(whole, result.converted)
        if not result.converted and folder.has_result:
            result.stays = True
            accounting.note([Problem("FS183", Place(out.name))])
            folder.abandon()
        result.files = accounting.files(given.paths)
        folder.describe({**_about(key), "input_files": result.files})
        accounting.close(folder)
    result.problems, result.exit_code = accounting.problems, accounting.exit_code
    if flat is not None and not result.converted:
        result.exit_code = EXIT_QUARANTINED
    result.replaced, result.declared = folder.replaced, accounting.declared(fhir=to == "fhir")
    result.tables, result.id_key = accounting.as_dict(), key.fingerprint if key else ""
    return result


class _How(NamedTuple):
    """How to convert: arguments of `convert`, and the key of ids, None where the site's has yet to be made."""

    to: Target
    source: str | None
    folders: list[Path]
    kinds: Sequence[str]
    formats: Sequence[str]
    workers: int
    gzip: bool
    define: bool | None
    derive: bool
    progress: Progress | None
    fhir: Release
    key: IdKey | None
    whole: Place
    chosen: StudyDesign | None
    guide: bool
    paths: Sequence[Path]
    validate: Judging | None


_Run = tuple[OutputFolder, Accounting, "Conversion"]
"""What a run writes to, what it counts in, and its result."""


def _converted(given: Input, library: Library, how: _How, run: _Run) -> IdKey | None:
    """Reads the input by way of tabulations and writes the output; gives the key that made its ids."""
    (folder, accounting, result), source, folders, key = run, how.source, how.folders, how.key
    design = pipeline.design_for(given, source, folders, how.chosen)
    prepared = _prepared(
        given, library, source, folders, accounting=accounting, folder=folder, result=result, kinds=how.kinds,
        design=design, finish=how.derive and how.to == "sdtm",
    )  # fmt: skip
    accounting.require_rows(how.whole, fhir=given.kind == "fhir")
    converted: int | None = None
    if how.to == "fhir":
        prepared = pipeline.without_unmapped(prepared, accounting)
        prepared = pipeline.localise(prepared, design)
        if key is None and library.mappings:  # built once without a key: a wrong mapping ends the run before
            key = site_key()
            library = Library(how.fhir, folders, key=key)
        pipeline.render(
            prepared, library, folder, accounting, workers=how.workers, gzip=how.gzip, progress=how.progress
        )
        if how.validate:
            written = [FhirFile(path, "ndjson") for path in folder.staged("fhir")]
            accounting.note(findings(written, how.fhir, how.validate))
    elif how.to == "sdtm":
        about = describe(given, prepared, source, folders, wanted=how.define, formats=how.formats)
        write_sdtm(prepared, folder, accounting, how.formats, define=about)
        if how.guide:
            write_guide(collected(given.source, prepared, accounting, how.paths), folder)
    else:
        converted = _write_records(prepared.tabulations, source, folders, folder, accounting)
    result.converted = accounting.converted if converted is None else converted
    return key


def _flat(given: Input, views: ViewSet, release: Release, run: _Run) -> Input:
    """The input as the records that views make of its FHIR."""
    folder, accounting, result = run
    found = flattened(given, views, release, accounting)
    write_unmapped_paths(found, folder)
    result.resources = sum(found.count(kind)["in"] for kind in found.kinds)
    result.unread = len(found.unmapped)
    return replace(given, kind="records", records=counted_records(found, accounting))


def _known_key(out: Path, given: IdKey | Path | str | None, *, new_ids: bool) -> IdKey | None:
    """The key, if what the folder holds was not made with another one; None where the site's has yet to be made."""
    key = None if given is None and unmade() else chosen(given)
    before, now = key_of(manifest(out)), key.fingerprint if key else "a new one"
    if before not in ("", now) and not new_ids:
        raise UsageError("FS634", Place(out.name), f"the key {before}", f"the key in use is {now}")
    return key


def _reading_key(given: IdKey | Path | str | None) -> IdKey:
    """The key that FHIR is read with: if it made the ids of the input, they are compared with their rows.

    Any other will do as well: none is made for that, and one of the site that cannot be used keeps nobody from reading.
    """
    if given is not None:
        return chosen(given)
    with suppress(UsageError):
        if not unmade():
            return site_key()
    return passing_key()


def _about(key: IdKey | None) -> dict[str, Any]:
    if key is None:
        return {}
    return {ID_KEY: {"fingerprint": key.fingerprint, **({"note": PUBLIC} if key.published else {})}}


def _prepared(
    given: Input,
    library: Library,
    source: str | None,
    mappings: list[Path],
    *,
    accounting: Accounting,
    folder: OutputFolder,
    result: Conversion,
    kinds: Sequence[str],
    design: StudyDesign,
    finish: bool,
) -> pipeline.Prepared:
    if given.kind == "records":
        sources = pipeline.source_library(source, given.forms, mappings)
        result.chosen = "" if source else sources.folder.name
        records, own = pipeline.read(given, accounting, sources), given.source != "views"
        return pipeline.from_records(records, sources, accounting, kinds, design, reversible=own)
    if given.kind == "sdtm":
        prepared = pipeline.from_sdtm(given, library, accounting, kinds, design, finish=finish)
        if prepared.finished:
            write_differences(prepared.finished, folder)
        return prepared
    prepared, found = pipeline.extract(given, library, accounting, kinds, design)
    write_unmapped(found, folder)
    result.resources, result.unread = found.resources, len(found.unmapped)
    return prepared


def _write_records(
    tabulations: dict[str, Tabulation],
    source: str | None,
    mappings: list[Path],
    folder: OutputFolder,
    accounting: Accounting,
) -> int:
    """Writes the forms of a source, and gives the number of their records."""
    if source is None:
        raise UsageError("FS614", Place(folder.root.name))
    sources = pipeline.source_library(source, (), mappings)
    datasets = pipeline.Block({name: tabulation.table() for name, tabulation in tabulations.items()})
    made = pipeline.forms_back(datasets, sources)
    accounting.note(made.problems)
    for form, table in made.records.items():
        with folder.stage(f"records/{file_name(form)}.csv") as part:
            csv.write(table, part)
    return sum(table.num_rows for table in made.records.values())
