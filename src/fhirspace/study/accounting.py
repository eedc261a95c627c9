"""The accounting of a run: rows in, out and quarantined of every table, and all problems."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from fhirspace.errors import EXIT_QUARANTINED, NOT_READ, InputError, Place, Problem, exit_code_of
from fhirspace.foreign import file_name
from fhirspace.forms.reduce import LeftOut
from fhirspace.sdtm.zones import as_collected
from fhirspace.tables.leftovers import PASSED_OVER
from fhirspace.tables.listing import NO_FILE
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.text import data_columns

Kind = Literal["dataset", "form", "file"]
_NO_RECORD = "FS103"


@dataclass(slots=True)
class Account:
    """One table: rows read, the columns and fields of the quarantined rows; of a FHIR file, the quarantined lines.

    `skipped` are the records of a form that its mapping does not want, `dropped` the rows that do not travel to FHIR,
    `not_converted` the resources that no mapping claims.
    """

    rows_in: int = 0
    skipped: int = 0
    dropped: int = 0
    not_converted: int = 0
    columns: tuple[str, ...] = ()
    rows: list[tuple[str | None, ...]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)

    @property
    def quarantined(self) -> int:
        """The number of quarantined rows."""
        return len(self.rows) + len(self.lines)

    @property
    def rows_out(self) -> int:
        """The rows read that are neither quarantined, nor left out by declaration, nor without a mapping."""
        return self.rows_in - self.quarantined - self.skipped - self.dropped - self.not_converted

    def as_table(self, since: int = 0) -> pa.Table:
        """The quarantined rows from the one of this number on, as a text table."""
        rows = self.rows[since:]
        cells = {name: [row[at] if at < len(row) else None for row in rows] for at, name in enumerate(self.columns)}
        return pa.table({name: pa.array(each, pa.string()) for name, each in cells.items()})

    def as_dict(self) -> dict[str, int]:
        """Rows in, out and quarantined; those that are left out or not converted only where there are some."""
        left_out = {"skipped": self.skipped, "dropped": self.dropped, "not_converted": self.not_converted}
        counts = {"in": self.rows_in, "out": self.rows_out, "quarantined": self.quarantined}
        return counts | {name: rows for name, rows in left_out.items() if rows}


def as_finding(fault: InputError, path: Path) -> Problem:
    """The finding about a file of which nothing can be read. One with a header alone is no fault of its own (FS263):
    many forms of an export have no record yet."""
    if fault.code == _NO_RECORD:
        return Problem("FS263", fault.problem.place, "records of this table", path.stem)
    return fault.problem


class Accounting:
    """Keeps an `Account` a table and all problems; written into an output folder at the end of a run.

    A form may have the name of a dataset: `accounts` are those of datasets, `forms` and `resources` those of forms and
    of FHIR files.

    Attributes:
        strict: every row with an error is quarantined, instead of those only that the output cannot hold.
        left_out: by form, what its mapping declares not to convert.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.accounts: dict[str, Account] = {}
        self.forms: dict[str, Account] = {}
        self.resources: dict[str, Account] = {}
        self.problems: list[Problem] = []
        self.left_out: dict[str, LeftOut] = {}
        self._unreadable: list[Path] = []
        self._files: list[Path] = []

    def account(self, table: str, kind: Kind = "dataset") -> Account:
        """The account of a dataset, a form or a FHIR file, opened when it is new."""
        accounts = {"dataset": self.accounts, "form": self.forms, "file": self.resources}[kind]
        return accounts.setdefault(table, Account())

    def read(self, table: str, rows: int, kind: Kind = "dataset") -> None:
        """Counts rows or resources that were read."""
        self.account(table, kind).rows_in += rows

    def leave(self, kind: str, resources: int) -> None:
        """Counts resources of a type that are left by declaration."""
        self.account(kind, "file").skipped += resources

    def leave_unconverted(self, file: str, resources: int) -> None:
        """Counts resources of a file that no mapping claims."""
        self.account(file, "file").not_converted += resources

    def leave_out(self, form: str, left_out: LeftOut) -> None:
        """Notes what a form declares not to convert, and counts its skipped records."""
        self.left_out[form] = left_out
        self.account(form, "form").skipped += left_out.skipped

    def declared(self, *, fhir: bool) -> list[str]:
        """A line for each kind of things that a form leaves out by declaration; those of `fhir` only on request."""
        return [line for form, left_out in sorted(self.left_out.items()) for line in left_out.lines(form, fhir=fhir)]

    def drop(self, table: str, rows: int) -> None:
        """Counts rows that do not travel to FHIR."""
        self.account(table).dropped += rows

    def quarantine(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[str | None]], kind: Kind = "dataset"
    ) -> None:
        """Quarantines rows, with their fields unchanged."""
        account = self.account(table, kind)
        if not account.columns or len(columns) > len(account.columns):
            account.columns = tuple(columns)
        account.rows += [tuple(row) for row in rows]

    def quarantine_rows(
        self, table: str, data: pa.Table | pa.RecordBatch, rows: Sequence[int], kind: Kind = "dataset"
    ) -> None:
        """Quarantines rows of a text table."""
        if rows:
            names = data_columns(data)
            found = as_collected(data.take(pa.array(sorted(set(rows)), pa.int64())))
            picked = found.select(names).to_pylist()
            self.quarantine(table, names, ([row[name] for name in names] for row in picked), kind)

    def note(self, problems: Iterable[Problem]) -> None:
        """Adds problems."""
        self.problems += problems

    def quarantine_lines(self, file: str, lines: Iterable[bytes]) -> None:
        """Quarantines lines of a FHIR file, unchanged."""
        self.account(file, "file").lines += lines

    def refuse(self, path: Path, fault: InputError) -> None:
        """Quarantines a file of which nothing can be read, as a whole, unless it is merely empty.

        A pipe, a device or a socket is counted, and not copied.
        """
        self.note([as_finding(fault, path)])
        if fault.code == _NO_RECORD:
            return
        self._unreadable.append(path)
        if fault.code != NO_FILE:
            self._files.append(path)

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Rows in, out, quarantined and left out, by table."""
        return {name: account.as_dict() for name, account in self._named()}

    def _named(self) -> list[tuple[str, Account]]:
        """All accounts with the names that they have in reports: a form with the name of a dataset says what it is."""
        named = self.accounts | self.resources
        taken = {name.casefold() for name in named}
        forms = {f"{name} (form)" if name.casefold() in taken else name: each for name, each in self.forms.items()}
        return sorted((named | forms).items())

    @property
    def rows_in(self) -> int:
        """The rows and resources that were read and not skipped by declaration."""
        return sum(account.rows_in - account.skipped for _, account in self._named())

    @property
    def converted(self) -> int:
        """The rows of datasets that could be written."""
        return sum(account.rows_out for account in self.accounts.values())

    @property
    def quarantined(self) -> int:
        """The quarantined rows of all tables; a file that cannot be read counts as one."""
        return sum(account.quarantined for _, account in self._named()) + len(self._unreadable)

    @property
    def not_converted(self) -> int:
        """The resources that no mapping claims."""
        return sum(account.not_converted for account in self.resources.values())

    def files(self, given: Collection[Path]) -> dict[str, int]:
        """The files of an input, `given` ones and those that nobody reads: in = out + all others."""
        codes = Counter(problem.code for problem in self.problems)
        unread = {"not_read": codes[NOT_READ], "passed_over": codes[PASSED_OVER]}
        broken = len(set(self._unreadable))
        whole = len({*given, *self._unreadable})
        return {"in": whole + sum(unread.values()), "out": whole - broken, "quarantined": broken, **unread}

    @property
    def exit_code(self) -> int:
        """0 clean, 1 findings, 3 rows in quarantine, resources not converted, or files that are not read."""
        return EXIT_QUARANTINED if self.quarantined or self.not_converted else exit_code_of(self.problems)

    def require_rows(self, place: Place, *, fhir: bool = False) -> None:
        """Raises InputError (FS103, of FHIR FS406): no row and no resource was read of the input at this place."""
        if not self.rows_in:
            raise InputError("FS406" if fhir else _NO_RECORD, place, "a resource" if fhir else "at least one row")

    def require_result(self, place: Place, converted: int) -> None:
        """Reports (FS182) that nothing of the input at this place was converted, unless other counts say why."""
        if not converted and self.exit_code != EXIT_QUARANTINED:
            self.note([Problem("FS182", place)])

    def close(self, folder: OutputFolder) -> None:
        """Writes counts, quarantine and problems into the output folder, which checks the balance."""
        for name, account in self._named():
            folder.quarantine(name, account.columns, account.rows)
            if account.lines:
                plain = name.removesuffix(".gz")
                with folder.open(f"quarantine/{file_name(plain if '.' in plain else f'{plain}.ndjson')}") as stream:
                    stream.writelines(line.strip() + b"\n" for line in account.lines)
            folder.count(
                name,
                rows_in=account.rows_in,
                rows_out=account.rows_out,
                quarantined=account.quarantined,
                skipped=account.skipped,
                dropped=account.dropped,
                not_converted=account.not_converted,
            )
        for path in self._files:
            with folder.open(f"quarantine/{file_name(path.name)}") as stream, path.open("rb") as whole:
                shutil.copyfileobj(whole, stream)
        folder.report(self.problems)
