"""A real authorization server (Authlib's, on Flask) and a resource server that checks its tokens before a FHIR server.

Both stand at one address, over TLS where a certificate is given: ``/token`` gives tokens to clients that sign with a
registered key (RFC 7523) or know a secret, ``/fhir`` lets those in who show a token that has not expired.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import requests
from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc6749.errors import InvalidClientError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Flask, Response, jsonify, request
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from werkzeug.serving import WSGIRequestHandler, make_server

from fhirspace.testing import FaultyServer

ALGORITHMS = ["RS384", "ES384"]


class RegisteredClient(ClientMixin):  # type: ignore[misc]
    def __init__(self, client_id: str, secret: str, jwks: list[dict[str, Any]], scopes: str) -> None:
        self.client_id, self.secret, self.jwks, self.scopes = client_id, secret, jwks, scopes.split()

    def get_client_id(self) -> str:
        return self.client_id

    def check_client_secret(self, secret: str) -> bool:
        return bool(self.secret) and secret == self.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method == "client_assertion_jwt") == bool(self.jwks)

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(name for name in (scope or "").split() if name in self.scopes)


class IssuedToken(TokenMixin):  # type: ignore[misc]
    def __init__(self, fields: dict[str, Any]) -> None:
        self.scope, self.end = fields.get("scope", ""), time.monotonic() + fields["expires_in"]

    def get_scope(self) -> str:
        return self.scope

    def is_expired(self) -> bool:
        return time.monotonic() > self.end

    def is_revoked(self) -> bool:
        return False


class Assertions(JWTBearerClientAssertion):  # type: ignore[misc]
    """Checks as SMART Backend Services asks: algorithm, `kid`, at most five minutes, each `jti` once."""

    def __init__(self, authority: AuthorityServer) -> None:
        super().__init__(leeway=0)
        self.authority = authority

    def get_audiences(self) -> list[str]:
        return [self.authority.url + "/token"]

    def resolve_client_public_key(self, client: RegisteredClient) -> KeySet:
        return KeySet.import_key_set({"keys": client.jwks})

    def process_assertion_claims(self, assertion: str, resolve_key: Any) -> Any:
        try:
            header = jws.extract_compact(assertion.encode()).headers()
            token = jwt.decode(assertion, resolve_key, algorithms=ALGORITHMS)
        except JoseError as error:
            raise InvalidClientError(description="SIGNIN-CANARY") from error
        self.verify_claims(token.claims)
        if "kid" not in header or header.get("typ") != "JWT" or token.claims["exp"] > time.time() + 300:
            raise InvalidClientError(description="SIGNIN-CANARY")
        self.authority.assertions.append((assertion, header, token.claims))
        return token.claims

    def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
        known = jti in self.authority.used
        self.authority.used.add(jti)
        return not known


class Grant(ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar = ["client_secret_basic", "client_secret_post", "client_assertion_jwt"]


class AuthorityServer:
    """`life` is that of the next tokens; `fhir` stands behind; `broken` answers in the place of a token.

    `discovery` is added to the SMART configuration, or comes in its place (None: there is none), `statement` in that of
    the CapabilityStatement; `forgetful`: its tokens are never accepted.
    """

    def __init__(self, fhir: FaultyServer) -> None:
        self.url = ""
        self.fhir = fhir
        self.life = 300
        self.clients: dict[str, RegisteredClient] = {}
        self.tokens: dict[str, IssuedToken] = {}
        self.used: set[str] = set()
        self.assertions: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self.broken: list[Response] = []
        self.asked = 0
        self.shown: list[str | None] = []
        self.refused = 0
        self.discovery: dict[str, Any] | Response | None = {}
        self.statement: Any = None
        self.forgetful = False
        self.before_answer: Callable[[], None] = lambda: None
        self.session = requests.Session()
        self.session.trust_env = False

    def register(self, client_id: str, *, secret: str = "", jwks: Any = (), scopes: str = "system/*.cruds") -> None:
        self.clients[client_id] = RegisteredClient(client_id, secret, list(jwks), scopes)

    def application(self) -> Flask:
        app = Flask("authority")
        server = AuthorizationServer(app, self.clients.get, self._save)
        server.register_token_generator("default", self._generate)
        server.register_client_auth_method("client_assertion_jwt", Assertions(self))
        server.register_grant(Grant)
        protector = ResourceProtector()
        protector.register_token_validator(self._validator())

        @app.post("/token")
        def token() -> Response:
            self.asked += 1
            return self.broken.pop(0) if self.broken else server.create_token_response()

        @app.get("/fhir/.well-known/smart-configuration")
        def smart() -> Response:
            if not isinstance(self.discovery, dict):
                return self.discovery or Response(status=404)
            return jsonify({"token_endpoint": f"{self.url}/token", **self.discovery})

        @app.get("/fhir/metadata")
        def metadata() -> Response:
            if self.statement is not None:
                return jsonify(self.statement)
            document = self.session.get(f"{self.fhir.url}/metadata").json()
            uris = {"extension": [{"url": "token", "valueUri": f"{self.url}/token"}], "url": OAUTH_URIS}
            document["rest"][0]["security"] = {"extension": [uris]}
            return jsonify(document)

        @app.route("/fhir", methods=["POST"], defaults={"path": ""}, strict_slashes=False)
        @app.route("/fhir/<path:path>", methods=["GET", "POST", "PUT"])
        def fhir(path: str) -> Response:
            self.shown.append(request.headers.get("Authorization"))
            try:
                with protector.acquire(["system/*.cruds"]):
                    return self._behind(path)
            except Exception:
                self.refused += 1
                raise

        return app

    def _behind(self, path: str) -> Response:
        url = f"{self.fhir.url}/{path}".rstrip("/")
        sent = {"Content-Type": request.headers.get("Content-Type", "application/fhir+json")}
        answer = self.session.request(request.method, url, data=request.get_data(), params=request.args, headers=sent)
        self.before_answer()
        return Response(answer.content, answer.status_code, {"Content-Type": answer.headers["Content-Type"]})

    def _generate(self, grant_type: str, client: RegisteredClient, scope: str | None, **_: Any) -> dict[str, Any]:
        number = self.asked
        granted = client.get_allowed_scope(scope)
        return {
            "access_token": f"SIGNIN-CANARY-token-{number}",
            "token_type": "Bearer",
            "expires_in": self.life,
            "scope": granted,
        }

    def _save(self, token: dict[str, Any], _: Any) -> None:
        if not self.forgetful:
            self.tokens[token["access_token"]] = IssuedToken(token)

    def _validator(self) -> BearerTokenValidator:
        known = self.tokens

        class Validator(BearerTokenValidator):  # type: ignore[misc]
            def authenticate_token(self, token_string: str) -> IssuedToken | None:
                return known.get(token_string)

        return Validator()


OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


class _Quiet(WSGIRequestHandler):  # type: ignore[misc]
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def serving(
    authority: AuthorityServer, certificate: Path | None = None, clients: Path | None = None
) -> Iterator[AuthorityServer]:
    """Runs it at a free port, with TLS by `certificate`; `clients` is the authority of the clients' certificates."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    if context and clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    http = make_server(
        "127.0.0.1", 0, authority.application(), threaded=True, request_handler=_Quiet, ssl_context=context
    )
    http.handle_error = lambda *_: None
    http.daemon_threads = True
    authority.url = f"{'https' if certificate else 'http'}://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield authority
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
        authority.session.close()
