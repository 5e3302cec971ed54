"""Every service speaks TLS 1.3 with Kafka (and SCRAM) and with PostgreSQL, and refuses an older version.

Connections to this machine need no TLS, so the tests let the loopback address count as another machine.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from libs.common import database as common_database
from libs.common.contracts.envelope import Record
from libs.common.contracts.topics import SYNC_COMMANDS
from libs.common.database import build_engine, ping
from libs.common.errors import Transient
from libs.common.kafka import connection
from libs.common.kafka.administration import align_topics
from libs.common.kafka.consumer import Consumer, Records
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings, PostgresSettings
from libs.common.tls import client_context
from tests.servers import Database
from tools.local_stack import kafka as local_kafka
from tools.local_stack.process import free_port, running
from tools.whmcs_simulator.certificates import TlsMax, prepare_ca, server_context

_USER, _PASSWORD = "mrrlytics", "from-the-vault"
_JAAS = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker with two listeners that need TLS and a password: one for TLS 1.3 alone, one for TLS 1.2 alone."""

    new: int
    old: int
    authority: Path

    def settings(self, port: int, password: str = _PASSWORD) -> KafkaSettings:
        return KafkaSettings(
            kafka_bootstrap=f"127.0.0.1:{port}",
            kafka_username=_USER,
            kafka_password=SecretStr(password),
            kafka_ca_file=self.authority,
        )


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loopback address count as another machine."""
    for module in (connection, common_database):
        monkeypatch.setattr(module, "stays_on_machine", lambda host: False)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    directory = tmp_path_factory.mktemp("encrypted")
    plain, controller, new, old = (free_port() for _ in range(4))
    authority = prepare_ca(directory)
    server_context(directory, "good", "1.3")
    encrypted = {
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},"
        f"NEW://127.0.0.1:{new},OLD://127.0.0.1:{old}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain},NEW://127.0.0.1:{new},OLD://127.0.0.1:{old}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,NEW:SASL_SSL,OLD:SASL_SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(directory / "server-good.pem"),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.new.ssl.enabled.protocols": "TLSv1.3",
        "listener.name.old.ssl.enabled.protocols": "TLSv1.2",
        "listener.name.new.scram-sha-512.sasl.jaas.config": _JAAS,
        "listener.name.old.scram-sha-512.sasl.jaas.config": _JAAS,
    }
    local_kafka.prepare(directory / "data", plain, controller, encrypted)
    with running(local_kafka.program(directory / "data", plain), directory):
        admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{plain}"})
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        user = UserScramCredentialUpsertion(_USER, credential, _PASSWORD.encode())
        for stored in admin.alter_user_scram_credentials([user]).values():
            stored.result()
        yield Broker(new, old, authority)


async def _publish(settings: KafkaSettings, key: bytes) -> None:
    publisher = Publisher(settings)
    try:
        await publisher.publish([Record(SYNC_COMMANDS.name, key, b"{}", [])])
    finally:
        await publisher.close()


@pytest.mark.rule("T1")
async def test_kafka_is_used_with_tls_1_3_and_a_password(broker: Broker) -> None:
    settings, stop = broker.settings(broker.new), asyncio.Event()
    received: list[bytes] = []

    async def apply(records: Records) -> None:
        received.extend(record.key for record in records)
        stop.set()

    await align_topics(settings)
    await _publish(settings, b"over TLS")
    consumer = Consumer(settings, replica=None)
    consumer.subscribe([SYNC_COMMANDS], group="encrypted", apply=apply)
    async with asyncio.timeout(60):
        await consumer.run(stop)

    assert received == [b"over TLS"]


async def test_kafka_with_a_wrong_password_is_refused(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Transient):
        await _publish(broker.settings(broker.new, "a guess"), b"never")

    assert "invalid credentials" in caplog.text
    assert "a guess" not in caplog.text


@pytest.mark.rule("T1")
async def test_kafka_without_tls_1_3_is_refused(broker: Broker) -> None:
    with pytest.raises(Transient):
        await _publish(broker.settings(broker.old), b"never")

    # The port itself answers: a client that accepts TLS 1.2 gets a connection.
    accepts_old = client_context(broker.authority, ssl.TLSVersion.TLSv1_2)
    _, writer = await asyncio.open_connection("127.0.0.1", broker.old, ssl=accepts_old)
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def _tls_before(database: Database, folder: Path, version: TlsMax) -> AsyncIterator[int]:
    """Serve PostgreSQL over TLS: the server of the wheel is built without TLS, so this adds what a server with TLS does.

    A client asks for TLS with eight bytes, gets an S, and then speaks TLS.
    """
    context, tasks = server_context(folder, "good", version), set[asyncio.Task[None]]()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
        writer.write(b"S")
        try:
            await writer.start_tls(context)
        except (ssl.SSLError, ConnectionError):
            writer.close()
        else:
            socket = database.socket_directory / ".s.PGSQL.5432"
            answers, requests = await asyncio.open_unix_connection(str(socket))
            tasks.update(
                asyncio.create_task(pair) for pair in (copy(reader, requests), copy(answers, writer))
            )

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ping(database: Database, port: int, authority: Path) -> None:
    settings = PostgresSettings(
        database_url=SecretStr(f"postgresql+asyncpg://postgres@127.0.0.1:{port}/{database.name}"),
        postgres_ca_file=authority,
    )
    engine = build_engine(settings, service="test")
    try:
        await ping(engine)
    finally:
        await engine.dispose()


@pytest.mark.rule("T1")
async def test_postgresql_is_used_with_tls_1_3_alone(database: Database, tmp_path: Path) -> None:
    authority = prepare_ca(tmp_path)
    async with _tls_before(database, tmp_path, "1.3") as port:
        await _ping(database, port, authority)
    async with _tls_before(database, tmp_path, "1.2") as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await _ping(database, port, authority)
