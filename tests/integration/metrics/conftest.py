"""The tables of metrics on a real PostgreSQL, filled by its own code."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceChanged
from libs.common.database import build_engine, raw, transaction
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings, PostgresSettings
from services.metrics.compute import Computing
from services.metrics.intake import Intake
from services.metrics.repository import instances
from tests.builders import ORGANIZATION, consumed, instance
from tests.servers import Database, Postgres

# It stores no reading, so figures depend on the observations of subscriptions alone.
_RUN_OF_ALL = """
INSERT INTO metrics.runs (organization_id, instance_id, run_id, started_at, ended_at, positions, epoch, kinds)
SELECT organization_id, instance_id, gen_random_uuid(), now.at, now.at, '{}',
    greatest((SELECT coalesce(max(epoch), 0) FROM metrics.versions v WHERE v.instance_id = n.instance_id), f.epoch + 1),
    (SELECT jsonb_object_agg(kind, jsonb_build_object('read_at', now.at)) FROM unnest($1::text[]) kind)
FROM metrics.instances n LEFT JOIN metrics.freshness f USING (organization_id, instance_id)
CROSS JOIN LATERAL (
    SELECT coalesce(f.as_of, '2026-01-01') + interval '1 second' AS at) now
WHERE n.state <> 'deleted'"""

_MARK_ALL = """
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
SELECT DISTINCT organization_id, instance_id, (body ->> 'customer_id')::bigint, 0 FROM metrics.versions
WHERE kind IN ('service', 'addon', 'domain') AND body IS NOT NULL"""

# Tables that depend on the facts alone, and not on the order or number of their deliveries.
FACTS = ("versions", "records", "segments", "issues", "dirty")


@dataclass(frozen=True, slots=True)
class Tables:
    """A database of metrics, and the steps that tests take with it."""

    engine: AsyncEngine
    database: Database
    intake: Intake

    async def add_instance(self, changed: InstanceChanged | None = None) -> None:
        async with transaction(self.engine) as connection:
            await instances.store(await raw(connection), changed or instance())

    async def take(self, records: Sequence[Record | ConsumerRecord]) -> None:
        """Store records as one batch."""
        plain = [record for record in records if isinstance(record, Record)]
        await self.intake.apply(consumed(plain) if plain else records)

    async def compute(self, limit: int = 500) -> None:
        """Compute until no instance is due."""
        computing = Computing(self.engine, limit)
        while await computing.compute_next(asyncio.Event()):
            pass

    async def end_run(self, *more: Kind) -> None:
        """End a run of each instance that read all that is stored of subscriptions and of more kinds."""
        await self.execute(_RUN_OF_ALL, [kind.value for kind in (*SUBSCRIPTION_KINDS, *more)])

    async def apply(self, limit: int = 500, more: Sequence[Kind] = ()) -> None:
        """End a run of each instance and compute it."""
        await self.end_run(*more)
        await self.compute(limit)

    async def take_all(self, records: Sequence[Record], batch: int = 200) -> None:
        """Store records in order, in batches, and compute at the end."""
        for start in range(0, len(records), batch):
            await self.take(records[start : start + batch])
        await self.apply()

    async def mark_all(self) -> None:
        """Mark every customer dirty."""
        await self.execute(_MARK_ALL)

    async def fetch(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async with transaction(self.engine) as connection:
            rows = await (await raw(connection)).fetch(query, *arguments)
            return [tuple(row) for row in rows]

    async def ask_as_gateway(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows that the gateway's role sees for the organization of the facts."""
        engine = build_engine(PostgresSettings(database_url=self.database.url("gateway")), service="gateway")
        async with transaction(engine, ORGANIZATION) as connection:
            rows = await (await raw(connection)).fetch(query)
        await engine.dispose()
        return [tuple(row) for row in rows]

    async def execute(self, statement: str, *arguments: Any) -> None:
        async with transaction(self.engine) as connection:
            await (await raw(connection)).execute(statement, *arguments)

    async def content(self, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
        """Return all rows of the tables, sorted."""
        return {
            table: sorted(await self.fetch(f"SELECT t::text FROM metrics.{table} t"))  # noqa: S608  fixed names
            for table in tables or FACTS
        }

    async def places(self, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
        """Return the place and the writing transaction of each row; both stay equal while nothing is written."""
        return {
            table: sorted(await self.fetch(f"SELECT ctid::text, xmin::text FROM metrics.{table}"))  # noqa: S608  fixed names
            for table in tables or FACTS
        }


def open_tables(database: Database, publisher: Publisher) -> Tables:
    engine = build_engine(PostgresSettings(database_url=database.url("metrics")), service="metrics")
    return Tables(engine, database, Intake(engine, publisher))


@pytest.fixture
async def publisher(kafka_broker: str) -> AsyncIterator[Publisher]:
    """Yield a publisher. It connects when it publishes; a test that reads its messages also needs `kafka`."""
    publisher = Publisher(KafkaSettings(kafka_bootstrap=kafka_broker))
    yield publisher
    await publisher.close()


@pytest.fixture
async def tables(database: Database, publisher: Publisher) -> AsyncIterator[Tables]:
    """Yield a migrated database with one instance."""
    tables = open_tables(database, publisher)
    await tables.add_instance()
    yield tables
    await tables.engine.dispose()


@pytest.fixture
async def others(postgres: Postgres, publisher: Publisher) -> AsyncIterator[Tables]:
    """Yield a second database, to compare with."""
    with postgres.fresh_database() as database:
        tables = open_tables(database, publisher)
        await tables.add_instance()
        yield tables
        await tables.engine.dispose()
