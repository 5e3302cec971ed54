"""Our own listeners: https with TLS 1.3 and a certificate that may change, and the instruments for Prometheus."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from libs.common.health import build_metrics_app
from libs.common.http_server import Limits, build_server
from libs.common.tls import ServerCertificate, client_context
from tools.local_stack.process import free_port
from tools.whmcs_simulator.certificates import prepare_ca, server_context


def _page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.url.scheme)


def _write_certificate(folder: Path, file: Path) -> None:
    """Write a new certificate for this machine with its key, signed by the authority in the folder."""
    server_context(folder, "good", "1.3")
    file.write_bytes((folder / "server-good.pem").read_bytes())


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])


@contextlib.asynccontextmanager
async def _running(server: uvicorn.Server) -> AsyncIterator[None]:
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn sets no event
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def _serial_number(port: int, context: ssl.SSLContext) -> str:
    """Connect and return the serial number of the certificate that is served."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    number = str(writer.get_extra_info("peercert")["serialNumber"])
    writer.close()
    return number


@pytest.fixture
def file(tmp_path: Path) -> Path:
    _write_certificate(tmp_path, tmp_path / "tls.pem")
    return tmp_path / "tls.pem"


@pytest.mark.rule("T1")
async def test_https_needs_tls_1_3(file: Path) -> None:
    certificate = ServerCertificate(file, file)
    port, trusted = free_port(), client_context(prepare_ca(file.parent))
    app = Starlette(routes=[Route("/", _page)])
    async with _running(build_server(app, "127.0.0.1", port, Limits(), certificate.context)):
        async with httpx.AsyncClient(verify=trusted) as client:
            answer = await client.get(f"https://127.0.0.1:{port}/")
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"http://127.0.0.1:{port}/")
        old = client_context(prepare_ca(file.parent), ssl.TLSVersion.TLSv1_2)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await _serial_number(port, old)

    assert answer.text == "https"


async def test_new_certificate_is_served_without_restart(file: Path) -> None:
    certificate = ServerCertificate(file, file)
    port, trusted = free_port(), client_context(prepare_ca(file.parent))
    app = Starlette(routes=[Route("/", _page)])
    async with _running(build_server(app, "127.0.0.1", port, Limits(), certificate.context)):
        first = await _serial_number(port, trusted)
        assert not certificate.reload()
        _cut(file)
        with pytest.raises(ValueError, match="cannot be used together"):
            certificate.reload()
        kept = await _serial_number(port, trusted)
        _write_certificate(file.parent, file)
        assert certificate.reload()
        second = await _serial_number(port, trusted)

    assert kept == first
    assert second != first


async def test_instruments_are_served_for_prometheus() -> None:
    port = free_port()
    async with (
        _running(build_server(build_metrics_app(), "127.0.0.1", port, Limits())),
        httpx.AsyncClient() as client,
    ):
        answer = await client.get(f"http://127.0.0.1:{port}/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert "process_resident_memory_bytes" in answer.text
