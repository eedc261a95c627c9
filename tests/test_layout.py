"""The size of the rooms: a reader sees a folder and a module whole."""

from __future__ import annotations

from pathlib import Path

import fhirspace

SOURCE = Path(fhirspace.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))


def test_no_folder_has_more_than_15_modules() -> None:
    folders = {path.parent for path in MODULES}
    assert [folder.name for folder in folders if len(list(folder.glob("*.py"))) > 15] == []


def test_no_module_has_more_than_400_lines() -> None:
    assert [path.name for path in MODULES if len(path.read_text("utf-8").splitlines()) > 400] == []
