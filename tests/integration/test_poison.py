"""Every consumer parks each record that it cannot handle once, and handles all others."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import time
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import services.connector.handlers
import services.gateway.handlers
import services.metrics.handlers
import services.scheduler.handlers
from libs.common.clock import utc_now
from libs.common.contracts.envelope import partition_of
from libs.common.contracts.topics import DEAD_LETTER, Topic
from libs.common.database import build_engine
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings, PostgresSettings
from services.gateway.context import Context
from services.metrics.intake import Intake
from services.scheduler.repository import database_now
from tests.builders import INSTANCE, ORGANIZATION
from tests.integration.metrics.conftest import Tables
from tests.poison import CONSUMED, FOREIGN, Raw, good, harmless, poisons
from tests.servers import Database

GROUPS = {
    "instances": ("scheduler", "connector.instances", "metrics.instances"),
    "sync.commands": ("connector",),
    "sync.events": ("gateway", "metrics.events"),
}
SCHEMAS = ("gateway", "scheduler", "connector", "metrics")


SECONDS_PER_RECORD = 5.0


class Place(NamedTuple):
    """The position of a record for a consumer group."""

    group: str
    topic: str
    partition: int
    offset: int


class Sent(NamedTuple):
    """A record that was sent: its position, name and time in seconds."""

    topic: str
    partition: int
    offset: int
    name: str
    at: float

    def places(self) -> list[Place]:
        """Return its position for each group that reads the topic."""
        groups = GROUPS.get(self.topic, ("metrics",))
        return [Place(group, self.topic, self.partition, self.offset) for group in groups]


class System:
    """The handlers of all four services, with one database and one broker."""

    def __init__(
        self, admin: AsyncEngine, tables: Tables, producer: AIOKafkaProducer, bootstrap: str
    ) -> None:
        self.admin = admin
        self.tables = tables
        self.producer = producer
        self.bootstrap = bootstrap

    async def send(self, topic: Topic, name: str, record: Raw) -> Sent:
        """Write a record into the same partition as the good records of its topic."""
        partition = partition_of(good(topic, 1).key or b"", topic.partitions)
        done = await self.producer.send_and_wait(
            topic.name,
            record.value,
            record.key,
            partition=partition,
            headers=cast(Any, list(record.headers)),
        )
        return Sent(topic.name, done.partition, done.offset, name, done.timestamp / 1000)

    async def fetch(self, query: str) -> list[tuple[Any, ...]]:
        async with self.admin.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]

    async def until_passed(self, sent: Sent) -> dict[Place, float]:
        """Wait until each group has passed a record, and return the times."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        passed: dict[Place, float] = {}
        try:
            async with asyncio.timeout(60):
                while waiting := [place for place in sent.places() if place not in passed]:
                    for place in waiting:
                        committed = await admin.list_consumer_group_offsets(place.group)
                        reached = committed.get(TopicPartition(place.topic, place.partition))
                        if reached is not None and reached.offset > place.offset:
                            passed[place] = time()
                    await asyncio.sleep(0.05)
        finally:
            await admin.close()
        return passed

    async def parked(self, count: int) -> dict[Place, list[float]]:
        """Return the times at which each record was parked, in seconds."""
        consumer = AIOKafkaConsumer(
            DEAD_LETTER.name, bootstrap_servers=self.bootstrap, auto_offset_reset="earliest"
        )
        await consumer.start()
        moments: dict[Place, list[float]] = defaultdict(list)
        try:
            async with asyncio.timeout(30):
                while (
                    batch := await consumer.getmany(timeout_ms=500) or sum(map(len, moments.values())) < count
                ):
                    for records in batch.values() if isinstance(batch, dict) else ():
                        for record in records:
                            moments[_place(dict(record.headers))].append(record.timestamp / 1000)
        finally:
            await consumer.stop()
        return moments


def _place(headers: dict[str, bytes]) -> Place:
    """Return the position of the record in a dead letter."""
    group, topic, partition, offset = (
        headers[f"dl_{name}"].decode() for name in ("group", "topic", "partition", "offset")
    )
    return Place(group, topic, int(partition), int(offset))


def _durations(sent: list[Sent], done: dict[Place, float]) -> dict[tuple[str, str], float]:
    """Return the seconds that each record took, by group and name, after the record before it was done."""
    before: dict[tuple[str, str], float] = defaultdict(float)
    durations = {}
    for record in sent:
        for place in record.places():
            line = (place.group, place.topic)
            durations[place.group, f"{record.topic}: {record.name}"] = done[place] - max(
                before[line], record.at
            )
            before[line] = max(before[line], done[place])
    return durations


