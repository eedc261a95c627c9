"""What a folder of an input holds besides the files that are read: each of them is reported, and none is overlooked.

`COMPANIONS` is the one list of what holds no records, by its kind: it is passed over with a note (FS181). What a run of
ours wrote beside its result is not mentioned. Everything else might be data, and is reported as not read (FS180), with
exit code 3: a workbook, a SAS dataset, another archive, a sub-folder, an unknown name.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from fhirspace.errors import NOT_READ, Place, Problem
from fhirspace.foreign import counted
from fhirspace.tables.durable import MANIFEST
from fhirspace.tables.proof import FILES, FOLDERS


class Companion(NamedTuple):
    """Files that hold no records: patterns of their names, in lower case, and what they are."""

    names: tuple[str, ...]
    what: str


_HIDDEN = Companion((".*", "~$*", "thumbs.db", "desktop.ini", "__macosx"), "a hidden file, or one of a file manager")
_TEXT = Companion(("*.txt", "*.log", "*.lst"), "a text without a table in it")
COMPANIONS: Final = (
    _HIDDEN,
    Companion(("define*.xml", "*.xsl", "*.xslt", "*.xsd", "*.css"), "Define-XML or a stylesheet"),
    Companion(
        ("readme", "readme.*", "license", "license.*", "licence", "licence.*", "changelog.*"), "a text for people"
    ),
    Companion(("*.md", "*.rst", "*.pdf", "*.rtf", "*.doc", "*.docx", "*.html", "*.htm"), "a document"),
    _TEXT,
    Companion(("problems.ndjson", "unread.ndjson"), "a report of a run"),
    Companion(("manifest.json", "*.md5", "*.sha1", "*.sha256", "*.sha512", "md5sums", "sha256sums"), "a list of files"),
    Companion(
        ("*.sas", "*.r", "*.py", "*.sql", "*.sh", "*.bat", "*.yaml", "*.yml", "*.toml", "*.pem", "*.key"),
        "a program, settings or a key",
    ),
)
"""What is passed over with a note. The page for data managers shows it."""
_OURS: Final = (
    ".fhirspace*",
    *("journal.db", "plan.db", "audit.log", "*.audit.log"),
    *("*.db-journal", "*.db-wal", "*.db-shm", "*.db.lock", "*.log.lock"),
)
"""How the names of what deliveries and killed runs of ours leave beside data look; other databases by their head."""
_DEAD: Final = "dead"
_COUNTED: Final = 10_000
_TEXT_HEAD: Final = 1 << 16
_LINES: Final = 2
_APPLICATION: Final = slice(68, 71)
"""Where an SQLite file says whose it is: ours begin with "fhs"."""
PASSED_OVER: Final = "FS181"
"""The code of a file that holds no records by its kind."""
_SEPARATORS: Final = {"\t": 1, "|": 1, ";": 1, ",": 2}
"""How often a separator is at least in each of the first lines of a text that is a table."""


def leftovers(folder: Path, taken: Collection[Path]) -> Iterator[Path]:
    """What a folder holds besides the paths that are `taken`, in order: files, links, and sub-folders with files."""
    ours = (folder / MANIFEST).is_file()
    for path in besides(sorted(folder.iterdir()), taken):
        if not _is_ours(path, ours) and not (_is_folder(path) and not _files_in(path)):
            yield path


def besides(paths: Iterable[Path], taken: Iterable[Path]) -> Iterator[Path]:
    """The paths that are none of those `taken`, and lead to none of them."""
    known = set(map(os.path.realpath, taken))  # unlike Path.resolve, it takes links in a circle
    return (path for path in paths if os.path.realpath(path) not in known)


def finding(path: Path) -> Problem:
    """The finding about a leftover: FS181 for what `COMPANIONS` lists, FS180 for everything else."""
    if _is_folder(path) and not _matches(path, _HIDDEN.names):
        if path.name in FOLDERS and any((path.parent / name).is_dir() for name in FOLDERS - {path.name}):
            return Problem(PASSED_OVER, Place(path.name), detail="another folder of an output")
        files = _files_in(path)
        more = " or more" if files == _COUNTED else ""
        return Problem(NOT_READ, Place(path.name), detail=f"a folder with {counted(files, 'file')}{more} in it")
    what = next((each.what for each in COMPANIONS if _matches(path, each.names)), "")
    if not what or (what == _TEXT.what and _is_table(path)):
        return Problem(NOT_READ, Place(path.name))
    return Problem(PASSED_OVER, Place(path.name), detail=what)


def _is_ours(path: Path, beside_manifest: bool) -> bool:
    """Whether runs or deliveries of ours wrote it: by its name, a database by its head, the rest by our manifest."""
    if path.name == MANIFEST or _matches(path, _OURS):
        return True
    if path.name.endswith(".db") and not _is_folder(path):
        head = _head(path, _APPLICATION.stop)
        return head is not None and (not head or head[_APPLICATION] == b"fhs")
    if path.name == _DEAD and _is_folder(path):  # rejected resources, whatever the journal is called
        return all(each.suffix == ".ndjson" for each in path.iterdir())
    return beside_manifest and (path.name in FILES or path.name in FOLDERS)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _files_in(folder: Path) -> int:
    """The number of files in a folder and in its sub-folders, up to a bound; links are not followed."""
    found = (name for _, _, names in os.walk(folder) for name in names)
    return sum(1 for _ in islice(found, _COUNTED))


def _matches(path: Path, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(path.name.lower(), pattern) for pattern in patterns)


def _head(path: Path, size: int) -> bytes | None:
    """The first bytes of an ordinary file; None for anything else, which is not opened."""
    if path.is_symlink() or not path.is_file():
        return None
    with suppress(OSError), path.open("rb") as stream:
        return stream.read(size)
    return None


def _is_table(path: Path) -> bool:
    """Whether a text looks like a table: its first lines have a separator equally often."""
    lines = [line for line in (_head(path, _TEXT_HEAD) or b"").decode("latin-1").splitlines() if line.strip()][:_LINES]
    if len(lines) < _LINES:
        return False
    counts = {separator: {line.count(separator) for line in lines} for separator in _SEPARATORS}
    return any(len(found) == 1 and min(found) >= _SEPARATORS[each] for each, found in counts.items())
