"""Messages in: commands and instances are recorded and answered; no call to a WHMCS is made here."""

from datetime import datetime
from uuid import UUID, uuid4, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts import topics
from libs.common.contracts.commands import CancelSync, CheckInstance, Republish, RunSync
from libs.common.contracts.failures import text_of
from libs.common.contracts.instances import InstanceChanged, InstanceState
from libs.common.contracts.message import Message
from libs.common.contracts.received import Received
from libs.common.contracts.sync import (
    InstancePurged,
    RunState,
    SyncCancelled,
    SyncFailed,
    SyncQueued,
    SyncStarted,
    SyncSucceeded,
)
from libs.common.database import check_owner, raw, transaction
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.messages import subscribe_messages
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import Outgoing, enqueue, outgoing
from services.connector import repository
from services.connector.repository import End, JoinedRun, Owner
from services.connector.sync import progress_of
from services.connector.tables import outbox

_INSTANCES = "connector.instances"
_STOPPED = (InstanceState.PAUSED, InstanceState.DELETING, InstanceState.DELETED)


def build_handlers(consumer: Consumer, publisher: Publisher, engine: AsyncEngine, clock: Clock) -> None:
    """Instances and commands in."""

    async def on_instance(message: Received) -> None:
        await follow(engine, message.body, clock)

    async def on_command(message: Received) -> None:
        await record(engine, message, clock)

    for topic, group, handle in (
        (topics.INSTANCES, "connector.instances", on_instance),
        (topics.SYNC_COMMANDS, "connector", on_command),
    ):
        subscribe_messages(consumer, publisher, topic, group=group, handle=handle, clock=clock)


async def follow(engine: AsyncEngine, instance: InstanceChanged, clock: Clock) -> None:
    """Keep the newest version of an instance; one that is stopped has no runs any more.

    Whoever still says that a purged instance is being deleted has not heard of its end, and is told again.
    """
    owner = Owner(instance.organization_id, instance.id)
    async with transaction(engine) as connection:
        await check_owner(connection, _INSTANCES, instance.organization_id, instance.id)
        database = await raw(connection)
        is_new = await repository.save_instance(database, instance)
        if is_new and instance.state in _STOPPED:
            await _cancel(connection, owner, clock)
        elif instance.state == "deleting" and await repository.is_purged(database, owner):
            purged = InstancePurged(instance_id=instance.id)
            await send(connection, owner, purged, f"{instance.id}.purged.{uuid4()}", clock)


async def record(engine: AsyncEngine, message: Received, clock: Clock) -> None:
    """Write a command down and answer it. A command that is sent again asks how its run stands, and changes nothing."""
    owner = Owner(message.organization_id, message.instance_id)
    async with transaction(engine) as connection:
        await check_owner(connection, _INSTANCES, owner.organization_id, owner.instance_id)
        database = await raw(connection)
        match message.body:
            case CheckInstance() as check:
                await repository.queue_check(
                    database, owner, check.check_id, check.credential_id, check.settings
                )
            case RunSync() if await repository.is_purged(database, owner):
                return  # a run of an instance that is gone would never end
            case RunSync() as wanted:
                await repository.drop_runs_without_instance(database)
                run = await repository.queue_run(
                    database, owner, wanted.command_id, uuid4(), wanted.mode, wanted.trigger
                )
                await _answer(connection, owner, wanted.command_id, run, message.id, clock)
            case CancelSync() as unwanted:
                if not await _cancel(connection, owner, clock, unwanted.run_id):
                    end = await _end_of(connection, owner, unwanted.run_id, clock)
                    if end is not None:
                        await _send_again(connection, end)
            case Republish() as again:
                await repository.forget_blocks(database, owner, again.kind, again.blocks)


