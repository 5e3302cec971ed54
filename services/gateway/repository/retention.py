"""Deletes rows that are no longer needed."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_KEPT: Final = {
    "gateway.sync_events WHERE at": timedelta(days=2),
    "gateway.checks WHERE started_at": timedelta(days=30),
    "gateway.syncs WHERE requested_at": timedelta(days=400),
    "gateway.runs WHERE coalesce(ended_at, started_at)": timedelta(days=400),
    "gateway.sessions WHERE expires_at": timedelta(0),
    "gateway.idempotency WHERE at": timedelta(days=1),
    "gateway.attempts WHERE last_at": timedelta(days=2),
    "gateway.known_places WHERE last_at": timedelta(days=30),
}


async def delete_old_rows(connection: AsyncConnection, now: datetime) -> None:
    """Delete the rows of all organizations that are older than the age for which their table keeps them."""
    for rows, age in _KEPT.items():
        statement = text(f"DELETE FROM {rows} < :before")  # noqa: S608  fixed names
        await connection.execute(statement, {"before": now - age})
