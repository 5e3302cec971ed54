"""The demo: the organization of the sample company, its instance, and its first sync."""

import json
from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.instances import InstanceKey, InstanceState
from libs.common.database import transaction
from services.gateway import repository
from services.gateway.context import SYSTEM, Context
from services.gateway.instances.forms import InstanceForm
from services.gateway.instances.lifecycle import add_instance, edit_instance
from services.gateway.instances.views import Instance, list_instances
from services.gateway.organizations import add_organization
from services.gateway.principals import Principal, as_owner
from services.gateway.syncs import commands


async def ensure_demo(context: Context, user_id: UUID, email: str) -> Principal | None:
    """Return the owner of the sample company, made with its instance at the first call; None when there is no demo."""
    if context.settings.demo_instance_file is None:
        return None
    form = _demo_form(context.settings.demo_instance_file)
    async with transaction(context.engine, role=SYSTEM) as connection:
        await repository.locks.hold(connection, "demo")
        organization_id = await repository.organizations.demo(connection)
        if organization_id is None:
            organization_id = await add_organization(connection, context, "Demo", user_id, is_demo=True)
    owner = as_owner(user_id, email, organization_id, "Demo")
    if not await list_instances(context, owner):
        await add_instance(context, owner, form, into_demo=True)
    return owner


async def follow_demo(context: Context) -> None:
    """Enter the simulator's address and credentials again when they have changed."""
    if context.settings.demo_instance_file is None:
        return
    form = _demo_form(context.settings.demo_instance_file)
    async with transaction(context.engine, role=SYSTEM) as connection:
        stored = await repository.organizations.demo_owner(connection)
    if stored is None:
        return
    owner = as_owner(stored.user_id, stored.email, stored.organization_id, "Demo")
    for instance in await list_instances(context, owner):
        if _is_outdated(instance, form):
            await edit_instance(context, owner, instance.id, form, into_demo=True)


def _is_outdated(instance: Instance, form: InstanceForm) -> bool:
    """Return whether this is the simulator's instance, at another address or with other credentials than now."""
    if instance.name != form.name or instance.state == InstanceState.DELETING:
        return False
    hints = (None, (form.identifier or "")[-4:])
    return instance.address != form.url or instance.identifier_hint not in hints


async def start_first_sync(connection: AsyncConnection, context: Context, key: InstanceKey) -> None:
    """Ask for the first sync of the sample company at once; do nothing for the instances of other organizations."""
    if await repository.organizations.is_demo(connection, key.organization_id):
        await commands.start(connection, context, key, commands.Request(), "the demo")


def _demo_form(file: Path) -> InstanceForm:
    fields = json.loads(file.read_text(encoding="utf-8"))
    return InstanceForm(**{name: fields[name] for name in ("name", "url", "identifier", "secret")})
