"""API tokens, stored as hashes."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.repository.rows import first_of, rows_of
from services.gateway.tables import tokens, users


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as it is first stored."""

    organization_id: UUID
    token_id: UUID
    hash: bytes
    name: str
    prefix: str
    scopes: tuple[str, ...]
    user_id: UUID
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as its organization sees it; `email` is that of its maker."""

    token_id: UUID
    name: str
    prefix: str | None
    email: str | None
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """A token with the organization and the user on whose behalf it asks; `role` is that of the user."""

    token_id: UUID
    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    last_used_at: datetime | None
    user_id: UUID
    email: str
    role: str
    organization_id: UUID
    organization_name: str
    organization_slug: str
    is_demo: bool


async def by_hash(connection: AsyncConnection, secret_hash: bytes) -> TokenHolder | None:
    """Return the token of any organization whose secret has this hash, unless it is revoked."""
    statement = text("SELECT * FROM gateway.token_by_hash(:hash)")
    return first_of(TokenHolder, await connection.execute(statement, {"hash": secret_hash}))


async def listed(
    connection: AsyncConnection, after: tuple[str, UUID] | None, limit: int | None
) -> list[StoredToken]:
    """Return the tokens of the organization that are not revoked, by name; only those after (name, id)."""
    live = select(tokens, users.c.email).outerjoin(users, users.c.user_id == tokens.c.user_id)
    live = live.where(tokens.c.revoked_at.is_(None)).order_by(tokens.c.name, tokens.c.token_id)
    if after is not None:
        live = live.where(tuple_(tokens.c.name, tokens.c.token_id) > tuple_(*after))
    return rows_of(StoredToken, await connection.execute(live.limit(limit)))


async def exists(connection: AsyncConnection, secret_hash: bytes) -> bool:
    """Return whether a secret with this hash is stored, in any organization."""
    same = select(tokens.c.token_id).where(tokens.c.hash == secret_hash)
    return (await connection.execute(same)).first() is not None


async def add(connection: AsyncConnection, token: NewToken) -> None:
    """Store a new token."""
    await connection.execute(insert(tokens).values(**asdict(token) | {"scopes": list(token.scopes)}))


async def mark_used(connection: AsyncConnection, token_id: UUID, now: datetime) -> None:
    """Store that the token was used now."""
    await connection.execute(update(tokens).where(tokens.c.token_id == token_id).values(last_used_at=now))


async def revoke(connection: AsyncConnection, token_id: UUID, now: datetime) -> bool:
    """Revoke a token; return False when there is none of this id or it is revoked already."""
    live = update(tokens).where(tokens.c.token_id == token_id, tokens.c.revoked_at.is_(None))
    return bool((await connection.execute(live.values(revoked_at=now))).rowcount)
