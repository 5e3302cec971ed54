"""API tokens. They are shown once, stored as a hash, and bound to an organization and to at most the role of their maker."""

import secrets
import string
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from libs.common.database import transaction
from services.gateway import audit, repository
from services.gateway.auth import digest
from services.gateway.context import Context
from services.gateway.errors import Invalid, NotFound, raise_first
from services.gateway.names import read_name
from services.gateway.principals import ROLES, SCOPES, Principal
from services.gateway.repository.tokens import NewToken

LONGEST_DAYS: Final = 365
_ALPHABET: Final = string.digits + string.ascii_letters


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret. `prefix` is how it begins; `created_by` is the e-mail address of its maker.

    `expires_at` None means that it never ends. `prefix` is None for tokens of old versions, which did not store it.
    """

    id: UUID
    name: str
    prefix: str | None
    created_by: str | None
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


async def list_tokens(
    context: Context,
    principal: Principal,
    after: tuple[str, UUID] | None = None,
    limit: int | None = None,
) -> list[Token]:
    """Return the tokens of the organization that are not revoked, by name; only those after (name, id)."""
    async with transaction(context.engine, principal.organization_id) as connection:
        stored = await repository.tokens.listed(connection, after, limit)
    return [
        Token(
            id=token.token_id,
            name=token.name,
            prefix=token.prefix,
            created_by=token.email,
            scopes=tuple(token.scopes),
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
        )
        for token in stored
    ]


async def get_token(context: Context, principal: Principal, token_id: UUID) -> Token:
    """Return one token that is not revoked; raise NotFound when there is none of this id."""
    for token in await list_tokens(context, principal):
        if token.id == token_id:
            return token
    raise _not_found()


async def create_token(
    context: Context, principal: Principal, name: str, scopes: tuple[str, ...], days: int
) -> tuple[Token, str]:
    """Make a token; return it and its secret, which is not stored. Raise Invalid with the fields that are not valid."""
    errors: list[Invalid] = []
    label = read_name(name, errors)
    errors += _errors(principal, scopes, days)
    raise_first(errors)
    secret, now = new_token_secret(), context.clock()
    new = NewToken(
        organization_id=principal.organization_id,
        token_id=uuid4(),
        hash=digest(secret),
        name=label,
        prefix=prefix_of(secret),
        scopes=tuple(dict.fromkeys(scopes)),
        user_id=principal.user_id,
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    async with transaction(context.engine, principal.organization_id) as connection:
        await repository.tokens.add(connection, new)
        await audit.record(connection, context, principal, "token.created", new.token_id)
    return await get_token(context, principal, new.token_id), secret


async def revoke_token(context: Context, principal: Principal, token_id: UUID) -> None:
    """Revoke a token; raise NotFound when there is none of this id."""
    async with transaction(context.engine, principal.organization_id) as connection:
        if not await repository.tokens.revoke(connection, token_id, context.clock()):
            raise _not_found()
        await audit.record(connection, context, principal, "token.revoked", token_id)


def prefix_of(secret: str) -> str:
    """Return the beginning of a token, by which people recognise it; 32 characters stay secret."""
    return secret[: len("mrr_pat_") + 4]


def _not_found() -> NotFound:
    return NotFound(
        "token_not_found", "There is no such token in this organization, or it is revoked already."
    )


def _errors(principal: Principal, scopes: tuple[str, ...], days: int) -> Iterator[Invalid]:
    if not scopes or set(scopes) - set(SCOPES):
        yield Invalid("scopes_invalid", f"Choose at least one of: {', '.join(SCOPES)}.", "scopes")
    elif beyond := sorted(set(scopes) - ROLES[principal.role]):
        yield Invalid(
            "scopes_invalid",
            f"Your role does not have {', '.join(beyond)}, so the token cannot have it. Choose other scopes.",
            "scopes",
        )
    if not 1 <= days <= LONGEST_DAYS:
        yield Invalid("days_invalid", f"Choose 1 to {LONGEST_DAYS} days.", "days")


def new_token_secret() -> str:
    """Return `mrr_pat_`, 30 random characters and their CRC32 in base 62: scanners find leaked tokens by this form."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(30))
    check, digits = zlib.crc32(random.encode()), ""
    for _ in range(6):
        check, digit = divmod(check, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return f"mrr_pat_{random}{digits}"
