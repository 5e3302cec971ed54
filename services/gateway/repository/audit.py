"""Lines of the audit log, which are written once and never changed."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, Unpack
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.repository.rows import rows_of
from services.gateway.tables import audit


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit log: who did what to what, when and from where."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str | None
    result: str
    address: str | None
    request_id: str | None


class NewEntry(TypedDict):
    """The columns of a new line."""

    organization_id: UUID
    at: datetime
    actor: str
    action: str
    target: str | None
    result: str
    address: str
    request_id: str


async def add(connection: AsyncConnection, **entry: Unpack[NewEntry]) -> None:
    """Store one line."""
    await connection.execute(insert(audit).values(**entry))


async def newest(connection: AsyncConnection, before: int | None, limit: int) -> list[AuditEntry]:
    """Return the lines of the organization, newest first; those with an id less than `before` alone."""
    lines = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        lines = lines.where(audit.c.id < before)
    return rows_of(AuditEntry, await connection.execute(lines))
