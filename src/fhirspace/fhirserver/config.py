"""The configuration file: where each is, how to sign in, and how much it takes; secrets are given by reference only.

It is TOML, with one table ``[servers.NAME]`` a server. See "Signing in" in ``docs/integration-engineer.md``.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import msgspec

from fhirspace.errors import Place, UsageError
from fhirspace.fhirserver.auth import SignIn
from fhirspace.fhirserver.auth.kinds import Basic, Bearer, from_environment
from fhirspace.fhirserver.auth.oauth import ClientCredentials, TokenEndpoint, Tokens
from fhirspace.fhirserver.auth.secret import Secret
from fhirspace.fhirserver.auth.smart import SCOPE, BackendServices, signing_key
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import HttpTransport, Network, checked_url
from fhirspace.folders import read_ordinary
from fhirspace.limits import allowed, limit

FILE = "fhirspace.toml"
_DEEP = re.compile(r"""(?:(?:[\w-]{1,64}+|"[^"\n]{0,64}+"|'[^'\n]{0,64}+')[ \t]*+\.[ \t]*+){16}""")
"""A key of very many parts: what Python's reader makes of it grows with the square of their number."""
_HOW = "_(?:env|file|command|keyring)"
_REFERENCE = re.compile(
    r"(password|token|client_secret|private_key|private_key_password|key_password|proxy_password)"
    rf"(?P<how>{_HOW})"
)
_LITERAL = re.compile(r"(.*_)?(password|passphrase|secret|token|private_key|api_?key|credentials?)")
_FAULT = re.compile(r"(.*?)(?: - at `\$\.?([^`\[]*)[^`]*`)?", re.DOTALL)
_NAMED = re.compile(r"field `([^`]*)`")
_AT_LINE = re.compile(r"at line (\d+)")

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class _Server(msgspec.Struct, forbid_unknown_fields=True, tag_field="sign_in", tag="none", kw_only=True):
    url: _Text
    fhir: Literal["R4", "R4B", "R5"] | None = None
    ca: _Text | None = None
    cert: _Text | None = None
    key: _Text | None = None
    key_password: Secret | None = None
    proxy: _Text | None = None
    proxy_password: Secret | None = None
    rate: Annotated[float, msgspec.Meta(gt=0)] | None = None
    connections: _Count | None = None
    size: _Count | None = None
    insecure_http: bool = False

    def sign_in(self, network: Network) -> SignIn | None:
        return None


class _Basic(_Server, tag="basic", kw_only=True):
    user: Annotated[str, msgspec.Meta(pattern="^[^:]+$")]
    password: Secret

    def sign_in(self, network: Network) -> SignIn | None:
        return Basic(self.user, self.password)


class _Bearer(_Server, tag="bearer", kw_only=True):
    token: Secret | None = None

    def sign_in(self, network: Network) -> SignIn | None:
        return Bearer(self.token) if self.token else from_environment()


class _OAuth2(_Server, tag="oauth2", kw_only=True):
    token_url: _Text
    client_id: _Text
    client_secret: Secret
    client_auth: Literal["basic", "post"] = "basic"
    scope: tuple[_Text, ...] = ()

    def sign_in(self, network: Network) -> SignIn | None:
        checked_url(self.token_url, secret=True, query=True)
        ask = ClientCredentials(
            TokenEndpoint(network),
            self.token_url,
            self.client_id,
            self.client_secret,
            self.scope,
            self.client_auth == "post",
        )
        return Tokens(ask)


class _Smart(_Server, tag="smart", kw_only=True):
    client_id: _Text
    private_key: Secret
    private_key_password: Secret | None = None
    kid: _Text | None = None
    scope: tuple[_Text, ...] = SCOPE
    token_url: _Text | None = None

    def sign_in(self, network: Network) -> SignIn | None:
        if self.token_url:
            checked_url(self.token_url, secret=True, query=True)
        key = signing_key(self.private_key, self.private_key_password, self.kid)
        ask = BackendServices(TokenEndpoint(network), self.url, self.client_id, key, self.scope, self.token_url or "")
        return Tokens(ask)


_KINDS = _Server | _Basic | _Bearer | _OAuth2 | _Smart