async def _answer(
    connection: AsyncConnection, owner: Owner, command_id: UUID, run: JoinedRun, asked_by: str, clock: Clock
) -> None:
    """Say which run a command has joined, and how that run stands.

    Receivers drop a message id that they know. So the ids of what may change meanwhile follow from the message that asks, while the end
    of a run keeps its id: whoever has it needs nothing, and whoever lost it takes it for new. Of a run whose end cannot be told nothing is
    said at all, because the asker would take any news for a sign of life.
    """
    end = None if run.state.is_open else await _end_of(connection, owner, run.run_id, clock)
    if not run.state.is_open and end is None:
        return
    # A digest, because the id of the message comes from outside and may be of any length.
    question = uuid5(command_id, asked_by)
    queued = SyncQueued(command_id=command_id, run_id=run.run_id, mode=run.mode, trigger=run.trigger)
    await send(connection, owner, queued, f"{command_id}.queued.{question}", clock)
    if run.state is RunState.RUNNING and run.started_at is not None:
        points = await repository.load_checkpoints(await raw(connection), owner, run.run_id)
        started = SyncStarted(run_id=run.run_id, mode=run.mode, started_at=run.started_at)
        progressed = progress_of(run.run_id, points)
        await send(connection, owner, started, f"{run.run_id}.started.{question}", clock)
        await send(connection, owner, progressed, f"{run.run_id}.progress.{question}", clock)
    if end is not None:
        await _send_again(connection, end)


async def _cancel(
    connection: AsyncConnection, owner: Owner, clock: Clock, run_id: UUID | None = None
) -> bool:
    """End the open runs of an instance, or one of them; return whether there were any."""
    ended = await repository.cancel(await raw(connection), owner, run_id)
    for each in ended:
        await send_end(connection, owner, SyncCancelled(run_id=each), _cancelled_id(each), clock)
    return bool(ended)


def _cancelled_id(run_id: UUID) -> str:
    return f"{run_id}.cancelled"


async def send(
    connection: AsyncConnection, owner: Owner, event: Message, message_id: str, clock: Clock
) -> None:
    """Say something of an instance on sync.events, in the caller's transaction."""
    await enqueue(connection, outbox, _event(owner, event, message_id, clock()))


async def send_end(
    connection: AsyncConnection,
    owner: Owner,
    event: SyncSucceeded | SyncFailed | SyncCancelled,
    message_id: str,
    clock: Clock,
) -> None:
    """Say how a run ended and keep that with the run, in the caller's transaction."""
    final = _event(owner, event, message_id, clock())
    await repository.keep_final_event(await raw(connection), owner, event.run_id, final)
    await enqueue(connection, outbox, final)


async def _end_of(connection: AsyncConnection, owner: Owner, run_id: UUID, clock: Clock) -> Outgoing | None:
    """Return the event that tells how a run ended; one that is unknown here is as good as cancelled.

    When the event was not kept, a failure is told by its code. A success is not told: where its facts end is no longer known.
    """
    end = await repository.read_end(await raw(connection), owner, run_id)
    match end:
        case None:
            return _event(owner, SyncCancelled(run_id=run_id), _cancelled_id(run_id), clock())
        case End(event=Outgoing() as event):
            return event
        case End(state=RunState.FAILED, code=str(code)):
            failed = SyncFailed(run_id=run_id, code=code, message=text_of(code))
            return _event(owner, failed, f"{run_id}.failed", end.at)
        case End(state=RunState.CANCELLED):
            return _event(owner, SyncCancelled(run_id=run_id), _cancelled_id(run_id), end.at)
        case _:
            return None


async def _send_again(connection: AsyncConnection, event: Outgoing) -> None:
    """Say something again, behind what was said before it: the outbox drops what it holds already, so the row of the first time goes."""
    await connection.execute(outbox.delete().where(outbox.c.message_id == event.message_id))
    await enqueue(connection, outbox, event)


def _event(owner: Owner, event: Message, message_id: str, at: datetime) -> Outgoing:
    return outgoing(
        topics.SYNC_EVENTS,
        event,
        message_id=message_id,
        source="connector",
        organization_id=owner.organization_id,
        instance_id=owner.instance_id,
        at=at,
    )
