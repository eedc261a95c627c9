"""The steps of a conversion, each a function over a block; `convert`, `roundtrip` and `validate` call no others.

==============  =================================  ==================================================
records         `read`, `forms`, `derive`          an EDC export to the datasets of a study
datasets        `read_sdtm`                        SDTM files to the datasets of a study
FHIR            `extract`                          resources to the datasets of a study
all             `check`, then `render`             findings of the datasets; resources of those that pass
back            `forms_back`                       the datasets of a study to the records of its forms
==============  =================================  ==================================================

`forms`, `derive`, `check` and `forms_back` depend on their arguments alone, change none of them, and touch no file.
The others read or write files and count rows in the accounting. `from_records` and `from_sdtm` are the way from an
input to datasets that pass the check. What steps may know of the study beyond their block is a `StudySummary`, and
nothing else: `fhirspace.study.summary`. Why: docs/decisions/0018.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fhirspace.errors import InputError, MappingError, Place, Problem, UsageError
from fhirspace.foreign import listed
from fhirspace.forms.library import SourceLibrary, SourceRecords, SourceRows
from fhirspace.mapping.library import Library
from fhirspace.sdtm import apart, layout as shape
from fhirspace.sdtm.define.model import Define
from fhirspace.sdtm.derive import derive as derivations
from fhirspace.sdtm.derive.derive import Derivation
from fhirspace.sdtm.derive.design import FormZone, StudyDesign, load_study
from fhirspace.sdtm.derive.work import Derived as Method
from fhirspace.sdtm.longtext import rejoin
from fhirspace.study.accounting import Accounting
from fhirspace.study.dataset import InMemory, Tabulation, localised
from fhirspace.study.define.given import completed, given_define
from fhirspace.study.finishing import steps as finishing
from fhirspace.study.inputs import Input
from fhirspace.study.lineage import source_records
from fhirspace.study.reading.datasets import read_sdtm
from fhirspace.study.reading.from_fhir import FromFhir, from_fhir
from fhirspace.study.screening import Screening, blocking, conforming, screen
from fhirspace.study.summary import StudySummary, for_deriving
from fhirspace.study.to_fhir import Progress, to_fhir
from fhirspace.tables import formats
from fhirspace.tables.csv.reading import Rejected
from fhirspace.tables.description import Description
from fhirspace.tables.outputs import OutputFolder
from fhirspace.template.folders import shipped


@dataclass(frozen=True, slots=True)
class Block:
    """The unit of work: tables with all rows of some subjects, and the tables of the study. Today it holds a study.

    Attributes:
        tables: forms or datasets, by name. No step changes them: it makes another block.
    """

    tables: Mapping[str, pa.Table]


class Derived(NamedTuple):
    """The datasets that `derive` makes, in their final form, and what was derived how."""

    block: Block
    derivation: Derivation


@dataclass(slots=True)
class Prepared:
    """The tabulations of a study, ready to be written as SDTM or FHIR.

    Attributes:
        tabulations: datasets by name.
        derived: the variables that were derived, with their method texts.
        unmapped: by dataset, the supplemental variables that do not travel to FHIR: no mapping names their column.
        screening: their last screening; large Parquet files are not part of it.
        metadata: the descriptions in the files of the datasets; one without rows is in it alone. files: all of them.
        define: the define.xml that came with them. finished: how SDTM datasets were finished.
    """

    tabulations: dict[str, Tabulation]
    derived: list[Method] = field(default_factory=list)
    screening: Screening | None = None
    unmapped: dict[str, set[str]] = field(default_factory=dict)
    metadata: dict[str, Description] = field(default_factory=dict)
    define: Define | None = None
    finished: finishing.Finished | None = None
    files: dict[str, Description] = field(default_factory=dict)


def own_folders(mappings: Iterable[Path]) -> list[Path]:
    """The user's mapping folders. Raises MappingError FS348 for one in which no mapping can be: a misspelt path."""
    own = list(mappings)
    for folder in own:
        parts = ("domains", "classes", "sources", "views", "codes", "common.yaml")
        if not any((folder / part).exists() for part in parts):
            hint = "a folder with domains/, classes/, sources/, views/, codes/ or common.yaml in it"
            raise MappingError("FS348", folder.name, hint)
    return own