@pytest.fixture
async def system(database: Database, kafka: str) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:

        def engine(role: str) -> AsyncEngine:
            built = build_engine(PostgresSettings(database_url=database.url(role)), service="test")
            stack.push_async_callback(built.dispose)
            return built

        settings = KafkaSettings(kafka_bootstrap=kafka)
        producer = AIOKafkaProducer(bootstrap_servers=kafka, max_request_size=4 * 1024 * 1024)
        await producer.start()
        stack.push_async_callback(producer.stop)
        publisher = Publisher(settings)
        stack.push_async_callback(publisher.close)
        admin = engine("postgres")
        await _add_instance(admin)
        # The names of the programs of other tests: Kafka would keep the places of killed ones for half a minute.
        consumers = {service: Consumer(settings, replica=f"{service}-1") for service in SCHEMAS}
        services.gateway.handlers.build_handlers(
            consumers["gateway"],
            publisher,
            cast(Context, SimpleNamespace(engine=engine("gateway"), clock=utc_now)),
        )
        services.scheduler.handlers.build_handlers(
            consumers["scheduler"], publisher, engine("scheduler"), now=database_now, full_spread_seconds=0
        )
        services.connector.handlers.build_handlers(
            consumers["connector"], publisher, engine("connector"), utc_now
        )
        services.metrics.handlers.build_handlers(consumers["metrics"], publisher, engine("metrics"))
        for consumer in consumers.values():
            await stack.enter_async_context(_consuming(consumer))
        tables = Tables(engine("metrics"), database, Intake(engine("metrics"), publisher))
        yield System(admin, tables, producer, kafka)


@asynccontextmanager
async def _consuming(consumer: Consumer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    serving = asyncio.create_task(consumer.run(stop))
    yield
    stop.set()
    await serving


async def _add_instance(admin: AsyncEngine) -> None:
    """Add the instance to the gateway. The other services get it as a message."""
    async with admin.begin() as connection:
        for organization_id, name in ((ORGANIZATION, "ours"), (FOREIGN, "theirs")):
            values = {"id": organization_id, "name": name}
            columns = await connection.execute(
                text(
                    """SELECT column_name FROM information_schema.columns
                    WHERE table_schema = 'gateway' AND table_name = 'organizations' AND column_name = 'slug'"""
                )
            )
            has_slug = columns.first() is not None
            await connection.execute(
                text(
                    f"""INSERT INTO gateway.organizations (organization_id, name{", slug" if has_slug else ""})
                    VALUES (:id, :name{", :name" if has_slug else ""})"""  # noqa: S608  fixed names
                ),
                values,
            )
        await connection.execute(
            text(
                """INSERT INTO gateway.instances
                    (organization_id, instance_id, name, address, state, settings, version, created_at)
                VALUES (:organization, :instance, 'Main', 'https://whmcs.example', 'active', '{}', 1, now())"""
            ),
            {"organization": ORGANIZATION, "instance": INSTANCE},
        )


@pytest.mark.rule("E3")
@pytest.mark.rule("F21")
async def test_every_kind_of_poison_is_parked_once(system: System, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    for topic in CONSUMED:
        await system.until_passed(await system.send(topic, "good", good(topic, 1)))
    bad: list[Sent] = []
    last: list[Sent] = []
    passed: dict[Place, float] = {}
    for topic in CONSUMED:
        kinds = [*poisons(topic, 2)]
        assert len(kinds) >= 44
        assert len({name for name, _ in kinds}) == len(kinds)
        for name, record in harmless(topic, 3):
            await system.send(topic, name, record)
        bad += [await system.send(topic, name, record) for name, record in kinds]
        last.append(await system.send(topic, "good", good(topic, 9)))
        passed |= await system.until_passed(last[-1])

    expected = {place: sent.name for sent in bad for place in sent.places()}
    parked = await system.parked(len(expected))
    assert {(name, *place) for place, name in expected.items() if len(parked[place]) != 1} == set()
    assert parked.keys() == expected.keys()
    durations = _durations([*bad, *last], {place: moments[0] for place, moments in parked.items()} | passed)
    assert {name: seconds for name, seconds in durations.items() if seconds > SECONDS_PER_RECORD} == {}
    assert await system.fetch("SELECT DISTINCT epoch, seq FROM metrics.records") == [(1, 9)]
    for service in ("scheduler", "connector", "metrics"):
        versions = await system.fetch(f"SELECT organization_id, version FROM {service}.instances")  # noqa: S608
        assert versions == [(ORGANIZATION, 9)]
    counted = "SELECT count(*) FROM gateway.sync_events WHERE body #>> '{counts,service}' = '9'"
    assert await system.fetch(counted) == [(1,)]
    # No batch was tried again: no record waited for one that can never be handled.
    retried = [vars(record) for record in caplog.records if "tried again" in record.message]
    assert [(record["group"], record["error"]) for record in retried] == []
    # Metrics can compute with everything that was stored.
    await system.tables.apply()
    assert await system.fetch("SELECT instance_id FROM metrics.freshness") == [(INSTANCE,)]
    assert await system.fetch("SELECT DISTINCT kind, id FROM metrics.segments") == [("service", 7)]
    assert [record.message for record in caplog.records if "cannot be computed" in record.message] == []
    assert await _rows_of(system, FOREIGN) == {"gateway.organizations": 1}


async def _rows_of(system: System, organization_id: Any) -> dict[str, int]:
    """Return how many rows of an organization each table has."""
    tables = await system.fetch(
        "SELECT table_schema, table_name FROM information_schema.columns WHERE column_name = 'organization_id'"
        " AND table_schema IN ('gateway', 'scheduler', 'connector', 'metrics') ORDER BY 1, 2"
    )
    counts = {}
    for schema, table in tables:
        [(count,)] = await system.fetch(
            f"SELECT count(*) FROM {schema}.{table} WHERE organization_id = '{organization_id}'"  # noqa: S608
        )
        counts[f"{schema}.{table}"] = count
    return {table: count for table, count in counts.items() if count}
