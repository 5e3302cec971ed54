"""Commands to the connector: start a sync now, or cancel it."""

from typing import Final
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts import topics
from libs.common.contracts.commands import CancelSync, RunSync, SyncMode, SyncTrigger
from libs.common.contracts.instances import InstanceKey, InstanceState
from libs.common.contracts.message import Message
from libs.common.contracts.sync import RunState
from libs.common.database import transaction
from services.gateway import audit, repository
from services.gateway.context import Context
from services.gateway.errors import Conflict, sync_not_found
from services.gateway.instances.states import SYNCED
from services.gateway.instances.transitions import lock
from services.gateway.principals import Principal
from services.gateway.silence import is_silent

_NOT_SYNCED: Final = {
    InstanceState.DRAFT: "This instance is not connected yet. Correct what failed in its connection test first.",
    InstanceState.PAUSED: "This instance is paused. Resume it first, then sync it.",
    InstanceState.DELETING: "This instance is being deleted. Choose another one.",
}


async def sync_now(
    context: Context, principal: Principal, instance_id: UUID, mode: SyncMode = SyncMode.FULL
) -> UUID:
    """Request a sync and return its id. While a sync that reads as much is under way, return the id of that sync.

    Raise NotFound, and Conflict while the instance is a draft, paused or being deleted.
    """
    async with transaction(context.engine, principal.organization_id) as connection:
        instance = await lock(connection, instance_id)
        if instance.state not in SYNCED:
            raise Conflict(f"instance_{instance.state}", _NOT_SYNCED[instance.state])
        # The connector joins this request to a command that it has not answered yet, so a cancel of that command no longer holds.
        await repository.syncs.clear_cancels(connection, instance_id)
        under_way = await repository.syncs.under_way(connection, instance_id, mode, context.clock())
        await audit.record(connection, context, principal, "sync.asked", instance_id)
        if under_way is not None:
            return under_way
        return await start(connection, context, instance.key, mode, principal.actor)


async def start(
    connection: AsyncConnection,
    context: Context,
    key: InstanceKey,
    mode: SyncMode,
    requested_by: str | None,
) -> UUID:
    """Store a command and send it, in the caller's transaction; return its id."""
    command_id = uuid4()
    await repository.syncs.add(
        connection,
        organization_id=key.organization_id,
        instance_id=key.instance_id,
        command_id=command_id,
        mode=mode,
        trigger=SyncTrigger.MANUAL,
        requested_at=context.clock(),
        requested_by=requested_by,
    )
    command = RunSync(
        command_id=command_id, instance_id=key.instance_id, mode=mode, trigger=SyncTrigger.MANUAL
    )
    await send(connection, context, key, command, str(command_id))
    return command_id


async def cancel(context: Context, principal: Principal, command_id: UUID) -> None:
    """Ask the connector to end the run at its next page; an ended run stays as it is.

    A silent run ends at once, because the answer may never come. A command without a run is cancelled at once, and its run as soon
    as the connector reports it.
    """
    now = context.clock()
    async with transaction(context.engine, principal.organization_id) as connection:
        sync = await repository.syncs.read(connection, command_id)
        if sync is not None:
            # An event may be storing the run at this moment. Events lock the instance, so lock it and read again.
            await repository.instances.lock(connection, sync.instance_id)
            sync = await repository.syncs.read(connection, command_id)
        if sync is None:
            raise sync_not_found()
        if sync.run_id is None:
            if not await repository.syncs.cancel_unanswered(connection, command_id, now):
                return
        elif sync.state is not None and sync.state.is_open:
            await cancel_run(
                connection, context, InstanceKey(principal.organization_id, sync.instance_id), sync.run_id
            )
            if is_silent(sync.heard_at or sync.started_at or sync.requested_at, now):
                await repository.runs.assume_ended(connection, sync.run_id, RunState.CANCELLED, now)
        else:
            return
        await audit.record(connection, context, principal, "sync.cancelled", command_id)


async def cancel_run(connection: AsyncConnection, context: Context, key: InstanceKey, run_id: UUID) -> None:
    """Send a CancelSync, in the caller's transaction."""
    command = CancelSync(command_id=uuid4(), instance_id=key.instance_id, run_id=run_id)
    await send(connection, context, key, command, str(command.command_id))


async def send(
    connection: AsyncConnection, context: Context, key: InstanceKey, command: Message, message_id: str
) -> None:
    """Send a command to the connector, in the caller's transaction."""
    await repository.outbox.publish(
        connection, topics.SYNC_COMMANDS, command, message_id, key, context.clock()
    )