def source_library(source: str | None, forms: Iterable[str], mappings: Sequence[Path]) -> SourceLibrary:
    """The source mappings of a name, of a folder, or, without either, those whose forms an input has.

    Raises:
        UsageError: FS612 where none fits; MappingError where one is wrong.
    """
    folders = {
        path.name: path
        for root in (shipped(), *mappings)
        for path in sorted((root / "sources").glob("*"))
        if path.is_dir()
    }
    if source is not None:
        path = folders.get(source, Path(source))
        if not path.is_dir():
            raise UsageError(
                "FS612", Place(source), f"a folder that exists, or one of these names: {', '.join(folders)}"
            )
        return SourceLibrary(path, tuple(mappings))
    wanted = set(forms)
    sharing = {name: len(wanted & {file.stem for file in path.glob("*.yaml")}) for name, path in folders.items()}
    best = max(sharing, key=lambda name: sharing[name], default=None)
    if best is None or not sharing[best]:
        raise UsageError(
            "FS612",
            Place(listed(sorted(wanted))),
            f"`--source` with a folder of your own, or with one of these names: {', '.join(folders)}",
        )
    return SourceLibrary(folders[best], tuple(mappings))


def read(given: Input, accounting: Accounting, sources: SourceLibrary) -> Block:
    """The forms of an export; rows and files that cannot be read are quarantined.

    Args:
        given: the input; accounting: of the run.
        sources: the mappings; a column that none of them knows is named by its number, since it may be a value.

    Raises:
        InputError: of the first file, where no file at all can be read.
    """
    tables: dict[str, pa.Table] = {}
    faults: list[InputError] = []
    for name, found in given.files.items():
        try:
            loaded = formats.load(found)
        except InputError as fault:
            faults.append(fault)
            accounting.refuse(found.path, fault)
            continue
        tables[name] = loaded.table
        accounting.read(name, loaded.table.num_rows + len(loaded.rejected), "form")
        known = sources.forms[name].mapping.columns if name in sources.forms else ()
        accounting.note([*loaded.problems, *_unquoted(loaded.rejected, known)])
        accounting.quarantine(name, loaded.rejected.columns, (row.fields for row in loaded.rejected.rows), "form")
    if not tables and faults:
        raise faults[0]
    return Block(tables | given.records)


def _unquoted(rejected: Rejected, known: Collection[str]) -> Iterator[Problem]:
    """The problems of rows, without names of columns that nobody knows: of a file without header they are values."""
    for problem in rejected.problems:
        name = problem.place.column
        if name in rejected.columns and name not in known:
            number = f"column {rejected.columns.index(name) + 1}"
            yield replace(problem, place=replace(problem.place, column=number))
        else:
            yield problem


def forms(records: Block, sources: SourceLibrary, *, reversible: bool = True) -> SourceRows:
    """The rows of datasets that the records of forms give, and the records that give none (`quarantined`)."""
    return sources.to_rows(dict(records.tables), reversible=reversible)


def derive(
    made: SourceRows, sources: SourceLibrary, study: StudySummary | None = None, design: StudyDesign | None = None
) -> Derived:
    """The datasets of a block in their final form: derived variables filled, annotations of records apart.

    Args:
        made: the rows of a block; sources: the mappings that made them, with the design of the study.
        study: made by `for_deriving`; of these rows if it is not given. design: that of the mappings without it.
    """
    design = design or design_of(sources)
    study = study or for_deriving(made.tables)
    derivation = derivations.derive(made.tables, design, filled=study.filled, visits=study.visits)
    parts = apart.take_apart(derivation.tables, _annotations(sources, made.labels))
    found = derivation._replace(
        problems=[*derivation.problems, *parts.problems], derived=[*derivation.derived, *parts.derived]
    )
    return Derived(Block(parts.tables), found)


