"""Accounts: the one-time setup, signing in and out, and the first organization of a headless start."""

import hashlib
import json
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.database import raw, transaction
from libs.common.telemetry import auth_attempts
from services.gateway import audit, instances, passwords
from services.gateway.auth import (
    ABSOLUTE,
    ROLES,
    SCOPES,
    TOKEN_FORM,
    Organization,
    Principal,
    digest,
    new_secret,
)
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import Invalid, NotFound, TooMany, Unauthenticated
from services.gateway.instances import InstanceForm
from services.gateway.tables import memberships, organizations, sessions, setup_links, tokens, users
from services.gateway.tokens import prefix_of

log = logging.getLogger(__name__)

SETUP_LIFE: Final = timedelta(minutes=30)
_EMAIL: Final = re.compile(r"[^\s@\x00-\x1f]{1,64}@[^\s@\x00-\x1f]{1,189}")
# At most this many sign-ins a minute from one address, and no delay for an account before this many failures.
_OF_ADDRESS: Final = 20
_FREE_FAILURES: Final = 5
_LONGEST_DELAY: Final = 60

# Each attempt is counted before the password is looked at, so that many at once gain nothing.
_COUNT_ACCOUNT: Final = """
INSERT INTO gateway.attempts AS a (subject, failures, last_at) VALUES ($1, 1, $2)
ON CONFLICT (subject) DO UPDATE
    SET failures = CASE WHEN a.last_at < $2 - interval '1 day' THEN 1 ELSE a.failures + 1 END, last_at = $2
    WHERE a.failures < $3 OR a.last_at + make_interval(secs => least($4, 2 ^ least(a.failures - $3, 10))) <= $2
RETURNING failures"""
_COUNT_ADDRESS: Final = """
INSERT INTO gateway.attempts AS a (subject, failures, last_at) VALUES ($1, 1, $2)
ON CONFLICT (subject) DO UPDATE
    SET failures = CASE WHEN a.last_at < $2 - interval '1 minute' THEN 1 ELSE a.failures + 1 END,
        last_at = CASE WHEN a.last_at < $2 - interval '1 minute' THEN $2 ELSE a.last_at END
    WHERE a.failures < $3 OR a.last_at < $2 - interval '1 minute'
RETURNING failures"""


async def setup_link(context: Context) -> str | None:
    """A new one-time link to setup; None once there is a user."""
    token = new_secret()
    async with transaction(context.engine, role=SYSTEM) as connection:
        if await _has_users(connection):
            return None
        now = context.clock()
        await connection.execute(delete(setup_links).where(setup_links.c.expires_at <= now))
        await connection.execute(insert(setup_links).values(hash=digest(token), expires_at=now + SETUP_LIFE))
    return f"{context.settings.public_url}/setup/{token}"


