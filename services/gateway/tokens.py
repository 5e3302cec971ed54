"""API tokens: shown once, kept as a hash, bound to one organization, never more than the role of their maker."""

import secrets
import string
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import insert, select, update

from libs.common.database import transaction
from services.gateway import audit
from services.gateway.auth import ROLES, SCOPES, Principal, digest
from services.gateway.context import Context
from services.gateway.errors import Invalid, NotFound
from services.gateway.tables import tokens

LONGEST_DAYS: Final = 365
_ALPHABET: Final = string.digits + string.ascii_letters


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret. `expires_at` None: it never ends."""

    id: UUID
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


async def list_tokens(context: Context, principal: Principal) -> list[Token]:
    """Tokens of the organization that are not revoked, by name."""
    found = select(tokens).where(tokens.c.revoked_at.is_(None)).order_by(tokens.c.name, tokens.c.token_id)
    async with transaction(context.engine, principal.organization_id) as connection:
        rows = (await connection.execute(found)).all()
    return [
        Token(row.token_id, row.name, tuple(row.scopes), row.created_at, row.expires_at, row.last_used_at)
        for row in rows
    ]


async def create_token(
    context: Context, principal: Principal, name: str, scopes: tuple[str, ...], days: int
) -> tuple[Token, str]:
    """A new token and its secret, which is not kept; Invalid names the field that cannot be used."""
    if not 1 <= len(name.strip()) <= 100 or not name.isprintable():
        raise Invalid("name_invalid", "The name must have 1 to 100 printable characters.", "name")
    if not scopes or set(scopes) - set(SCOPES):
        raise Invalid("scopes_invalid", f"Choose at least one of: {', '.join(SCOPES)}.", "scopes")
    if beyond := sorted(set(scopes) - ROLES[principal.role]):
        raise Invalid("scopes_invalid", f"Your role does not have {', '.join(beyond)} itself.", "scopes")
    if not 1 <= days <= LONGEST_DAYS:
        raise Invalid("days_invalid", f"A token ends after 1 to {LONGEST_DAYS} days.", "days")
    secret, now = _new_secret(), context.clock()
    made = Token(uuid4(), name.strip(), tuple(dict.fromkeys(scopes)), now, now + timedelta(days=days), None)
    async with transaction(context.engine, principal.organization_id) as connection:
        await connection.execute(
            insert(tokens).values(
                organization_id=principal.organization_id,
                token_id=made.id,
                hash=digest(secret),
                name=made.name,
                scopes=list(made.scopes),
                user_id=principal.user_id,
                created_at=now,
                expires_at=made.expires_at,
            )
        )
        await audit.record(connection, context, principal, "token.created", made.id)
    return made, secret


async def revoke_token(context: Context, principal: Principal, token_id: UUID) -> None:
    """The token works no more; NotFound when there is none of this id."""
    async with transaction(context.engine, principal.organization_id) as connection:
        gone = update(tokens).where(tokens.c.token_id == token_id, tokens.c.revoked_at.is_(None))
        gone = gone.values(revoked_at=context.clock())
        if (await connection.execute(gone)).rowcount == 0:
            raise NotFound("token_not_found", "There is no such token here, or it is revoked already.")
        await audit.record(connection, context, principal, "token.revoked", token_id)


def _new_secret() -> str:
    """`mrr_pat_`, 30 random characters and their CRC32 in base 62, so that leaked ones can be found by their form."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(30))
    check, digits = zlib.crc32(random.encode()), ""
    for _ in range(6):
        check, digit = divmod(check, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return f"mrr_pat_{random}{digits}"
