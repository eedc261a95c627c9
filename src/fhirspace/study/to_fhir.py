"""Tabulations to FHIR: each dataset through its kernel, nested rows first, in order, with nothing dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping as Table, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.engines import Made, inline, processes
from fhirspace.engines.packed import Packed, packed
from fhirspace.errors import Place, Problem
from fhirspace.mapping.library import Library, block_of
from fhirspace.mapping.model import Attach, Carried, Mapping, walk
from fhirspace.mapping.write.kernel import Kernel, Rendered
from fhirspace.sdtm import zones
from fhirspace.sdtm.columns import text
from fhirspace.sdtm.define.model import Define
from fhirspace.sdtm.derive import basis
from fhirspace.study.accounting import Accounting
from fhirspace.study.dataset import BATCH, InMemory, Tabulation
from fhirspace.study.define import resource as defined
from fhirspace.study.helper_columns import RECORD, Helpers, with_records
from fhirspace.study.metadata.describe import Metadata, empty, metadata_of, without
from fhirspace.study.metadata.resource import resource
from fhirspace.study.nested import NestedRows
from fhirspace.study.repeats import REPEATING, identity, ordinals
from fhirspace.study.summary import StudySummary, for_rendering, needed
from fhirspace.tables.description import Description
from fhirspace.tables.growing import Growing
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.text import has, place
from fhirspace.template.slots import REPEAT
from fhirspace.template.values import Fault

Progress = Callable[[str, int, int], None]
"""Called with a dataset's name, the rows done and all rows."""


@dataclass(slots=True)
class Report:
    """The report of a job about a batch.

    Its rows, the bad ones whole, their problems, those of carried cells (`tolerated`), their orphaned child rows.
    """

    rows: int
    bad: list[int]
    quarantined: pa.RecordBatch | None
    problems: list[Problem]
    tolerated: list[Problem] = field(default_factory=list)
    orphaned: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class DomainJob:
    """Makes the resources of one dataset's batches."""

    library: Library
    domain: str
    helpers: Helpers
    nested: dict[str, NestedRows]
    strict: bool = False
    _kernel: Kernel | None = None
    _mapping: Mapping | None = None

    def __getstate__(self) -> tuple[Library, str, Helpers, bool]:
        if self.nested:
            raise TypeError("the rows of child tables are made in one process")
        return self.library, self.domain, self.helpers, self.strict

    def __setstate__(self, state: tuple[Library, str, Helpers, bool]) -> None:
        self.library, self.domain, self.helpers, self.strict = state
        self.nested, self._kernel, self._mapping = {}, None, None

    @property
    def mapping(self) -> Mapping:
        """The dataset's mapping; another process builds it anew, and no other."""
        self._mapping = self._mapping or self.library.mapping(self.domain)
        return self._mapping

    def __call__(self, batch: pa.RecordBatch) -> Made:
        """The NDJSON of a batch by resource type, and a `Report`."""
        made, report = self._run(batch)
        outputs = [(block.resource, made.lines(index)) for index, block in enumerate(self.mapping.blocks)]
        return Made([(kind, data) for kind, data in outputs if len(data)], report)

    def items(self, batch: pa.RecordBatch) -> tuple[pa.Array, Report]:
        """For a dataset of nested rows: the item of each row as text, null where the row is bad, and a `Report`."""
        made, report = self._run(batch)
        return made.texts[0].cast(pa.string()), report

    def _run(self, batch: pa.RecordBatch) -> tuple[Rendered, Report]:
        self._kernel = self._kernel or Kernel(self.mapping, strict=self.strict)
        each = {name: children.texts(batch) for name, children in self.nested.items()}
        made = self._kernel.run(with_carried(self.mapping, self.helpers.add(self.mapping, batch)), each)
        bad = sorted({row for row, _ in made.faults})
        carried = problems(self.mapping, batch, made.tolerated)
        report = Report(batch.num_rows, bad, None, problems(self.mapping, batch, made.faults), carried)
        if bad:
            report.quarantined = batch.take(pa.array(bad, pa.int64()))
            report.orphaned = {name: list(children.rows_in(bad)) for name, children in self.nested.items()}
        return made, report


