"""The first account, made through the one-time setup link or by the settings MRRLYTICS_INIT_*."""

import asyncio
import logging
import re
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.database import transaction
from libs.common.pause import pause
from services.gateway import demo, passwords, repository, sign_in
from services.gateway.auth import TOKEN_FORM, digest, mark_used, new_secret
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import Invalid, NotFound, raise_first
from services.gateway.instances.checks import wait_for_check
from services.gateway.instances.views import list_instances
from services.gateway.names import read_name
from services.gateway.organizations import add_organization
from services.gateway.principals import SCOPES
from services.gateway.repository.tokens import NewToken
from services.gateway.tokens import prefix_of

log = logging.getLogger(__name__)

SETUP_LIFE: Final = timedelta(minutes=30)
_EMAIL: Final = re.compile(r"[^\s@\x00-\x1f]{1,64}@[^\s@\x00-\x1f]{1,189}")


async def follow(context: Context, stop: asyncio.Event, is_owned: asyncio.Event) -> None:
    """Make the account of the settings. While there is no user, log a one-time setup link and renew it before it ends.

    Sets `is_owned` once there is an account, or a link to make it.
    """
    try:
        await ensure_init(context)
    except Invalid as error:
        log.error(
            "Could not make the first account; correct the settings MRRLYTICS_INIT_* and restart",
            extra={"code": error.code, "reason": error.message},
        )
    await demo.follow_demo(context)
    while not stop.is_set():
        link = await setup_link(context)
        if link is not None:
            log.info("MRRlytics has no owner yet; open the link to set it up", extra={"setup_url": link})
        is_owned.set()
        if link is None:
            await stop.wait()
            return
        await pause(stop, SETUP_LIFE.total_seconds() * 0.8)


async def setup_link(context: Context) -> str | None:
    """Return a new one-time link to setup; None once there is a user."""
    token = new_secret()
    async with transaction(context.engine, role=SYSTEM) as connection:
        if await repository.users.exist(connection):
            return None
        now = context.clock()
        await repository.setup_links.add(connection, digest(token), now, now + SETUP_LIFE)
    return f"{context.settings.public_url}/setup/{token}"


async def check_link(context: Context, token: str) -> None:
    """Raise NotFound unless this link can still be used."""
    async with context.stranger_lane, transaction(context.engine, role=SYSTEM) as connection:
        is_valid = await repository.setup_links.is_valid(connection, digest(token), context.clock())
        if not is_valid or await repository.users.exist(connection):
            raise _link_used()


async def set_up(
    context: Context, token: str, organization: str, email: str, password: str, address: str
) -> str:
    """Make the first organization and its owner, and the demo if there is one; return the session of the owner.

    Raise NotFound for a link that is used or too old, Invalid with the fields that are not valid.
    """
    await check_link(context, token)
    errors: list[Invalid] = []
    name, mail = read_name(organization, errors, "organization"), read_email(email, errors)
    stored = ""
    try:
        stored = await context.password_workers.run(passwords.accept, password, words_of(name, mail))
    except Invalid as error:
        errors.append(error)
    raise_first(errors)
    async with transaction(context.engine, role=SYSTEM) as connection:
        # Of two requests at once, only the one that deletes the links makes the account.
        is_valid = await repository.setup_links.use(connection, digest(token), context.clock())
        if not is_valid or await repository.users.exist(connection):
            raise _link_used()
        owner = await make_owner(connection, context, name, mail, stored)
    sample = await demo.ensure_demo(context, owner.user_id, mail)
    await sign_in.record(context, owner.organization_id, mail, "account.created", address)
    if sample is None:
        return await sign_in.start_session(context, owner.user_id, owner.organization_id, mail, address)
    for instance in await list_instances(context, sample):
        if instance.check is not None:  # once it has passed, the first sync has been requested
            await wait_for_check(context, sample, instance.check.check_id)
    await mark_used(context, sample)
    return await sign_in.start_session(context, owner.user_id, sample.organization_id, mail, address)


async def ensure_init(context: Context) -> None:
    """Make the organization, owner and token of MRRLYTICS_INIT_* once, and the demo if there is one. Repeats change nothing."""
    settings = context.settings
    if settings.init_organization is None or settings.init_owner_password is None:
        return
    errors: list[Invalid] = []
    name = read_name(settings.init_organization, errors, "organization")
    mail = read_email(settings.init_owner_email or "", errors)
    raise_first(errors)
    password = settings.init_owner_password.get_secret_value()
    token = None if settings.init_api_token is None else settings.init_api_token.get_secret_value()
    if token is not None and not TOKEN_FORM.fullmatch(token):
        raise Invalid("token_invalid", "MRRLYTICS_INIT_API_TOKEN must be mrr_pat_ and 36 letters and digits.")
    async with transaction(context.engine, role=SYSTEM) as connection:
        # Replicas that start together make one owner.
        await repository.locks.hold(connection, "init")
        user_id = await repository.users.id_of(connection, mail)
        if user_id is None:
            stored = await context.password_workers.run(passwords.accept, password, words_of(name, mail))
            user_id = (await make_owner(connection, context, name, mail, stored)).user_id
            log.info("Created the owner of the settings")
        if token is not None:
            await _make_token(connection, context, user_id, token)
    await demo.ensure_demo(context, user_id, mail)


async def _make_token(connection: AsyncConnection, context: Context, user_id: UUID, secret: str) -> None:
    if await repository.tokens.exists(connection, digest(secret)):
        return
    organization_id = await repository.organizations.first_of_user(connection, user_id)
    if organization_id is None:
        text = "MRRLYTICS_INIT_API_TOKEN needs an organization, and MRRLYTICS_INIT_OWNER_EMAIL is a member of none."
        raise Invalid("token_invalid", text)
    token = NewToken(
        organization_id=organization_id,
        token_id=uuid4(),
        hash=digest(secret),
        name="Headless start",
        prefix=prefix_of(secret),
        scopes=tuple(scope for scope in SCOPES if scope != "members:admin"),
        user_id=user_id,
        created_at=context.clock(),
        expires_at=None,
    )
    await repository.tokens.add(connection, token)


class Owner(NamedTuple):
    """A new user and the organization that it owns."""

    user_id: UUID
    organization_id: UUID


async def make_owner(
    connection: AsyncConnection, context: Context, name: str, email: str, password_hash: str
) -> Owner:
    """Store a user and the organization that the user owns, and return both ids."""
    user_id = uuid4()
    await repository.users.add(connection, user_id, email, password_hash, context.clock())
    return Owner(user_id, await add_organization(connection, context, name, user_id))


def words_of(name: str, email: str) -> list[str]:
    """Return the words that a password must not consist of."""
    return [name, *re.split(r"[@.]", email)]


def _link_used() -> NotFound:
    return NotFound(
        "setup_link_used",
        "This link was used or is too old. Sign in, or open the newest link in the log of MRRlytics.",
    )


def read_email(text: str, errors: list[Invalid]) -> str:
    """Return an e-mail address in lower case, and add to `errors` when it is none."""
    mail = text.strip().lower()
    if not _EMAIL.fullmatch(mail):
        errors.append(Invalid("email_invalid", "Enter an e-mail address such as you@example.com.", "email"))
    return mail
