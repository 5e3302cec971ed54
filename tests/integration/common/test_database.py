"""Statements of SQLAlchemy and of asyncpg share one transaction."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.database import build_engine, raw, transaction
from libs.common.settings import PostgresSettings
from tests.servers import Postgres


@pytest.fixture
async def engine(postgres: Postgres) -> AsyncIterator[AsyncEngine]:
    with postgres.empty_database() as database:
        postgres.execute("CREATE TABLE marks (mark int)", database.name)
        engine = build_engine(PostgresSettings(database_url=database.admin_url), service="test")
        yield engine
        await engine.dispose()


async def marks(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT mark FROM marks ORDER BY mark"))).scalars())


async def test_asyncpg_writes_are_rolled_back_with_the_transaction(engine: AsyncEngine) -> None:
    async def fail() -> None:
        async with transaction(engine) as connection:
            await (await raw(connection)).execute("INSERT INTO marks VALUES (1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert await marks(engine) == []


async def test_asyncpg_writes_are_invisible_before_the_commit(engine: AsyncEngine) -> None:
    async with transaction(engine) as connection:
        await (await raw(connection)).execute("INSERT INTO marks VALUES (1)")
        before = await marks(engine)
        await connection.execute(text("INSERT INTO marks VALUES (2)"))
        await (await raw(connection)).execute("INSERT INTO marks VALUES (3)")

    assert (before, await marks(engine)) == ([], [1, 2, 3])
