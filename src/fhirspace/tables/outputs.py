"""A run's output folder: files appear whole or not at all, rows are counted, and the manifest comes last.

Every file is written under a temporary name, synchronised to the disk and renamed. A run that fails leaves no manifest,
so that a folder with a manifest is the result of one whole run. The same input gives the same bytes: no times are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from fhirspace import __version__
from fhirspace.errors import FhirspaceError, InputError, Place, Problem
from fhirspace.tables.csv_scan import FORMULA
from fhirspace.tables.csv_write import quoted
from fhirspace.tables.durable import MANIFEST, synchronise
from fhirspace.tables.growing import Growing

_OLD_MANIFEST = ".manifest.old.json"
_PART = ".fhirspace-part"


@dataclass(frozen=True, slots=True)
class Count:
    """The rows of one table: read, written out of what was read, quarantined, and derived on top by fhirspace."""

    rows_in: int
    rows_out: int
    quarantined: int
    derived: int = 0


class OutputFolder:
    """The output folder of one run, used in a ``with`` statement.

    Leaving it without an exception checks the balance of all tables, writes ``problems.ndjson``, removes the files of
    an earlier run that this one did not write, and writes ``manifest.json``. Leaving it with an exception writes
    neither and removes what is unfinished.
    """

    def __init__(self, root: Path, *, versions: Mapping[str, str] | None = None) -> None:
        """Args: the folder (made when absent), and versions to name in the manifest beside that of fhirspace."""
        self.root = root
        self._versions = {**(versions or {}), "fhirspace": __version__}
        self._counts: dict[str, Count] = {}
        self._quarantined: dict[str, int] = {}
        self._problems: list[Problem] = []
        self._files: dict[str, dict[str, Any]] = {}
        self._stale: set[str] = set()

    def __enter__(self) -> OutputFolder:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for left in self.root.rglob(f".*{_PART}"):
                left.unlink()
            # The old manifest steps aside first: it must not vouch for files that are about to change.
            if (self.root / MANIFEST).is_file():
                (self.root / MANIFEST).replace(self.root / _OLD_MANIFEST)
        except OSError:
            raise InputError("FS143", Place(self.root.name), "a folder that can be written") from None
        self._stale = _listed(self.root / _OLD_MANIFEST)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._check_balance()
            self._write_problems()
            self._remove_stale()
            self._write_manifest()

    @contextmanager
    def stage(self, relative: str) -> Iterator[Path]:
        """A temporary path to write a file to, which becomes `relative` when the block ends without an exception.

        Raises:
            InputError: FS141 when the path leaves the folder.
        """
        with self._staged(relative) as part:
            yield part
            self._files[Path(relative).as_posix()] = _digest(part)

    @contextmanager
    def grow(self, relative: str) -> Iterator[Growing]:
        """A growing file that appears as `relative` when the block ends without an exception; see `stage`."""
        with self._staged(relative) as part, Growing(part) as growing:
            yield growing
            self._files[Path(relative).as_posix()] = growing.finish()

    @contextmanager
    def open(self, relative: str, *, mode: int = 0o644) -> Iterator[BinaryIO]:
        """A binary file that appears as `relative` when the block ends without an exception; see `stage`."""
        with self.stage(relative) as part:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as stream:
                yield stream

    @contextmanager
    def _staged(self, relative: str) -> Iterator[Path]:
        target = self._target(relative)
        _make_folders(self.root, target.parent)
        part = target.with_name(f".{target.name}{_PART}")
        try:
            yield part
            part.replace(target)
            synchronise(target.parent)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()

    def count(self, table: str, *, rows_in: int, rows_out: int, quarantined: int, derived: int = 0) -> None:
        """Adds to the counts of a table; on leaving, ``rows_in`` must be ``rows_out + quarantined``.

        Args:
            table: the name of the table.
            rows_in: rows read.
            rows_out: rows written that come from rows read.
            quarantined: rows put into quarantine.
            derived: rows written that fhirspace made itself; not part of the balance.
        """
        had = self._counts.get(table, Count(0, 0, 0))
        self._counts[table] = Count(
            had.rows_in + rows_in, had.rows_out + rows_out, had.quarantined + quarantined, had.derived + derived
        )

    def quarantine(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
        """Writes the rows of one table that are held back to ``quarantine/<table>.csv``, readable by the owner only.

        The fields stand as they came, too many or too few, under their own columns. Only a cell that a spreadsheet
        would run gets an apostrophe in front. Call it once a table; with no row nothing is written.
        """
        lines = [_line(row) for row in rows]
        if not lines:
            return
        with self.open(f"quarantine/{table}.csv", mode=0o600) as stream:
            stream.write(_line(columns))
            stream.writelines(lines)
        self._quarantined[table] = len(lines)

    def report(self, problems: Iterable[Problem]) -> None:
        """Adds problems to ``problems.ndjson``, which is sorted by table, file, row, column and code."""
        self._problems += problems

    def _target(self, relative: str) -> Path:
        pure = Path(relative)
        odd = pure.is_absolute() or not pure.name or ".." in pure.parts or "\\" in relative or "\0" in relative
        target = self.root / pure
        # The name itself may be a link: it is replaced, not followed. The folders above it must not lead out.
        if odd or not target.parent.resolve().is_relative_to(self.root.resolve()):
            raise InputError("FS141", Place("output"), "a path inside the output folder")
        return target

    def _check_balance(self) -> None:
        for table, count in self._counts.items():
            written = self._quarantined.get(table, 0)
            if count.rows_in != count.rows_out + count.quarantined or (written and written != count.quarantined):
                told = f"{count.rows_in} rows in = {count.rows_out} out + {count.quarantined} quarantined"
                raise FhirspaceError("FS142", Place(table), f"{told}, {written} of them written to quarantine")

    def _write_problems(self) -> None:
        lines = sorted(self._problems, key=_order)
        with self.open("problems.ndjson") as stream:
            stream.writelines(_json(problem.as_dict()) + b"\n" for problem in lines)

    def _remove_stale(self) -> None:
        for relative in sorted(self._stale - set(self._files)):
            with suppress(InputError, FileNotFoundError, IsADirectoryError):
                target = self._target(relative)
                target.unlink()
                with suppress(OSError):  # a folder that still holds something stays
                    target.parent.rmdir()

    def _write_manifest(self) -> None:
        content = {
            "versions": dict(sorted(self._versions.items())),
            "tables": {name: _as_dict(count) for name, count in sorted(self._counts.items())},
            "files": dict(sorted(self._files.items())),
        }
        with self.open(MANIFEST) as stream:
            stream.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
        with suppress(FileNotFoundError):
            (self.root / _OLD_MANIFEST).unlink()


def _listed(manifest: Path) -> set[str]:
    """The files that a manifest lists; none when there is no manifest that can be read."""
    try:
        files = json.loads(manifest.read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return set(files) if isinstance(files, dict) else set()


def _make_folders(root: Path, folder: Path) -> None:
    for relative in reversed(folder.relative_to(root).parents):
        (root / relative).mkdir(exist_ok=True)
    private = folder.name == "quarantine"
    try:
        folder.mkdir(exist_ok=True, mode=0o700 if private else 0o755)
        if private:
            folder.chmod(0o700)
    except OSError:
        raise InputError("FS143", Place(folder.name), "a folder that can be written") from None


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


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _as_dict(count: Count) -> dict[str, int]:
    return {
        "rows_in": count.rows_in,
        "rows_out": count.rows_out,
        "quarantined": count.quarantined,
        "derived": count.derived,
    }
