"""Lines of the audit log, which are written once and never changed."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.repository.rows import rows_of
from services.gateway.tables import audit


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who did what to what, when and from where."""

    at: datetime
    actor: str
    action: str
    target: str | None
    result: str
    address: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class StoredAuditLine(AuditLine):
    """A line with its id, which grows with time."""

    id: int


async def add(connection: AsyncConnection, organization_id: UUID, line: AuditLine) -> None:
    """Store one line."""
    await connection.execute(insert(audit).values(organization_id=organization_id, **asdict(line)))


async def newest(connection: AsyncConnection, before: int | None, limit: int) -> list[StoredAuditLine]:
    """Return the lines of the organization, newest first; those with an id less than `before` alone."""
    lines = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        lines = lines.where(audit.c.id < before)
    return rows_of(StoredAuditLine, await connection.execute(lines))
