"""The datasets that mappings have, and which of them laws are tried on: found in the files, without building any.

Test modules ask when they are collected, and each process of pytest-xdist collects all of them: building the mappings
of three releases for a list of names took a third of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fhirspace.standards.fhir import Release
from fhirspace.template.folders import shipped

CORE = frozenset({"AE", "CM", "DM", "EX", "LB", "MH", "SUPPAE", "SV", "VS"})
"""The datasets that every study has: the classes, nested rows, visits, and resources that are made once."""


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


def marked(cases: Iterable[tuple[Release, str]]) -> list[Any]:
    """The parameters of laws that hold for each mapping: the inner loop tries those that every study has."""
    return [pytest.param(*case, marks=[] if case[1] in CORE else [pytest.mark.slow]) for case in cases]


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
