"""Gateway and connector on one database, with messages lost in between: both learn how a run ended."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.commands import CancelSync, CheckInstance, RunSync
from libs.common.contracts.instances import InstanceChanged, InstanceKey
from libs.common.contracts.received import Received
from libs.common.contracts.sync import (
    RunState,
    SyncCancelled,
    SyncProgressed,
    SyncQueued,
    SyncStarted,
    SyncSucceeded,
)
from libs.common.database import build_engine, raw, transaction
from libs.common.settings import PostgresSettings
from services.connector import events
from services.connector.commands import store_command, store_instance
from services.connector.repository import runs
from services.connector.repository.runs import Run
from services.gateway.events import follow
from services.gateway.syncs.silent_runs import follow_silent_runs
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_instances import connected
from tests.integration.gateway.test_syncs import Running
from tests.servers import Database

MODELS = {
    model.__name__: model
    for model in (
        InstanceChanged,
        CheckInstance,
        RunSync,
        CancelSync,
        SyncQueued,
        SyncStarted,
        SyncProgressed,
        SyncSucceeded,
        SyncCancelled,
    )
}


@dataclass
class Post:
    """Carry messages between the gateway and the connector."""

    running: Running
    engine: AsyncEngine

    async def to_connector(self) -> None:
        clock = self.running.gateway.clock
        for message in await self._collect("gateway"):
            if message.type == "InstanceChanged":
                await store_instance(self.engine, message.body, clock)
            elif message.type != "CheckInstance":
                await store_command(self.engine, message, clock)

    async def to_gateway(self) -> None:
        for message in await self._collect("connector"):
            await follow(self.running.gateway.context, message)

    async def lose(self) -> None:
        """Lose the events of the connector."""
        await self._collect("connector")

    async def _collect(self, schema: str) -> list[Received]:
        rows = await self.running.gateway.execute(
            f"""SELECT message_id, headers, convert_from(body, 'UTF8') AS body FROM {schema}.outbox
            WHERE sent_at IS NULL ORDER BY id"""  # noqa: S608  fixed names
        )
        await self.running.gateway.execute(f"UPDATE {schema}.outbox SET sent_at = now()")  # noqa: S608  fixed names
        return [
            Received(
                MODELS[row.headers["ce_type"]].model_validate_json(row.body),
                row.headers["ce_type"],
                row.message_id,
                self.instance,
                row.headers,
                datetime.fromisoformat(row.headers["ce_time"]),
            )
            for row in rows
        ]

    @property
    def instance(self) -> InstanceKey:
        return InstanceKey(self.running.owner.organization_id, self.running.instance_id)

    async def begin_run(self) -> Run:
        """Let a worker claim the queued run."""
        clock = self.running.gateway.clock
        async with transaction(self.engine) as connection:
            run = await runs.claim(await raw(connection), "worker", 60, clock())
        assert run is not None
        return run

    async def end_run(self, run: Run) -> None:
        """Let the run succeed."""
        event = SyncSucceeded(
            run_id=run.run_id,
            mode=run.mode,
            started_at=run.started_at,
            outcome="complete",
            counts={"customer": 7},
            changes={},
            positions={},
        )
        async with transaction(self.engine) as connection:
            await runs.end(await raw(connection), run, RunState.SUCCEEDED)
            await events.send_end(connection, self.instance, event, self.running.gateway.clock())

    async def ask(self) -> None:
        """Let the gateway ask about silent runs, and carry question and answer."""
        self.running.gateway.clock.advance(minutes=3)
        await follow_silent_runs(self.running.gateway.context)
        await self.to_connector()
        await self.to_gateway()

    async def state(self, sync_id: str) -> str:
        state: str = (await self.running.get(sync_id))["state"]
        return state


@pytest.fixture
async def post(gateway: Gateway, database: Database) -> AsyncIterator[Post]:
    owner = await gateway.owner()
    running = Running(gateway, owner, await connected(gateway, owner))
    engine = build_engine(PostgresSettings(database_url=database.url("connector")), service="connector")
    yield Post(running, engine)
    await engine.dispose()


async def request_sync(post: Post) -> str:
    """Request a sync whose command reaches the connector."""
    sync_id: str = (await post.running.post()).json()["id"]
    await post.to_connector()
    return sync_id


async def test_lost_end_is_asked_for(post: Post) -> None:
    sync_id = await request_sync(post)
    run = await post.begin_run()
    await post.to_gateway()
    await post.end_run(run)
    await post.lose()
    assert await post.state(sync_id) == "queued"

    await post.ask()

    assert await post.state(sync_id) == "succeeded"
    assert (await post.running.get(sync_id))["counts"] == {"customer": 7}


async def test_restored_gateway_gets_the_end_again(post: Post) -> None:
    sync_id = await request_sync(post)
    run = await post.begin_run()
    await post.end_run(run)
    await post.to_gateway()
    ended = await post.running.get(sync_id)
    await post.running.gateway.execute(
        """UPDATE gateway.runs SET state = 'running', ended_at = NULL, counts = NULL, changes = NULL, progress = '{}'"""
    )
    await post.running.gateway.execute("DELETE FROM gateway.sync_events")

    await post.ask()

    restored = await post.running.get(sync_id)
    assert await post.state(sync_id) == "succeeded"
    assert restored | {"heard_at": None} == ended | {"heard_at": None}


async def test_end_without_its_run_is_stored(post: Post) -> None:
    sync_id = await request_sync(post)
    run = await post.begin_run()
    await post.lose()
    await post.end_run(run)
    await post.to_gateway()
    post.running.run_id = run.run_id
    await post.running.queued(sync_id)

    await post.ask()

    assert await post.state(sync_id) == "succeeded"


async def test_silent_run_answers_that_it_is_running(post: Post) -> None:
    sync_id = await request_sync(post)
    await post.to_gateway()
    await post.begin_run()
    await post.lose()
    assert await post.state(sync_id) == "queued"

    await post.ask()

    sync_now = await post.running.get(sync_id)
    assert sync_now["state"] == "running"
    assert sync_now["heard_at"] == "2026-03-01T12:03:00Z"
    assert (await post.running.post()).json()["id"] == sync_id


async def test_waiting_run_is_reported_again(post: Post) -> None:
    sync_id = await request_sync(post)
    await post.to_gateway()

    await post.ask()

    assert await post.state(sync_id) == "queued"
    assert (await post.running.post()).json()["id"] == sync_id


async def test_restored_connector_begins_another_run(post: Post) -> None:
    sync_id = await request_sync(post)
    lost = await post.begin_run()
    await post.to_gateway()
    await post.running.gateway.execute("DELETE FROM connector.runs")
    await post.running.gateway.execute("UPDATE connector.instances SET lease_until = NULL")

    await post.ask()
    again = await post.begin_run()
    await post.end_run(again)
    await post.to_gateway()

    assert again.run_id != lost.run_id
    assert await post.state(sync_id) == "succeeded"
    ends = "SELECT state, code FROM gateway.runs WHERE run_id = :run_id"
    assert await post.running.gateway.execute(ends, run_id=lost.run_id) == [("failed", "run_timeout")]


@pytest.mark.parametrize("is_lost", [False, True], ids=["known run", "lost run"])
async def test_cancel_is_answered_for_any_run(post: Post, is_lost: bool) -> None:
    sync_id = await request_sync(post)
    await post.to_gateway()
    if is_lost:
        await post.running.gateway.execute("DELETE FROM connector.runs")
    headers = {"x-csrf-token": await post.running.owner.csrf()}

    await post.running.owner.client.post(f"/api/v1/syncs/{sync_id}/cancel", headers=headers)
    assert await post.state(sync_id) == "queued"
    await post.to_connector()
    await post.to_gateway()

    assert await post.state(sync_id) == "cancelled"


async def test_cancel_of_an_ended_run_learns_its_end(post: Post) -> None:
    sync_id = await request_sync(post)
    await post.to_gateway()
    await post.end_run(await post.begin_run())
    await post.lose()
    post.running.gateway.clock.advance(minutes=3)
    headers = {"x-csrf-token": await post.running.owner.csrf()}

    await post.running.owner.client.post(f"/api/v1/syncs/{sync_id}/cancel", headers=headers)
    assert await post.state(sync_id) == "cancelled"
    await post.to_connector()
    await post.to_gateway()

    assert await post.state(sync_id) == "succeeded"


async def test_resumed_instance_syncs_after_a_lost_pause(post: Post) -> None:
    first = await request_sync(post)
    await post.begin_run()
    await post.to_gateway()
    path = f"/api/v1/instances/{post.running.instance_id}"
    headers = {"x-csrf-token": await post.running.owner.csrf()}
    for state in ("paused", "active"):
        answer = await post.running.owner.client.patch(path, json={"state": state}, headers=headers)
        assert answer.status_code == 200, answer.text
    await post.to_connector()
    await post.lose()

    second = await request_sync(post)
    run = await post.begin_run()
    await post.end_run(run)
    await post.to_gateway()

    assert second != first
    assert [await post.state(sync_id) for sync_id in (first, second)] == ["cancelled", "succeeded"]
