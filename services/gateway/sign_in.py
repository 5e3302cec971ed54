"""Signing in with a password: attempts are counted first, and a stranger's attempts delay strangers alone."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import delete, insert, update
from starlette.background import BackgroundTasks

from libs.common.database import raw, transaction
from libs.common.http_server import network
from libs.common.telemetry import auth_attempts
from services.gateway import audit, passwords
from services.gateway.auth import ABSOLUTE, digest, new_secret
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import TooMany, Unauthenticated
from services.gateway.principals import Principal
from services.gateway.tables import attempts, sessions, users

# At most this many attempts of strangers a minute from one address, and no delay before this many failures.
_OF_ADDRESS: Final = 20
_FREE_FAILURES: Final = 5
_LONGEST_DELAY: Final = 60

# Each attempt is counted before the password is looked at, so that many at once gain nothing. A count that lies more
# than a minute ahead is from before the clock was set back: it delays nobody.
_COUNT_FAILURE: Final = """
INSERT INTO gateway.attempts AS a (subject, failures, last_at) VALUES ($1, 1, $2)
ON CONFLICT (subject) DO UPDATE
    SET failures = CASE WHEN a.last_at < $2 - interval '1 day' THEN 1 ELSE a.failures + 1 END, last_at = $2
    WHERE a.failures < $3 OR a.last_at + make_interval(secs => least($4, 2 ^ least(a.failures - $3, 10))) <= $2
        OR a.last_at > $2 + interval '1 minute'
RETURNING failures"""
_COUNT_ADDRESS: Final = """
INSERT INTO gateway.attempts AS a (subject, failures, last_at) VALUES ($1, 1, $2)
ON CONFLICT (subject) DO UPDATE
    SET failures = CASE WHEN abs(extract(epoch FROM a.last_at - $2)) > 60 THEN 1 ELSE a.failures + 1 END,
        last_at = CASE WHEN abs(extract(epoch FROM a.last_at - $2)) > 60 THEN $2 ELSE a.last_at END
    WHERE a.failures < $3 OR abs(extract(epoch FROM a.last_at - $2)) > 60
RETURNING failures"""
_IS_KNOWN_PLACE: Final = """
SELECT EXISTS (SELECT FROM gateway.known_places WHERE subject = $1 AND last_at > $2::timestamptz - interval '30 days')"""
_REMEMBER_PLACE: Final = """
INSERT INTO gateway.known_places (subject, last_at) VALUES ($1, $2)
ON CONFLICT (subject) DO UPDATE SET last_at = $2"""


async def sign_in(
    context: Context, email: str, password: str, address: str, device: str | None, later: BackgroundTasks
) -> str:
    """Return a new session.

    Raise Unauthenticated, in the same words and after the same work for a wrong password and an unknown address;
    TooMany after many of them. `device` is a browser in which this account signed in before. `later` runs once the
    answer is on its way: what is done for accounts that exist alone would tell that they do.
    """
    mail = email.replace("\0", "").strip().lower()
    counter, user = await _count(context, mail, address, device)
    stored = user["password_hash"] if user else None
    is_right = await context.password_workers.run(passwords.matches, password, stored)
    if user is None or user["organization_id"] is None or not is_right:
        auth_attempts.add(1, {"method": "password", "outcome": "refused"})
        if user is not None and user["organization_id"] is not None:
            later.add_task(
                record, context, user["organization_id"], mail, "account.signed_in", address, "refused"
            )
        raise Unauthenticated("sign_in_refused", "The e-mail address or the password is wrong.")
    auth_attempts.add(1, {"method": "password", "outcome": "ok"})
    async with transaction(context.engine, role=SYSTEM) as connection:
        await connection.execute(delete(attempts).where(attempts.c.subject == counter))
    if passwords.is_outdated(user["password_hash"]):
        again = await context.password_workers.run(passwords.hashed, password)
        async with transaction(context.engine, role=SYSTEM) as connection:
            await connection.execute(
                update(users).where(users.c.user_id == user["user_id"]).values(password_hash=again)
            )
    await record(context, user["organization_id"], mail, "account.signed_in", address)
    return await start_session(context, user["user_id"], user["organization_id"], mail, address)


async def sign_out(context: Context, principal: Principal) -> None:
    """End this session, in whichever organization it began."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        await connection.execute(delete(sessions).where(sessions.c.session_id == principal.session_id))
    async with transaction(context.engine, principal.organization_id) as connection:
        await audit.record(connection, context, principal, "account.signed_out")


async def start_session(
    context: Context, user_id: UUID, organization_id: UUID, email: str, address: str
) -> str:
    """Return a new session, and remember the address as one from which the account signs in."""
    session, now = new_secret(), context.clock()
    async with transaction(context.engine, organization_id) as connection:
        await connection.execute(
            insert(sessions).values(
                organization_id=organization_id,
                session_id=uuid4(),
                hash=digest(session),
                user_id=user_id,
                created_at=now,
                seen_at=now,
                expires_at=now + ABSOLUTE,
            )
        )
        await (await raw(connection)).execute(_REMEMBER_PLACE, _place(email, address), now)
    context.rate_limits.prove(digest(session))
    return session


async def record(
    context: Context, organization_id: UUID, email: str, action: str, address: str, result: str = "ok"
) -> None:
    """Write one line about an account to the audit log."""
    async with transaction(context.engine, organization_id) as connection:
        await audit.record_door(connection, context, organization_id, email, action, address, result)


async def _count(
    context: Context, mail: str, address: str, device: str | None
) -> tuple[bytes, Mapping[str, Any] | None]:
    """Count one attempt by the narrowest counter that fits; return it and the user, or raise TooMany."""
    now, place = context.clock(), _place(mail, address)
    async with context.door, transaction(context.engine) as connection:
        database = await raw(connection)
        is_known_place = await database.fetchval(_IS_KNOWN_PLACE, place, now)
        counter = place if is_known_place else _subject("account", mail)
        if device is not None:
            counter = _subject("device", device)
        is_free = device is not None or await database.fetchval(
            _COUNT_ADDRESS, _subject("address", network(address)), now, _OF_ADDRESS
        )
        failures = await database.fetchval(_COUNT_FAILURE, counter, now, _FREE_FAILURES, _LONGEST_DELAY)
        user = await database.fetchrow("SELECT * FROM gateway.user_by_email($1)", mail)
    if not is_free or failures is None:
        auth_attempts.add(1, {"method": "password", "outcome": "delayed"})
        raise TooMany("too_many_attempts", "Too many attempts. Wait a minute and try again.", retry_after=60)
    return counter, user


def _place(mail: str, address: str) -> bytes:
    return _subject("place", f"{network(address)}:{mail}")


def _subject(kind: str, value: str) -> bytes:
    return hashlib.sha256(f"{kind}:{value}".encode()).digest()
