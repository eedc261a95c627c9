"""The accounting of a run: rows in, out and quarantined of every table, and all problems."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from fhirspace.errors import EXIT_QUARANTINED, InputError, Problem, exit_code_of
from fhirspace.foreign import file_name
from fhirspace.forms.reduce import LeftOut
from fhirspace.tables.listing import NO_FILE
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.text import data_columns


@dataclass(slots=True)
class Account:
    """One table: rows read, the columns and fields of the quarantined rows; of a FHIR file, the quarantined lines.

    `skipped` are the records of a form that its mapping does not want, `dropped` the rows that do not travel to FHIR.
    """

    rows_in: int = 0
    skipped: int = 0
    dropped: int = 0
    columns: tuple[str, ...] = ()
    rows: list[tuple[str | None, ...]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)

    @property
    def quarantined(self) -> int:
        """The number of quarantined rows."""
        return len(self.rows) + len(self.lines)

    @property
    def rows_out(self) -> int:
        """The rows read that are neither quarantined nor left out by declaration."""
        return self.rows_in - self.quarantined - self.skipped - self.dropped

    def as_dict(self) -> dict[str, int]:
        """Rows in, out and quarantined; those that are left out by declaration only where there are some."""
        left_out = {"skipped": self.skipped, "dropped": self.dropped}
        counts = {"in": self.rows_in, "out": self.rows_out, "quarantined": self.quarantined}
        return counts | {name: rows for name, rows in left_out.items() if rows}


class Accounting:
    """Keeps an `Account` a table and all problems; written into an output folder at the end of a run.

    Attributes:
        strict: every row with an error is quarantined, instead of those only that the output cannot hold.
        left_out: by form, what its mapping declares not to convert.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.accounts: dict[str, Account] = {}
        self.problems: list[Problem] = []
        self.left_out: dict[str, LeftOut] = {}
        self._unreadable: list[Path] = []
        self._files: list[Path] = []

    def account(self, table: str) -> Account:
        """The account of a table, opened when it is new."""
        return self.accounts.setdefault(table, Account())

    def read(self, table: str, rows: int) -> None:
        """Counts rows that were read."""
        self.account(table).rows_in += rows

    def leave_out(self, form: str, left_out: LeftOut) -> None:
        """Notes what a form declares not to convert, and counts its skipped records."""
        self.left_out[form] = left_out
        self.account(form).skipped += left_out.skipped

    def declared(self, *, fhir: bool) -> list[str]:
        """A line for each kind of things that a form leaves out by declaration; those of `fhir` only on request."""
        return [line for form, left_out in sorted(self.left_out.items()) for line in left_out.lines(form, fhir=fhir)]

    def drop(self, table: str, rows: int) -> None:
        """Counts rows that do not travel to FHIR."""
        self.account(table).dropped += rows

    def quarantine(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
        """Quarantines rows, with their fields unchanged."""
        account = self.account(table)
        if not account.columns or len(columns) > len(account.columns):
            account.columns = tuple(columns)
        account.rows += [tuple(row) for row in rows]

    def quarantine_rows(self, table: str, data: pa.Table | pa.RecordBatch, rows: Sequence[int]) -> None:
        """Quarantines rows of a text table."""
        if rows:
            names = data_columns(data)
            picked = data.select(names).take(pa.array(sorted(set(rows)), pa.int64())).to_pylist()
            self.quarantine(table, names, ([row[name] for name in names] for row in picked))

    def note(self, problems: Iterable[Problem]) -> None:
        """Adds problems."""
        self.problems += problems

    def quarantine_lines(self, file: str, lines: Iterable[bytes]) -> None:
        """Quarantines lines of a FHIR file, unchanged."""
        self.account(file).lines += lines

    def refuse(self, path: Path, fault: InputError) -> None:
        """Quarantines a file of which nothing can be read, as a whole, unless it is merely empty.

        A pipe, a device or a socket is counted, and not copied.
        """
        if fault.code == "FS103":  # many forms of an export have no record yet: reported, nothing to quarantine
            self.note([Problem("FS263", fault.problem.place, "records of this table", path.stem)])
            return
        self.note([fault.problem])
        self._unreadable.append(path)
        if fault.code != NO_FILE:
            self._files.append(path)

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Rows in, out, quarantined and left out, by table."""
        return {name: account.as_dict() for name, account in sorted(self.accounts.items())}

    @property
    def quarantined(self) -> int:
        """The quarantined rows of all tables; a file that cannot be read counts as one."""
        return sum(account.quarantined for account in self.accounts.values()) + len(self._unreadable)

    @property
    def exit_code(self) -> int:
        """0 clean, 1 findings, 3 rows in quarantine or files that are not read."""
        return EXIT_QUARANTINED if self.quarantined else exit_code_of(self.problems)

    def close(self, folder: OutputFolder) -> None:
        """Writes counts, quarantine and problems into the output folder, which checks the balance."""
        for name, account in sorted(self.accounts.items()):
            folder.quarantine(name, account.columns, account.rows)
            if account.lines:
                with folder.open(f"quarantine/{file_name(name.removesuffix('.gz'))}") as stream:
                    stream.writelines(line.strip() + b"\n" for line in account.lines)
            folder.count(
                name,
                rows_in=account.rows_in,
                rows_out=account.rows_out,
                quarantined=account.quarantined,
                skipped=account.skipped,
                dropped=account.dropped,
            )
        for path in self._files:
            with folder.open(f"quarantine/{file_name(path.name)}") as stream, path.open("rb") as whole:
                shutil.copyfileobj(whole, stream)
        folder.report(self.problems)
