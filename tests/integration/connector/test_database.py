"""The schema of the connector is what its migrations make, and no other service reads a secret from it."""

import contextlib
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from services.connector.tables import metadata
from tests.integration.connector.conftest import (
    CREDENTIAL,
    INSTANCE,
)
from tests.servers import Database


async def test_gateway_writes_credentials_and_never_reads_a_cipher(database: Database) -> None:
    connection = await asyncpg.connect(database.url("gateway").replace("+asyncpg", ""))
    try:
        await connection.execute(
            "SELECT set_config('app.organization_id', $1, false)", str(INSTANCE.organization_id)
        )
        await connection.execute(
            "INSERT INTO connector.credentials VALUES ($1, $2, $3, 'https://a', 'mrc1.x')",
            INSTANCE.organization_id,
            INSTANCE.instance_id,
            CREDENTIAL,
        )
        assert await connection.fetchval("SELECT credential_id FROM connector.credentials") == CREDENTIAL
        for column in ("cipher", "address"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT {column} FROM connector.credentials")  # noqa: S608
        assert await connection.execute("DELETE FROM connector.credentials") == "DELETE 1"
    finally:
        with contextlib.suppress(asyncpg.PostgresError):
            await connection.close()


async def test_tables_equal_what_the_migrations_make(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "connector",
                "include_object": lambda _, name, *rest: (
                    name not in {"alembic_version", "backfills", "outbox_unsent"}
                ),
            },
        )
        return compare_metadata(context, metadata)

    engine = create_async_engine(database.admin_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