def _annotations(sources: SourceLibrary, labels: Mapping[str, Mapping[str, str]]) -> apart.Annotations:
    return apart.Annotations(labels, sources.comments, sources.related, sources.origin)


def check(
    datasets: Block,
    formats: Sequence[str] = (),
    study: StudySummary | None = None,
    design: StudyDesign | None = None,
) -> Screening:
    """The findings in the datasets of a block.

    Args:
        datasets: the block; formats: those in which it is to be written.
        study: made by `for_checking`; of this block if it is not given. design: of the study, for its declared zones.
    """
    return screen(datasets.tables, formats, study, design)


def from_records(
    records: Block,
    sources: SourceLibrary,
    accounting: Accounting,
    kinds: Sequence[str] = (),
    design: StudyDesign | None = None,
    *,
    reversible: bool = True,
) -> Prepared:
    """Tabulations of a study from the records of its EDC export, or from those of views.

    A record whose rows break a rule of SDTM is quarantined whole, and the tabulations are made anew without it: derived
    values of other records must not depend on it.

    Args:
        records: the forms by name; sources: their mappings; accounting: of the run.
        kinds: the formats in which the datasets are to be written. design: of the study; that of the mappings without.
        reversible: whether the datasets must give the records back as they are spelt; those of views need not.
    """
    left, design = dict(records.tables), design or design_of(sources)
    while True:
        made = forms(Block(left), sources, reversible=reversible)
        block, derivation = derive(made, sources, design=design)
        tables = dict(block.tables)
        look = check(block, kinds, design=design)
        errors = [each for each in look.findings if blocking(each.problem, strict=accounting.strict)]
        faulty = list(source_records(errors, tables, made, sources, left))
        if not faulty:
            break
        accounting.note(dict.fromkeys(problem for _, _, problem in faulty))
        for form in {form: None for form, _, _ in faulty}:
            rows = {row for name, row, _ in faulty if name == form}
            accounting.quarantine_rows(form, left[form], sorted(rows), "form")
            kept = [row for row in range(left[form].num_rows) if row not in rows]
            left[form] = left[form].take(pa.array(kept, pa.int64()))
    accounting.note([*made.problems, *derivation.problems])
    for form, left_out in made.left_out.items():
        accounting.leave_out(form, left_out)
    for form, table in made.quarantined.items():
        accounting.quarantine_rows(form, table, range(table.num_rows), "form")
    for name, table in tables.items():
        accounting.read(name, table.num_rows)
    clean = conforming(tables, accounting, kinds, look)
    whole: dict[str, Tabulation] = {name: InMemory(table) for name, table in clean.tables.items()}
    return Prepared(whole, derivation.derived, clean, made.unmapped)


def without_unmapped(prepared: Prepared, accounting: Accounting) -> Prepared:
    """Tabulations ready for FHIR: without the cells of columns that no mapping names, which are counted and reported.

    Principle 14: names, addresses and telephone numbers of patients may be among them.
    """
    left = dict(prepared.tabulations)
    for dataset, names in prepared.unmapped.items():
        tabulation = left.pop(f"SUPP{dataset}", None)
        if tabulation is None:
            continue
        kept = shape.without_qualifiers(tabulation.table(), names)
        accounting.drop(f"SUPP{dataset}", tabulation.rows - kept.num_rows)
        left |= {f"SUPP{dataset}": InMemory(kept)} if kept.num_rows else {}
    accounting.note(
        Problem("FS265", Place(f"{form}.csv"), "", form, left_out.stayed())
        for form, left_out in sorted(accounting.left_out.items())
        if left_out.unmapped
    )
    return replace(prepared, tabulations=left, unmapped={})


