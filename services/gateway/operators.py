"""What the operator of the servers may do without an account: make an owner, set a password, list instances, start a sync."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.common.contracts.commands import SyncMode
from libs.common.database import transaction
from services.gateway import audit, first_account, passwords, repository
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import Conflict, Invalid, NotFound, raise_first
from services.gateway.names import read_name
from services.gateway.principals import Principal, as_owner
from services.gateway.repository.instances import OperatorInstance
from services.gateway.syncs.commands import sync_now


@dataclass(frozen=True, slots=True)
class NewOwner:
    """An account to make: its e-mail address and password, and the name of the organization that it shall own."""

    organization: str
    email: str
    password: str


async def create_owner(context: Context, new: NewOwner) -> None:
    """Make an account and an organization that it owns. Raise Invalid for an invalid field, Conflict for an account that exists."""
    errors: list[Invalid] = []
    name = read_name(new.organization, errors, "organization")
    email = first_account.read_email(new.email, errors)
    raise_first(errors)
    words = first_account.words_of(name, email)
    stored = await context.password_workers.run(passwords.accept, new.password, words)
    async with transaction(context.engine, role=SYSTEM) as connection:
        # Two at once, and a start with MRRLYTICS_INIT_*, must see each other's account.
        await repository.locks.hold(connection, "init")
        if await repository.users.id_of(connection, email) is not None:
            raise Conflict(
                "account_exists", f"{email} has an account. Choose another address, or set its password."
            )
        owner = await first_account.make_owner(connection, context, name, email, stored)
    await _record(context, owner.organization_id, "account.created", email)


async def reset_password(context: Context, email: str, password: str) -> None:
    """Set the password of an account and end all its sessions. Raise NotFound without such an account, Invalid for a weak password."""
    mail = email.strip().lower()
    async with transaction(context.engine) as connection:
        account = await repository.users.account_of(connection, mail)
    if account is None:
        raise NotFound("account_not_found", f"No account has the e-mail address {mail}.")
    words = first_account.words_of("", mail)
    stored = await context.password_workers.run(passwords.accept, password, words)
    async with transaction(context.engine, role=SYSTEM) as connection:
        await repository.users.set_password_hash(connection, account.user_id, stored)
        await repository.sessions.delete_of_user(connection, account.user_id)
    if account.organization_id is not None:
        await _record(context, account.organization_id, "account.password_set", mail)


async def list_instances(context: Context) -> list[OperatorInstance]:
    """Return the instances of all organizations that are not deleted, by organization and name."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        return await repository.instances.for_operators(connection)


async def start_sync(context: Context, instance_id: UUID, mode: SyncMode) -> UUID:
    """Request a sync as the owner would and return its id. Raise NotFound for an unknown instance, Conflict while it is not synced."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        keys = await repository.instances.all_keys(connection)
    organization_id = next((key.organization_id for key in keys if key.instance_id == instance_id), None)
    if organization_id is None:
        raise NotFound(
            "instance_not_found", f"There is no instance {instance_id}. `mrrlytics instances` lists all."
        )
    return await sync_now(context, _operator(organization_id), instance_id, mode)


def last_sync(instance: OperatorInstance) -> str:
    """Return when the newest good sync of an instance ended, in words."""
    ended: datetime | None = instance.synced_at
    return "never" if ended is None else f"{ended:%Y-%m-%d %H:%M} UTC"


async def _record(context: Context, organization_id: UUID, action: str, email: str) -> None:
    async with transaction(context.engine, organization_id) as connection:
        await audit.record(connection, context, _operator(organization_id), action, email)


def _operator(organization_id: UUID) -> Principal:
    """Return the operator as caller in an organization. The operator has no account, so the audit log has this name."""
    return as_owner(UUID(int=0), "operator", organization_id, "")