def with_carried(mapping: Mapping, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with what is carried beside its cells (see `study.reading.edited`).

    It is a digest of what derived cells rest on, and which times have an offset that a declared zone gave.
    """
    if not any(isinstance(node, Carried) for root in mapping.roots() for node in walk(root)):
        return batch
    made = batch.append_column(basis.DIGEST, basis.digests({mapping.domain: batch})[mapping.domain])
    return made.append_column(zones.LOCAL, text(batch, zones.MARK)) if has(batch, zones.MARK) else made


def problems(mapping: Mapping, batch: pa.RecordBatch, faults: Sequence[tuple[int, Fault]]) -> list[Problem]:
    """The faults of a batch as problems at file:row:column."""
    return [
        Problem(fault.code, place(batch, row, fault.column), fault.expected, mapping.domain) for row, fault in faults
    ]


def to_fhir(
    tabulations: Table[str, Tabulation],
    library: Library,
    folder: OutputFolder,
    accounting: Accounting,
    *,
    metadata: Table[str, Description] | None = None,
    define: Define | None = None,
    workers: int = 1,
    gzip: bool = False,
    progress: Progress | None = None,
) -> None:
    """Writes ``fhir/<Type>.ndjson`` for all datasets that have a mapping, and accounts for every row.

    Args:
        tabulations: the datasets by name; library: the mappings; folder: where to write; accounting: of the run.
        metadata: the descriptions in the files of the datasets; one without rows is in it alone.
        define: the define.xml that came with the datasets.
        workers: processes for large datasets without nested rows.
        gzip: the files are ``fhir/<Type>.ndjson.gz``, the same ones for any number of processes.
        progress: called before the first batch of a dataset and after each.
    """
    for name in sorted(tabulations, key=lambda each: each.startswith("SUPP")):
        library.adopt(name, tabulations[name].columns)
    used = [library.mappings[name] for name in tabulations if name in library.mappings]
    study = for_rendering(tabulations, used, accounting.accounts)
    with _Sinks(folder, ".ndjson.gz" if gzip else ".ndjson") as sinks:
        called = progress or (lambda name, done, rows: None)
        writer = _Writer(tabulations, library, accounting, study=study, sinks=sinks, progress=called)
        for name in _order(tabulations, library):
            writer.write(name, workers, gzip=gzip)
        writer.leave_out()
        if lines := b"".join((*writer.metadata(metadata or {}), *writer.define(define))):
            sinks["Library"].write(packed(lines) if gzip else lines)


class _Sinks(Table[str, Growing]):
    """The NDJSON files of a run by resource type, each created with the first resource of its type."""

    def __init__(self, folder: OutputFolder, suffix: str) -> None:
        self._folder, self._suffix, self._stack = folder, suffix, ExitStack()
        self._open: dict[str, Growing] = {}

    def __enter__(self) -> _Sinks:
        self._stack.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def __getitem__(self, kind: str) -> Growing:
        if kind not in self._open:
            self._open[kind] = self._stack.enter_context(self._folder.grow(f"fhir/{kind}{self._suffix}"))
        return self._open[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)


def _order(tabulations: Table[str, Tabulation], library: Library) -> list[str]:
    """DM first, the others by name; nested rows are made with the dataset of their parents."""
    whole = [name for name in tabulations if name in library.mappings and library.mappings[name].attach is None]
    return sorted(whole, key=lambda name: (name != "DM", name))


class _Writer:
    def __init__(
        self,
        tabulations: Table[str, Tabulation],
        library: Library,
        accounting: Accounting,
        *,
        study: StudySummary,
        sinks: _Sinks,
        progress: Progress,
    ) -> None:
        self._reported = {(each.table, each.place) for each in accounting.problems if each.level == "error"}
        self._repeating = {each.table for each in accounting.problems if each.code in REPEATING}
        self._tabulations, self._library = tabulations, library
        self._accounting, self._sinks, self._progress = accounting, sinks, progress
        self._helpers = Helpers(study)
        self._held = {name: accounting.account(name).quarantined for name in tabulations}
        self._written: set[str] = set()
        self._lost = pa.array([], pa.string())
        self._nested: dict[str, dict[str, NestedRows]] = {}
        self._quarantined: dict[str, set[int]] = {}

    def write(self, name: str, workers: int, *, gzip: bool) -> None:
        """Makes one dataset with all rows nested in it."""
        mapping = self._library.mappings[name]
        tabulation = self._numbered(mapping, self._with_patients(name, self._tabulations[name]))
        nested = self._nested_rows(mapping)
        job = DomainJob(self._library, name, self._helpers, nested, self._accounting.strict)
        bound = bool(nested) or any(block.once for block in mapping.blocks)
        task = Packed(job) if gzip else job
        if workers > 1 and not bound and tabulation.rows > BATCH:
            sinks = {block.resource: self._sinks[block.resource] for block in mapping.blocks}
            job.helpers = self._helpers.alone(mapping)
            reports = processes.run(task, tabulation.batches(), sinks, workers)
        else:
            reports = inline.run(task, tabulation.batches(), self._sinks)
        done = 0
        self._progress(name, done, tabulation.rows)
        with closing(reports):
            for report in reports:
                done += report.rows
                self._account_for(name, report)
                self._progress(name, done, tabulation.rows)
        for child, children in nested.items():
            self._quarantine_orphans(child, sorted(children.orphans()))
        self._written.add(name)
        if name == "DM" and len(self._lost):
            self._helpers = self._helpers.without(self._lost)

    def _with_patients(self, name: str, tabulation: Tabulation) -> Tabulation:
        """Reports the rows of subjects whose row of DM was quarantined while it was written; drops them if strict."""
        if not len(self._lost) or not isinstance(tabulation, InMemory):
            return tabulation
        table = tabulation.table()
        lost = pc.fill_null(pc.is_in(text(table, "USUBJID"), value_set=self._lost), False)
        rows = pc.indices_nonzero(lost).to_pylist()
        detail = "its row of DM is quarantined"
        self._accounting.note(
            Problem("FS727", place(table, row, "USUBJID"), "a subject of DM", name, detail) for row in rows
        )
        if not self._accounting.strict:
            return tabulation
        self._accounting.quarantine_rows(name, table, rows)
        return InMemory(table.filter(pc.invert(lost)))

    def _numbered(self, mapping: Mapping, tabulation: Tabulation) -> Tabulation:
        """The rows with their ordinals where keys repeat or are missing; if strict, without these rows.

        A second resource of one id would overwrite the first.
        """
        if RECORD in needed(mapping):
            return InMemory(with_records(tabulation.table()))
        if not isinstance(tabulation, InMemory):
            return tabulation
        table, name = tabulation.table(), mapping.domain
        found = ordinals(table, mapping)
        if found is None:
            return tabulation
        rows, column = pc.indices_nonzero(found.is_valid()).to_pylist(), identity(mapping)[-1].column
        expected = "a row with its own " + ", ".join(mapping.key)
        if name not in self._repeating:
            places = [place(table, row, column) for row in rows]
            unknown = [at for at in places if (name, at) not in self._reported]
            self._accounting.note(Problem("FS213", at, expected, name) for at in unknown)
        if self._accounting.strict:
            self._accounting.quarantine_rows(name, table, rows)
            return InMemory(table.filter(found.is_null()))
        return InMemory(table.append_column(REPEAT, found))

    def leave_out(self) -> None:
        """Quarantines datasets without a mapping, or whose parent dataset is not there."""
        for name in sorted(set(self._tabulations) - self._written):
            table = self._tabulations[name].table()
            mapping = self._library.mappings.get(name)
            wanted = f"the dataset {mapping.attach.to}" if mapping and mapping.attach else "a mapping of the dataset"
            self._accounting.note([Problem("FS212", Place(name), wanted, name)])
            self._accounting.quarantine_rows(name, table, range(table.num_rows))

    def metadata(self, given: Table[str, Description]) -> Iterator[bytes]:
        """The resources with the metadata of datasets; the order of rows only where all rows were written."""
        for name, description in sorted(given.items()):
            found = self._metadata(name, description)
            if found is not None:
                yield resource(name, found, self._study(), self._library.key)

    def define(self, given: Define | None) -> Iterator[bytes]:
        """The resource with the define.xml of the datasets, if they came with one that a resource can hold."""
        made = defined.resource(given, self._study(), self._library.key) if given else b""
        if isinstance(made, Problem):
            self._accounting.note([made])
        elif made:
            yield made

    def _metadata(self, name: str, description: Description) -> Metadata | None:
        tabulation = self._tabulations.get(name, InMemory(empty(description)))
        account = self._accounting.account(name)
        lost = account.as_table(since=self._held.get(name, 0))
        if lost.num_rows and lost.num_rows == tabulation.rows:
            return None
        if isinstance(tabulation, InMemory):
            found = metadata_of(name, description, zones.as_collected(tabulation.table()), ordered=not lost.num_rows)
        else:  # too large to be looked at
            found = Metadata(description, tabulation.rows) if description.says_more else None
        return without(found, lost) if found else None

    def _study(self) -> str:
        """The first STUDYID: that of DM, or of the first dataset that has one."""
        for name in sorted(self._tabulations, key=lambda name: (name != "DM", name)):
            cells = text(self._tabulations[name].table(["STUDYID"]), "STUDYID").drop_null()
            if len(cells):
                return str(cells[0].as_py())
        return ""

    def _account_for(self, name: str, report: Report) -> None:
        self._accounting.note(report.problems)
        self._accounting.note(each for each in report.tolerated if (each.table, each.place) not in self._reported)
        if report.quarantined is not None and name == "DM":
            bad = pa.Table.from_batches([report.quarantined])
            alone = text(bad, REPEAT).is_null()  # where a key repeats, references lead to the row that has none
            self._lost = pa.concat_arrays([self._lost, text(bad, "USUBJID").filter(alone).drop_null()])
        if report.quarantined is not None:
            self._accounting.quarantine_rows(name, report.quarantined, range(len(report.bad)))
        for child, rows in report.orphaned.items():
            self._quarantine_orphans(child, rows)

    def _quarantine_orphans(self, child: str, rows: Sequence[int]) -> None:
        """Quarantines rows whose parent is missing or quarantined, with the rows nested in them."""
        known = self._quarantined.setdefault(child, set())
        orphaned = [row for row in rows if row not in known]
        if not orphaned:
            return
        known.update(orphaned)
        table = self._tabulations[child].table()
        wanted = _parent(self._library.mappings[child].attach)
        self._accounting.note(Problem("FS211", place(table, row), wanted, child) for row in orphaned)
        self._accounting.quarantine_rows(child, table, orphaned)
        batches = table.take(pa.array(orphaned, pa.int64())).unify_dictionaries().combine_chunks().to_batches()
        for grandchild, children in self._nested.get(child, {}).items():
            for batch in batches:
                self._quarantine_orphans(grandchild, sorted(children.rows_at(batch, range(batch.num_rows))))

    def _nested_rows(self, parent: Mapping) -> dict[str, NestedRows]:
        """The items of all datasets whose rows are nested in this one's, the innermost first."""
        children = (name for name in self._library.nested(parent.domain) if name in self._tabulations)
        return {name: self._items(self._library.mappings[name], parent) for name in children}

    def _items(self, mapping: Mapping, parent: Mapping) -> NestedRows:
        name = mapping.domain
        table = self._tabulations[name].table()
        self._nested[name] = self._nested_rows(mapping)
        job = DomainJob(self._library, name, self._helpers, self._nested[name], self._accounting.strict)
        texts = [pa.nulls(0, pa.string())]
        self._written.add(name)
        known, done = self._quarantined.setdefault(name, set()), 0
        for batch in InMemory(table).batches():
            items, report = job.items(batch)
            texts.append(items)
            self._account_for(name, report)
            known.update(done + row for row in report.bad)
            done += batch.num_rows
        for grandchild, children in self._nested[name].items():
            self._quarantine_orphans(grandchild, sorted(children.orphans()))
        joined = pa.concat_arrays(texts)
        block = block_of(parent, name)
        attach = mapping.attach or Attach(parent.domain, (), ())
        parents = self._tabulations.get(parent.domain)
        return NestedRows(attach, table, joined, parents=parents, shared=bool(block and block.once))


def _parent(attach: Attach | None) -> str:
    """The parent record that a nested row needs, by its dataset and the names of the columns of its key."""
    if attach is None:
        return "its parent record"
    linked = [f"the key that {' and '.join(attach.via)} give"] if attach.via else []
    return f"a record of {attach.to} with the same " + " and ".join([", ".join(attach.on), *linked])
