"""Tabulations to FHIR: each dataset through its kernel, attached rows first, in order, with nothing dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping as Table, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.engines import Made, inline, processes
from fhirspace.engines.packed import Packed
from fhirspace.errors import Place, Problem
from fhirspace.mapping.library import Library, block_of
from fhirspace.mapping.model import Attach, Mapping
from fhirspace.mapping.write.kernel import Kernel, Rendered
from fhirspace.sdtm.columns import Groups, text
from fhirspace.study.accounting import Ledger
from fhirspace.study.dataset import BATCH, InMemory, Tabulation
from fhirspace.study.helper_columns import Helpers
from fhirspace.study.nested import Attached
from fhirspace.study.summary import StudySummary, for_rendering
from fhirspace.tables.growing import Growing
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.text import place, row_column
from fhirspace.template.values import Fault

Progress = Callable[[str, int, int], None]
"""Called with a dataset's name, the rows done and all rows."""


@dataclass(slots=True)
class Report:
    """What a job tells about a batch: its rows, the bad ones whole, their problems, the rows that fell with them."""

    rows: int
    bad: list[int]
    held: pa.RecordBatch | None
    problems: list[Problem]
    fallen: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class DomainJob:
    """Makes the resources of one dataset's batches."""

    library: Library
    domain: str
    helpers: Helpers
    attached: dict[str, Attached]
    _kernel: Kernel | None = None
    _mapping: Mapping | None = None

    def __getstate__(self) -> tuple[Library, str, Helpers]:
        if self.attached:
            raise TypeError("the rows of child tables are made in one process")
        return self.library, self.domain, self.helpers

    def __setstate__(self, state: tuple[Library, str, Helpers]) -> None:
        self.library, self.domain, self.helpers = state
        self.attached, self._kernel, self._mapping = {}, None, None

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
        """Of an attached dataset: the item of each row as text, null where the row is bad, and a `Report`."""
        made, report = self._run(batch)
        return made.texts[0].cast(pa.string()), report

    def _run(self, batch: pa.RecordBatch) -> tuple[Rendered, Report]:
        self._kernel = self._kernel or Kernel(self.mapping)
        each = {name: children.texts(batch) for name, children in self.attached.items()}
        made = self._kernel.run(self.helpers.add(self.mapping, batch), each)
        bad = sorted({row for row, _ in made.faults})
        report = Report(batch.num_rows, bad, None, problems(self.mapping, batch, made.faults))
        if bad:
            report.held = batch.take(pa.array(bad, pa.int64()))
            report.fallen = {name: list(children.rows_at(batch, bad)) for name, children in self.attached.items()}
        return made, report


def problems(mapping: Mapping, batch: pa.RecordBatch, faults: Sequence[tuple[int, Fault]]) -> list[Problem]:
    """The faults of a batch as problems at file:row:column."""
    return [
        Problem(fault.code, place(batch, row, fault.column), fault.expected, mapping.domain) for row, fault in faults
    ]


def to_fhir(
    tabulations: Table[str, Tabulation],
    library: Library,
    folder: OutputFolder,
    ledger: Ledger,
    *,
    workers: int = 1,
    gzip: bool = False,
    progress: Progress | None = None,
) -> None:
    """Writes ``fhir/<Type>.ndjson`` for all datasets that have a mapping, and books every row.

    Args:
        tabulations: the datasets by name; library: the mappings; folder: where to write; ledger: the books.
        workers: processes for large datasets that nothing hangs into.
        gzip: the files are ``fhir/<Type>.ndjson.gz``, the same ones for any number of processes.
        progress: told before the first batch of a dataset and after each.
    """
    used = [library.mappings[name] for name in tabulations if name in library.mappings]
    study = for_rendering(tabulations, used)
    with _Sinks(folder, ".ndjson.gz" if gzip else ".ndjson") as sinks:
        told = progress or (lambda name, done, rows: None)
        writer = _Writer(tabulations, library, ledger, study=study, sinks=sinks, progress=told)
        for name in _order(tabulations, library):
            writer.write(name, workers, gzip=gzip)
        writer.leave_out()


class _Sinks(Table[str, Growing]):
    """The NDJSON files of a run by resource type, each begun when the first resource of its type comes."""

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
    """DM first, the others by name; attached ones are made with the dataset they hang into."""
    whole = [name for name in tabulations if name in library.mappings and library.mappings[name].attach is None]
    return sorted(whole, key=lambda name: (name != "DM", name))


