"""Changes of stored instances, each published in the transaction that makes it."""

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
        raise Conflict("instance_deleting", "This instance is being removed.")
    return instance


async def publish(
    connection: AsyncConnection, context: Context, instance: StoredInstance, *, again: bool = False
) -> None:
    """Publish the present state of an instance, but never a draft. `again`: also when it was published before."""
    if instance.state == InstanceState.DRAFT:
        return
    body = InstanceChanged.model_validate(
        {
            "id": instance.instance_id,
            "organization_id": instance.organization_id,
            "name": instance.name,
            "credential_id": instance.credential_id,
            "state": instance.state.value,
            "settings": instance.settings,
            "version": instance.version,
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
    """A sync or check went well: the instance needs no attention any more. `whmcs_version` is the version that was seen."""
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
    """Stop syncs until a check passes, if this failure cannot mend by itself."""
    failure = FAILURES.get(code)
    if failure is None or not failure.needs_attention or instance.state not in SYNCED:
        return
    state = next_state(instance.state, Event.STOP)
    if (instance.state, instance.attention_code, instance.attention_message) != (state, code, message):
        await change(
            connection, context, instance, state=state, attention_code=code, attention_message=message
        )


async def finish_deletion(connection: AsyncConnection, context: Context, instance: StoredInstance) -> None:
    """The connector has erased everything of an instance that is being deleted: publish it as deleted."""
    if instance.state == InstanceState.DELETING:
        await change(connection, context, instance, state=next_state(instance.state, Event.PURGE))
