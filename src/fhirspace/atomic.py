"""Files that appear whole: written beside their place, made sure on the disk, then moved there.

A reader, or a run after a crash, sees the file as it was before or as it is now, and never a part of it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from fhirspace.folders import open_own

_CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""What file systems say that cannot synchronise a folder."""


def write(path: Path, data: bytes, *, mode: int = 0o600, new: bool = False) -> None:
    """Write an ordinary file; it is on the disk when this returns.

    Args:
        path: the file; a link is not followed.
        data: its content. mode: who may read it at most, also where the file was there.
        new: whether there must be none.

    Raises:
        OSError: it cannot be written; FileExistsError where `new` and there is one.
    """
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | (os.O_EXCL if new else 0), mode)
    with os.fdopen(descriptor, "wb") as stream:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, os.fstat(descriptor).st_mode & mode)  # never more than the umask leaves
        stream.truncate()
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)


def replace(part: Path, path: Path) -> None:
    """Move a file that is written to its place, over what was there. Raises OSError: it cannot be moved."""
    part.replace(path)
    synchronise(path.parent)


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
