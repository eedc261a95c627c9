"""The define.xml and the study.yaml of an input: beside its datasets, or named among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fhirspace.tables import listing


def is_named(path: Path) -> bool:
    """Whether a file is called as a define.xml is: ``define.xml``, ``define-2-1.xml``, in upper case too."""
    name = path.name.lower()
    return name.startswith("define") and name.endswith(".xml")


def is_design(path: Path) -> bool:
    """Whether a file is called as the design of a study is."""
    return path.name == "study.yaml"


def beside(
    paths: Sequence[Path], is_named: Callable[[Path], bool] = is_named, *, follow_links: bool = False
) -> Path | None:
    """The define.xml among some files and folders; of several in a folder ``define.xml``, else the first by name.

    Args:
        paths: the files and folders. is_named: whether a file is what is wanted. follow_links: out of folders, too.

    Raises:
        InputError: as `listing.is_file`: it is a link that leads out of its folder, or no ordinary file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += listing.files(path, is_named, follow=follow_links)
        elif is_named(path):
            found.append(path)
    return min(found, key=lambda path: (path.name.lower() != "define.xml", path.name), default=None)