def extract(
    given: Input,
    library: Library,
    accounting: Accounting,
    kinds: Sequence[str] = (),
    design: StudyDesign | None = None,
) -> tuple[Prepared, FromFhir]:
    """Tabulations of a study from its FHIR files, and what the files gave besides; see `from_fhir`.

    Args:
        given: the input; library: the mappings; accounting: of the run.
        kinds: the formats in which the datasets are to be written. design: of the study, for its declared zones.

    Raises:
        InputError: of the first file, where none can be read to its end.
    """
    found = from_fhir(given.fhir, library, accounting, design.declared_zones if design else ())
    for name, table in found.tables.items():
        accounting.read(name, table.num_rows)
    clean = conforming(found.tables, accounting, kinds, check(Block(found.tables), kinds, design=design))
    tabulations: dict[str, Tabulation] = {name: InMemory(table) for name, table in clean.tables.items()}
    return Prepared(tabulations, screening=clean, metadata=found.descriptions(clean.tables), define=found.define), found


def from_sdtm(
    given: Input,
    library: Library,
    accounting: Accounting,
    kinds: Sequence[str] = (),
    design: StudyDesign | None = None,
    *,
    finish: bool = False,
) -> Prepared:
    """Tabulations of a study from its SDTM datasets, those that stay on the disk unchecked.

    Args:
        given, library, accounting: as in `read_sdtm`, which raises what this raises.
        kinds: the formats in which the datasets are to be written again. design: of the study, for its declared zones.
        finish: derive what is empty, and bring variables in order; then all of them are read into memory.
    """
    tables, lazy, metadata, files = read_sdtm(given, library, accounting)
    joined = rejoin.join(tables)
    accounting.note(joined.problems())
    for name, rows in joined.removed.items():
        accounting.read(name, -rows)  # they are counted with the text that they belong to
    define = given_define(given, accounting)
    done = None
    if finish:
        whole = joined.tables | {name: each.table() for name, each in lazy.items()}
        described = [group.name for group in define.groups.values()] if define else ()
        done, lazy = finishing.finish(whole, accounting, kinds, design or StudyDesign(), described), {}
        clean = done.screening
    else:
        clean = conforming(joined.tables, accounting, kinds, check(Block(joined.tables), kinds, design=design))
    tabulations = {**{name: InMemory(table) for name, table in clean.tables.items()}, **lazy}
    about = {name: each for name, each in metadata.items() if name in tabulations or name not in joined.tables}
    known = completed(about, define)
    return Prepared(tabulations, screening=clean, metadata=known, define=define, finished=done, files=files)


def render(
    prepared: Prepared,
    library: Library,
    folder: OutputFolder,
    accounting: Accounting,
    *,
    workers: int = 1,
    gzip: bool = False,
    progress: Progress | None = None,
) -> None:
    """Writes the resources of datasets into a folder, and accounts for every row; see `to_fhir`."""
    to_fhir(
        prepared.tabulations, library, folder, accounting,
        metadata=prepared.metadata, define=prepared.define, workers=workers, gzip=gzip, progress=progress,
    )  # fmt: skip


def design_of(sources: SourceLibrary, chosen: StudyDesign | None = None) -> StudyDesign:
    """What the study of some source mappings says of itself, or the `chosen` design, with the time zones of its forms.

    Raises:
        UsageError: FS703, its file is wrong.
    """
    design = chosen or (load_study(sources.study) if sources.study else StudyDesign())
    zones = tuple(
        FormZone(form.form, document.dataset, dates, form.declared.zone, bool(document.one_per))
        for form, document, dates in sources.dates()
    )
    return replace(design, forms=zones) if any(form.zone for form in zones) else design


def design_for(given: Input, source: str | None, mappings: list[Path], chosen: StudyDesign | None) -> StudyDesign:
    """The design of the study: the `chosen` one, else that of the source mappings, else that beside the datasets."""
    if source is None and given.kind != "records":
        return chosen or (load_study(given.study) if given.study else StudyDesign())
    return design_of(source_library(source, given.forms if given.kind == "records" else (), mappings), chosen)


def localise(prepared: Prepared, design: StudyDesign) -> Prepared:
    """Tabulations ready for FHIR: their times with the offsets of the zones that are declared or were carried."""
    return replace(prepared, tabulations=localised(prepared.tabulations, design))


def forms_back(datasets: Block, sources: SourceLibrary) -> SourceRecords:
    """The records of the forms that tabulations hold, their annotations joined first."""
    return sources.to_records(*apart.put_together(datasets.tables, _annotations(sources, {})))
