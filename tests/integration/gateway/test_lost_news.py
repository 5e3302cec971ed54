"""Gateway and connector together, with messages lost between them: what one asks, the other answers."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts import topics
from libs.common.contracts.commands import CancelSync
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.received import MessageReader, Received
from libs.common.contracts.topics import Topic
from libs.common.database import build_engine
from libs.common.settings import PostgresSettings
from services.connector.commands import store_command
from services.gateway.events import follow
from services.gateway.syncs.silent_runs import follow_silent_runs
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_instances import connected
from tests.servers import Database


class Both:
    """The two services and what waits between them. Each message is carried once, or lost."""

    def __init__(self, gateway: Gateway, engine: AsyncEngine, owner: Person, instance_id: UUID) -> None:
        self.gateway, self.engine, self.owner, self.instance_id = gateway, engine, owner, instance_id

    async def waiting(self, service: str, topic: Topic) -> list[Received]:
        """Take what a service has to say from its outbox."""
        rows = await self.gateway.execute(
            f"UPDATE {service}.outbox SET sent_at = now() WHERE sent_at IS NULL AND topic = :topic "  # noqa: S608  fixed names
            "RETURNING id, key, headers, body",
            topic=topic.name,
        )
        reader, messages = MessageReader(topic), []
        for _, key, headers, body in sorted(rows, key=lambda row: row[0]):
            pairs = [(name, value.encode()) for name, value in headers.items()]
            message = reader.read(key.encode(), body, pairs, self.gateway.clock.now)
            assert message is not None
            messages.append(message)
        return messages

    async def carry_commands(self) -> None:
        for message in await self.waiting("gateway", topics.SYNC_COMMANDS):
            await store_command(self.engine, message, self.gateway.clock)

    async def carry_events(self) -> list[str]:
        events = await self.waiting("connector", topics.SYNC_EVENTS)
        for message in events:
            await follow(self.gateway.context, message)
        return [message.type for message in events]

    async def lose_events(self) -> list[str]:
        return [message.type for message in await self.waiting("connector", topics.SYNC_EVENTS)]

    async def sync_now(self) -> str:
        answer = await self.owner.client.post(
            f"/api/v1/instances/{self.instance_id}/syncs", headers={"x-csrf-token": await self.owner.csrf()}
        )
        sync_id: str = answer.json()["id"]
        return sync_id

    async def state_of(self, sync_id: str) -> str:
        state: str = (await self.owner.client.get(f"/api/v1/syncs/{sync_id}")).json()["state"]
        return state


@pytest.fixture
async def both(gateway: Gateway, database: Database) -> AsyncIterator[Both]:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    engine = build_engine(PostgresSettings(database_url=database.url("connector")), service="connector")
    two = Both(gateway, engine, owner, instance_id)
    await two.waiting("gateway", topics.SYNC_COMMANDS)
    yield two
    await engine.dispose()


async def begun(both: Both) -> tuple[str, UUID]:
    """Ask for a sync of which both services know; return sync and run."""
    sync_id = await both.sync_now()
    await both.carry_commands()
    await both.carry_events()
    [[run_id]] = await both.gateway.execute("SELECT run_id FROM connector.runs")
    return sync_id, run_id


async def end_run(both: Both, run_id: UUID) -> None:
    """Let the connector end the run by a command of somebody else."""
    cancel = CancelSync(command_id=run_id, instance_id=both.instance_id, run_id=run_id)
    message = Received(
        cancel,
        "CancelSync",
        "1",
        InstanceKey(both.owner.organization_id, both.instance_id),
        {},
        both.gateway.clock.now,
    )
    await store_command(both.engine, message, both.gateway.clock)


async def test_lost_end_is_reported_again_when_asked(both: Both) -> None:
    sync_id, run_id = await begun(both)
    await end_run(both, run_id)
    lost = await both.lose_events()
    both.gateway.clock.advance(minutes=3)

    await follow_silent_runs(both.gateway.context)
    await both.carry_commands()
    told = await both.carry_events()

    assert lost == ["SyncCancelled"]
    assert told == ["SyncQueued", "SyncCancelled"]
    assert await both.state_of(sync_id) == "cancelled"


async def test_waiting_run_is_reported_again(both: Both) -> None:
    sync_id, _ = await begun(both)
    both.gateway.clock.advance(minutes=3)

    await follow_silent_runs(both.gateway.context)
    await both.carry_commands()
    told = await both.carry_events()

    assert told == ["SyncQueued"]
    assert await both.sync_now() == sync_id


async def test_restored_gateway_learns_the_end(both: Both) -> None:
    sync_id, run_id = await begun(both)
    await end_run(both, run_id)
    await both.carry_events()
    await both.gateway.execute(
        "UPDATE gateway.runs SET state = 'running', ended_at = NULL, heard_at = NULL, started_at = :at",
        at=both.gateway.clock.now,
    )
    await both.gateway.execute("DELETE FROM gateway.sync_events WHERE type = 'SyncCancelled'")
    both.gateway.clock.advance(minutes=3)

    await follow_silent_runs(both.gateway.context, is_restart=True)
    await both.carry_commands()
    await both.carry_events()

    assert await both.state_of(sync_id) == "cancelled"


async def test_connector_that_lost_the_run_begins_another(both: Both) -> None:
    sync_id, run_id = await begun(both)
    await both.gateway.execute("DELETE FROM connector.runs")
    await both.gateway.execute("DELETE FROM connector.outbox")
    both.gateway.clock.advance(minutes=3)

    await follow_silent_runs(both.gateway.context)
    await both.carry_commands()
    await both.carry_events()

    assert await both.state_of(sync_id) == "queued"
    rows = await both.gateway.execute("SELECT state, code FROM gateway.runs WHERE run_id = :run", run=run_id)
    assert rows == [("failed", "run_timeout")]


async def test_cancel_of_an_ended_run_learns_its_end(both: Both) -> None:
    sync_id, run_id = await begun(both)
    await end_run(both, run_id)
    await both.lose_events()
    both.gateway.clock.advance(minutes=3)

    await both.owner.client.post(
        f"/api/v1/syncs/{sync_id}/cancel", headers={"x-csrf-token": await both.owner.csrf()}
    )
    await both.carry_commands()
    told = await both.carry_events()

    assert told == ["SyncCancelled"]
    rows = await both.gateway.execute("SELECT state, is_assumed FROM gateway.runs")
    assert rows == [("cancelled", False)]
