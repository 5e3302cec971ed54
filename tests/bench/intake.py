"""P2, P3: the intake of metrics as it runs, beside bare reading, bare storing, and its own SQL on a loop without FastStream."""

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
from tests.bench.ground import Ground, Whmcs, instance
from tests.bench.ratio import Line, compare, line
from tests.servers import Database, recreate_topics

_BATCH = 2_000
_TABLES = ("versions", "records", "dirty", "positions")
_STORE_VERSIONS = f"""
INSERT INTO metrics.versions ({", ".join(VERSION)})
SELECT organization_id, instance_id, kind, id, epoch, seq, observed_at, body::jsonb, owner_kind, owner_id FROM {unnest(VERSION)}
ON CONFLICT DO NOTHING"""  # noqa: S608  fixed names
_STORE_RECORDS = f"""
INSERT INTO metrics.records (organization_id, instance_id, kind, id, epoch, seq, customer_id, currency, gone)
SELECT * FROM {unnest(RECORD)}
ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,
    gone = excluded.gone, customer_id = excluded.customer_id, currency = excluded.currency"""  # noqa: S608  fixed names


class Bench:
    """All facts of one company on Kafka, and empty tables before each go."""

    def __init__(self, ground: Ground, database: Database, total: int) -> None:
        self._ground, self._database, self._total = ground, database, total
        self._settings = Settings(database_url=database.url("metrics"), kafka_bootstrap=ground.bootstrap)
        self._engine = build_engine(self._settings, service="metrics")
        self._publisher = Publisher(self._settings)
        self._intake = Intake(self._engine, self._publisher)

    async def aclose(self) -> None:
        """Give everything back."""
        await self._publisher.close()
        await self._engine.dispose()

    async def prepare(self) -> list[ConsumerRecord]:
        """Make the instance known; returns every record once, as it is read."""
        async with transaction(self._engine) as connection:
            await instances.store(await raw(connection), instance())
        return [record async for batch in self._batches() for record in batch]

    def _forget(self) -> None:
        tables = ", ".join(f"metrics.{table}" for table in _TABLES)
        self._ground.postgres.execute(f"TRUNCATE {tables}", self._database.name)

    async def _batches(self) -> AsyncIterator[list[ConsumerRecord]]:
        """Batches of a consumer as bare as it can be, which joins a group and commits as ours does."""
        consumer = AIOKafkaConsumer(
            *(topic.name for topic in topics.BILLING),
            bootstrap_servers=self._ground.bootstrap,
            group_id=f"bench-{uuid4()}",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=100,
        )
        await consumer.start()
        try:
            left = self._total
            while left:
                found = await consumer.getmany(timeout_ms=50, max_records=_BATCH)
                batch = [record for records in found.values() for record in records]
                if batch:
                    left -= len(batch)
                    yield batch
                    await consumer.commit()
        finally:
            await consumer.stop()

    async def service(self) -> float:
        """The subscription of the service: facts per second from the first batch to the end of the last."""
        self._forget()
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
        """The same code behind a bare loop."""
        self._forget()
        began = 0.0
        async for batch in self._batches():
            began = began or time.perf_counter()
            await self._intake.apply(batch)
        return self._total / (time.perf_counter() - began)

    async def bare_consume(self) -> float:
        """Reading alone, from the first batch on: what it took to come is not counted, and neither is it."""
        began, read = 0.0, -_BATCH
        async for batch in self._batches():
            read = read + len(batch) if began else 0
            began = began or time.perf_counter()
        return read / (time.perf_counter() - began)

    async def bare_upsert(self, records: Sequence[ConsumerRecord]) -> float:
        """The same rows into the same tables by the plainest statements, from columns that are ready."""
        self._forget()
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


async def measure(ground: Ground, whmcs: Whmcs) -> list[Line]:
    """P2 and P3."""
    await recreate_topics(ground.bootstrap)
    with ground.postgres.fresh_database() as database:
        async with (
            reading(ground, database, whmcs) as connector,
            Client(connector.settings, whmcs.credentials) as client,
        ):
            total, _ = await connector.sync(client)
        async with contextlib.aclosing(Bench(ground, database, total)) as bench:
            records = await bench.prepare()
            gc.freeze()  # what the bench itself holds must not cost the collector of ours anything
            alone = await compare(bench.service, bench.bare_consume, lambda: bench.bare_upsert(records))
            beside = await compare(bench.service, bench.same_sql)
    return [
        line("P2", "intake / min(bare consume, bare unnest upsert)", alone, 0.50, 0.70),
        line("P3", "intake / the same SQL on a bare aiokafka loop", beside, 0.85, 0.95),
    ]
