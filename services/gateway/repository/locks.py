"""Locks that replicas hold while they do what must be done once."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def hold(connection: AsyncConnection, name: str) -> None:
    """Wait until no other transaction holds the lock of this name, and hold it until this one ends."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"gateway.{name}"}
    )
