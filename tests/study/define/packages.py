"""A package of datasets in CSV with a define.xml, of which a sponsor changed some texts."""

from __future__ import annotations

import shutil
from pathlib import Path

from fhirspace.study.convert import convert
from tests import small_study


def package(home: Path, **changed: str) -> Path:
    """The folder ``package`` in `home`; in its define.xml each text that is a key here is the other one."""
    small_study.write(home / "in")
    convert(home / "in", to="sdtm", out=home / "first", formats=("csv",), define=True)
    folder = Path(shutil.copytree(home / "first" / "sdtm", home / "package"))
    text = (folder / "define.xml").read_text("utf-8")
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "define.xml").write_text(text, "utf-8")
    return folder
