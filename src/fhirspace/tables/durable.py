"""What makes files last, for those who need nothing else of output folders: the manifest's name, a rename made sure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

MANIFEST = "manifest.json"
"""The file that an output folder gets last: versions, rows, and the SHA-256 of every file."""

_CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""What file systems say that cannot synchronise a folder."""


def synchronise(folder: Path) -> None:
    """Makes a rename in a folder last. Where folders cannot be opened or synchronised it is as good as it gets.

    Raises:
        OSError: the disk failed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(descriptor)
