"""Streams of events: how many may be open, and what they use while they wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from services import gateway as gateway_package
from services.gateway import streams
from services.gateway.api import syncs as api_syncs
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_instances import connected
from tests.integration.gateway.test_syncs import Running


@pytest.fixture
async def running(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A running sync, whose streams read it once and then wait."""
    monkeypatch.setattr(api_syncs, "_POLL_SECONDS", 20)
    owner = await gateway.owner()
    return Running(gateway, owner, await connected(gateway, owner))


@asynccontextmanager
async def opened(gateway: Gateway, client: httpx.AsyncClient, path: str, count: int) -> AsyncIterator[None]:
    """Keep so many streams of this client open until the end of the block."""
    streams_open = gateway.context.open_streams
    total = streams_open["all"] + count
    tasks = [asyncio.create_task(client.get(path)) for _ in range(count)]
    async with asyncio.timeout(10):
        while streams_open["all"] < total:  # noqa: ASYNC110 - the requests make it true
            await asyncio.sleep(0)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.rule("L9")
async def test_open_streams_of_a_caller_are_limited(running: Running) -> None:
    gateway, owner = running.gateway, running.owner
    path = f"/api/v1/syncs/{(await running.post()).json()['id']}/events"
    programs = [
        gateway.client(
            authorization=f"Bearer {await owner.token('instances:read')}", accept="text/event-stream"
        )
        for _ in range(2)
    ]

    async with opened(gateway, programs[0], path, 6):
        refused = await programs[0].get(path)
        async with opened(gateway, owner.client, path, 1):
            assert gateway.context.open_streams["all"] == 7

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    assert "6 live connections" in refused.json()["detail"]
    assert refused.headers["retry-after"] == "25"
    assert gateway.context.open_streams == {}
    async with opened(gateway, programs[0], path, 1):
        pass


@pytest.mark.rule("L9")
async def test_streams_are_limited_by_organization_and_in_total(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, owner = running.gateway, running.owner
    path = f"/api/v1/syncs/{(await running.post()).json()['id']}/events"

    for name in ("_OF_ORGANIZATION", "_IN_ALL"):
        with monkeypatch.context() as patch:
            patch.setattr(streams, name, 2)
            async with opened(gateway, owner.client, path, 2):
                assert (await owner.client.get(path)).status_code == 429


@pytest.mark.rule("L9")
async def test_waiting_stream_uses_no_connection(running: Running) -> None:
    gateway = running.gateway
    path = f"/api/v1/syncs/{(await running.post()).json()['id']}/events"

    async with opened(gateway, running.owner.client, path, 6), asyncio.timeout(10):
        while gateway.context.engine.pool.checkedout():  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert gateway.context.open_streams["all"] == 6


def test_two_organizations_leave_streams_to_others() -> None:
    assert 3 * streams._OF_ORGANIZATION <= streams._IN_ALL


def test_all_stream_routes_are_counted() -> None:
    folder = Path(gateway_package.__file__).parent
    made = 'media_type="text/event-stream"'
    # An answer whose whole text exists keeps no connection open.
    places = [
        path.name
        for path in folder.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if made in line and " Response(" not in line
    ]

    assert places == ["streams.py"]