async def setup_state(context: Context, token: str) -> None:
    """Raises NotFound unless this link can still be used."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        found = select(setup_links.c.expires_at).where(setup_links.c.hash == digest(token))
        expires_at = (await connection.execute(found)).scalar()
        if expires_at is None or expires_at <= context.clock() or await _has_users(connection):
            raise _link_used()


async def set_up(
    context: Context, token: str, organization: str, email: str, password: str, address: str
) -> str:
    """Make the first organization and its owner, and the demo if there is one; returns the session of the owner.

    Raises NotFound for a link that is used or too old, Invalid with the field that cannot be used.
    """
    await setup_state(context, token)
    name, mail = _organization_name(organization), _email(email)
    words = [name, *re.split(r"[@.]", mail)]
    stored = await context.password_workers.run(passwords.accept, password, words)
    async with transaction(context.engine, role=SYSTEM) as connection:
        # Whoever deletes the links first has the one use of them all.
        links = (await connection.execute(delete(setup_links).returning(setup_links))).all()
        live = {link.hash for link in links if link.expires_at > context.clock()}
        if digest(token) not in live or await _has_users(connection):
            raise _link_used()
        user_id, own = await _make_owner(connection, context, name, mail, stored)
    demo = await _ensure_demo(context, user_id, mail)
    await _record(context, user_id, mail, own, "account.created", address)
    if demo is None:
        return await _start_session(context, user_id, own)
    for instance in await instances.list_instances(context, demo):
        if instance.check is not None:  # once it has passed, the first sync is on its way
            await instances.wait_for_check(context, demo, instance.check.check_id)
    return await _start_session(context, user_id, demo.organization_id)


async def sign_in(context: Context, email: str, password: str, address: str) -> str:
    """The new session; Unauthenticated with the same words for a wrong password and an unknown address, TooMany after many of them."""
    mail = email.replace("\0", "").strip().lower()
    account, place = _subject("account", mail), _subject("address", address)
    now = context.clock()
    async with transaction(context.engine) as connection:
        database = await raw(connection)
        of_address = await database.fetchval(_COUNT_ADDRESS, place, now, _OF_ADDRESS)
        of_account = await database.fetchval(_COUNT_ACCOUNT, account, now, _FREE_FAILURES, _LONGEST_DELAY)
        user = await database.fetchrow("SELECT * FROM gateway.user_by_email($1)", mail)
    if of_address is None or of_account is None:
        auth_attempts.add(1, {"method": "password", "outcome": "delayed"})
        raise TooMany("too_many_attempts", "Too many attempts. Wait a minute and try again.", retry_after=60)
    stored = user["password_hash"] if user else None
    is_right = await context.password_workers.run(passwords.matches, password, stored)
    if not is_right or user["organization_id"] is None:
        auth_attempts.add(1, {"method": "password", "outcome": "refused"})
        if user is not None and user["organization_id"] is not None:
            organization_id = user["organization_id"]
            await _record(
                context, user["user_id"], mail, organization_id, "account.signed_in", address, "refused"
            )
        raise Unauthenticated("sign_in_refused", "The e-mail address or the password is wrong.")
    auth_attempts.add(1, {"method": "password", "outcome": "ok"})
    async with transaction(context.engine, role=SYSTEM) as connection:
        await connection.execute(
            text("DELETE FROM gateway.attempts WHERE subject = :subject"), {"subject": account}
        )
    if passwords.is_outdated(user["password_hash"]):
        again = await context.password_workers.run(passwords.hashed, password)
        async with transaction(context.engine, role=SYSTEM) as connection:
            await connection.execute(
                update(users).where(users.c.user_id == user["user_id"]).values(password_hash=again)
            )
    await _record(context, user["user_id"], mail, user["organization_id"], "account.signed_in", address)
    return await _start_session(context, user["user_id"], user["organization_id"])


async def sign_out(context: Context, principal: Principal) -> None:
    """End this session."""
    async with transaction(context.engine, principal.organization_id) as connection:
        await connection.execute(delete(sessions).where(sessions.c.session_id == principal.session_id))
        await audit.record(connection, context, principal, "account.signed_out")


async def switch_organization(context: Context, principal: Principal, organization_id: UUID) -> None:
    """Look at another of the user's organizations from now on; NotFound when it is none of them."""
    if organization_id not in {one.id for one in principal.organizations}:
        raise NotFound("organization_not_found", "You are in no such organization. Choose one from the list.")
    async with transaction(context.engine, role=SYSTEM) as connection:
        await connection.execute(
            update(sessions)
            .where(sessions.c.session_id == principal.session_id)
            .values(organization_id=organization_id)
        )


async def ensure_init(context: Context) -> None:
    """What MRRLYTICS_INIT_* ask for, made once: organization, owner, token, and the demo if there is one. Repeats change nothing."""
    settings = context.settings
    if settings.init_organization is None or settings.init_owner_password is None:
        return
    name, mail = _organization_name(settings.init_organization), _email(settings.init_owner_email or "")
    password = settings.init_owner_password.get_secret_value()
    token = None if settings.init_api_token is None else settings.init_api_token.get_secret_value()
    if token is not None and not TOKEN_FORM.fullmatch(token):
        raise Invalid("token_invalid", "MRRLYTICS_INIT_API_TOKEN must be mrr_pat_ and 36 letters and digits.")
    async with transaction(context.engine, role=SYSTEM) as connection:
        # Replicas that start together make one owner.
        await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('gateway.init', 0))"))
        known = (await connection.execute(select(users.c.user_id).where(users.c.email == mail))).scalar()
        if known is None:
            words = [name, *re.split(r"[@.]", mail)]
            stored = await context.password_workers.run(passwords.accept, password, words)
            known, _ = await _make_owner(connection, context, name, mail, stored)
            log.info("owner created")
        if token is not None:
            await _make_token(connection, context, known, token)
    await _ensure_demo(context, known, mail)


async def _make_token(connection: AsyncConnection, context: Context, user_id: UUID, token: str) -> None:
    there = await connection.execute(select(tokens.c.token_id).where(tokens.c.hash == digest(token)))
    own = (
        select(organizations.c.organization_id)
        .join(memberships, memberships.c.organization_id == organizations.c.organization_id)
        .where(memberships.c.user_id == user_id, ~organizations.c.is_demo)
        .order_by(organizations.c.created_at)
        .limit(1)
    )
    if there.first() is None:
        await connection.execute(
            insert(tokens).values(
                organization_id=own.scalar_subquery(),
                token_id=uuid4(),
                hash=digest(token),
                name="Headless start",
                prefix=prefix_of(token),
                scopes=[scope for scope in SCOPES if scope != "members:admin"],
                user_id=user_id,
                created_at=context.clock(),
            )
        )


