"""The sign-ins that need no server of their own: a password, and a token that somebody else provides."""

from __future__ import annotations

import base64
import os
import re
import threading

from fhirspace.errors import UsageError
from fhirspace.fhirserver.auth import SignIn
from fhirspace.fhirserver.auth.secret import Secret

TOKEN = re.compile(r"[!-~]+")
"""A token that is legal in a header: visible ASCII, no white space (RFC 6750, 2.1, and what servers really issue)."""


class Basic:
    """User name and password (RFC 7617), UTF-8. `user` must be without a colon."""

    def __init__(self, user: str, password: Secret) -> None:
        self._user, self._password = user, password
        self._value = ""

    def header(self) -> str:
        """See `SignIn`."""
        if not self._value:
            pair = f"{self._user}:{self._password.line()}"
            self._value = "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")
        return self._value

    def refused(self, shown: str) -> bool:
        """Never another one: asking twice with a wrong password locks accounts."""
        return False


class Bearer:
    """A token (RFC 6750) out of the environment, a file, a program or the keyring.

    A file is read again when it was changed; any source is read again when the server refuses the token.
    """

    def __init__(self, token: Secret) -> None:
        self._token = token
        self._value = ""
        self._stamp: object = None
        self._lock = threading.Lock()

    def header(self) -> str:
        """See `SignIn`."""
        with self._lock:
            stamp = self._token.stamp()
            if not self._value or stamp not in (None, self._stamp):
                self._read()
                self._stamp = stamp
            return self._value

    def refused(self, shown: str) -> bool:
        """See `SignIn`: whether there is another token by now."""
        with self._lock:
            if self._value == shown:
                self._read()
            return self._value != shown

    def _read(self) -> None:
        try:
            found = self._token.line()
            if not TOKEN.fullmatch(found):
                raise UsageError("FS544", self._token.place, "a token of visible ASCII characters")
        except UsageError:
            if not self._value:
                raise
            return  # a file that is being replaced at this moment: the current token is used meanwhile
        self._value = f"Bearer {found}"


def from_environment() -> SignIn | None:
    """The bearer token in ``FHIRSPACE_TOKEN`` or in the file that ``FHIRSPACE_TOKEN_FILE`` names; None without."""
    if os.environ.get("FHIRSPACE_TOKEN", "").strip():
        return Bearer(Secret("env", "FHIRSPACE_TOKEN"))
    file = os.environ.get("FHIRSPACE_TOKEN_FILE")
    return Bearer(Secret("file", file)) if file else None
