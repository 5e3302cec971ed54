"""Make the certificates, passwords and keys of an installation with compose, each once: `python make_secrets.py <folder>`.

Each container mounts one folder below <folder>, with exactly the files that it needs. No password has a default.
"""

import base64
import json
import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROLES = ("gateway", "scheduler", "connector", "metrics", "owner")
# The users in the images of MRRlytics, PostgreSQL and Kafka.
OWNERS = {"postgres": 999, "kafka": 1000}
OURS = 10001
YEARS = timedelta(days=3650)
BROKER = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9095
listeners=CLIENTS://:9093,INTERNAL://127.0.0.1:9094,CONTROLLER://127.0.0.1:9095
advertised.listeners=CLIENTS://kafka:9093,INTERNAL://127.0.0.1:9094
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=CLIENTS:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=/run/mrrlytics/server.pem
ssl.enabled.protocols=TLSv1.3
ssl.protocol=TLSv1.3
log.dirs=/var/lib/kafka/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""


class Authority:
    """Our own certificate authority. Its key is never stored: the certificates are all made at once."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MRRlytics compose")])
        self.certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))

    def issue(self, *hosts: str) -> tuple[bytes, bytes]:
        """Return a certificate for these hosts and its key, both as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        return self._sign(name, key, names), key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + YEARS)
        signed = builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def build(public_host: str) -> dict[str, bytes]:
    """Return the content of every file by its path below the folder."""
    authority = Authority()
    key_file = json.dumps({"primary": "k1", "keys": {"k1": _random_key()}}).encode()
    files: dict[str, bytes] = {"gateway/session": _random_key().encode()}
    accounts = []
    for role in ROLES:
        password, topic_password = secrets.token_hex(32), secrets.token_hex(32)
        files[f"{role}/database-url"] = (
            f"postgresql+asyncpg://{role}:{password}@postgres:5432/mrrlytics".encode()
        )
        files[f"{role}/kafka-password"] = topic_password.encode()
        files[f"{role}/ca.crt"] = authority.certificate
        files[f"postgres/{role}"] = password.encode()
        accounts.append(f"SCRAM-SHA-512=[name={role},password={topic_password}]\n")
    files |= {"gateway/keys.json": key_file, "connector/keys.json": key_file}
    files["gateway/tls.crt"], files["gateway/tls.key"] = authority.issue(public_host, "gateway")
    files["postgres/tls.crt"], files["postgres/tls.key"] = authority.issue("postgres")
    files["postgres/superuser"] = secrets.token_hex(32).encode()
    certificate, key = authority.issue("kafka")
    files["kafka/server.pem"] = key + certificate
    files["kafka/server.properties"] = BROKER.encode()
    files["kafka/users"] = "".join(accounts).encode()
    files["kafka/cluster"] = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=")
    return files


def _random_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files, each readable only by the user of its container. The file `made` comes last."""
    for name, content in files.items():
        path = folder / name
        owner = OWNERS.get(path.parent.name, OURS)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o400)
        for target in (path, path.parent):
            os.chown(target, owner, owner)
    (folder / "made").touch()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if not (target / "made").exists():
        write(target, build(sys.argv[2]))