async def _ensure_demo(context: Context, user_id: UUID, email: str) -> Principal | None:
    """The owner of the demo's organization, made with its instance unless it is there; None when there is no demo."""
    if context.settings.demo_instance_file is None:
        return None
    form = _demo_form(context.settings.demo_instance_file)
    async with transaction(context.engine, role=SYSTEM) as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('gateway.demo', 0))"))
        found = select(organizations.c.organization_id).where(organizations.c.is_demo)
        demo = (await connection.execute(found)).scalar()
        if demo is None:
            demo = uuid4()
            await _make_organization(connection, context, demo, "Demo", is_demo=True)
            await connection.execute(
                insert(memberships).values(organization_id=demo, user_id=user_id, role="owner")
            )
    principal = _as_owner(user_id, email, demo, "Demo")
    known = await instances.list_instances(context, principal)
    if not known:
        await instances.add_instance(context, principal, form, into_demo=True)
    return principal


async def follow_demo(context: Context) -> None:
    """Enter the simulator's credentials again when it has moved or is another one."""
    if context.settings.demo_instance_file is None:
        return
    form = _demo_form(context.settings.demo_instance_file)
    async with transaction(context.engine, role=SYSTEM) as connection:
        found = (
            select(organizations.c.organization_id, users.c.user_id, users.c.email)
            .join(memberships, memberships.c.organization_id == organizations.c.organization_id)
            .join(users, users.c.user_id == memberships.c.user_id)
            .where(organizations.c.is_demo)
        )
        owner = (await connection.execute(found)).first()
    if owner is None:
        return
    principal = _as_owner(owner.user_id, owner.email, owner.organization_id, "Demo")
    for instance in await instances.list_instances(context, principal):
        is_other = instance.name == form.name and (
            instance.address != form.url
            or instance.identifier_hint not in (None, (form.identifier or "")[-4:])
        )
        if is_other and instance.state != "deleting":
            await instances.edit_instance(context, principal, instance.id, form)


def _demo_form(file: Path) -> InstanceForm:
    told = json.loads(file.read_text(encoding="utf-8"))
    return InstanceForm(
        name=told["name"], url=told["url"], identifier=told["identifier"], secret=told["secret"]
    )


async def _has_users(connection: AsyncConnection) -> bool:
    return (await connection.execute(select(users.c.user_id).limit(1))).first() is not None


async def _make_owner(
    connection: AsyncConnection, context: Context, name: str, email: str, password_hash: str
) -> tuple[UUID, UUID]:
    user_id, organization_id = uuid4(), uuid4()
    await connection.execute(
        insert(users).values(
            user_id=user_id, email=email, password_hash=password_hash, created_at=context.clock()
        )
    )
    await _make_organization(connection, context, organization_id, name, is_demo=False)
    await connection.execute(
        insert(memberships).values(organization_id=organization_id, user_id=user_id, role="owner")
    )
    return user_id, organization_id


async def _make_organization(
    connection: AsyncConnection, context: Context, organization_id: UUID, name: str, *, is_demo: bool
) -> None:
    await connection.execute(
        insert(organizations).values(
            organization_id=organization_id, name=name, is_demo=is_demo, created_at=context.clock()
        )
    )


async def _start_session(context: Context, user_id: UUID, organization_id: UUID) -> str:
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
    context.rate_limits.prove(digest(session))
    return session


async def _record(
    context: Context,
    user_id: UUID,
    email: str,
    organization_id: UUID,
    action: str,
    address: str,
    result: str = "ok",
) -> None:
    principal = _as_owner(user_id, email, organization_id, "", address)
    async with transaction(context.engine, organization_id) as connection:
        await audit.record(connection, context, principal, action, result=result)


def _as_owner(
    user_id: UUID, email: str, organization_id: UUID, name: str, address: str = "this server"
) -> Principal:
    """The owner, when the gateway acts in that name outside a request."""
    return Principal(
        user_id=user_id,
        email=email,
        actor=email,
        organization_id=organization_id,
        organization_name=name,
        role="owner",
        permissions=ROLES["owner"],
        organizations=(Organization(organization_id, name, is_demo=False),),
        session_id=None,
        csrf_token="",
        address=address,
        request_id="",
    )


def _link_used() -> NotFound:
    return NotFound(
        "setup_link_used",
        "This link was used or is too old. Sign in, or take the newest link from the log of the gateway.",
    )


def _organization_name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise Invalid(
            "organization_invalid", "The name must have 1 to 100 printable characters.", "organization"
        )
    return name


def _email(text: str) -> str:
    mail = text.strip().lower()
    if not _EMAIL.fullmatch(mail):
        raise Invalid("email_invalid", "Enter an e-mail address such as you@example.com.", "email")
    return mail


def _subject(kind: str, value: str) -> bytes:
    return hashlib.sha256(f"{kind}:{value}".encode()).digest()
