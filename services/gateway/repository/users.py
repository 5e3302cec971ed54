"""Users, who may be members of several organizations."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.repository.rows import first_of
from services.gateway.tables import users


@dataclass(frozen=True, slots=True)
class Account:
    """The columns of a user that sign-in needs; `organization_id` is None for a member of no organization."""

    user_id: UUID
    password_hash: str
    organization_id: UUID | None


async def account_of(connection: AsyncConnection, email: str) -> Account | None:
    """Return the account with this e-mail address, with the organization used last."""
    statement = text("SELECT * FROM gateway.user_by_email(:email)")
    return first_of(Account, await connection.execute(statement, {"email": email}))


async def exist(connection: AsyncConnection) -> bool:
    """Return whether there is any user, in all organizations."""
    return (await connection.execute(select(users.c.user_id).limit(1))).first() is not None


async def id_of(connection: AsyncConnection, email: str) -> UUID | None:
    """Return the user, of all organizations, with this e-mail address."""
    user_id: UUID | None = (
        await connection.execute(select(users.c.user_id).where(users.c.email == email))
    ).scalar()
    return user_id


async def add(
    connection: AsyncConnection, user_id: UUID, email: str, password_hash: str, now: datetime
) -> None:
    """Store a new user."""
    await connection.execute(
        insert(users).values(user_id=user_id, email=email, password_hash=password_hash, created_at=now)
    )


async def set_password_hash(connection: AsyncConnection, user_id: UUID, password_hash: str) -> None:
    """Store a new hash of the password."""
    await connection.execute(
        update(users).where(users.c.user_id == user_id).values(password_hash=password_hash)
    )
