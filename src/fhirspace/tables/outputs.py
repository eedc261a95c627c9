"""A run's output folder: it changes as a whole or not at all, rows are counted, and the manifest comes last.

Files are written below a hidden folder, synchronised to the disk, and moved to their places when the run has succeeded
(see `staging`). So a folder with a manifest is the result of one whole run, and a run that fails leaves what was there.
Nothing is replaced or removed that is not proven to be ours (see `proof`). The same input gives the same bytes: no
times are kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

from fhirspace.errors import FhirspaceError, InputError, Place, Problem
from fhirspace.foreign import as_strict_json, file_name
from fhirspace.tables import staging
from fhirspace.tables.csv.scan import FORMULA
from fhirspace.tables.csv.writing import quoted
from fhirspace.tables.durable import MANIFEST
from fhirspace.tables.growing import Growing
from fhirspace.tables.proof import FOLDERS, RESULTS, Earlier, Entry, Proof, is_place, listed, not_ours
from fhirspace.version import __version__

_PRIVATE = ("quarantine", "unread", "differences")
"""Folders for their owner alone even where the others are shared: they hold input unconverted, or values about it."""


_LEFT_OUT = frozenset({"skipped", "dropped", "not_converted"})


@dataclass(frozen=True, slots=True)
class Count:
    """The rows of one table: read, written out of what was read, quarantined, derived on top by fhirspace.

    Those that are skipped or dropped are left out by declaration; resources that no mapping claims are not converted.
    """

    rows_in: int
    rows_out: int
    quarantined: int
    derived: int = 0
    skipped: int = 0
    dropped: int = 0
    not_converted: int = 0


class OutputFolder:
    """The output folder of one run, used in a ``with`` statement; no other run can use it meanwhile.

    Leaving it without an exception checks the balance of all tables, writes ``problems.ndjson`` and ``manifest.json``,
    and puts everything in its place; files of an earlier run that this one did not write are removed. Leaving it with
    an exception changes nothing.

    Folders that are made have mode 0700, files 0600, because they hold patients' data. Folders that are there already
    keep the mode that they have.
    """

    def __init__(
        self,
        root: Path,
        *,
        versions: Mapping[str, str] | None = None,
        reads: Iterable[Path] = (),
        keeps: Callable[[str], bool] | None = None,
        shared: bool = False,
    ) -> None:
        """Prepares a run; entering it begins it.

        Args:
            root: the folder, made when absent.
            versions: to be named in the manifest beside that of fhirspace.
            reads: the files that the run reads.
            keeps: whether a file of the earlier run, by its path in the folder, stays as it is; none does without it.
            shared: files and folders get the modes that the process's umask gives, except in `quarantine/` and
                `unread/`.

        Raises (when it is entered):
            UsageError: FS144, files of the earlier run were changed since; FS145, the manifest there is not ours;
                FS146, a file that is read would be replaced or removed; FS147, another run uses the folder.
            InputError: FS141, a folder in it is a link; FS143, it cannot be written.
        """
        self.root, self.waiting = root, root / staging.STAGING
        self._about: dict[str, Any] = {}
        self._versions = {**(versions or {}), "fhirspace": __version__}
        self._reads, self._keeps, self._shared = reads, keeps or (lambda _: False), shared
        self._counts: dict[str, Count] = {}
        self._quarantined: dict[str, int] = {}
        self._problems: list[Problem] = []
        self._files: dict[str, Entry] = {}
        self._proof = Proof(root, {})
        self._written = 0.0
        self.replaced: Earlier | None = None
        """The result of an earlier run that this one has replaced; None before it has succeeded, or where none was."""
        self._made = self._abandoned = False
        self._held = ExitStack()

    def __enter__(self) -> OutputFolder:
        self._make_root()
        with ExitStack() as stack:
            stack.callback(self._leave_no_trace)
            stack.enter_context(staging.held(self.root))
            self._proof = Proof(self.root, listed(self.root / MANIFEST, self.root))
            with suppress(OSError):
                self._written = (self.root / MANIFEST).lstat().st_mtime
            self._proof.require((*self._proof.files, "problems.ndjson"))
            self._proof.require_no_input(self._reads)
            staging.begin(self.root)
            stack.callback(staging.drop, self.root)
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            if kind is None:
                self._check_balance()
            if kind is None and not self._abandoned:
                self._write_problems()
                self._commit()

    @property
    def has_result(self) -> bool:
        """Whether an earlier run has data in the folder."""
        return any(name.partition("/")[0] in RESULTS for name in self._proof.files)

    def staged(self, inner: str) -> list[Path]:
        """Where the files of one of its folders (``fhir``) are, until the run succeeds."""
        return [self.waiting / name for name in sorted(self._files) if name.startswith(f"{inner}/")]

    def abandon(self) -> None:
        """Leave the folder as the earlier run left it, although this one goes on to its end."""
        self._abandoned = True

    @contextmanager
    def stage(self, relative: str) -> Iterator[Path]:
        """A path to write a file to, which becomes `relative` when the run succeeds.

        A second file of the same name in one run gets a number.

        Raises:
            InputError: FS141, FS143 when the path leaves the folder or its folder cannot be used.
            UsageError: FS144, there is a file that is not ours.
        """
        with self._staged(relative) as (name, part):
            yield part
            if not self._is_shared(name):
                part.chmod(0o600)
            self._files[name] = _digest(part)

    @contextmanager
    def grow(self, relative: str) -> Iterator[Growing]:
        """A growing file that becomes `relative` when the run succeeds; see `stage`."""
        with self._staged(relative) as (name, part), Growing(part, mode=self._mode(name)) as growing:
            yield growing
            self._files[name] = growing.finish()

    @contextmanager
    def open(self, relative: str) -> Iterator[BinaryIO]:
        """A binary file that becomes `relative` when the run succeeds; see `stage`."""
        with self._staged(relative) as (name, part):
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode(name))
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
            self._files[name] = _digest(part)

    @contextmanager
    def _staged(self, relative: str) -> Iterator[tuple[str, Path]]:
        name = self._name(relative)
        self._proof.require([name])
        part = self.waiting / name
        if part.parent != self.waiting:
            part.parent.mkdir(mode=0o777 if self._is_shared(name) else 0o700, exist_ok=True)
        try:
            yield name, part
        except BaseException:
            with suppress(FileNotFoundError):
                part.unlink()
            raise

    def count(
        self,
        table: str,
        *,
        rows_in: int,
        rows_out: int,
        quarantined: int,
        derived: int = 0,
        skipped: int = 0,
        dropped: int = 0,
        not_converted: int = 0,
    ) -> None:
        """Adds to the counts of a table; on leaving, ``rows_in`` must be the sum of all others but `derived`.

        Args:
            table: the name of the table.
            rows_in: rows read.
            rows_out: rows written that come from rows read.
            quarantined: rows put into quarantine.
            derived: rows written that fhirspace made itself; not part of the balance.
            skipped, dropped: rows left out by declaration, of the input and of the output.
            not_converted: resources that no mapping claims.
        """
        had = self._counts.get(table, Count(0, 0, 0))
        self._counts[table] = Count(
            had.rows_in + rows_in,
            had.rows_out + rows_out,
            had.quarantined + quarantined,
            had.derived + derived,
            had.skipped + skipped,
            had.dropped + dropped,
            had.not_converted + not_converted,
        )

    def quarantine(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
        """Writes the quarantined rows of one table to ``quarantine/<table>.csv``, readable by the owner only.

        The fields are unchanged, even if there are too many or too few, under their own columns. Only a cell that a
        spreadsheet would run gets an apostrophe in front. Call it once a table; with no row nothing is written.
        """
        lines = [_line(row) for row in rows]
        if not lines:
            return
        with self.open(f"quarantine/{file_name(table)}.csv") as stream:
            stream.write(_line(columns))
            stream.writelines(lines)
        self._quarantined[table] = len(lines)

    def report(self, problems: Iterable[Problem]) -> None:
        """Adds problems to ``problems.ndjson``, which is sorted by table, file, row, column and code."""
        self._problems += problems

    def describe(self, about: Mapping[str, Any]) -> None:
        """Adds entries to the manifest."""
        self._about |= about

    def _name(self, relative: str) -> str:
        """The path of a new file in the folder: what was asked for, with a number where the run has that already."""
        if not is_place(relative):
            raise InputError("FS141", Place("output"), f"a file in one of {', '.join(sorted(FOLDERS))}")
        pure = name = PurePosixPath(relative)
        again = 1
        while name.as_posix() in self._files:
            again += 1
            name = pure.with_name(f"{pure.stem}-{again}{pure.suffix}")
        return name.as_posix()

    def _is_shared(self, name: str) -> bool:
        return self._shared and name.partition("/")[0] not in _PRIVATE

    def _mode(self, name: str) -> int:
        return 0o666 if self._is_shared(name) else 0o600

    def _make_root(self) -> None:
        try:
            self._made = not self.root.is_dir()
            if self._made:
                self.root.mkdir(parents=True, mode=0o777 if self._shared else 0o700, exist_ok=True)
        except FileExistsError:
            raise InputError("FS143", Place(str(self.root)), detail="a file has this name") from None
        except OSError as error:
            raise InputError("FS143", Place(str(self.root)), detail=error.strerror or "") from None

    def _leave_no_trace(self) -> None:
        """Remove the folder if this run made it and nothing came into it."""
        if self._made:
            with suppress(OSError):
                self.root.rmdir()

    def _check_balance(self) -> None:
        for table, count in self._counts.items():
            written = self._quarantined.get(table, 0)
            left_out = count.skipped + count.dropped + count.not_converted
            ends = count.rows_out + count.quarantined + left_out
            if count.rows_in != ends or (written and written != count.quarantined):
                fate = f"{count.rows_out} written, {count.quarantined} quarantined and {left_out} left out"
                detail = f"{count.rows_in} rows read, {fate}; {written} rows in the quarantine file"
                raise FhirspaceError("FS142", Place(table), detail=detail)

    def _write_problems(self) -> None:
        lines = sorted(self._problems, key=_order)
        with self.open("problems.ndjson") as stream:
            stream.writelines(as_strict_json(problem.as_dict()) for problem in lines)

    def _commit(self) -> None:
        kept = {name: entry for name, entry in self._proof.files.items() if self._keeps(name) and self._has(name)}
        files = kept | self._files
        if listed(self.root / MANIFEST, self.root) != self._proof.files:
            raise not_ours(self.root / MANIFEST)  # somebody wrote one meanwhile
        self._proof.require((*files, *self._proof.files))
        content = {
            "versions": dict(sorted(self._versions.items())),
            **self._about,
            "tables": {name: _as_dict(count) for name, count in sorted(self._counts.items())},
            "files": dict(sorted(files.items())),
        }
        manifest = as_strict_json(content, indent=2)
        staging.commit(self.root, manifest, self._proof, mode=self._mode(MANIFEST))
        self.replaced = Earlier.of(self._written, self._proof.files.keys() - kept.keys())

    def _has(self, name: str) -> bool:
        return name not in self._files and (self.root / name).is_file()


def _digest(path: Path) -> dict[str, Any]:
    """The SHA-256 and the size of a file, which is on the disk afterwards."""
    with path.open("rb") as stream:
        with ThreadPoolExecutor(1) as pool:  # the disk takes the pages while they are hashed
            synced = pool.submit(os.fsync, stream.fileno())
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            synced.result()
        return {"sha256": sha256, "size": os.fstat(stream.fileno()).st_size}


def _line(cells: Sequence[str | None]) -> bytes:
    safe = ["'" + cell if FORMULA.match(cell) else cell for cell in (cell or "" for cell in cells)]
    return (",".join(map(quoted, safe)) or '""').encode() + b"\n"


def _order(problem: Problem) -> tuple[str, str, int, str, str, str]:
    place = problem.place
    return (problem.table, place.file, place.row or 0, place.column or "", problem.code, problem.expected)


def _as_dict(count: Count) -> dict[str, int]:
    """The counts; those of rows that are left out only where there are some."""
    return {name: rows for name, rows in asdict(count).items() if rows or name not in _LEFT_OUT}
