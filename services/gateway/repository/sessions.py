"""Sessions of people who are signed in."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import delete as delete_from
from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.repository.rows import first_of
from services.gateway.tables import sessions


@dataclass(frozen=True, slots=True)
class Membership:
    """An organization of a user, with the role that the user has there."""

    id: UUID
    slug: str
    name: str
    is_demo: bool
    role: str


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session with its user. `organization_id` is where it began; `organizations` begins with the one used last."""

    session_id: UUID
    user_id: UUID
    email: str
    organization_id: UUID
    seen_at: datetime
    expires_at: datetime
    organizations: tuple[Membership, ...]


async def by_hash(connection: AsyncConnection, secret_hash: bytes) -> StoredSession | None:
    """Return the session of any organization whose secret has this hash."""
    statement = text("SELECT * FROM gateway.session_by_hash(:hash)")
    return first_of(StoredSession, await connection.execute(statement, {"hash": secret_hash}))


async def add(
    connection: AsyncConnection,
    organization_id: UUID,
    user_id: UUID,
    secret_hash: bytes,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Store a new session."""
    await connection.execute(
        insert(sessions).values(
            organization_id=organization_id,
            session_id=uuid4(),
            hash=secret_hash,
            user_id=user_id,
            created_at=now,
            seen_at=now,
            expires_at=expires_at,
        )
    )


async def mark_seen(connection: AsyncConnection, session_id: UUID, now: datetime) -> None:
    """Store that the session was used now."""
    await connection.execute(update(sessions).where(sessions.c.session_id == session_id).values(seen_at=now))


async def delete(connection: AsyncConnection, session_id: UUID | None) -> None:
    """Delete a session, in whichever organization it began."""
    await connection.execute(delete_from(sessions).where(sessions.c.session_id == session_id))


async def delete_of_user(connection: AsyncConnection, user_id: UUID) -> None:
    """Delete all sessions of a user, in all organizations."""
    await connection.execute(delete_from(sessions).where(sessions.c.user_id == user_id))
