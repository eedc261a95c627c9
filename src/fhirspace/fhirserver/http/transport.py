"""One attempt at one request over HTTP: where it may go, certificates, proxies, the sign-in, and bounds of the answer.

The interface is `Transport.send`. All requests pass `HttpTransport._once`: the request is prepared, its final URL is
checked, and only then it gets a token. So nothing goes to another scheme, host or port than the server's own, whoever
made the URL; nothing leaves this machine unencrypted unless it was allowed; certificates are always verified, and there
is no way to switch that off.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from fhirspace.errors import ServerError, UsageError
from fhirspace.fhirserver.address import relative
from fhirspace.fhirserver.http.answer import DEADLINE, ENCODINGS, POOLS, LateError, WriteError, body_of
from fhirspace.fhirserver.http.links import Link, led_away
from fhirspace.fhirserver.http.lost import why_lost
from fhirspace.fhirserver.http.origin import checked_url, is_at, is_this_machine, origin_of_base, refuse_clear_text
from fhirspace.limits import answered_too_much, limit

if TYPE_CHECKING:
    from fhirspace.fhirserver.auth import SignIn

__all__ = ["HttpTransport", "LostAnswer", "Network", "Response", "Sink", "Transport", "checked_url"]

# Messages of OpenSSL, and what was expected; the first that matches is reported.
_REFUSALS = (
    ("CERTIFICATE_VERIFY_FAILED", "a certificate for this host, valid today, signed by an authority that is trusted"),
    ("ALERT", "a client certificate and a version of TLS that the server accepts"),
    ("SSL", "a server that speaks TLS at this address"),
)
_DROPPED = ("EOF", "TIMED OUT", "RESET")


class LostAnswer(OSError):
    """An attempt without a complete answer: refused, dropped, cut short or late. It may have had effect.

    Its text says why, for people.
    """


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: the status, the headers (names in lower case) and the body, whole.

    `repeated`: an earlier attempt brought no whole answer, so that it may already have had effect. `url` is what it
    answers, for relative links in it ("" where nobody knows). `sunk`: its body went into a `Sink`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    repeated: bool = False
    url: str = ""
    sunk: bool = False

    @property
    def ok(self) -> bool:
        """A status of 200 to 299."""
        return 200 <= self.status < 300


class Sink(Protocol):
    """Takes bodies that are too large for memory, such as files of an export."""

    def begin(self, status: int, headers: Mapping[str, str]) -> Callable[[bytes], object] | None:
        """What the body of an answer is written with, from its beginning; None: it is read into memory."""


class Transport(Protocol):
    """One attempt at one request. Test doubles that inject faults implement this."""

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send it and read the whole answer, or LostAnswer.

        `path` is an address below the FHIR base (`address`), or a `Link`: a whole URL that the server gave.
        """


@dataclass(frozen=True, slots=True)
class Network:
    """How servers are reached.

    Args:
        ca: a PEM file with the authorities that are trusted, in place of the public ones.
        cert: a PEM file with the client certificate (and its chain), for servers that ask for one.
        key: a PEM file with its private key; None: it is in `cert`.
        key_password: what decrypts the key.
        proxy: the proxy's URL, in place of ``HTTPS_PROXY`` and its like; this machine is never reached through one.
        insecure_http: whether data may leave this machine unencrypted, over ``http://`` to another one.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    key_password: str = field(default="", repr=False)
    proxy: str | None = field(default=None, repr=False)
    insecure_http: bool = False

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
        """The proxies for `requests` and `url`; None: those of the environment."""
        if is_this_machine(urlsplit(url).hostname):
            return {"http": "", "https": ""}
        return {"http": self.proxy, "https": self.proxy} if self.proxy else None

    def anonymous(self) -> Network:
        """The same, without the client certificate, and without leave to send anything unencrypted."""
        return replace(self, cert=None, key=None, key_password="", insecure_http=False)  # nosec B106  # none


def _load(file: Path, expected: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError("FS547", str(file), expected) from error


class _Adapter(HTTPAdapter):
    """Connections with a TLS context of ours, through a proxy too, whose answers come in time."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **more)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **more)
        if not proxy.lower().startswith("socks"):  # those have connections of their own kind
            manager.pool_classes_by_scheme = POOLS
        return manager


class _Session(requests.Session):
    """Follows no redirect, and does not even look where one leads: `requests` would read its body without a bound."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self.auth = _no_netrc
        self.headers["Accept-Encoding"] = ENCODINGS
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(context))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, always."""


