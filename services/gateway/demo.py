"""The sample company of the demo: its organization, its instance, and its first sync."""

import json
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.commands import SyncMode
from libs.common.database import transaction
from services.gateway import repository
from services.gateway.context import SYSTEM, Context
from services.gateway.instances.forms import InstanceForm
from services.gateway.instances.lifecycle import add_instance, edit_instance
from services.gateway.instances.views import list_instances
from services.gateway.organizations import add_organization
from services.gateway.principals import Principal, as_owner
from services.gateway.syncs import commands
from services.gateway.tables import memberships, organizations, users


async def ensure_demo(context: Context, user_id: UUID, email: str) -> Principal | None:
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
            await add_organization(connection, context, demo, "Demo", is_demo=True)
            await connection.execute(
                insert(memberships).values(organization_id=demo, user_id=user_id, role="owner")
            )
    principal = as_owner(user_id, email, demo, "Demo")
    known = await list_instances(context, principal)
    if not known:
        await add_instance(context, principal, form, into_demo=True)
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
    principal = as_owner(owner.user_id, owner.email, owner.organization_id, "Demo")
    for instance in await list_instances(context, principal):
        is_other = instance.name == form.name and (
            instance.address != form.url
            or instance.identifier_hint not in (None, (form.identifier or "")[-4:])
        )
        if is_other and instance.state != "deleting":
            await edit_instance(context, principal, instance.id, form, into_demo=True)


async def start_first_sync(
    connection: AsyncConnection, context: Context, organization_id: UUID, instance_id: UUID
) -> None:
    """Ask for the first sync of the sample company at once; do nothing for the instances of other organizations."""
    if await repository.is_demo(connection, organization_id):
        await commands.start(connection, context, organization_id, instance_id, SyncMode.FULL, "the demo")


def _demo_form(file: Path) -> InstanceForm:
    told = json.loads(file.read_text(encoding="utf-8"))
    return InstanceForm(
        name=told["name"], url=told["url"], identifier=told["identifier"], secret=told["secret"]
    )
