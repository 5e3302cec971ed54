"""Backfills on a real PostgreSQL: small transactions that are killed, resumed and never repeated."""

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.database import build_engine
from libs.common.migrations import migrate, prepare, upgrade_service
from libs.common.settings import PostgresSettings
from tests.servers import REPOSITORY, Database, Postgres

ROWS = 1_000_000
MEBIBYTE = 1024  # resource counts in KiB

# Three instances, observed in 200 hours that lie across all their rows, as in years of syncs.
VERSIONS = f"""INSERT INTO metrics.versions (organization_id, instance_id, kind, id, epoch, seq, observed_at, body)
    SELECT md5('organization')::uuid, md5('instance' || n % 3)::uuid, (ARRAY['customer', 'invoice', 'product'])[n % 7 % 3 + 1],
        n, 1, n, timestamptz '2026-01-01T00:00:00Z' + n % 200 * interval '1 hour' + n % 3001 * interval '1 second', NULL
    FROM generate_series(1, {ROWS}) n"""  # noqa: S608  a number of ours
INSTANCES = """INSERT INTO metrics.instances
    SELECT md5('organization')::uuid, md5('instance' || n)::uuid, 'Main', 'active', '{"time_zone": "Asia/Tokyo"}', 1
    FROM generate_series(0, 2) n"""
FRESHNESS = """INSERT INTO metrics.freshness (organization_id, instance_id, run_id, as_of, first_on, last_on, kinds)
    SELECT organization_id, instance_id, md5('run' || instance_id)::uuid, '2026-01-09T00:00:00Z', '2026-01-01', '2026-01-10',
        '{"invoice": {"read_at": "2026-01-09T00:00:00Z"}, "addon": {"code": "permission_missing", "read_at": null}}'
    FROM metrics.instances"""

READINGS = """SELECT instance_id, started_at, ended_at, kinds FROM metrics.readings ORDER BY 1, 2, 3"""
EXPECTED_READINGS = """SELECT instance_id, min(observed_at), max(observed_at), array_agg(DISTINCT kind ORDER BY kind)
    FROM metrics.versions GROUP BY instance_id, date_trunc('hour', observed_at)
    UNION ALL SELECT instance_id, '2026-01-09T00:00:00Z', greatest('2026-01-09T00:00:00Z', max(observed_at)), '{invoice}'
    FROM metrics.versions GROUP BY instance_id ORDER BY 1, 2, 3"""


@asynccontextmanager
async def owner_of(database: Database) -> AsyncIterator[AsyncConnection]:
    engine = build_engine(PostgresSettings(database_url=database.admin_url), service="test")
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def at_first_version(database: Database, connection: AsyncConnection) -> None:
    """Bring an empty database to the first version of metrics."""
    await connection.run_sync(prepare)
    await connection.commit()
    await connection.run_sync(upgrade_service, "metrics", "0001")


def start_migrate(database: Database) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "MRRLYTICS_DATABASE_URL": database.admin_url,
        "MRRLYTICS_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "MRRLYTICS_TOPICS_MANAGED": "true",
    }
    return subprocess.Popen([sys.executable, "-m", "mrrlytics", "migrate"], env=environment, cwd=REPOSITORY)


async def rows_read(connection: AsyncConnection) -> int:
    """Return how many versions the committed batches have read."""
    try:
        position = "SELECT position FROM metrics.backfills WHERE name = 'past_readings'"
        before = f"""SELECT count(*) FROM metrics.versions v, jsonb_populate_record(NULL::metrics.versions, ({position})) p
            WHERE (v.organization_id, v.instance_id, v.kind, v.id) <= (p.organization_id, p.instance_id, p.kind, p.id)"""  # noqa: S608
        return int((await connection.execute(text(before))).scalar_one())
    finally:
        await connection.commit()


@pytest.mark.rule("D2")
async def test_killed_backfill_of_a_million_rows_continues(postgres: Postgres) -> None:
    with postgres.empty_database() as database:
        async with owner_of(database) as connection:
            await at_first_version(database, connection)
            # The key is built at the end: that is quicker.
            await connection.execute(text("ALTER TABLE metrics.versions DROP CONSTRAINT versions_pkey"))
            await connection.execute(text(VERSIONS))
            await connection.execute(
                text(
                    """ALTER TABLE metrics.versions
                    ADD PRIMARY KEY (organization_id, instance_id, kind, id, epoch, seq)"""
                )
            )
            for statement in (INSTANCES, FRESHNESS):
                await connection.execute(text(statement))
            await connection.commit()
            process = start_migrate(database)
            try:
                while not (done := await rows_read(connection)):
                    assert process.poll() is None
                    await asyncio.sleep(0.05)
            finally:
                process.kill()
                process.wait()
            done = await rows_read(connection)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

            # A fifteenth of the limit that all our connections have.
            await connection.execute(text("SET statement_timeout = '2s'"))
            await connection.commit()
            await connection.run_sync(upgrade_service, "metrics")

            assert 0 < done < ROWS
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 50 * MEBIBYTE
            await connection.execute(text("RESET statement_timeout"))
            readings = (await connection.execute(text(READINGS))).all()
            assert len(readings) == 3 * 201
            assert readings == (await connection.execute(text(EXPECTED_READINGS))).all()
            freshness = await connection.execute(
                text(
                    "SELECT DISTINCT first_at::text, last_at::text, first_read_at::text FROM metrics.freshness"
                )
            )
            assert freshness.all() == [
                (
                    "2026-01-01 14:59:59.999999+00",
                    "2026-01-09 15:00:00+00",
                    '{"invoice": "2026-01-01T14:59:59.999999+00:00"}',
                )
            ]


async def test_rows_migrated_by_an_older_release_stay(database: Database) -> None:
    async with owner_of(database) as connection:
        # The release before had no such table and its migration did everything at once.
        await connection.execute(text("TRUNCATE metrics.backfills"))
        for statement in (INSTANCES, VERSIONS.replace(str(ROWS), "100")):
            await connection.execute(text(statement))
        await connection.commit()

        await migrate(PostgresSettings(database_url=database.admin_url))

        assert (await connection.execute(text(READINGS))).all() == []


async def test_two_migrations_at_once_wait_for_each_other(database: Database) -> None:
    settings = PostgresSettings(database_url=database.admin_url)

    await asyncio.gather(migrate(settings), migrate(settings))

    async with owner_of(database) as connection:
        unfinished = await connection.execute(
            text("SELECT name FROM metrics.backfills WHERE done_at IS NULL")
        )
        assert unfinished.all() == []


async def test_customers_of_products_by_name_are_computed_anew(postgres: Postgres) -> None:
    segment = """INSERT INTO metrics.segments SELECT md5('organization')::uuid, md5('instance')::uuid, kind, 1, lens, '2026-01-01',
        NULL, customer, 'EUR', 1, 'addon:7', 'Seven', 'monthly', 'active', 'observed'
        FROM (VALUES ('addon', 7), ('domain', 8)) v (kind, customer), (VALUES ('active'), ('contract')) l (lens)"""
    with postgres.empty_database() as database:
        async with owner_of(database) as connection:
            await connection.run_sync(prepare)
            await connection.commit()
            await connection.run_sync(upgrade_service, "metrics", "0003")
            await connection.execute(text(segment))
            await connection.commit()

            await connection.run_sync(upgrade_service, "metrics")

            marked = await connection.execute(text("SELECT DISTINCT customer_id, epoch FROM metrics.dirty"))
            assert marked.all() == [(7, 0)]
