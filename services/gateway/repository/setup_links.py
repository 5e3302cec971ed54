"""One-time links to the first account."""

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.tables import setup_links


async def add(connection: AsyncConnection, link_hash: bytes, now: datetime, expires_at: datetime) -> None:
    """Store a new link, and delete those that are too old."""
    await connection.execute(delete(setup_links).where(setup_links.c.expires_at <= now))
    await connection.execute(insert(setup_links).values(hash=link_hash, expires_at=expires_at))


async def is_valid(connection: AsyncConnection, link_hash: bytes, now: datetime) -> bool:
    """Return whether a link can still be used."""
    link = select(setup_links.c.hash).where(setup_links.c.hash == link_hash, setup_links.c.expires_at > now)
    return (await connection.execute(link)).first() is not None


async def use(connection: AsyncConnection, link_hash: bytes, now: datetime) -> bool:
    """Delete all links, so that the first account is made once; return whether this one could still be used."""
    links = await connection.execute(delete(setup_links).returning(setup_links))
    return any(link.hash == link_hash and link.expires_at > now for link in links)