@dataclass(frozen=True, slots=True)
class Connection:
    """A client for one server, and its settings for the amount to send: release, parallel requests, resources.

    `insecure_http`: data may go to another machine unencrypted.
    """

    client: Client
    fhir: str | None = None
    connections: int | None = None
    size: int | None = None
    insecure_http: bool = False


def connect(server: str, config: Path | None = None, *, insecure_http: bool = False) -> Connection:
    """Prepare the connection to a server; nothing is sent yet.

    Args:
        server: its FHIR base URL, with the bearer token of the environment if there is one; or its name in the file.
        config: the file; None: ``FHIRSPACE_CONFIG``, else ``fhirspace.toml`` in the working folder, else in the
            folder ``fhirspace`` of the user's settings.
        insecure_http: whether data may go to another machine unencrypted; the server's entry may say so as well.

    Raises:
        UsageError: FS514 the URL cannot be used, FS540 no such file or no TOML, FS541 what it says does not fit, FS542
            it contains a secret, FS543 no such name, FS544 a secret cannot be read, FS545 packages are missing, FS547
            a certificate or key cannot be used, FS595 data would go to another machine unencrypted.
    """
    if "://" in server:
        if config:
            raise UsageError("FS543", str(config), "a name in this file instead of a URL")
        return Connection(Client(server, insecure_http=insecure_http), insecure_http=insecure_http)
    file = config or found_file()
    if file is None:
        raise UsageError("FS543", "the server", f"a URL such as https://host/fhir, or a name in a file `{FILE}`")
    settings = _settings(file, server)
    allowed = insecure_http or settings.insecure_http
    network = _network(settings, insecure_http=allowed)
    sign_in = settings.sign_in(network)
    url = checked_url(settings.url, secret=sign_in is not None)
    client = Client(url, HttpTransport(url, sign_in=sign_in, network=network), rate=settings.rate)
    return Connection(client, settings.fhir, settings.connections, settings.size, allowed)


def found_file() -> Path | None:
    """The configuration file, by ``FHIRSPACE_CONFIG``, the working folder, the user's settings; None: there is none.

    Raises:
        UsageError: FS540, the one in the working folder is another user's: it could name programs to run.
    """
    named = os.environ.get("FHIRSPACE_CONFIG")
    if named:
        return Path(named)
    here = Path(FILE)
    if here.is_file():
        if sys.platform != "win32" and (here.stat().st_uid not in (0, os.getuid()) or here.stat().st_mode & 0o002):
            raise UsageError(
                "FS540", FILE, "a file of your own that no other user may write to, or its name with `--config`"
            )
        return here
    shared = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("APPDATA")
    own = Path(shared or Path.home() / ".config") / "fhirspace" / FILE
    return own if own.is_file() else None


def _network(settings: _Server, *, insecure_http: bool) -> Network:
    proxy = settings.proxy
    if proxy and settings.proxy_password:
        parts = urlsplit(proxy)
        word = quote(settings.proxy_password.line(), safe="")
        proxy = parts._replace(netloc=f"{parts.username or ''}:{word}@{parts.netloc.rpartition('@')[2]}").geturl()
    word = settings.key_password.line() if settings.key_password else ""
    ca, cert, key = (Path(name) if name else None for name in (settings.ca, settings.cert, settings.key))
    return Network(ca, cert, key, word, proxy, insecure_http)


def _settings(file: Path, name: str) -> _Server:
    try:
        text = read_ordinary(file, limit("config-bytes")).decode("utf-8")
        if deep := _DEEP.search(text):
            raise UsageError("FS540", Place(str(file), text.count("\n", 0, deep.start()) + 1), "keys with few dots")
        document = tomllib.loads(text)
    except RecursionError:
        raise UsageError("FS540", Place(str(file)), "lists and tables that are not nested so deeply") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("FS540", str(file), f"an ordinary text file, of {allowed('config-bytes')}") from error
    except ValueError as error:  # TOMLDecodeError, and a number of more digits than Python reads
        line = _AT_LINE.search(str(error))  # none: at the end
        # No cause: its message may quote the file.
        raise UsageError(
            "FS540", Place(str(file), int(line[1]) if line else len(text.splitlines())), detail="not valid TOML"
        ) from None
    source = _Source(file, text)
    servers = document.pop("servers", {})
    tables = servers if isinstance(servers, dict) else {"servers": servers}
    odd = [*document, *(key for key, table in tables.items() if not isinstance(table, dict))]
    if odd:
        raise source.fault("", odd[0], "tables `[servers.NAME]` and nothing else")
    if name not in tables:
        raise UsageError("FS543", str(file), f"one of: {', '.join(tables) or 'none is there'}")
    return source.server(name, tables[name])


