"""Sign in with a password. Attempts are counted per device or place, so that a stranger's attempts delay only other strangers."""

import hashlib
from typing import Final
from uuid import UUID

from starlette.background import BackgroundTasks

from libs.common.database import transaction
from libs.common.http_server import network
from libs.common.telemetry import auth_attempts
from services.gateway import audit, passwords, repository
from services.gateway.auth import ABSOLUTE, digest, new_secret
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import TooMany, Unauthenticated
from services.gateway.principals import Principal
from services.gateway.repository.users import Account

# Attempts of strangers from one address in a minute, and failures without a delay.
_OF_ADDRESS: Final = 20
_FREE_FAILURES: Final = 5
_LONGEST_DELAY: Final = 60


async def sign_in(
    context: Context, email: str, password: str, address: str, device: str | None, later: BackgroundTasks
) -> str:
    """Return a new session.

    Raise Unauthenticated, with the same text and after the same work for a wrong password and an unknown account, and
    TooMany after many attempts. `device` names a browser in which this account signed in before. The audit line of a
    refusal is stored by `later`, after the answer. Otherwise the time of the answer would show that the account exists.
    """
    mail = email.replace("\0", "").strip().lower()
    counter, account = await _count(context, mail, address, device)
    organization_id = None if account is None else account.organization_id
    stored = None if account is None else account.password_hash
    is_right = await context.password_workers.run(passwords.matches, password, stored)
    if account is None or organization_id is None or not is_right:
        auth_attempts.add(1, {"method": "password", "outcome": "refused"})
        if organization_id is not None:
            later.add_task(record, context, organization_id, mail, "account.signed_in", address, "refused")
        raise Unauthenticated("sign_in_refused", "The e-mail address or the password is wrong.")
    auth_attempts.add(1, {"method": "password", "outcome": "ok"})
    async with transaction(context.engine, role=SYSTEM) as connection:
        await repository.attempts.clear(connection, counter)
    if passwords.is_outdated(account.password_hash):
        again = await context.password_workers.run(passwords.hashed, password)
        async with transaction(context.engine, role=SYSTEM) as connection:
            await repository.users.set_password_hash(connection, account.user_id, again)
    await record(context, organization_id, mail, "account.signed_in", address)
    return await start_session(context, account.user_id, organization_id, mail, address)


async def sign_out(context: Context, principal: Principal) -> None:
    """End this session, in whichever organization it began."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        await repository.sessions.delete(connection, principal.session_id)
    async with transaction(context.engine, principal.organization_id) as connection:
        await audit.record(connection, context, principal, "account.signed_out")


async def start_session(
    context: Context, user_id: UUID, organization_id: UUID, email: str, address: str
) -> str:
    """Return a new session, and store the address as one from which the account signs in."""
    session, now = new_secret(), context.clock()
    async with transaction(context.engine, organization_id) as connection:
        await repository.sessions.add(
            connection, organization_id, user_id, digest(session), now, now + ABSOLUTE
        )
        await repository.attempts.add_usual_place(connection, _place(email, address), now)
    context.rate_limits.prove(digest(session))
    return session


async def record(
    context: Context, organization_id: UUID, email: str, action: str, address: str, result: str = "ok"
) -> None:
    """Store a line about an account in the audit log."""
    async with transaction(context.engine, organization_id) as connection:
        await audit.record_sign_in(connection, context, organization_id, email, action, address, result)


async def _count(
    context: Context, mail: str, address: str, device: str | None
) -> tuple[bytes, Account | None]:
    """Count an attempt and return its counter and the account; raise TooMany when it has to wait.

    The counter is that of the device, else of the usual place, else of the account: the narrowest that fits. So a stranger
    who tries passwords delays other strangers, and never the devices and places from which the owner signs in.
    """
    now, place = context.clock(), _place(mail, address)
    attempts = repository.attempts
    async with context.stranger_lane, transaction(context.engine) as connection:
        is_usual = await attempts.is_usual_place(connection, place, now)
        counter = place if is_usual else _subject("account", mail)
        is_allowed = True
        if device is not None:
            counter = _subject("device", device)
        else:
            subject = _subject("address", network(address))
            is_allowed = await attempts.count_in_minute(connection, subject, now, most=_OF_ADDRESS)
        is_allowed &= await attempts.count_failure(
            connection, counter, now, free=_FREE_FAILURES, longest=_LONGEST_DELAY
        )
        account = await repository.users.account_of(connection, mail)
    if not is_allowed:
        auth_attempts.add(1, {"method": "password", "outcome": "delayed"})
        raise TooMany("too_many_attempts", "Too many attempts. Wait a minute and try again.", retry_after=60)
    return counter, account


def _place(mail: str, address: str) -> bytes:
    return _subject("place", f"{network(address)}:{mail}")


def _subject(kind: str, value: str) -> bytes:
    return hashlib.sha256(f"{kind}:{value}".encode()).digest()
