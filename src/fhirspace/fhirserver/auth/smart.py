"""SMART Backend Services (SMART App Launch 2.2): sign-in with a private key, no secret shared, no person present.

The client finds the token endpoint at the FHIR server, signs a short assertion (``private_key_jwt``, RFC 7523) with its
registered key, by RS384 or ES384, and gets a token for it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fhirspace.errors import ServerError, UsageError
from fhirspace.fhirserver.auth.oauth import BOUND, Grant, Proof, TokenEndpoint, decoded
from fhirspace.fhirserver.auth.secret import Secret
from fhirspace.fhirserver.http.retry import ATTEMPTS, passing, pause, repeated
from fhirspace.fhirserver.http.transport import HttpTransport, Response, checked_url
from fhirspace.json import decode

SCOPE = ("system/*.cruds",)
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# The profile allows five minutes; one of them is left for clocks that differ.
_LIFE = 240
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SMALLEST_RSA = 2048


class _Extension(msgspec.Struct):
    url: str = ""
    valueUri: str = ""  # noqa: N815
    extension: list[_Extension] = []


class _Security(msgspec.Struct):
    extension: list[_Extension] = []


class _Rest(msgspec.Struct):
    security: _Security = msgspec.field(default_factory=_Security)


class _Capabilities(msgspec.Struct):
    rest: list[_Rest] = []


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key (of `cryptography`), the algorithm that fits it, and the name it is registered by."""

    key: Any = field(repr=False)
    algorithm: str
    kid: str


def signing_key(source: Secret, password: Secret | None = None, kid: str | None = None) -> SigningKey:
    """The key out of PEM, a JWK, or a JWK set (the one of this `kid`).

    Args:
        source: where the key is kept.
        password: what decrypts a PEM that is encrypted.
        kid: the key's name at the server; a JWK may bring its own.

    Raises:
        UsageError: FS544 it cannot be read, FS545 packages are missing, FS547 it is none that can be used.
    """
    text = source.read()
    try:
        if text.startswith("{"):
            key, own = _from_jwk(text, kid)
        else:
            key, own = _from_pem(text, password), None
        algorithm = _algorithm(key)
    except ImportError as error:
        raise UsageError("FS545", "PyJWT") from error
    except UsageError:
        raise
    except Exception:  # many kinds, and some of them quote the key
        key = algorithm = None
    if not algorithm:
        raise UsageError(
            "FS547",
            source.place,
            "one private key (`kid` names it in a set), RSA of 2048 bits or more or P-384, PEM or JWK",
        )
    name = kid or own
    if not name:
        raise UsageError("FS547", source.place, "a `kid`, in the settings or in the JWK")
    return SigningKey(key, algorithm, name)


def _from_jwk(text: str, kid: str | None) -> tuple[Any, str | None]:
    import jwt  # noqa: PLC0415

    document = decode(text.encode())
    private = [jwk for jwk in document.get("keys", [document]) if "d" in jwk and kid in (None, jwk.get("kid", kid))]
    (found,) = private
    algorithm = {"RSA": "RS384", "EC": "ES384"}[found["kty"]]
    return jwt.PyJWK(found, algorithm).key, found.get("kid")


def _from_pem(text: str, password: Secret | None) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    return load_pem_private_key(text.encode("ascii"), password.line().encode("utf-8") if password else None)


def _algorithm(key: Any) -> str | None:
    import jwt  # noqa: F401, PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415

    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _SMALLEST_RSA:
        return "RS384"
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
        return "ES384"
    return None


def assertion(signing: SigningKey, client_id: str, audience: str) -> str:
    """A signed assertion, good once and for four minutes (SMART App Launch 2.2, "asymmetric" client authentication)."""
    import jwt  # noqa: PLC0415

    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "exp": int(time.time()) + _LIFE,
        "jti": secrets.token_urlsafe(24),
    }
    return jwt.encode(claims, signing.key, signing.algorithm, {"kid": signing.kid})


@dataclass(slots=True)
class BackendServices:
    """A client with a key; called, it asks for a token (see `TokenEndpoint.grant`).

    Args:
        endpoint: how to ask.
        server: the FHIR base, where the token endpoint is found.
        client_id: as registered.
        signing: the key.
        scope: what is asked for.
        token_url: the token endpoint; "" finds it.
    """

    endpoint: TokenEndpoint
    server: str
    client_id: str
    signing: SigningKey
    scope: Sequence[str] = SCOPE
    token_url: str = ""

    def __call__(self) -> Grant:
        """A token."""
        if not self.token_url:
            self.token_url = token_endpoint(self.endpoint, self.server, self.signing.algorithm)
        return self.endpoint.grant(self.token_url, self.scope, self._prove)

    def _prove(self) -> Proof:
        signed = assertion(self.signing, self.client_id, self.token_url)
        return Proof({"client_assertion_type": _ASSERTION, "client_assertion": signed})


def token_endpoint(endpoint: TokenEndpoint, server: str, algorithm: str) -> str:
    """The token endpoint of a FHIR server: by ``.well-known/smart-configuration``, else by its CapabilityStatement.

    Raises:
        ServerError: FS510 nobody answers, FS514 the server names an address that no secret may go to, FS546 its
            certificate, FS549 the server names none, or not this algorithm.
    """
    transport = HttpTransport(server, network=endpoint.network, bound=BOUND)
    try:
        settings = _read(transport, endpoint, server, ".well-known/smart-configuration", "application/json")
        found = settings.get("token_endpoint")
        if not isinstance(found, str):
            settings = {}
            found = _oauth_uri(_read(transport, endpoint, server, "metadata", "application/fhir+json"))
    finally:
        transport.close()
    if found is None:
        raise ServerError("FS549", server, "a `token_endpoint` in `.well-known/smart-configuration`")
    allowed = settings.get("token_endpoint_auth_signing_alg_values_supported")
    if isinstance(allowed, list) and allowed and algorithm not in allowed:
        raise ServerError("FS549", server, f"a server that takes signatures of {algorithm}, as this key makes them")
    try:
        checked_url(found, secret=True, query=True)
    except UsageError as error:  # the server's fault, not the user's
        raise ServerError(error.code, server, f"a `token_endpoint` that is {error.problem.expected}") from None
    return found


def _read(transport: HttpTransport, endpoint: TokenEndpoint, server: str, path: str, accept: str) -> dict[str, Any]:
    """A JSON document of the server; {} when there is none."""
    answer = repeated(
        lambda: _get(transport, path, accept),
        ATTEMPTS,
        lambda attempt, last: endpoint.sleep(pause(attempt, last)),
        server=server,
    )
    if passing(answer):
        raise ServerError("FS510", server, detail=f"status {answer.status} in the last of {ATTEMPTS} attempts")
    return decoded(answer.body) if answer.ok else {}


def _get(transport: HttpTransport, path: str, accept: str) -> Response:
    return transport.send("GET", path, None, {"Accept": accept})


def _oauth_uri(statement: dict[str, Any]) -> str | None:
    """The token endpoint in ``CapabilityStatement.rest.security``, by the extension ``oauth-uris`` (SMART, 1.0)."""
    try:
        rests = msgspec.convert(statement, _Capabilities).rest
    except (msgspec.ValidationError, RecursionError):
        return None
    uris = [each for rest in rests for each in rest.security.extension if each.url == _OAUTH_URIS]
    return next((part.valueUri for each in uris for part in each.extension if part.url == "token"), "") or None
