"""The folder in which the files of a run wait until all are complete, and how they are moved to their places then.

They wait in a hidden folder inside the output folder, for the owner only. When everything has succeeded, the new
manifest is put beside them under its own name: this is the commit point. Before it nothing else has changed, so a run
that fails or is killed leaves the earlier files unchanged. After it, `complete` finishes the run, also after a crash:

1. the manifest of the earlier run is taken away (to the waiting files), because it would no longer be true;
2. the files take their places;
3. files of the earlier run that this one did not write are removed;
4. the new manifest takes its place, and the hidden folder goes.

What is replaced or removed is always proven to be ours (`proof`), again in the moment before.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fhirspace.atomic import replace, synchronise, write
from fhirspace.errors import InputError, Place, UsageError
from fhirspace.folders import is_mine, locked_folder, strangers
from fhirspace.tables.durable import MANIFEST
from fhirspace.tables.proof import FOLDERS, Proof, listed, not_ours

STAGING = ".fhirspace-staging"
_EARLIER = "earlier-manifest.json"
_PART = ".fhirspace-part"
"""How the names of files end that are not whole; killed runs left them beside their targets, before `STAGING` was."""


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Hold a folder for one run.

    Raises:
        UsageError: FS147, another run holds it. InputError: FS143, it cannot be used.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked_folder(root))
        except BlockingIOError:
            raise UsageError("FS147", str(root)) from None
        except OSError as error:
            raise InputError("FS143", Place(str(root)), detail=error.strerror or "") from None
        yield


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold an output folder for one run, and clear away what a killed one has left in it.

    Raises:
        UsageError: FS147 as `exclusive`; FS144, FS145 as `complete`. InputError: FS143, it cannot be used.
    """
    with exclusive(root):
        _clear(root)
        yield


def finish(root: Path) -> None:
    """Finish a run that was stopped after its commit point, if there is one in this folder.

    Raises:
        UsageError: FS147, a run is about to do so; FS144, FS145 as `complete`.
    """
    if _is_committed(root):
        with held(root):
            pass


def require_finished(path: Path) -> None:
    """Raises UsageError (FS149) where a path is, or is in, an output folder in which a run is half done.

    Half of its files are then those of an earlier run.
    """
    for folder in (path, *path.absolute().parents[:2]):
        if _is_committed(folder):
            raise UsageError("FS149", str(folder))


def begin(root: Path) -> Path:
    """Make the folder in which a run's files wait, and give it. Raises InputError (FS143): it cannot be made."""
    try:
        (root / STAGING).mkdir(mode=0o700)
    except OSError as error:
        raise InputError("FS143", Place(str(root)), detail=error.strerror or "") from None
    return root / STAGING


def drop(root: Path) -> None:
    """Remove what waits, unless the run has passed its commit point."""
    if not _is_committed(root):
        shutil.rmtree(root / STAGING, ignore_errors=True)


def commit(root: Path, manifest: bytes, proof: Proof, *, mode: int = 0o600) -> None:
    """Commit the waiting run and finish it.

    Args:
        root: the output folder. manifest: the new one, and its mode. proof: of the run before.

    Raises:
        UsageError, InputError: FS144, FS145 as `complete`.
    """
    waiting = root / STAGING
    for folder in {path.parent for path in waiting.rglob("*")}:
        synchronise(folder)
    part = waiting / f"{MANIFEST}{_PART}"
    write(part, manifest, mode=mode, new=True)
    replace(part, waiting / MANIFEST)
    complete(root, proof)


def complete(root: Path, proof: Proof | None = None) -> None:
    """Finish a run that has passed its commit point.

    Args:
        root: the output folder.
        proof: of the run before, for a run of this process. Without it the waiting files must match the waiting
            manifest, too: somebody may have planted them.

    Raises:
        UsageError: FS144, something in the way, or among what waits, is not ours (any more); FS145, the manifest is
            not. The run can be finished when that is removed.
        InputError: FS141, FS143 as `proof.real_folder`.
    """
    waiting = root / STAGING
    files = listed(waiting / MANIFEST, waiting)
    if _there(root / MANIFEST):
        earlier = listed(root / MANIFEST, root)
        (root / MANIFEST).replace(waiting / _EARLIER)
        synchronise(root)
    else:
        earlier = listed(waiting / _EARLIER, waiting)
    if proof is None:
        proof = Proof(root, earlier)
        Proof(waiting, files).require(files)
    for relative in files:
        if _there(waiting / relative):
            if not proof.is_free(relative, even=files[relative]):
                raise not_ours(root / relative)
            _move(waiting / relative, root / relative)
    _remove(proof, earlier.keys() - files.keys())
    for folder in {(root / relative).parent for relative in files.keys() | earlier.keys()}:
        synchronise(folder)
    replace(waiting / MANIFEST, root / MANIFEST)
    shutil.rmtree(waiting, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    if not target.parent.exists():
        mode = stat.S_IMODE(source.parent.stat().st_mode)
        target.parent.mkdir(mode)
        if stat.S_IMODE(target.parent.stat().st_mode) != mode:
            target.parent.chmod(mode)  # the umask is not that of the run
    source.replace(target)


def _remove(proof: Proof, stale: set[str]) -> None:
    """Remove files of the earlier run, and folders that are empty then; what was changed meanwhile stays."""
    for relative in sorted(stale):
        path = proof.root / relative
        if _there(path) and proof.is_free(relative):
            path.unlink()
            with suppress(OSError):  # it still holds something
                if path.parent != proof.root:
                    path.parent.rmdir()


def _clear(root: Path) -> None:
    """Clears what killed runs left: a run past its commit point is finished, files of others are removed."""
    waiting = root / STAGING
    if _there(waiting):
        if strangers(waiting):
            raise not_ours(waiting)
        if _there(waiting / MANIFEST):
            complete(root)
        else:
            shutil.rmtree(waiting)
    for folder in (root, *(root / name for name in sorted(FOLDERS))):
        for left in folder.glob(f".*{_PART}") if not folder.is_symlink() else ():
            if stat.S_ISREG(left.lstat().st_mode) and is_mine(left):
                left.unlink()


def _is_committed(root: Path) -> bool:
    return _there(root / STAGING / MANIFEST)


def _there(path: Path) -> bool:
    """Whether anything is at a path, be it a link that leads nowhere."""
    return os.path.lexists(path)
