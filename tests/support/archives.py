"""Tar archives of small files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def archive(files: Mapping[str, bytes]) -> bytes:
    """The files as a tar archive, which is not compressed."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as stream:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            stream.addfile(member, io.BytesIO(content))
    return made.getvalue()
