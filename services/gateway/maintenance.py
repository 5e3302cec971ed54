"""The command `mrrlytics purge`: delete rows that are kept no longer."""

import asyncio

import typer

from libs.common.clock import utc_now
from libs.common.database import build_engine, transaction
from libs.common.settings import PostgresSettings, load
from services.gateway.context import SYSTEM
from services.gateway.repository import retention


def purge() -> None:
    """Delete the gateway's rows that are older than it keeps them. A running gateway does the same each minute."""
    asyncio.run(_purge(load(PostgresSettings)))
    typer.echo("old rows are deleted")


async def _purge(settings: PostgresSettings) -> None:
    engine = build_engine(settings, service="gateway")
    try:
        async with transaction(engine, role=SYSTEM) as connection:
            await retention.delete_old_rows(connection, utc_now())
    finally:
        await engine.dispose()
