"""Fixtures of the sign-in tests: an authority of certificates, one of tokens, keys, and a configuration file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fhirspace.testing import FaultyServer
from tests.fhirserver.auth.authority import AuthorityServer, serving
from tests.fhirserver.auth.certificates import Authority


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Private keys by algorithm, in PEM; beside each its JWK, private (``.jwk``) and public (``.pub``)."""
    folder = tmp_path_factory.mktemp("keys")
    made: dict[str, Any] = {
        "RS384": rsa.generate_private_key(65537, 2048),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
    }
    kinds: dict[str, Any] = {"RS384": jwt.algorithms.RSAAlgorithm, "ES384": jwt.algorithms.ECAlgorithm}
    found = {}
    for name, key in made.items():
        found[name] = folder / f"{name}.pem"
        found[name].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        for ending, half in (("jwk", key), ("pub", key.public_key())):
            jwk = {**kinds[name].to_jwk(half, as_dict=True), "kid": f"kid-{name}"}
            found[name].with_suffix(f".{ending}").write_text(json.dumps(jwk))
    return found


def public(key: Path) -> dict[str, Any]:
    return json.loads(key.with_suffix(".pub").read_text())


@pytest.fixture
def authority(faulty: FaultyServer, certificates: Authority, keys: dict[str, Path]) -> Iterator[AuthorityServer]:
    """The authorization server with the FHIR server behind it, over TLS; it knows the client ``trial``."""
    made = AuthorityServer(faulty)
    made.register("trial", jwks=[public(key) for key in keys.values()])
    with serving(made, certificates.issue("server")):
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration file with one server, ``main``."""

    def write(**fields: Any) -> Path:
        file = tmp_path / "servers.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
        file.write_text("[servers.main]\n" + "\n".join(lines) + "\n")
        return file

    return write
