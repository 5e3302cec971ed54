"""Applies the events of the connector: each is stored once, and then changes the check, run or instance that it is about."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.received import Received
from libs.common.contracts.sync import (
    DetailsProgressed,
    InstanceChecked,
    InstancePurged,
    SyncCancelled,
    SyncFailed,
    SyncProgressed,
    SyncQueued,
    SyncStarted,
    SyncSucceeded,
)
from libs.common.database import transaction
from libs.common.errors import Permanent
from services.gateway import demo, repository
from services.gateway.context import Context
from services.gateway.instances import checks, transitions
from services.gateway.repository.instances import StoredInstance
from services.gateway.syncs import runs

_ENDS: Final = (SyncSucceeded, SyncFailed, SyncCancelled)


async def follow(context: Context, message: Received) -> None:
    """Store an event and act on it, once. Raise Permanent when the organization never had its instance.

    The end of a run is applied each time it arrives, because the run may have been unknown at the first time. An ended run stays as it is.
    """
    key = message.instance
    async with transaction(context.engine, key.organization_id) as connection:
        if not await repository.instances.exists(connection, key.instance_id):
            raise Permanent("instance_unknown", f"{key.organization_id} has no instance {key.instance_id}.")
        is_new = await repository.events.add(
            connection,
            organization_id=key.organization_id,
            instance_id=key.instance_id,
            message_id=message.id,
            type=message.type,
            subject=_subject(message.body),
            body=message.body.model_dump(mode="json"),
            at=message.at,
        )
        if is_new or isinstance(message.body, _ENDS):
            instance = await repository.instances.lock(connection, key.instance_id)
            await _act(connection, context, message, instance)


async def _act(
    connection: AsyncConnection, context: Context, message: Received, instance: StoredInstance | None
) -> None:
    match message.body:
        case InstanceChecked() as event:
            if await checks.store_answer(connection, context, instance, event):
                await demo.start_first_sync(connection, context, message.instance)
        case SyncQueued() as event:
            await runs.queue(connection, context, message, event)
        case SyncStarted() as event:
            await runs.start(connection, context, event)
        case SyncProgressed() as event:
            await runs.progress(connection, context, event)
        case SyncSucceeded() as event:
            await runs.succeed(connection, context, instance, event, message.at)
        case SyncFailed() as event:
            await runs.fail(connection, context, instance, event, message.at)
        case SyncCancelled() as event:
            await runs.cancel(connection, context, event, message.at)
        case DetailsProgressed() as event:
            await repository.instances.note(
                connection,
                event.instance_id,
                details=event.model_dump(mode="json"),
                details_at=message.at,
            )
        case InstancePurged() if instance is not None:
            await transitions.finish_deletion(connection, context, instance)


def _subject(event: Any) -> UUID:
    match event:
        case InstanceChecked():
            return event.check_id
        case DetailsProgressed() | InstancePurged():
            return event.instance_id
        case _:
            run_id: UUID = event.run_id
            return run_id
