"""OAuth2 client credentials (RFC 6749, 4.4): tokens asked for at a token endpoint, and renewed before they expire."""

from __future__ import annotations

import base64
import copy
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fhirspace.errors import ServerError
from fhirspace.fhirserver.auth.kinds import TOKEN
from fhirspace.fhirserver.auth.secret import Secret
from fhirspace.fhirserver.http.links import Link
from fhirspace.fhirserver.http.retry import ATTEMPTS, passing, pause, repeated
from fhirspace.fhirserver.http.transport import HttpTransport, Network, Response, checked_url
from fhirspace.json import JsonError, decode

# The codes of RFC 6749 (4.1.2.1 and 5.2) may be shown; any other text of a server could quote a secret.
_ERRORS = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"}
    | {"invalid_scope", "access_denied", "server_error", "temporarily_unavailable"}
)
_MARGIN = 30.0
_UNTOLD_LIFE = 300.0
_LONGEST_LIFE = 86_400.0
_LONGEST_TOKEN = 32_768
BOUND = "sign-in-bytes"
"""The limit for answers about the sign-in, a name in `limits.LIMITS`: they are small."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A token, and for how many seconds it is good."""

    token: str = field(repr=False)
    life: float


@dataclass(frozen=True, slots=True)
class Proof:
    """A client's credentials for a token endpoint: fields of the form, and ``Authorization`` if it is used."""

    form: dict[str, str] = field(repr=False)
    header: str = field(default="", repr=False)


class Tokens:
    """`SignIn` with tokens that `ask` brings; one thread asks while the others wait.

    A token is renewed when 30 seconds, or a quarter of its life, are left. When the authorization server has refused,
    it is not asked again: many connections would lock the client out.

    Args:
        ask: asks for a token. Raises ServerError: FS548, FS549 refused, FS510 nobody answers.
        clock: seconds; tests replace it.
    """

    def __init__(self, ask: Callable[[], Grant], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._value = ""
        self._renew_at = -math.inf
        self._refusal: ServerError | None = None

    def header(self) -> str:
        """See `SignIn`."""
        with self._lock:
            if self._clock() >= self._renew_at:
                self._renew()
            return self._value

    def refused(self, shown: str) -> bool:
        """See `SignIn`: there is always a new token to try, perhaps one that another thread has brought already."""
        with self._lock:
            if self._value == shown:
                self._renew_at = -math.inf
            return True

    def _renew(self) -> None:
        if self._refusal is not None:
            raise copy.copy(self._refusal)
        begin = self._clock()
        try:
            grant = self._ask()
        except ServerError as error:
            self._refusal = error if error.code == "FS548" else None
            raise
        self._value = f"Bearer {grant.token}"
        self._renew_at = begin + grant.life - min(_MARGIN, grant.life / 4)


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Asks token endpoints, as often as `client.Client` asks a server."""

    network: Network
    sleep: Callable[[float], None] = time.sleep

    def grant(self, url: str, scope: Sequence[str], prove: Callable[[], Proof]) -> Grant:
        """A token by ``grant_type=client_credentials``.

        Args:
            url: the token endpoint: https, or on this machine.
            scope: what is asked for; empty leaves it to the server.
            prove: called for each attempt anew, since an assertion is good for one only.

        Raises:
            UsageError: FS514, an address that no secret may go to.
            ServerError: FS510 nobody answers, FS546 its certificate, FS548 it refuses or answers nothing usable.
        """
        checked_url(url, secret=True, query=True)
        place = urlsplit(url)._replace(query="").geturl()
        asked = {"grant_type": "client_credentials", **({"scope": " ".join(scope)} if scope else {})}
        transport = HttpTransport(url, network=self.network, bound=BOUND)

        def once() -> Response:
            proof = prove()
            headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
            if proof.header:
                headers["Authorization"] = proof.header
            return transport.send("POST", Link(url), urlencode({**asked, **proof.form}).encode("ascii"), headers)

        try:
            answer = repeated(once, ATTEMPTS, lambda attempt, last: self.sleep(pause(attempt, last)), server=place)
        finally:
            transport.close()
        if not answer.ok or passing(answer):
            raise ServerError("FS548", place, detail=f"it answered {_error(answer)}status {answer.status}")
        return _granted(answer, place)


def _error(answer: Response) -> str:
    code = decoded(answer.body).get("error")
    return f"{code}, " if isinstance(code, str) and code in _ERRORS else ""


def decoded(body: bytes) -> dict[str, Any]:
    """The members of a JSON object; {} where a body is none."""
    try:
        found = decode(body)
    except JsonError:
        return {}
    return found if isinstance(found, dict) else {}


def _granted(answer: Response, place: str) -> Grant:
    """The token of an answer (RFC 6749, 5.1). Raises ServerError (FS548) for one that cannot be used."""
    document = decoded(answer.body)
    token, kind = document.get("access_token"), document.get("token_type")
    if not isinstance(token, str) or len(token) > _LONGEST_TOKEN or not TOKEN.fullmatch(token):
        raise ServerError("FS548", place, "an `access_token` of visible ASCII characters")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ServerError("FS548", place, "a `token_type` of bearer")
    life = _seconds(document.get("expires_in"))
    if not life > 0:
        raise ServerError("FS548", place, "an `expires_in` of more than 0 seconds")
    return Grant(token, life)


def _seconds(value: Any) -> float:
    """``expires_in``, a day at most; some servers write it as a text, some leave it out. 0 when it is neither."""
    if value is None:
        return _UNTOLD_LIFE
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = float(value)
    # Bounded first: a whole number of JSON may be too long for a float.
    return float(min(value, _LONGEST_LIFE)) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A client with a secret (RFC 6749, 2.3.1); called, it asks for a token (see `TokenEndpoint.grant`).

    Args:
        endpoint: how to ask.
        token_url: the token endpoint. It is never taken from the FHIR server, which could send the secret elsewhere.
        client_id: as registered.
        client_secret: as registered.
        scope: what is asked for.
        in_form: whether id and secret go into the form; else into ``Authorization: Basic``.
    """

    endpoint: TokenEndpoint
    token_url: str
    client_id: str
    client_secret: Secret
    scope: Sequence[str] = ()
    in_form: bool = False

    def __call__(self) -> Grant:
        """A token."""
        secret = self.client_secret.line()
        if self.in_form:
            proof = Proof({"client_id": self.client_id, "client_secret": secret})
        else:
            # A space as %20, not +: that is understood by servers of either reading.
            pair = f"{quote(self.client_id, safe='')}:{quote(secret, safe='')}"
            proof = Proof({}, "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii"))
        return self.endpoint.grant(self.token_url, self.scope, lambda: proof)
