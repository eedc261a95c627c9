"""Secrets by reference: where one is stored, and how it is read when it is needed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Literal

import msgspec

from fhirspace.errors import UsageError
from fhirspace.folders import read_ordinary
from fhirspace.keyrings import from_keyring

_MOST = 1_000_000
"""Bytes that the file of a secret may have. What is longer is something else, and is not read to its end."""
_PATIENCE = 60.0


class Secret(msgspec.Struct, frozen=True):
    """Where a secret is stored; never the secret itself.

    `where` is, by `how`: ``env`` the name of a variable, ``file`` a path, ``command`` a program with its arguments that
    prints the secret (no shell), ``keyring`` a service and a user name.
    """

    how: Literal["env", "file", "command", "keyring"]
    where: str | tuple[str, ...]

    @property
    def place(self) -> str:
        """Its name for an error: a variable, file, program or service."""
        return self.where if isinstance(self.where, str) else self.where[0]

    def read(self) -> str:
        """The secret, without white space around it. Raises UsageError: FS544 there is none, FS545 no `keyring`."""
        reader = {"env": _variable, "file": _file, "command": _output, "keyring": _kept}[self.how]
        found = reader(self).strip()
        if not found:
            raise UsageError("FS544", self.place, "a secret that is not empty")
        return found

    def line(self) -> str:
        """`read`, where the secret must be one line. Raises UsageError (FS544) for control characters in it."""
        found = self.read()
        if not found.isprintable():
            raise UsageError("FS544", self.place, "one line without control characters")
        return found

    def stamp(self) -> object:
        """Differs from an earlier one when the file was changed; always the same for what is no file."""
        if self.how != "file":
            return None
        try:
            found = Path(self.place).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _variable(secret: Secret) -> str:
    found = os.environ.get(secret.place)
    if found is None:
        raise UsageError("FS544", secret.place, "this environment variable to be set")
    return found


def _file(secret: Secret) -> str:
    try:
        return read_ordinary(Path(secret.place), _MOST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("FS544", secret.place, f"an ordinary text file, of at most {_MOST:,} bytes") from error


def _output(secret: Secret) -> str:
    # What the program says on its standard error is not shown: it could quote what it handles.
    try:
        done = subprocess.run(  # noqa: S603  # nosec B603  # the program that the user names
            list(secret.where), stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_PATIENCE
        )
        return done.stdout.decode("utf-8")
    except (OSError, ValueError, subprocess.SubprocessError):
        # No cause: a CalledProcessError holds the output.
        raise UsageError("FS544", secret.place, "a program that prints the secret and ends with 0") from None


def _kept(secret: Secret) -> str:
    service, user = tuple(secret.where)
    return from_keyring(service, user)
