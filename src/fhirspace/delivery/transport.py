"""One attempt at one request over HTTP: addresses that may be used, certificates, proxies, and the sign-in.

The seam is `Transport.send`. A token goes to the server's own address only, and only over https or within this machine;
certificates are always verified, and there is no way to switch that off.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, urlsplit

import requests
from requests.adapters import HTTPAdapter

from fhirspace.errors import ServerError, UsageError

if TYPE_CHECKING:
    from fhirspace.delivery.signin import SignIn

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# What OpenSSL says, and what would have been right; the first that fits is told.
_REFUSALS = (
    ("CERTIFICATE_VERIFY_FAILED", "a certificate for this host, valid today, signed by an authority that is trusted"),
    ("ALERT", "a client certificate and a version of TLS that the server accepts"),
    ("SSL", "a server that speaks TLS at this address"),
)
_DROPPED = ("EOF", "TIMED OUT", "RESET")


class LostAnswer(OSError):
    """An attempt brought no whole answer: refused, dropped, cut short or too late. Whether it had effect is unknown."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: the status, the headers (names in lower case) and the body, whole.

    `repeated`: an earlier attempt brought no whole answer, so that it may already have had effect.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    repeated: bool = False

    @property
    def ok(self) -> bool:
        """A status of 200 to 299."""
        return 200 <= self.status < 300


class Transport(Protocol):
    """One attempt at one request. Doubles that inject faults implement this."""

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send it (`path` is relative to the FHIR base, or a whole URL) and read the whole answer, or LostAnswer."""


@dataclass(frozen=True, slots=True)
class Network:
    """How servers are reached.

    Args:
        ca: a PEM file with the authorities that are trusted, in place of the public ones.
        cert: a PEM file with the client certificate (and its chain), for servers that ask for one.
        key: a PEM file with its private key; None: it stands in `cert`.
        key_password: what decrypts the key.
        proxy: the proxy's URL, in place of ``HTTPS_PROXY`` and its like; this machine is never reached through one.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    key_password: str = field(default="", repr=False)
    proxy: str | None = field(default=None, repr=False)

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later that verifies certificate and name. Raises UsageError (FS547) for a file it cannot use."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca:
            _load(self.ca, "certificates of authorities in PEM", lambda: context.load_verify_locations(self.ca))
        if self.cert:
            # Always a password, perhaps an empty one: OpenSSL would ask for it in the terminal.
            with_key = "a client certificate and its key in PEM, and the password if the key has one"
            _load(self.cert, with_key, lambda: context.load_cert_chain(self.cert or "", self.key, self.key_password))
        return context

    def proxies(self, url: str) -> dict[str, str] | None:
        """What `requests` is told for `url`; None leaves it to the environment."""
        if is_loopback(urlsplit(url)):
            return {"http": "", "https": ""}
        return {"http": self.proxy, "https": self.proxy} if self.proxy else None


def _load(file: Path, expected: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError("FS547", str(file), expected) from error


class _Adapter(HTTPAdapter):
    """Connections with a TLS context of ours, through a proxy too."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **more)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **more)


class HttpTransport:
    """`Transport` over `requests`; follows no redirect, for a redirect could carry data to another server.

    Args:
        server: the base that relative paths stand on; also the only address that the sign-in is shown to.
        sign_in: gives the header ``Authorization``; a 401 makes it renew once, then the request is sent again.
        network: certificates and proxy.
        timeout: seconds to connect, and seconds between two parts of an answer.

    Raises:
        UsageError: FS514 an address that must not see the sign-in, FS547 a certificate that cannot be used.
    """

    def __init__(
        self,
        server: str,
        *,
        sign_in: SignIn | None = None,
        network: Network | None = None,
        timeout: tuple[float, float] = (10, 120),
    ) -> None:
        self._base = checked_url(server, secret=True) if sign_in else server.rstrip("/")
        self._sign_in = sign_in
        self._network = network or Network()
        self._timeout = timeout
        self._session = requests.Session()
        self._session.auth = _no_netrc
        self._session.mount("https://", _Adapter(self._network.context()))
        self._shown: set[int] = set()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """See `Transport`.

        Raises:
            ServerError: what no repetition cures: FS510 a bad URL, FS546 a certificate; and what the sign-in raises.
        """
        url = path if path.startswith(("http://", "https://")) else f"{self._base}/{path}".rstrip("/")
        sent = dict(headers or {})
        signed = self._sign_in if self._sign_in and _origin(url) == _origin(self._base) else None
        if signed is None:
            return self._once(method, url, body, sent)
        shown = self._header(signed)
        answer = self._once(method, url, body, {**sent, "Authorization": shown})
        if answer.status == 401 and signed.refused(shown):
            return self._once(method, url, body, {**sent, "Authorization": self._header(signed)})
        return answer

    def _header(self, signed: SignIn) -> str:
        header = signed.header()
        self._shown.add(hash(header))
        return header

    @property
    def renewals(self) -> int:
        """How often the sign-in showed something new."""
        return max(0, len(self._shown) - 1)

    def _once(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Response:
        # `verify` and `proxies` go with each request: in a session, the environment would win over them.
        verify = str(self._network.ca) if self._network.ca else None
        try:
            answer = self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                proxies=self._network.proxies(url),
                verify=verify,
            )
        except requests.exceptions.InvalidURL as error:
            raise ServerError("FS510", self._base, "a valid address") from error
        except (requests.RequestException, OSError) as error:
            raise _judged(error, url) from error
        return Response(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)

    def unsigned(self) -> HttpTransport:
        """The same way through the network, without the sign-in."""
        return HttpTransport(self._base, network=self._network, timeout=self._timeout)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _judged(error: Exception, url: str) -> ServerError | LostAnswer:
    if isinstance(error, requests.exceptions.SSLError):
        said = str(error).upper()
        if not any(word in said for word in _DROPPED):
            return ServerError(
                "FS546", urlsplit(url).hostname or "", next(fit for word, fit in _REFUSALS if word in said)
            )
    return LostAnswer(type(error).__name__)


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stands where `requests` would otherwise look for a password in ``~/.netrc``."""
    return request


def is_loopback(parts: SplitResult) -> bool:
    """Whether an address is on this machine."""
    return parts.hostname in _LOOPBACK


def _origin(url: str) -> tuple[str, str | None, int] | None:
    parts = urlsplit(url)
    try:
        return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # a port that is none
        return None


def checked_url(server: str, *, secret: bool, query: bool = False) -> str:
    """An address without a slash at its end. Raises UsageError (FS514) for what must not be used.

    Args:
        server: the FHIR base, or a token endpoint.
        secret: whether a secret goes there, so that it must be https or this machine.
        query: whether it may have a query, as token endpoints may (RFC 6749, 3.2).
    """
    try:
        parts = urlsplit(server)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("FS514", "the server address", "a URL such as https://host/fhir")
    if parts.username or parts.password or (parts.query and not query) or parts.fragment:
        raise UsageError("FS514", parts.hostname, "a URL without user name, password, query or fragment")
    if secret and parts.scheme == "http" and not is_loopback(parts):
        raise UsageError("FS514", parts.hostname, "https, because a secret would be sent")
    return server.rstrip("/")
