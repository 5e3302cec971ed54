"""Messages in: commands and instances are recorded and answered; no call to a WHMCS is made here."""

from uuid import UUID, uuid4

from faststream.kafka import KafkaBroker
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.broker import Publisher, subscribe_messages
from libs.common.clock import Clock
from libs.common.contracts import topics
from libs.common.contracts.commands import CancelSync, CheckInstance, Republish, RunSync
from libs.common.contracts.envelope import Received
from libs.common.contracts.instances import InstanceChanged, InstanceState, Message
from libs.common.contracts.sync import SyncCancelled, SyncQueued
from libs.common.database import raw, transaction
from libs.common.outbox import enqueue, outgoing
from services.connector import repository
from services.connector.repository import Owner
from services.connector.tables import outbox

_STOPPED = (InstanceState.PAUSED, InstanceState.DELETING, InstanceState.DELETED)


def build_handlers(
    broker: KafkaBroker, engine: AsyncEngine, publisher: Publisher, clock: Clock, replica: str | None
) -> None:
    """Instances and commands in."""

    async def on_instance(message: Received) -> None:
        await follow(engine, message.body, clock)

    async def on_command(message: Received) -> None:
        await record(engine, message, clock)

    for topic, group, handle in (
        (topics.INSTANCES, "connector.instances", on_instance),
        (topics.SYNC_COMMANDS, "connector", on_command),
    ):
        subscribe_messages(broker, topic, group=group, replica=replica, publisher=publisher, handle=handle)


async def follow(engine: AsyncEngine, instance: InstanceChanged, clock: Clock) -> None:
    """Keep the newest version of an instance; one that is stopped has no runs any more."""
    async with transaction(engine) as connection:
        database = await raw(connection)
        is_new = await repository.save_instance(database, instance)
        if is_new and instance.state in _STOPPED:
            await _cancel(connection, Owner(instance.organization_id, instance.id), clock)


async def record(engine: AsyncEngine, message: Received, clock: Clock) -> None:
    """Write a command down and answer it; a repeat changes nothing."""
    owner = Owner(message.organization_id, message.instance_id)
    async with transaction(engine) as connection:
        database = await raw(connection)
        match message.body:
            case CheckInstance() as check:
                await repository.queue_check(
                    database, owner, check.check_id, check.credential_id, check.settings
                )
            case RunSync() as wanted:
                run_id, mode, trigger = await repository.queue_run(
                    database, owner, wanted.command_id, uuid4(), wanted.mode, wanted.trigger
                )
                queued = SyncQueued(command_id=wanted.command_id, run_id=run_id, mode=mode, trigger=trigger)
                await send(connection, owner, queued, f"{wanted.command_id}.queued", clock)
            case CancelSync() as unwanted:
                await _cancel(connection, owner, clock, unwanted.run_id)
            case Republish() as again:
                await repository.forget_blocks(database, owner, again.kind, again.blocks)


async def _cancel(
    connection: AsyncConnection, owner: Owner, clock: Clock, run_id: UUID | None = None
) -> None:
    for ended in await repository.cancel(await raw(connection), owner, run_id):
        await send(connection, owner, SyncCancelled(run_id=ended), f"{ended}.cancelled", clock)


async def send(
    connection: AsyncConnection, owner: Owner, event: Message, message_id: str, clock: Clock
) -> None:
    """Say something of an instance on sync.events, in the caller's transaction."""
    await enqueue(
        connection,
        outbox,
        outgoing(
            topics.SYNC_EVENTS,
            event,
            message_id=message_id,
            source="connector",
            organization_id=owner.organization_id,
            instance_id=owner.instance_id,
            at=clock(),
        ),
    )