@dataclass(frozen=True, slots=True)
class _Source:
    """The configuration file, to say where in it a fault is."""

    file: Path
    text: str

    def server(self, name: str, table: Mapping[str, Any]) -> _Server:
        fields: dict[str, Any] = {"sign_in": "none"}
        for key, value in table.items():
            reference = _REFERENCE.fullmatch(key)
            if reference:
                if reference[1] in fields:
                    raise self.fault(name, key, f"one way only to give `{reference[1]}`")
                how = reference["how"][1:]
                fields[reference[1]] = {"how": how, "where": self._where(name, key, how, value)}
            elif _LITERAL.fullmatch(key):
                sources = ", ".join(f"`{key}_{how}`" for how in ("env", "file", "command", "keyring"))
                raise UsageError("FS542", self._place(name, key), f"one of {sources}")
            else:
                fields[key] = self._path(value) if key in ("ca", "cert", "key") else value
        try:
            found: _Server = msgspec.convert(fields, _KINDS)
        except msgspec.ValidationError as error:
            raise self._explained(name, str(error)) from None
        self._check_proxy(name, found.proxy)
        return found

    def _check_proxy(self, name: str, proxy: str | None) -> None:
        try:
            parts = urlsplit(proxy or "http://none")
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise self.fault(name, "proxy", "a URL such as http://proxy.example.org:3128")
        if parts.password:
            raise UsageError("FS542", self._place(name, "proxy"), "`proxy_password_env` or its like")

    def _where(self, name: str, key: str, how: str, value: Any) -> str | list[str]:
        if how in ("env", "file"):
            if isinstance(value, str) and value:
                return str(self._path(value)) if how == "file" else value
            raise self.fault(name, key, "a text")
        listed = isinstance(value, list) and value and all(isinstance(each, str) and each for each in value)
        if not listed or (how == "keyring" and len(value) != 2):
            expected = "a list of two texts: service and user" if how == "keyring" else "a list: program, arguments"
            raise self.fault(name, key, expected)
        return list(value)

    def _path(self, value: Any) -> Any:
        """A path in the file is relative to the file's own folder."""
        return str(self.file.parent / Path(value).expanduser()) if isinstance(value, str) and value else value

    def _explained(self, name: str, message: str) -> UsageError:
        """The message of msgspec, without the values that it quotes."""
        match = _FAULT.fullmatch(message)
        what, key = (match[1], match[2] or "") if match else ("", "")
        named = _NAMED.search(what)
        if named and "unknown" in what:
            return self.fault(name, named[1], "a setting that exists for this way to sign in")
        if named:
            return self.fault(name, "", f"the key `{named[1]}`, or one such as `{named[1]}_file` for a secret")
        what = "one of the values in the guide" if what.startswith("Invalid") else what.removeprefix("Expected ")
        return self.fault(name, key, what)

    def fault(self, name: str, key: str, expected: str) -> UsageError:
        return UsageError("FS541", self._place(name, key), expected)

    def _place(self, name: str, key: str) -> Place:
        """The line of a key in the table of a server (of the table itself without one); none if it is not found."""
        inside = not name
        for number, line in enumerate(self.text.splitlines(), start=1):
            header = re.fullmatch(r"\s*\[\s*([^\]]*?)\s*\]\s*(#.*)?", line)
            if header:
                inside = header[1].replace('"', "").replace("'", "").replace(" ", "") == f"servers.{name}"
                found = inside and not key
            else:
                found = (
                    inside
                    and bool(key)
                    and re.match(rf"\s*[\"']?{re.escape(key)}({_HOW})?[\"']?\s*[.=]", line) is not None
                )
            if found:
                return Place(str(self.file), number, key or None)
        return Place(str(self.file), None, key or name or None)
