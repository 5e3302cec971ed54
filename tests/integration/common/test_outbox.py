"""The outbox on a real PostgreSQL and a real Kafka: messages are in order and never lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.commands import CancelSync
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.topics import SYNC_COMMANDS
from libs.common.database import build_engine, transaction
from libs.common.errors import Transient
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import Outgoing, enqueue, outgoing, relay, relay_once
from libs.common.settings import KafkaSettings, PostgresSettings
from services.scheduler.tables import outbox
from tests.servers import Database

AT = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)
INSTANCE = UUID("5b0f1f7e-1c1e-4b43-9a1b-1f6a5a0c7d11")


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = build_engine(PostgresSettings(database_url=database.url("scheduler")), service="scheduler")
    yield engine
    await engine.dispose()


@pytest.fixture
async def publisher(kafka: str) -> AsyncIterator[Publisher]:
    publisher = Publisher(KafkaSettings(kafka_bootstrap=kafka))
    yield publisher
    await publisher.close()


class DiesAfterPublishing:
    """A publisher whose process is gone before it could mark anything as sent."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher

    async def publish(self, records: Sequence[Record]) -> None:
        await self.publisher.publish(records)
        raise asyncio.CancelledError


def messages(count: int) -> list[Outgoing]:
    """Return commands about one instance, so that they have one order."""
    return [
        outgoing(
            SYNC_COMMANDS,
            CancelSync(command_id=UUID(int=number), instance_id=INSTANCE, run_id=uuid4()),
            message_id=str(UUID(int=number)),
            source="scheduler",
            instance=InstanceKey(INSTANCE, INSTANCE),
            at=AT,
        )
        for number in range(count)
    ]


async def write(engine: AsyncEngine, *some: Outgoing) -> int:
    async with transaction(engine) as connection:
        return await enqueue(connection, outbox, *some)


async def waiting(engine: AsyncEngine) -> int:
    async with transaction(engine) as connection:
        unsent = select(func.count()).where(outbox.c.sent_at.is_(None))
        return (await connection.execute(unsent)).scalar_one()


async def published(bootstrap: str, *, count: int) -> list[str]:
    """Return the message ids in the order of the topic, once there are `count` and no more arrive."""
    consumer = AIOKafkaConsumer(SYNC_COMMANDS.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    ids: list[str] = []
    try:
        async with asyncio.timeout(30):
            while True:
                answer = await consumer.getmany(timeout_ms=500)
                ids += [
                    dict(record.headers)["ce_id"].decode()
                    for records in answer.values()
                    for record in records
                ]
                if not answer and len(ids) >= count:
                    return ids
    finally:
        await consumer.stop()


@pytest.mark.rule("E1")
async def test_killed_relay_publishes_again_and_loses_nothing(
    engine: AsyncEngine, publisher: Publisher, kafka: str
) -> None:
    await write(engine, *messages(50))

    with pytest.raises(asyncio.CancelledError):
        await relay_once(engine, outbox, DiesAfterPublishing(publisher))  # type: ignore[arg-type]
    left = await waiting(engine)
    await relay_once(engine, outbox, publisher)

    assert (left, await waiting(engine)) == (50, 0)
    ids = [message.message_id for message in messages(50)]
    assert await published(kafka, count=100) == ids + ids


async def test_two_relays_publish_each_message_once_and_in_order(
    engine: AsyncEngine, publisher: Publisher, kafka: str
) -> None:
    other = Publisher(KafkaSettings(kafka_bootstrap=kafka))
    stop = asyncio.Event()
    relays = [
        asyncio.create_task(relay(engine, outbox, publisher_, stop)) for publisher_ in (publisher, other)
    ]

    for message in messages(300):
        await write(engine, message)
    ids = await published(kafka, count=300)
    stop.set()
    await asyncio.gather(*relays)
    await other.close()

    assert ids == [message.message_id for message in messages(300)]


async def test_repeated_message_is_stored_once(engine: AsyncEngine) -> None:
    assert await write(engine, *messages(3)) == 3
    assert await write(engine, *messages(5)) == 2


async def test_rolled_back_message_is_never_sent(engine: AsyncEngine) -> None:
    async def fail() -> None:
        async with transaction(engine) as connection:
            await enqueue(connection, outbox, *messages(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert await waiting(engine) == 0


async def test_messages_wait_while_kafka_is_away(engine: AsyncEngine) -> None:
    await write(engine, *messages(2))
    nowhere = Publisher(KafkaSettings(kafka_bootstrap="127.0.0.1:1"))

    with pytest.raises(Transient):
        await relay_once(engine, outbox, nowhere)

    assert await waiting(engine) == 2
