"""First answers to requests with an Idempotency-Key."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete as delete_from
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.repository.rows import first_of
from services.gateway.tables import idempotency


@dataclass(frozen=True, slots=True)
class FirstTry:
    """The first request with a key, and its answer; `status` is None until it has been answered."""

    request_hash: bytes
    status: int | None
    headers: dict[str, str] | None
    body: bytes | None


async def delete_abandoned(connection: AsyncConnection, key: str, since: datetime, until: datetime) -> None:
    """Delete a first try that has no answer and did not begin in this time."""
    await connection.execute(
        delete_from(idempotency).where(
            idempotency.c.key == key,
            idempotency.c.status.is_(None),
            ~idempotency.c.at.between(since, until),
        )
    )


async def add(
    connection: AsyncConnection, organization_id: UUID, key: str, request_hash: bytes, now: datetime
) -> bool:
    """Store that the first request with a key begins; return False when there was one before."""
    first = insert(idempotency).values(
        organization_id=organization_id, key=key, request_hash=request_hash, at=now
    )
    return (await connection.execute(first.on_conflict_do_nothing())).rowcount == 1


async def read(connection: AsyncConnection, key: str) -> FirstTry | None:
    """Return the first request with a key."""
    return first_of(FirstTry, await connection.execute(select(idempotency).where(idempotency.c.key == key)))


async def store_answer(
    connection: AsyncConnection, key: str, status: int, headers: Mapping[str, str], body: bytes | None
) -> None:
    """Store the answer to the first request with a key."""
    first = update(idempotency).where(idempotency.c.key == key)
    await connection.execute(first.values(status=status, headers=dict(headers), body=body))


async def delete(connection: AsyncConnection, key: str) -> None:
    """Delete the first request with a key, so that the next one is the first."""
    await connection.execute(delete_from(idempotency).where(idempotency.c.key == key))
