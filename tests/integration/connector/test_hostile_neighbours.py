"""WHMCS that hang, drip, flood or send compressed bombs delay no other organization and cost no memory."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from libs.common.clock import utc_now
from libs.common.database import raw, transaction
from services.connector.jobs import Jobs
from services.connector.worker import Worker
from tests.integration.connector.conftest import TODAY, World
from tests.integration.connector.test_fairness import add_instance, order_run
from tests.simulator import simulate
from tools.whmcs_simulator.certificates import server_context

_OTHERS = 50
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_MEBIBYTE = b"x" * 2**20
# 100 MiB of zeros, compressed twice, take 400 bytes.
_BOMB = gzip.compress(gzip.compress(bytes(100 * 2**20)))

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Simulate a small company, because fifty instances read it."""
    state = tmp_path_factory.mktemp("simulator")
    with simulate(state, customers=10, years=1, options=["--today", TODAY]) as whmcs:
        yield whmcs.info


async def _hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3_600)


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"content-length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.5)


async def _flood(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b'content-length: 104857610\r\n\r\n{"a":"')
    for _ in range(100):
        writer.write(_MEBIBYTE)
        await writer.drain()


async def _bomb(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"content-encoding: gzip, gzip\r\ncontent-length: %d\r\n\r\n" % len(_BOMB) + _BOMB)
    await writer.drain()


@contextlib.asynccontextmanager
async def _hostile(answer: Answer, state: Path) -> AsyncIterator[int]:
    """Serve over TLS from a free port, and give every request this answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await answer(writer)

    async with _listening(serve, server_context(state, "good", "1.3")) as port:
        yield port


@contextlib.asynccontextmanager
async def _forwarded(target: int) -> AsyncIterator[int]:
    """Forward a free port, so that one simulator looks like another WHMCS."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", target)
        with contextlib.suppress(OSError):
            await asyncio.gather(_copy(reader, requests), _copy(answers, writer))

    async with _listening(forward, None) as port:
        yield port


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def _listening(serve: Any, tls: Any) -> AsyncIterator[int]:
    """Serve connections on a free port; end them with the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _synced(world: World) -> int:
    """Return how many instances have had a good run."""
    async with transaction(world.engine) as connection:
        count: int = await (await raw(connection)).fetchval(
            "SELECT count(DISTINCT instance_id) FROM connector.runs WHERE state = 'succeeded'"
        )
    return count


@pytest.mark.rule("L4")
async def test_hostile_whmcs_delay_no_other_organization(world: World) -> None:
    url = httpx.URL(world.simulator["url"])
    state = Path(world.simulator["ca_file"]).parent
    assert url.port is not None
    async with contextlib.AsyncExitStack() as stack:
        hostile = [
            await stack.enter_async_context(_hostile(answer, state))
            for answer in (_hang, _drip, _flood, _bomb)
        ]
        others = [await stack.enter_async_context(_forwarded(url.port)) for _ in range(_OTHERS)]
        for number, port in enumerate(hostile):
            await order_run(
                world, await add_instance(world, 1, number, f"https://127.0.0.1:{port}{url.path}")
            )
        for number, port in enumerate(others):
            address = str(url.copy_with(port=port))
            secrets = {name: world.simulator[name] for name in ("identifier", "secret")}
            await order_run(world, await add_instance(world, 2 + number, 1, address, **secrets))

        settings = world.settings.model_copy(update={"whmcs_allowed_ports": (*hostile, *others)})
        worker = Worker(
            settings,
            world.engine,
            Jobs(settings, world.engine, world.publisher, world.keyring, utc_now),
            utc_now,
        )
        before, stop = psutil.Process().memory_info().rss, asyncio.Event()
        working = asyncio.create_task(worker.runs(stop))
        most = before
        try:
            async with asyncio.timeout(120):
                while await _synced(world) < _OTHERS:
                    most = max(most, psutil.Process().memory_info().rss)
                    await asyncio.sleep(0.1)
        finally:
            stop.set()
            await working

    assert most - before < 150 * 2**20