class _Writer:
    def __init__(
        self,
        tabulations: Table[str, Tabulation],
        library: Library,
        ledger: Ledger,
        *,
        study: StudySummary,
        sinks: _Sinks,
        progress: Progress,
    ) -> None:
        self._tabulations, self._library = tabulations, library
        self._ledger, self._sinks, self._progress = ledger, sinks, progress
        self._helpers = Helpers(study)
        self._written: set[str] = set()
        self._nested: dict[str, dict[str, Attached]] = {}
        self._gone: dict[str, set[int]] = {}

    def write(self, name: str, workers: int, *, gzip: bool) -> None:
        """Makes one dataset with all that hangs into it."""
        mapping = self._library.mappings[name]
        tabulation = self._apart(mapping, self._tabulations[name])
        attached = self._attached(mapping)
        job = DomainJob(self._library, name, self._helpers, attached)
        bound = bool(attached) or any(block.once for block in mapping.blocks)
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
                self._book(name, report)
                self._progress(name, done, tabulation.rows)
        for child, children in attached.items():
            self._fall(child, sorted(children.orphans()))
        self._written.add(name)

    def _apart(self, mapping: Mapping, tabulation: Tabulation) -> Tabulation:
        """The rows that have a key of their own: a second resource of one id would overwrite the first."""
        if not isinstance(tabulation, InMemory) or not mapping.key:
            return tabulation
        table, name = tabulation.table(), mapping.domain
        filled = pa.array([True] * table.num_rows)
        for column in mapping.key:
            filled = pc.and_(filled, text(table, column).is_valid())
        firsts = pa.array(Groups(table, mapping.key).first_rows(), pa.int64())
        again = pc.and_(filled, pc.invert(pc.is_in(row_column(0, table.num_rows), value_set=firsts)))
        rows = pc.indices_nonzero(again).to_pylist()
        if not rows:
            return tabulation
        expected = "a row with its own " + ", ".join(mapping.key)
        self._ledger.note(Problem("FS213", place(table, row, mapping.key[-1]), expected, name) for row in rows)
        self._ledger.hold_rows(name, table, rows)
        return InMemory(table.filter(pc.invert(again)))

    def leave_out(self) -> None:
        """Holds the datasets that no mapping makes, or that hang into a dataset which is not there."""
        for name in sorted(set(self._tabulations) - self._written):
            table = self._tabulations[name].table()
            mapping = self._library.mappings.get(name)
            wanted = f"the dataset {mapping.attach.to}" if mapping and mapping.attach else "a mapping of the dataset"
            self._ledger.note([Problem("FS212", Place(name), wanted, name)])
            self._ledger.hold_rows(name, table, range(table.num_rows))

    def _book(self, name: str, report: Report) -> None:
        self._ledger.note(report.problems)
        if report.held is not None:
            self._ledger.hold_rows(name, report.held, range(len(report.bad)))
        for child, rows in report.fallen.items():
            self._fall(child, rows)

    def _fall(self, child: str, rows: Sequence[int]) -> None:
        """Rows whose parent is not there, or is in quarantine: they go there too, with what hangs into them."""
        gone = self._gone.setdefault(child, set())
        fallen = [row for row in rows if row not in gone]
        if not fallen:
            return
        gone.update(fallen)
        table = self._tabulations[child].table()
        self._ledger.note(
            Problem("FS211", place(table, row), "a row of the dataset that it belongs to", child) for row in fallen
        )
        self._ledger.hold_rows(child, table, fallen)
        batches = table.take(pa.array(fallen, pa.int64())).unify_dictionaries().combine_chunks().to_batches()
        for grandchild, children in self._nested.get(child, {}).items():
            for batch in batches:
                self._fall(grandchild, sorted(children.rows_at(batch, range(batch.num_rows))))

    def _attached(self, parent: Mapping) -> dict[str, Attached]:
        """The items of all datasets that hang into rows of another, those that hang into their own rows first."""
        children = (name for name in self._library.attached(parent.domain) if name in self._tabulations)
        return {name: self._items(self._library.mappings[name], parent) for name in children}

    def _items(self, mapping: Mapping, parent: Mapping) -> Attached:
        name = mapping.domain
        table = self._tabulations[name].table()
        self._nested[name] = self._attached(mapping)
        job, texts = DomainJob(self._library, name, self._helpers, self._nested[name]), [pa.nulls(0, pa.string())]
        self._written.add(name)
        gone, done = self._gone.setdefault(name, set()), 0
        for batch in InMemory(table).batches():
            items, report = job.items(batch)
            texts.append(items)
            self._book(name, report)
            gone.update(done + row for row in report.bad)
            done += batch.num_rows
        for grandchild, children in self._nested[name].items():
            self._fall(grandchild, sorted(children.orphans()))
        joined = pa.concat_arrays(texts)
        block = block_of(parent, name)
        attach = mapping.attach or Attach(parent.domain, (), ())
        return Attached(attach, table, joined, shared=bool(block and block.once))
