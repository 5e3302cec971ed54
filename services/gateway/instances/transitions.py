"""Change stored instances, and publish each change in the same transaction."""

from typing import Unpack
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts import topics
from libs.common.contracts.failures import FAILURES
from libs.common.contracts.instances import InstanceChanged, InstanceState
from services.gateway import repository
from services.gateway.context import Context
from services.gateway.errors import Conflict, instance_not_found
from services.gateway.instances.states import SYNCED, Event, next_state
from services.gateway.repository.instances import InstanceValues, StoredInstance


async def lock(connection: AsyncConnection, instance_id: UUID) -> StoredInstance:
    """Return the instance, locked until the transaction ends; raise NotFound when the organization has none of this id."""
    instance = await repository.instances.lock(connection, instance_id)
    if instance is None:
        raise instance_not_found()
    return instance


async def lock_editable(connection: AsyncConnection, instance_id: UUID) -> StoredInstance:
    """Return the instance, locked; raise NotFound, or Conflict while it is being deleted."""
    instance = await lock(connection, instance_id)
    if instance.state == InstanceState.DELETING:
        raise Conflict("instance_deleting", "This instance is being deleted. Choose another one.")
    return instance


async def publish(
    connection: AsyncConnection, context: Context, instance: StoredInstance, *, again: bool = False
) -> None:
    """Publish the state of an instance, unless it is a draft. With `again`, publish a state that was published before."""
    if instance.state == InstanceState.DRAFT:
        return
    definitions = await repository.definitions.read(connection, instance.organization_id)
    preview = await repository.definitions.read_preview(connection, instance.organization_id)
    body = InstanceChanged.model_validate(
        {
            "id": instance.instance_id,
            "organization_id": instance.organization_id,
            "name": instance.name,
            "credential_id": instance.credential_id,
            "state": instance.state.value,
            "settings": instance.settings,
            "version": instance.version,
            "definitions": instance.overrides.over(definitions),
            "preview": preview and preview.of(instance.instance_id, instance.overrides),
        }
    )
    message_id = f"{instance.instance_id}.{instance.version}{f'.{uuid4()}' if again else ''}"
    await repository.outbox.publish(
        connection, topics.INSTANCES, body, message_id, instance.key, context.clock()
    )


async def change(
    connection: AsyncConnection, context: Context, instance: StoredInstance, **values: Unpack[InstanceValues]
) -> None:
    """Store changed values of an instance and publish them."""
    changed = await repository.instances.change(connection, instance.instance_id, **values)
    await publish(connection, context, changed)


async def recover(
    connection: AsyncConnection, context: Context, instance: StoredInstance, whmcs_version: str | None = None
) -> None:
    """Make an instance active after a good sync or check, and store the version of WHMCS if it was seen."""
    if instance.state not in SYNCED:
        return
    version = whmcs_version or instance.whmcs_version
    if (instance.state, instance.whmcs_version) == (InstanceState.ACTIVE, version):
        return
    await change(
        connection,
        context,
        instance,
        state=next_state(instance.state, Event.RECOVER),
        whmcs_version=version,
        attention_code=None,
        attention_message=None,
    )


async def stop(
    connection: AsyncConnection, context: Context, instance: StoredInstance, code: str, message: str
) -> None:
    """Stop syncs until a check passes, when only a person can correct this failure."""
    failure = FAILURES.get(code)
    if failure is None or not failure.needs_attention or instance.state not in SYNCED:
        return
    state = next_state(instance.state, Event.STOP)
    if (instance.state, instance.attention_code, instance.attention_message) != (state, code, message):
        await change(
            connection, context, instance, state=state, attention_code=code, attention_message=message
        )


async def finish_deletion(connection: AsyncConnection, context: Context, instance: StoredInstance) -> None:
    """Publish an instance as deleted once the connector has purged it."""
    if instance.state == InstanceState.DELETING:
        await change(connection, context, instance, state=next_state(instance.state, Event.PURGE))
