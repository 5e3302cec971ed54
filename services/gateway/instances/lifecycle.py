"""What people do with instances: add, edit, pause, resume and delete them."""

from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.instances import InstanceKey, InstanceState
from libs.common.database import transaction
from services.gateway import audit, repository
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import Conflict, raise_first
from services.gateway.instances import transitions
from services.gateway.instances.checks import check_new_credential, refuse_too_many
from services.gateway.instances.forms import Entries, InstanceForm, read_change, read_new
from services.gateway.instances.states import DRAFT_LIFE, Event, next_state
from services.gateway.principals import Principal
from services.gateway.repository.instances import InstanceValues


class AddedInstance(NamedTuple):
    """A new draft and its first check."""

    instance_id: UUID
    check_id: UUID


async def add_instance(
    context: Context, principal: Principal, form: InstanceForm, *, into_demo: bool = False
) -> AddedInstance:
    """Store a draft with its sealed credential and request its check.

    A draft with the same address is replaced. Raise Conflict when an instance has the address or the organization holds sample
    data, and Invalid with the fields that are not valid. `into_demo` is for the sample data itself.
    """
    entries = read_new(form)
    raise_first(entries.errors)
    try:
        async with transaction(context.engine, principal.organization_id) as connection:
            if not into_demo:
                await _refuse_demo(connection, principal)
            await refuse_too_many(connection, context, entries.address)
            key = await _store_draft(connection, context, principal.organization_id, entries)
            check_id = await check_new_credential(connection, context, key, entries, working=None)
            await audit.record(connection, context, principal, "instance.added", key.instance_id)
    except IntegrityError as error:
        raise _address_taken(entries.address) from error
    return AddedInstance(key.instance_id, check_id)


async def _store_draft(
    connection: AsyncConnection, context: Context, organization_id: UUID, entries: Entries
) -> InstanceKey:
    """Store a draft, in the place of one with this address; raise Conflict when an instance has the address."""
    other = await repository.instances.lock_at(connection, entries.address)
    if other is not None and other.state != InstanceState.DRAFT:
        raise _address_taken(entries.address)
    key = InstanceKey(organization_id, uuid4() if other is None else other.instance_id)
    await repository.instances.add_draft(
        connection,
        organization_id=key.organization_id,
        instance_id=key.instance_id,
        name=entries.name,
        address=entries.address,
        settings=entries.settings.model_dump(mode="json"),
        created_at=context.clock(),
    )
    return key


async def edit_instance(
    context: Context, principal: Principal, instance_id: UUID, form: InstanceForm, *, into_demo: bool = False
) -> UUID | None:
    """Change the fields that are given. A new address or new credentials take effect once their check has passed.

    Return the id of that check, None without one. Raise Invalid with the fields that are not valid, and Conflict for a new address
    or credentials in the organization with sample data. `into_demo` is for the sample data itself.
    """
    try:
        async with transaction(context.engine, principal.organization_id) as connection:
            instance = await transitions.lock_editable(connection, instance_id)
            entries = read_change(form, instance.name, instance.address, instance.settings)
            if not into_demo and (entries.secrets or entries.address != instance.address):
                await _refuse_demo(connection, principal)
            raise_first(entries.errors)
            values = InstanceValues(settings=entries.settings.model_dump(mode="json"), name=entries.name)
            if instance.state == InstanceState.DRAFT:
                values["address"] = entries.address
            await transitions.change(connection, context, instance, **values)
            check_id = None
            if entries.secrets:
                other = await repository.instances.lock_at(connection, entries.address)
                if other is not None and other.instance_id != instance_id:
                    raise _address_taken(entries.address)
                await refuse_too_many(connection, context, entries.address)
                check_id = await check_new_credential(
                    connection, context, instance.key, entries, working=instance.credential_id
                )
            await audit.record(connection, context, principal, "instance.edited", instance_id)
    except IntegrityError as error:
        raise _address_taken(form.url or "") from error
    return check_id


async def pause(context: Context, principal: Principal, instance_id: UUID) -> None:
    """Stop syncs until the instance is resumed, and end a running sync. Pausing twice changes nothing."""
    await _set_paused(context, principal, instance_id, Event.PAUSE, "instance.paused")


async def resume(context: Context, principal: Principal, instance_id: UUID) -> None:
    """Sync the instance by schedule again."""
    await _set_paused(context, principal, instance_id, Event.RESUME, "instance.resumed")


async def delete_instance(context: Context, principal: Principal, instance_id: UUID) -> None:
    """Delete an instance; the other services then purge their rows of it. A draft is deleted at once."""
    async with transaction(context.engine, principal.organization_id) as connection:
        instance = await transitions.lock(connection, instance_id)
        state = next_state(instance.state, Event.DELETE)
        if state is InstanceState.DELETED:
            await delete_draft(connection, instance_id)
        elif state == instance.state:
            # The message may have been lost, so publish it again.
            await transitions.publish(connection, context, instance, again=True)
        else:
            await repository.runs.assume_all_cancelled(connection, instance_id, context.clock())
            await repository.syncs.forget_accepted(connection, instance_id)
            await transitions.change(connection, context, instance, state=state)
        await audit.record(connection, context, principal, "instance.removed", instance_id)


async def delete_draft(connection: AsyncConnection, instance_id: UUID) -> None:
    """Delete a draft and its credential."""
    await repository.credentials.delete_all_but(connection, instance_id, kept=None)
    await repository.instances.delete_row(connection, instance_id)


async def delete_stale_drafts(context: Context) -> None:
    """Delete drafts whose newest check was asked for 15 minutes ago and did not pass."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        drafts = await repository.instances.stale_drafts(connection, context.clock() - DRAFT_LIFE)
    for organization_id, instance_id in drafts:
        async with transaction(context.engine, organization_id) as connection:
            instance = await repository.instances.lock(connection, instance_id)
            if instance is not None and instance.state == InstanceState.DRAFT:
                await delete_draft(connection, instance_id)


async def publish_all(context: Context) -> None:
    """Publish the state of every instance, at the start and daily, so that an emptied topic fills again."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        keys = await repository.instances.all_keys(connection)
    for organization_id, instance_id in keys:
        async with transaction(context.engine, organization_id) as connection:
            instance = await repository.instances.read(connection, instance_id)
            if instance is not None:
                await transitions.publish(connection, context, instance, again=True)


async def _set_paused(
    context: Context, principal: Principal, instance_id: UUID, event: Event, action: str
) -> None:
    async with transaction(context.engine, principal.organization_id) as connection:
        instance = await transitions.lock_editable(connection, instance_id)
        if instance.state == InstanceState.DRAFT:
            raise Conflict(
                "not_connected",
                "This instance is not connected yet. Correct what failed in its connection test first.",
            )
        state = next_state(instance.state, event)
        if state == instance.state:
            return
        if state is InstanceState.PAUSED:
            await repository.runs.assume_all_cancelled(connection, instance_id, context.clock())
        await transitions.change(
            connection, context, instance, state=state, attention_code=None, attention_message=None
        )
        await audit.record(connection, context, principal, action, instance_id)


async def _refuse_demo(connection: AsyncConnection, principal: Principal) -> None:
    if await repository.organizations.is_demo(connection, principal.organization_id):
        raise Conflict(
            "demo_organization",
            "This organization holds sample data. Add your WHMCS to your own organization.",
        )


def _address_taken(address: str) -> Conflict:
    return Conflict("address_taken", f"{address} is connected already. Change that instance instead.", "url")
