"""The datasets that mappings have, and which of them laws are tried on: found in the files, without building any.

Test modules ask when they are collected, and each process of pytest-xdist collects all of them: building the mappings
of three releases for a list of names took a third of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fhirspace.template.folders import shipped


@cache
def extending() -> frozenset[str]:
    """The names of the shipped files that only extend a class."""
    return frozenset(file.name for file in _files(shipped()) if "\nextends: " in file.read_text("utf-8"))


@cache
def datasets(*folders: Path, classes: bool = True) -> tuple[str, ...]:
    """The datasets of the shipped mappings and of other folders, sorted, without those of supplemental qualifiers.

    Args:
        classes: those that only extend a class too.
    """
    return tuple(sorted({name for name, _ in _found(folders, classes)}))


@cache
def roots(*folders: Path, classes: bool = True) -> tuple[str, ...]:
    """As `datasets`, but only those that make resources of their own: the rows of the others are nested in theirs."""
    return tuple(sorted({name for name, text in _found(folders, classes) if "\nattach: " not in text}))


@cache
def shown() -> frozenset[str]:
    """The datasets that do not only extend a class, and one of each class: the others are slow to try, and alike."""
    return frozenset((*roots(classes=False), "OI", "RELSPEC", "VS", "CE", "AG"))


def _found(folders: tuple[Path, ...], classes: bool) -> Iterator[tuple[str, str]]:
    """The datasets and texts of the files that count."""
    own = {file.name for folder in folders for file in _files(folder)}
    for folder in (shipped(), *folders):
        for file in _files(folder):
            if folder == shipped() and (file.name in own or (not classes and file.name in extending())):
                continue
            text = file.read_text("utf-8")
            for name in re.findall(r"^domain: (\S+)$", text, re.MULTILINE):
                if not name.endswith("--"):
                    yield name, text


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("domains/*.yaml"))
