"""Ways to sign in to a FHIR server: none, basic, bearer, OAuth2 client credentials, SMART Backend Services.

All of them implement one small interface, `SignIn`; `transport.HttpTransport` calls it before each request. Secrets are
given by reference (`secret.Secret`) and stay in memory: none goes into an argument, the environment, a log or an error.
"""

from __future__ import annotations

from typing import Protocol


class SignIn(Protocol):
    """The credentials of a request. Several threads use it at a time."""

    def header(self) -> str:
        """The value for ``Authorization`` now.

        Raises:
            UsageError: FS544, a secret that cannot be read.
            ServerError: FS548 and FS549, no token is to be had; FS510, nobody answers there.
        """

    def refused(self, shown: str) -> bool:
        """The server answered 401 to this header: drop it. Returns whether there may be another one to try."""
