"""Dead letters: rejected resources, unchanged, and beside them the server's answers, for their owner only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from fhirspace.delivery.push.order import Item
from fhirspace.errors import UsageError
from fhirspace.fhirserver.http.client import Response
from fhirspace.folders import open_own
from fhirspace.foreign import file_name, in_utf8
from fhirspace.json import JsonError, decoder, strict
from fhirspace.tables import listing

FOLDER = "dead"
_OUTCOMES = ".outcomes.ndjson"


class _Head(msgspec.Struct):
    key: str
    file: str
    row: int


_head = decoder(_Head)


class DeadLetters:
    """The rejected resources of one run; a resumed run starts them anew, since it sends them again.

    Raises:
        InputError: FS152, their folder is a link that leads out of the folder that is pushed.
    """

    def __init__(self, folder: Path, run: str) -> None:
        _files(folder)
        name = file_name(run)  # a journal may have come with the folder, from anybody
        self.path = folder / FOLDER / f"{name}.ndjson"
        self.outcomes = folder / FOLDER / f"{name}{_OUTCOMES}"
        for file in (self.path, self.outcomes):
            file.unlink(missing_ok=True)

    def add(self, item: Item, line: bytes, answer: Response) -> None:
        """Append one with the server's answer. It is on the disk when this returns."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        _append(self.path, line)
        head: dict[str, Any] = {"key": item.key, "file": in_utf8(item.place.file), "row": item.place.row}
        head["status"] = answer.status
        try:
            head["outcome"] = strict(answer.body)
        except JsonError:
            head["outcome"] = answer.body.decode("utf-8", "replace")
        _append(self.outcomes, msgspec.json.encode(head))


def letters(folder: Path, run: str | None = None) -> list[Path]:
    """The files of dead letters in a folder (of one run), oldest first.

    Raises:
        UsageError: FS535, there is none.
    """
    found = [file for file in _files(folder) if run is None or file.stem == file_name(run)]
    if not found:
        raise UsageError("FS535", str(folder))
    return found


def waiting(folder: Path) -> int:
    """How many dead letters there are in a folder."""
    return sum(file.read_bytes().count(b"\n") for file in _files(folder))


def _files(folder: Path) -> list[Path]:
    """The files of dead letters. Raises InputError as `listing.is_file`: what is there may be planted."""
    home = folder / FOLDER
    if not home.is_dir() or listing.is_file(home, folder):
        return []
    return list(listing.files(home, lambda file: file.suffix == ".ndjson" and not file.name.endswith(_OUTCOMES)))


def origins(letter: Path) -> dict[str, tuple[str, int]]:
    """For each key of a file of dead letters the file and row that it came from, as far as that is known."""
    outcomes = letter.with_name(letter.stem + _OUTCOMES)
    if not outcomes.is_file():
        return {}
    try:
        heads = [_head(line) for line in outcomes.read_bytes().split(b"\n") if line]
    except JsonError:
        return {}
    return {head.key: (head.file, head.row) for head in heads}


def remove(letter: Path) -> None:
    """Remove a file of dead letters and its outcomes."""
    letter.unlink(missing_ok=True)
    letter.with_name(letter.stem + _OUTCOMES).unlink(missing_ok=True)


def _append(path: Path, line: bytes) -> None:
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with os.fdopen(descriptor, "wb") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(descriptor)