class HttpTransport:
    """`Transport` over `requests`; follows no redirect, for a redirect could carry data to another server.

    Args:
        server: the base of relative paths; requests are sent to its scheme, host and port only.
        sign_in: gives the header ``Authorization``; a 401 makes it renew once, then the request is sent again.
        network: certificates and proxy.
        timeout: seconds to connect, and seconds between two parts of an answer.
        bound: the limit for an answer in bytes, a name in `limits.LIMITS`.

    Raises:
        UsageError: FS514 an address that must not see the sign-in, FS547 a certificate that cannot be used, FS595 data
            would leave this machine unencrypted.
    """

    def __init__(
        self,
        server: str,
        *,
        sign_in: SignIn | None = None,
        network: Network | None = None,
        timeout: tuple[float, float] = (10, 120),
        bound: str = "answer-bytes",
    ) -> None:
        self._base = checked_url(server, secret=True) if sign_in else server.rstrip("/")
        self._sign_in = sign_in
        self._network = network or Network()
        refuse_clear_text(self._base, allowed=self._network.insecure_http)
        self._own_origin = origin_of_base(self._base)
        self._timeout = timeout
        self._bound = bound
        self._session = _Session(self._network.context())
        self._shown: set[int] = set()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        sink: Sink | None = None,
    ) -> Response:
        """See `Transport`; a `sink` may take the body.

        Raises:
            ServerError: what no repetition cures: FS510 a bad URL, FS512 a part of the address or of the answer that
                makes no sense, FS519 an answer beyond the bounds, FS530 a link that leads away, FS546 a certificate;
                and what the sign-in raises. OSError: the `sink` cannot be written to.
        """
        whole = path if isinstance(path, Link) else self._below(path)
        sent = dict(headers or {})
        if self._sign_in is None:
            return self._once(method, whole, body, sent, sink=sink)
        shown = self._header(self._sign_in)
        answer = self._once(method, whole, body, sent, shown=shown, sink=sink)
        if answer.status == 401 and self._sign_in.refused(shown):
            return self._once(method, whole, body, sent, shown=self._header(self._sign_in), sink=sink)
        return answer

    def _below(self, path: str) -> Link:
        below = relative(path, self._base)
        return Link(f"{self._base}/{below}" if below else self._base)

    def _header(self, signed: SignIn) -> str:
        header = signed.header()
        self._shown.add(hash(header))
        return header

    @property
    def renewals(self) -> int:
        """How often the sign-in showed something new."""
        return max(0, len(self._shown) - 1)

    def _once(
        self,
        method: str,
        url: Link,
        body: bytes | None,
        headers: dict[str, str],
        *,
        shown: str | None = None,
        sink: Sink | None = None,
    ) -> Response:
        """The one place that sends. `shown` is the value for ``Authorization``, given only to what was judged."""
        request = self._prepared(method, url, body, headers)
        self._judge(request.url or "")
        if shown is not None:
            request.headers["Authorization"] = shown
        seconds = "job-seconds" if sink else "answer-seconds"
        # For this thread; `TimelyResponse` reads it.
        token = DEADLINE.set(time.monotonic() + limit(seconds))
        try:
            return self._sent(request, sink)
        except LateError:
            raise answered_too_much(seconds, self._base) from None
        except WriteError as error:
            raise error.__cause__ or error from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _judged(error, url) from error
        finally:
            DEADLINE.reset(token)

    def _prepared(
        self, method: str, url: Link, body: bytes | None, headers: dict[str, str]
    ) -> requests.PreparedRequest:
        try:
            return self._session.prepare_request(requests.Request(method, url, headers=headers, data=body))
        except requests.exceptions.InvalidHeader as error:
            raise ServerError("FS512", self._base, "versions and names that fit into a header") from error
        except ValueError as error:  # InvalidURL, MissingSchema and their like
            if self._own_origin is None:
                raise ServerError("FS510", self._base, "a valid address") from error
            raise led_away(self._base, url) from error

    def _judge(self, url: str) -> None:
        """Raises ServerError (FS530): what is about to be sent would go elsewhere than to the server."""
        if not is_at(self._own_origin, url):
            raise led_away(self._base, url)

    def _sent(self, request: requests.PreparedRequest, sink: Sink | None) -> Response:
        # `verify` and `proxies` go with each request: in a session, the environment would win over them.
        verify = str(self._network.ca) if self._network.ca else None
        url = request.url or ""
        how = self._session.merge_environment_settings(url, self._network.proxies(url) or {}, True, verify, None)
        answer = self._session.send(request, timeout=self._timeout, allow_redirects=False, **how)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        write = sink.begin(answer.status_code, headers) if sink else None
        blocks: list[bytes] = []
        try:
            body_of(answer.raw, self._base, "file-bytes" if write else self._bound, write or blocks.append)
        except BaseException:
            answer.raw.close()
            raise
        return Response(answer.status_code, headers, b"".join(blocks), url=url, sunk=write is not None)

    def unsigned(self) -> HttpTransport:
        """The same way through the network, without the sign-in."""
        return HttpTransport(self._base, network=self._network, timeout=self._timeout)

    def elsewhere(self, link: Link) -> HttpTransport:
        """The way to where a link leads, for what may be read there without a token: no certificate of ours is shown.

        Raises:
            UsageError: FS595, it is neither https nor this machine.
        """
        return HttpTransport(link, network=self._network.anonymous(), timeout=self._timeout)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _judged(error: Exception, url: str) -> ServerError | LostAnswer:
    if isinstance(error, requests.exceptions.SSLError):
        reply = str(error).upper()
        if not any(word in reply for word in _DROPPED):
            return ServerError(
                "FS546", urlsplit(url).hostname or "", next(fit for word, fit in _REFUSALS if word in reply)
            )
    return LostAnswer(why_lost(error))


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Prevents that `requests` looks for a password in ``~/.netrc``."""
    return request
