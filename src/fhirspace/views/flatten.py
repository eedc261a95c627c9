"""FHIR files to the records of views, with what became of each resource.

Every resource is taken (it makes a record), left (by declaration, by what it says of itself, or as its patient is not
in the study), quarantined, or unclaimed: ``taken + left + quarantined + unclaimed = in``, by type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import InputError, Place, Problem
from fhirspace.fhir.bundles import OUTDATED
from fhirspace.fhir.files import FhirFile
from fhirspace.foreign import counted, listed
from fhirspace.standards.fhir import Release, definitions
from fhirspace.tables.text import FILE, ROW, TEXT, compact
from fhirspace.views.computed import ENROLLED, Context
from fhirspace.views.fates import Fates
from fhirspace.views.join import Resolver
from fhirspace.views.merged import backwards, merged
from fhirspace.views.notation.address import Address
from fhirspace.views.notation.model import View, ViewSet
from fhirspace.views.order import places
from fhirspace.views.plan import plans
from fhirspace.views.reading.blocks import nothing
from fhirspace.views.records import Candidates, Reader, holds, only
from fhirspace.views.store import Resources, Store
from fhirspace.views.subjects import KEYS, PATIENT, Enrolment, Patients, Subjects, patients
from fhirspace.views.times import Windows

OUTSIDE = "the patient is not in the enrolment table"
THROUGH = "read through a reference"
DECLARED = "left by the views"


@dataclass(slots=True)
class Flattened:
    """The records of an input, and what became of its resources.

    Attributes:
        records: by view.
        taken, quarantined, unclaimed: the resources of each type. left: by type and reason.
        problems: what was found. lines: type, file (by number) and line of quarantined resources.
        unmapped: paths in taken resources that no view reads, with the number of resources.
        faults: what is no resource at all. broken: files that cannot be read to their ends.
    """

    records: dict[str, pa.Table] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    unclaimed: Counter[str] = field(default_factory=Counter)
    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    lines: set[tuple[str, int, int]] = field(default_factory=set)
    unmapped: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[Place, bytes]] = field(default_factory=list)
    broken: list[tuple[FhirFile, InputError]] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """The types of all resources."""
        return sorted({*self.taken, *self.quarantined, *self.unclaimed, *(kind for kind, _ in self.left)})

    def count(self, kind: str) -> dict[str, int]:
        """What became of the resources of a type."""
        left = sum(count for (each, _), count in self.left.items() if each == kind)
        fates = {"taken": self.taken[kind], "left": left, "quarantined": self.quarantined[kind]}
        fates["unclaimed"] = self.unclaimed[kind]
        return {"in": sum(fates.values()), **fates}


def flatten(
    files: Iterable[FhirFile],
    views: ViewSet,
    release: Release = "R4",
    enrolment: Enrolment | None = None,
    windows: Windows | None = None,
) -> Flattened:
    """The records that views make of FHIR files. Files that cannot be read are `problems`."""
    return _Flattening(views, release, enrolment, windows or Windows()).run(files)


class _Flattening:
    def __init__(self, views: ViewSet, release: Release, enrolment: Enrolment | None, windows: Windows) -> None:
        self._views, self._known = views, definitions(release)
        self._enrolment, self._windows = enrolment, windows
        self._store = Store(plans(views, self._known))
        self._resolver = Resolver(self._store)
        self._made = Flattened()
        self._subjects: dict[tuple[str, Address | None], Subjects] = {}

    def run(self, files: Iterable[FhirFile]) -> Flattened:
        self._store.read(files)
        self._made.faults, self._made.broken = self._store.faults, self._store.broken
        self._made.problems += [Problem("FS410", place) for place, _ in self._store.faults]
        self._made.problems += self._store.notes.problems()
        patients_ = patients(self._store, self._enrolment)
        fates = {kind: Fates(self._store, kind, claimed=bool(self._views.of(kind))) for kind in self._store.kinds}
        views = [view for _, view in sorted(self._views.views.items()) if view.of in fates]
        ready = {view.name: self._prepared(view, fates[view.of], patients_) for view in views}
        columns = {name: each.columns() for name, each in ready.items()}
        joined = {name: each.joined() for name, each in ready.items()}
        for found in self._store.kinds.values():
            found.release()
        pa.default_memory_pool().release_unused()
        context = Context(self._views, self._enrolment, self._windows, columns, joined)
        for each in ready.values():
            self._finish(each, fates[each.view.of], context)
        for kind, fate in fates.items():
            self._account(kind, fate)
        self._leave_others()
        return self._made

    def _prepared(self, view: View, fate: Fates, known: Patients) -> _Ready:
        """The candidates of a view that no rule of status and no missing patient keeps from being records."""
        reader = Reader(view, fate.found, self._resolver, self._known)
        made = reader.candidates()
        claimed = fate.claim(only(made.rows, fate.outermost.take(made.rows)))
        for reason, rows in reader.never():
            fate.block(pc.and_(pc.and_(rows, claimed), fate.free()), reason)
        who = view.of, view.subject
        if who not in self._subjects:
            self._subjects[who] = known.of(view, fate.found, self._resolver)
        subject = self._subjects[who]
        if self._enrolment is not None:
            open_ = pc.and_(claimed, fate.free())
            fate.refuse(pc.and_(open_, pc.invert(subject.known)), "FS461", "subject")
            outside = pc.and_(subject.known, pc.is_null(subject.rows))
            fate.block(pc.and_(open_, outside), OUTSIDE)
        good = pc.and_(claimed, fate.free()).take(made.rows)
        return _Ready(view, reader, made, good, subject)

    def _finish(self, ready: _Ready, fate: Fates, context: Context) -> None:
        """Computes columns, leaves what is declared, and makes the records of a view."""
        view = ready.view
        texts = context.computed(view)
        if view.definition is not None:  # its columns are its own, whatever their names
            texts |= {name: only(cells, ready.good) for name, cells in ready.made.texts.items()}
        rows = ready.rows
        keep = pa.repeat(pa.scalar(True), len(rows))
        several = {name: pc.fill_null(only(flags, ready.good), False) for name, flags in ready.made.many.items()}
        for reason, cond in view.left:
            there = pc.fill_null(pc.and_(keep, holds(cond, {**ready.joined(), **texts})), False)
            for name in view.read_by(cond) & several.keys():  # what it says of one of several values is unknown
                there = pc.and_(there, pc.invert(several[name]))
            fate.leave(rows.filter(there), reason)
            keep = pc.and_(keep, pc.invert(there))
        for name, flags in several.items():
            bad = rows.filter(pc.and_(flags, keep)).unique().to_pylist()
            fate.quarantine(bad, (("FS460", f"{view.name}.{name}") for _ in bad))
            keep = pc.and_(keep, pc.invert(flags))
        fate.take(only(rows, keep))
        for path, flags in ready.made.passed.items():
            passed = rows.filter(pc.and_(keep, pc.fill_null(only(flags, ready.good), False)))
            if len(passed):
                self._made.unmapped[f"{view.of}.{path} (after the first)"] += len(passed.unique())
        self._made.records[view.name] = self._table(view, texts, only(rows, keep), keep, fate.found)

    def _table(
        self, view: View, texts: dict[str, pa.Array], rows: pa.Array, keep: pa.Array, found: Resources
    ) -> pa.Table:
        """The records of a view, in an order that does not depend on that of files and lines."""
        first = (PATIENT, *KEYS) if view.definition is None or self._enrolment is not None else ()
        own = view.definition.columns if view.definition else view.columns
        names = dict.fromkeys([*(name for name in first if name in texts), *own])
        columns = {name: only(texts[name], keep) for name in names}
        order = places(list(columns.values()))
        table = pa.table({name: _in_order(cells, order) for name, cells in columns.items()})
        rows = rows.take(order)
        files = pa.array([each.name for each in self._store.files], TEXT)
        numbers = pa.array(np.frombuffer(found.files, np.int32)).take(rows)
        table = table.append_column(FILE, pa.DictionaryArray.from_arrays(numbers, files))
        table = table.append_column(ROW, pa.array(np.frombuffer(found.lines, np.int64)).take(rows))
        subject = "USUBJID" if "USUBJID" in names else PATIENT
        if view.merge is None:
            return table
        self._made.problems += [
            Problem("FS470", Place(table[FILE][at].as_py(), table[ROW][at].as_py(), ", ".join(view.merge.greatest)))
            for at in backwards(table, view.merge)
        ]
        return merged(table, subject, view.merge)

    def _account(self, kind: str, fate: Fates) -> None:
        made, found = self._made, fate.found
        through = THROUGH if not self._views.of(kind) else ""
        fate.decide(DECLARED if kind in self._views.left else through)
        counts = fate.counts()
        made.taken[kind] += counts["taken"]
        made.quarantined[kind] += counts["quarantined"]
        made.unclaimed[kind] += counts["unclaimed"]
        made.left.update({(kind, reason): count for reason, count in fate.reasons()})
        made.lines |= {(kind, found.files[row], found.lines[row]) for row in fate.quarantined()}
        made.problems += fate.problems
        made.problems += [
            Problem("FS444", Place(kind, None, path), detail=f"{path} is {code}, {counted(count, 'resource')}")
            for (path, code), count in sorted(fate.noted.items())
        ]
        unmapped = fate.unmapped()
        made.unmapped.update(unmapped)
        # A path is `Condition.code.text`, or `Condition.code.text (after the first)`.
        names = {path.split(" ")[0].split(".")[1].lstrip("_") for path in unmapped}
        if unknown := sorted(names - self._known.children(kind).keys()):
            expected = f"elements that {kind} has in {self._known.release}"
            made.problems.append(Problem("FS472", Place(kind), expected, detail=listed(unknown)))

    def _leave_others(self) -> None:
        for kind, count in self._store.others.items():
            if kind in self._views.left:
                self._made.left[kind, DECLARED] += count
            else:
                self._made.unclaimed[kind] += count
        for kind, count in self._store.outdated.items():
            self._made.left[kind, OUTDATED] += count


def _in_order(cells: pa.Array, order: pa.Array) -> pa.Array:
    return nothing(len(cells)) if cells.null_count == len(cells) else compact(cells.take(order))


@dataclass(slots=True)
class _Ready:
    """A view whose candidates are known."""

    view: View
    reader: Reader
    made: Candidates
    good: pa.Array
    subject: Subjects

    @property
    def rows(self) -> pa.Array:
        """The rows of the resources of good candidates."""
        return only(self.made.rows, self.good)

    def joined(self) -> dict[str, pa.Array]:
        """The addresses that conditions name, for the good candidates."""
        return {name: only(cells, self.good) for name, cells in self.reader.joined.items()}

    def columns(self) -> dict[str, pa.Array]:
        """The columns of the good candidates, with the row of the enrolment table and the patient of each."""
        texts = {name: only(cells, self.good) for name, cells in self.made.texts.items()}
        return {**texts, ENROLLED: self.subject.rows.take(self.rows), PATIENT: self.subject.ids.take(self.rows)}
