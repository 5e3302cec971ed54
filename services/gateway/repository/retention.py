"""How long rows are kept that are of no use any more."""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_KEPT: Final = {
    "gateway.sync_events WHERE at": "2 days",
    "gateway.checks WHERE started_at": "30 days",
    "gateway.syncs WHERE requested_at": "400 days",
    "gateway.runs WHERE coalesce(ended_at, started_at)": "400 days",
    "gateway.sessions WHERE expires_at": "0 days",
    "gateway.idempotency WHERE at": "1 day",
    "gateway.attempts WHERE last_at": "2 days",
    "gateway.known_places WHERE last_at": "30 days",
}


async def delete_old_rows(connection: AsyncConnection, now: datetime) -> None:
    """Delete the rows of all organizations that are older than they are kept."""
    for rows, age in _KEPT.items():
        statement = f"DELETE FROM {rows} < CAST(:now AS timestamptz) - CAST(:age AS interval)"  # noqa: S608  fixed names
        await connection.execute(text(statement), {"now": now, "age": age})
