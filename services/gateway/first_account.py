"""The first account: made by the one-time setup link, or by the settings MRRLYTICS_INIT_*."""

import asyncio
import logging
import re
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.values import is_name
from libs.common.database import transaction
from libs.common.pause import pause
from services.gateway import demo, passwords, sign_in
from services.gateway.auth import TOKEN_FORM, digest, new_secret, use
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import Invalid, NotFound, raise_first
from services.gateway.instances.checks import wait_for_check
from services.gateway.instances.views import list_instances
from services.gateway.organizations import add_organization
from services.gateway.principals import SCOPES
from services.gateway.tables import memberships, organizations, setup_links, tokens, users
from services.gateway.tokens import prefix_of

log = logging.getLogger(__name__)

SETUP_LIFE: Final = timedelta(minutes=30)
_EMAIL: Final = re.compile(r"[^\s@\x00-\x1f]{1,64}@[^\s@\x00-\x1f]{1,189}")


async def follow(context: Context, stop: asyncio.Event, is_owned: asyncio.Event) -> None:
    """Make what the settings ask for; while there is no user, log a one-time link to setup and renew it before it ends.

    `is_owned` is set once there is a way in: an account, or the link to make it.
    """
    try:
        await ensure_init(context)
    except Invalid as error:
        log.error("the first account cannot be made", extra={"code": error.code, "reason": error.message})
    await demo.follow_demo(context)
    while not stop.is_set():
        link = await setup_link(context)
        if link is not None:
            log.info(
                "nobody owns this installation yet: open the link to set it up", extra={"setup_url": link}
            )
        is_owned.set()
        if link is None:
            await stop.wait()
            return
        await pause(stop, SETUP_LIFE.total_seconds() * 0.8)


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


async def check_link(context: Context, token: str) -> None:
    """Raise NotFound unless this link can still be used."""
    async with context.door, transaction(context.engine, role=SYSTEM) as connection:
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
    await check_link(context, token)
    errors: list[Invalid] = []
    name, mail = _organization_name(organization, errors), _email(email, errors)
    words = [name, *re.split(r"[@.]", mail)]
    stored = ""
    try:
        stored = await context.password_workers.run(passwords.accept, password, words)
    except Invalid as error:
        errors.append(error)
    raise_first(errors)
    async with transaction(context.engine, role=SYSTEM) as connection:
        # Whoever deletes the links first has the one use of them all.
        links = (await connection.execute(delete(setup_links).returning(setup_links))).all()
        live = {link.hash for link in links if link.expires_at > context.clock()}
        if digest(token) not in live or await _has_users(connection):
            raise _link_used()
        user_id, own = await _make_owner(connection, context, name, mail, stored)
    sample = await demo.ensure_demo(context, user_id, mail)
    await sign_in.record(context, own, mail, "account.created", address)
    if sample is None:
        return await sign_in.start_session(context, user_id, own, mail, address)
    for instance in await list_instances(context, sample):
        if instance.check is not None:  # once it has passed, the first sync is on its way
            await wait_for_check(context, sample, instance.check.check_id)
    await use(context, sample)
    return await sign_in.start_session(context, user_id, sample.organization_id, mail, address)


async def ensure_init(context: Context) -> None:
    """What MRRLYTICS_INIT_* ask for, made once: organization, owner, token, and the demo if there is one. Repeats change nothing."""
    settings = context.settings
    if settings.init_organization is None or settings.init_owner_password is None:
        return
    errors: list[Invalid] = []
    name = _organization_name(settings.init_organization, errors)
    mail = _email(settings.init_owner_email or "", errors)
    raise_first(errors)
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
    await demo.ensure_demo(context, known, mail)


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
    await add_organization(connection, context, organization_id, name, is_demo=False)
    await connection.execute(
        insert(memberships).values(organization_id=organization_id, user_id=user_id, role="owner")
    )
    return user_id, organization_id


def _link_used() -> NotFound:
    return NotFound(
        "setup_link_used",
        "This link was used or is too old. Sign in, or open the newest link in the log of MRRlytics.",
    )


def _organization_name(text: str, errors: list[Invalid]) -> str:
    name = text.strip()
    if not is_name(name):
        wrong = "The name must have 1 to 100 printable characters."
        errors.append(Invalid("organization_invalid", wrong, "organization"))
    return name


def _email(text: str, errors: list[Invalid]) -> str:
    mail = text.strip().lower()
    if not _EMAIL.fullmatch(mail):
        errors.append(Invalid("email_invalid", "Enter an e-mail address such as you@example.com.", "email"))
    return mail
