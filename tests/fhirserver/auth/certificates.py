"""An authority of certificates for the tests, and what it signs: for servers, for clients, expired, for another name."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey
LOCAL = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("fhir.test")]


class Authority:
    """Signs certificates and writes them to `folder`: ``NAME.pem`` holds the certificate and its key."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed(name, self.key.public_key(), None, [], timedelta(days=1))
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *,
        names: list[x509.GeneralName] | None = None,
        life: timedelta = timedelta(days=1),
        password: bytes | None = None,
    ) -> Path:
        """A certificate for this machine, or for `names`."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = self._signed(name, key.public_key(), self.certificate, names or LOCAL, life)
        return self._write(name, signed, key, password)

    def self_signed(self, name: str) -> Path:
        """A certificate that nobody vouches for."""
        other = Authority(self.folder, f"{name}-authority")
        signed = other._signed(name, other.key.public_key(), None, LOCAL, timedelta(days=1))
        return self._write(name, signed, other.key, None)

    def _write(self, name: str, signed: x509.Certificate, key: Key, password: bytes | None) -> Path:
        file = self.folder / f"{name}.pem"
        hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        text = key.private_bytes(serialization.Encoding.PEM, form, hidden)
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + text)
        return file

    def _signed(
        self,
        name: str,
        public: ec.EllipticCurvePublicKey,
        issuer: x509.Certificate | None,
        names: list[x509.GeneralName],
        life: timedelta,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())
