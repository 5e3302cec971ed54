"""Names that change their address, foreign certificates and old TLS, tried with real sockets."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from services.connector.credentials import Credentials
from services.connector.settings import Settings
from services.connector.whmcs import client as whmcs_client
from services.connector.whmcs import network
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.client import Client
from tools.local_stack.process import free_port
from tools.whmcs_simulator.certificates import prepare_ca, server_context

GOOD = b'{"result":"success"}'


class Server:
    """A WHMCS on a loopback address, which closes the connection after each answer."""

    def __init__(self) -> None:
        self.port = self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(GOOD)
            writer.write(head + GOOD)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def accepting(
    answer: Callable[[asyncio.StreamWriter], Awaitable[None]], tls: Any = None
) -> AsyncIterator[int]:
    """Serve from a free port what `answer` writes to each connection, and give that port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await answer(writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(serve(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) as sockets:
        yield sockets.sockets[0].getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def serving(address: str, tls: ssl.SSLContext, port: int = 0) -> AsyncIterator[Server]:
    server = Server()
    async with await asyncio.start_server(server.serve, address, port, ssl=tls) as sockets:
        server.port = sockets.sockets[0].getsockname()[1]
        yield server


def client_of(
    port: int, ca_file: Path, host: str = "localhost", *, connect_seconds: float = 5.0, **more: Any
) -> Client:
    settings = Settings.model_validate(
        {
            "database_url": "postgresql://",
            "kafka_bootstrap": "localhost:1",
            "credential_keys_file": "keys",
            "whmcs_allowed_ports": str(port),
            "egress_allow_cidrs": "127.0.0.1/32",
            "extra_ca_file": ca_file,
        }
        | more
    )
    credentials = Credentials(f"https://{host}:{port}", "identifier", "secret")
    return Client(settings, credentials, connect_seconds=connect_seconds)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: Iterable[str]) -> None:
    """Let each look-up of any name give the next of these answers."""
    left = iter(answers)
    monkeypatch.setattr(network.RESOLVER, "_look_up", lambda _: list(next(left)))


async def code_of(client: Client) -> str:
    with pytest.raises(WhmcsError) as caught:
        await client.call("GetClients")
    return caught.value.code


@pytest.mark.rule("N2")
async def test_name_that_moves_to_a_closed_address_is_not_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tls = server_context(tmp_path, "good", "1.3")
    resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    async with (
        serving("127.0.0.1", tls) as opened,
        serving("127.0.0.2", tls, opened.port) as closed,
        client_of(opened.port, tmp_path / "ca.pem") as client,
    ):
        await client.call("GetClients")
        code = await code_of(client)

    assert (code, opened.connections, closed.connections) == ("address_not_allowed", 1, 0)


@pytest.mark.rule("N2")
async def test_name_with_one_closed_address_is_not_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1", "127.0.0.2"])
    async with (
        serving("127.0.0.1", server_context(tmp_path, "good", "1.3")) as opened,
        client_of(opened.port, tmp_path / "ca.pem") as client,
    ):
        code = await code_of(client)

    assert (code, opened.connections) == ("address_not_allowed", 0)


@pytest.mark.rule("N2")
async def test_certificate_must_be_of_the_name_that_was_entered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"])
    async with (
        serving("127.0.0.1", server_context(tmp_path, "good", "1.3")) as server,
        client_of(server.port, tmp_path / "ca.pem", "billing.example.com") as client,
    ):
        assert await code_of(client) == "tls_certificate"


@pytest.mark.rule("T2")
async def test_old_tls_is_accepted_only_if_the_operator_says_so(tmp_path: Path) -> None:
    async with serving("127.0.0.1", server_context(tmp_path, "good", "1.2")) as server:
        async with client_of(server.port, tmp_path / "ca.pem", "127.0.0.1") as client:
            assert await code_of(client) == "tls_version"
        async with client_of(server.port, tmp_path / "ca.pem", "127.0.0.1", whmcs_tls_min="1.2") as client:
            assert (await client.call("GetClients")).body == {"result": "success"}


@pytest.mark.rule("N6")
async def test_port_that_nobody_serves_is_refused(tmp_path: Path) -> None:
    async with client_of(free_port(), prepare_ca(tmp_path), "127.0.0.1") as client:
        assert await code_of(client) == "connect_refused"


@pytest.mark.rule("T3")
async def test_server_that_speaks_no_tls_is_unreachable(tmp_path: Path) -> None:
    async def speak(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with (
        accepting(speak) as port,
        client_of(port, prepare_ca(tmp_path), "127.0.0.1") as client,
    ):
        assert await code_of(client) == "unreachable"


@pytest.mark.rule("N6")
async def test_handshake_that_hangs_ends_in_time(tmp_path: Path) -> None:
    async def hang(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with (
        accepting(hang) as port,
        client_of(port, prepare_ca(tmp_path), "127.0.0.1", connect_seconds=0.2) as client,
    ):
        assert await code_of(client) == "connect_timeout"


@pytest.mark.rule("N6")
async def test_answer_that_drips_for_ever_ends_in_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(whmcs_client, "_TOTAL_SECONDS", 0.5)

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with (
        accepting(drip, server_context(tmp_path, "good", "1.3")) as port,
        client_of(port, tmp_path / "ca.pem", "127.0.0.1") as client,
    ):
        assert await code_of(client) == "read_timeout"


@pytest.mark.rule("N4")
async def test_changed_file_of_authorities_needs_no_restart(tmp_path: Path) -> None:
    authorities = tmp_path / "authorities.pem"
    other, right = tmp_path / "other", tmp_path / "right"
    other.mkdir()
    right.mkdir()
    authorities.write_bytes(prepare_ca(other).read_bytes())
    async with serving("127.0.0.1", server_context(right, "good", "1.3")) as server:
        async with client_of(server.port, authorities, "127.0.0.1") as client:
            assert await code_of(client) == "tls_certificate"
        replacement = tmp_path / "replacement.pem"
        replacement.write_bytes(prepare_ca(right).read_bytes())
        replacement.replace(authorities)
        async with client_of(server.port, authorities, "127.0.0.1") as client:
            assert (await client.call("GetClients")).body == {"result": "success"}
