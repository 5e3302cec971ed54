"""Events of the connector, kept two days for the streams of those who watch."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.repository.rows import rows_of
from services.gateway.tables import sync_events


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event; `id` grows with each event that is stored."""

    id: int
    type: str
    body: dict[str, Any]


class NewEvent(TypedDict):
    """The columns of an event. `subject` is the run, check or instance that it is about."""

    organization_id: UUID
    instance_id: UUID
    message_id: str
    type: str
    subject: UUID
    body: Mapping[str, Any]
    at: datetime


async def add(connection: AsyncConnection, **event: Unpack[NewEvent]) -> bool:
    """Store an event; return False when its message id is stored already."""
    statement = insert(sync_events).values(**event).on_conflict_do_nothing(index_elements=["message_id"])
    return (await connection.execute(statement.returning(sync_events.c.id))).first() is not None


async def after(
    connection: AsyncConnection, subject: UUID, last_id: int, limit: int = 100
) -> list[StoredEvent]:
    """Return the events about a run, check or instance with a greater id, in order."""
    later = select(sync_events).where(sync_events.c.subject == subject, sync_events.c.id > last_id)
    return rows_of(StoredEvent, await connection.execute(later.order_by(sync_events.c.id).limit(limit)))
