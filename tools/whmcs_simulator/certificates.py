"""The CA of the simulator, and the good and bad server certificates that it signs."""

import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Certificate = Literal["good", "expired", "wrong_name", "self_signed"]
CERTIFICATES: Final[tuple[Certificate, ...]] = get_args(Certificate)
TlsMax = Literal["1.2", "1.3"]

_CA: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WHMCS simulator CA")])


def prepare_ca(state: Path) -> Path:
    """Make `ca.pem` and its key in the state folder unless they exist, and return the path of `ca.pem`."""
    file, key_file = state / "ca.pem", state / "ca-key.pem"
    if not (file.exists() and key_file.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _unsigned(_CA, _CA, key.public_key(), days=3650)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(key_file, _pem(key))
        _write(file, certificate.public_bytes(serialization.Encoding.PEM))
    return file


def server_context(state: Path, kind: Certificate, tls_max: TlsMax) -> ssl.SSLContext:
    """Return a TLS context for a server, with a new certificate for localhost and the loopback addresses.

    It accepts `tls_max` and no other version.
    """
    file = _new_certificate(state, kind)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if tls_max == "1.2" else ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if tls_max == "1.2" else ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(file)
    return context


def _new_certificate(state: Path, kind: Certificate) -> Path:
    prepare_ca(state)
    ca = x509.load_pem_x509_certificate((state / "ca.pem").read_bytes())
    ca_key = serialization.load_pem_private_key((state / "ca-key.pem").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)  # noqa: S101 - we wrote it
    key = ec.generate_private_key(ec.SECP256R1())
    host = "elsewhere.example" if kind == "wrong_name" else "localhost"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if kind != "wrong_name":
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    is_self_signed = kind == "self_signed"
    builder = _unsigned(
        subject,
        subject if is_self_signed else ca.subject,
        key.public_key(),
        days=-1 if kind == "expired" else 365,
    )
    issuer = key.public_key() if is_self_signed else ca_key.public_key()
    certificate = (
        builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        .sign(key if is_self_signed else ca_key, hashes.SHA256())
    )
    file = state / f"server-{kind}.pem"
    _write(file, _pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
    return file


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read. Readers see the old or the new content, never a part."""
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(content)
    draft.replace(file)
