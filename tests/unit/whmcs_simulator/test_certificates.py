"""The good and bad certificates of the simulator, tried with handshakes in memory."""

import ssl
from pathlib import Path

import pytest

from tools.whmcs_simulator.certificates import Certificate, TlsMax, prepare_ca, server_context


def handshake(
    state: Path, kind: Certificate = "good", tls_max: TlsMax = "1.3", client_minimum: str = "1.3"
) -> str:
    """Return the TLS version that a strict client, which trusts the CA, agrees on with the simulator."""
    server_side = server_context(state, kind, tls_max)
    client_side = ssl.create_default_context(cafile=str(prepare_ca(state)))
    if client_minimum == "1.3":
        client_side.minimum_version = ssl.TLSVersion.TLSv1_3
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.version() or ""


def test_a_good_certificate_is_trusted_over_tls_1_3(tmp_path: Path) -> None:
    assert handshake(tmp_path) == "TLSv1.3"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("expired", "has expired"),
        ("wrong_name", "IP address mismatch"),
        ("self_signed", "self-signed certificate"),
    ],
)
def test_bad_certificate_is_refused_with_its_reason(tmp_path: Path, kind: Certificate, says: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=says):
        handshake(tmp_path, kind)


def test_old_server_accepts_only_tls_1_2(tmp_path: Path) -> None:
    assert handshake(tmp_path, tls_max="1.2", client_minimum="1.2") == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path, tls_max="1.2")


def test_ca_stays_the_same_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = prepare_ca(tmp_path).read_bytes()
    server_context(tmp_path, "good", "1.3")

    assert prepare_ca(tmp_path).read_bytes() == first
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
