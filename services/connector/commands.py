"""Stores instances and commands, and answers commands. It does not call WHMCS."""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid4, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.commands import CancelSync, CheckInstance, Republish, RunSync
from libs.common.contracts.instances import InstanceChanged, InstanceKey, InstanceState
from libs.common.contracts.received import Received
from libs.common.contracts.sync import InstancePurged, RunState, SyncCancelled, SyncQueued, SyncStarted
from libs.common.database import check_owner, raw, transaction
from services.connector import events
from services.connector.plan import progress_of
from services.connector.repository import checkpoints, checks, details, fingerprints, instances, runs, scans
from services.connector.repository.runs import JoinedRun

_INSTANCES: Final = "connector.instances"
_STOPPED: Final = (InstanceState.PAUSED, InstanceState.DELETING, InstanceState.DELETED)


async def store_instance(engine: AsyncEngine, changed: InstanceChanged, clock: Clock) -> None:
    """Store the newest version of an instance, and cancel the runs of one that is stopped.

    A sender that still reports a purged instance as being deleted has missed InstancePurged, so that is sent again.
    """
    instance = InstanceKey(changed.organization_id, changed.id)
    async with transaction(engine) as connection:
        await check_owner(connection, _INSTANCES, instance)
        database = await raw(connection)
        is_new = await instances.save(database, changed)
        if is_new and changed.state in _STOPPED:
            await _cancel(connection, instance, clock())
        elif changed.state == "deleting" and await instances.is_purged(database, instance):
            purged = InstancePurged(instance_id=changed.id)
            await events.send(connection, instance, purged, f"{changed.id}.purged.{uuid4()}", clock())


async def store_command(engine: AsyncEngine, message: Received, clock: Clock) -> None:
    """Store a command and answer it. A sender repeats a command to ask for the state of its run; a repeat changes nothing."""
    instance = message.instance
    async with transaction(engine) as connection:
        await check_owner(connection, _INSTANCES, instance)
        database = await raw(connection)
        match message.body:
            case CheckInstance() as check:
                await checks.queue(database, instance, check.check_id, check.credential_id, check.settings)
            case RunSync() as command:
                await _queue(connection, instance, command, message.id, clock())
            case CancelSync() as cancel:
                await _cancel_or_answer(connection, instance, cancel.run_id, clock())
            case Republish() as republish:
                await fingerprints.clear_blocks(database, instance, republish.kind, republish.blocks)
                await details.make_due(database, instance, republish.kind, republish.blocks)
                await scans.delete(database, instance, republish.kind)


async def _queue(
    connection: AsyncConnection, instance: InstanceKey, command: RunSync, message_id: str, at: datetime
) -> None:
    database = await raw(connection)
    if await instances.is_purged(database, instance):
        return  # no worker would claim the run
    await runs.delete_without_instance(database)
    run = await runs.queue(database, instance, command, uuid4())
    await _answer(connection, instance, command.command_id, run, message_id, at)


async def _answer(
    connection: AsyncConnection,
    instance: InstanceKey,
    command_id: UUID,
    run: JoinedRun,
    message_id: str,
    at: datetime,
) -> None:
    """Report which run a command has joined, and the state of that run.

    Receivers discard message ids that they have seen. So the events of an open run get new ids for each question, made from the id of
    the message that asks. The event of its end keeps its id: a receiver that has seen it discards it, and a receiver that lost it
    accepts it. If the end of a run cannot be reported, no event is sent, because the sender would conclude that the run is alive.
    """
    end = None if run.state.is_open else await events.load_end(connection, instance, run.run_id, at)
    if not run.state.is_open and end is None:
        return
    # A digest, because the id of the message comes from outside and may be of any length.
    question = uuid5(command_id, message_id)
    queued = SyncQueued(command_id=command_id, run_id=run.run_id, mode=run.mode, trigger=run.trigger)
    await events.send(connection, instance, queued, f"{command_id}.queued.{question}", at)
    if run.state is RunState.RUNNING and run.started_at is not None:
        points = await checkpoints.load(await raw(connection), instance, run.run_id)
        started = SyncStarted(run_id=run.run_id, mode=run.mode, started_at=run.started_at)
        for name, event in (("started", started), ("progress", progress_of(run.run_id, points))):
            await events.send(connection, instance, event, f"{run.run_id}.{name}.{question}", at)
    if end is not None:
        await events.send_again(connection, end)


async def _cancel_or_answer(
    connection: AsyncConnection, instance: InstanceKey, run_id: UUID, at: datetime
) -> None:
    """Cancel an open run, or report how it ended."""
    if await _cancel(connection, instance, at, run_id):
        return
    end = await events.load_end(connection, instance, run_id, at)
    if end is not None:
        await events.send_again(connection, end)


async def _cancel(
    connection: AsyncConnection, instance: InstanceKey, at: datetime, run_id: UUID | None = None
) -> bool:
    """Cancel the open runs of an instance, or only `run_id`; return whether there were any."""
    cancelled = await runs.cancel(await raw(connection), instance, run_id)
    for cancelled_id in cancelled:
        await events.send_end(connection, instance, SyncCancelled(run_id=cancelled_id), at)
    return bool(cancelled)
