"""P2, P3: the intake of metrics, compared with bare reading, bare storing, and its SQL in a loop without FastStream."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from libs.common.clock import utc_now
from libs.common.contracts import topics
from libs.common.database import build_engine, raw, transaction
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.publisher import Publisher
from services.connector.whmcs.client import Client
from services.metrics.decoding import decode
from services.metrics.intake import Intake
from services.metrics.repository import instances
from services.metrics.repository.driver import columns, unnest
from services.metrics.repository.records import RECORD
from services.metrics.repository.versions import VERSION
from services.metrics.settings import Settings
from tests.bench.connector import reading
from tests.bench.ratio import Line, compare, line
from tests.bench.servers import BenchServers, Pages, instance
from tests.servers import Database, recreate_topics

_BATCH = 2_000
_TABLES = ("versions", "records", "dirty", "positions")
_STORE_VERSIONS = f"""
INSERT INTO metrics.versions ({", ".join(VERSION)})
SELECT organization_id, instance_id, kind, id, epoch, seq, observed_at, body::jsonb, owner_kind, owner_id FROM {unnest(VERSION)}
ON CONFLICT DO NOTHING"""  # noqa: S608  fixed names
_STORE_RECORDS = f"""
INSERT INTO metrics.records (organization_id, instance_id, kind, id, epoch, seq, customer_id, currency, digest, gone)
SELECT * FROM {unnest(RECORD)}
ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,
    gone = excluded.gone, digest = excluded.digest, customer_id = excluded.customer_id, currency = excluded.currency"""  # noqa: S608  fixed names


class Bench:
    """The facts of a company on Kafka, and the tables of metrics, which are emptied before each round."""

    def __init__(self, servers: BenchServers, database: Database, total: int) -> None:
        self._servers, self._database, self._total = servers, database, total
        self._settings = Settings(database_url=database.url("metrics"), kafka_bootstrap=servers.bootstrap)
        self._engine = build_engine(self._settings, service="metrics")
        self._publisher = Publisher(self._settings)
        self._intake = Intake(self._engine, self._publisher)

    async def aclose(self) -> None:
        """Close the publisher and the engine."""
        await self._publisher.close()
        await self._engine.dispose()

    async def prepare(self) -> list[ConsumerRecord]:
        """Store the instance, and return every record of the facts."""
        async with transaction(self._engine) as connection:
            await instances.store(await raw(connection), instance())
        return [record async for batch in self._batches() for record in batch]

    def _empty_tables(self) -> None:
        tables = ", ".join(f"metrics.{table}" for table in _TABLES)
        self._servers.postgres.execute(f"TRUNCATE {tables}", self._database.name)

    async def _batches(self) -> AsyncIterator[list[ConsumerRecord]]:
        """Yield batches of a plain consumer, which joins a group and commits as ours does."""
        consumer = AIOKafkaConsumer(
            *(topic.name for topic in topics.BILLING),
            bootstrap_servers=self._servers.bootstrap,
            group_id=f"bench-{uuid4()}",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=100,
        )
        await consumer.start()
        try:
            left = self._total
            while left:
                polled = await consumer.getmany(timeout_ms=50, max_records=_BATCH)
                batch = [record for records in polled.values() for record in records]
                if batch:
                    left -= len(batch)
                    yield batch
                    await consumer.commit()
        finally:
            await consumer.stop()

    async def service(self) -> float:
        """Return the facts per second of the service, from the first batch to the end of the last."""
        self._empty_tables()
        stop = asyncio.Event()
        left, began = self._total, 0.0

        async def apply(records: Sequence[ConsumerRecord]) -> None:
            nonlocal left, began
            began = began or time.perf_counter()
            await self._intake.apply(records)
            left -= len(records)
            if not left:
                stop.set()

        consumer = Consumer(self._settings, replica=None)
        consumer.subscribe(
            topics.BILLING, group=f"bench-{uuid4()}", apply=apply, on_assigned=self._intake.resume
        )
        consuming = asyncio.create_task(consumer.run(stop))
        await stop.wait()
        seconds = time.perf_counter() - began
        await consuming
        return self._total / seconds

    async def same_sql(self) -> float:
        """Return the facts per second of the same code in a bare loop."""
        self._empty_tables()
        began = 0.0
        async for batch in self._batches():
            began = began or time.perf_counter()
            await self._intake.apply(batch)
        return self._total / (time.perf_counter() - began)

    async def bare_consume(self) -> float:
        """Return the facts per second of reading alone, from the second batch on.

        The first batch only starts the clock, because its waiting time is not reading.
        """
        began, read = 0.0, -_BATCH
        async for batch in self._batches():
            read = read + len(batch) if began else 0
            began = began or time.perf_counter()
        return read / (time.perf_counter() - began)

    async def bare_upsert(self, records: Sequence[ConsumerRecord]) -> float:
        """Return the facts per second of storing the same rows with plain statements, from prepared columns."""
        self._empty_tables()
        batches = [_columns(records[start : start + _BATCH]) for start in range(0, len(records), _BATCH)]
        began = time.perf_counter()
        for versions, present in batches:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                await database.execute(_STORE_VERSIONS, *versions)
                await database.execute(_STORE_RECORDS, *present)
        return len(records) / (time.perf_counter() - began)


def _columns(records: Sequence[ConsumerRecord]) -> tuple[list[list[object]], list[list[object]]]:
    decoded, refused = decode(records, utc_now())
    assert not refused
    facts = [item.fact for item in decoded]
    return columns(VERSION, facts), columns(RECORD, facts)


async def measure(servers: BenchServers, pages: Pages) -> list[Line]:
    """Return the lines of P2 and P3."""
    await recreate_topics(servers.bootstrap)
    with servers.postgres.fresh_database() as database:
        async with (
            reading(servers, database, pages) as connector,
            Client(connector.settings, pages.credentials) as client,
        ):
            total, _ = await connector.sync(client)
        async with contextlib.aclosing(Bench(servers, database, total)) as bench:
            records = await bench.prepare()
            gc.freeze()  # so that collections during a round skip the records of the bench
            alone = await compare(bench.service, bench.bare_consume, lambda: bench.bare_upsert(records))
            beside = await compare(bench.service, bench.same_sql)
    return [
        line("P2", "intake / min(bare consume, bare unnest upsert)", alone, 0.50, 0.70),
        line("P3", "intake / the same SQL on a bare aiokafka loop", beside, 0.85, 0.95),
    ]
