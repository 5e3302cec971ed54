"""Commands to the connector: start a sync now, read one list again, accept deletions, or cancel a sync."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
from services.gateway.repository.instances import StoredInstance
from services.gateway.repository.records import NamedRecord
from services.gateway.repository.syncs import StoredSync
from services.gateway.silence import is_silent

_NOT_SYNCED: Final = {
    InstanceState.DRAFT: "This instance is not connected yet. Correct what failed in its connection test first.",
    InstanceState.PAUSED: "This instance is paused. Resume it first, then sync it.",
    InstanceState.DELETING: "This instance is being deleted. Choose another one.",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for: a sync of all kinds, or only of `kinds`. `accept_deletions` is in the words of RunSync.

    `accepted` are the first of these records.
    """

    mode: SyncMode = SyncMode.FULL
    kinds: tuple[str, ...] = ()
    accept_deletions: Mapping[str, int] = field(default_factory=dict)
    accepted: Sequence[NamedRecord] = ()


async def sync_now(
    context: Context, principal: Principal, instance_id: UUID, mode: SyncMode = SyncMode.FULL
) -> UUID:
    """Request a sync and return its id. While a sync that reads as much is under way, return the id of that sync.

    Raise NotFound, and Conflict while the instance is a draft, paused or being deleted.
    """
    async with transaction(context.engine, principal.organization_id) as connection:
        instance = await _lock_synced(connection, instance_id)
        await audit.record(connection, context, principal, "sync.asked", instance_id)
        return await _join_or_start(connection, context, principal, instance, Request(mode))


async def retry_kind(context: Context, principal: Principal, command_id: UUID, kind: str) -> UUID:
    """Request a sync of one list that this sync skipped or could not read whole; return the id of the new sync.

    Raise NotFound for an unknown sync, and Conflict when it read the list or its instance is not synced now.
    """
    async with transaction(context.engine, principal.organization_id) as connection:
        sync = await _read_sync(connection, command_id)
        if kind not in {skipped.kind for skipped in sync.skipped or ()} | (sync.unreadable or {}).keys():
            raise Conflict(
                "kind_not_skipped", "This sync read that list. Choose one that it skipped.", "kind"
            )
        instance = await _lock_synced(connection, sync.instance_id)
        await audit.record(connection, context, principal, "sync.list_asked", instance.instance_id)
        return await _join_or_start(connection, context, principal, instance, Request(kinds=(kind,)))


async def accept_deletions(context: Context, principal: Principal, command_id: UUID, kind: str) -> UUID:
    """Request a sync that removes the records of a kind which this sync found missing; return the id of the new sync.

    Raise NotFound for an unknown sync. Raise Conflict when the records no longer wait for a decision, when their number has changed
    since, or when the instance is not synced now.
    """
    async with transaction(context.engine, principal.organization_id) as connection:
        sync = await _read_sync(connection, command_id)
        instance = await _lock_synced(connection, sync.instance_id)
        reviewed, held = (sync.held or {}).get(kind), instance.standing.held.get(kind)
        if reviewed is None or held is None or held.count != reviewed.count:
            raise Conflict(
                "review_outdated",
                "These deletions no longer wait for a decision, or their number has changed. Look at the instance again.",
                "kind",
            )
        accepted = await repository.records.named(connection, instance.instance_id, kind, reviewed.ids)
        request = Request(kinds=(kind,), accept_deletions={kind: reviewed.count}, accepted=accepted)
        accepting = await _join_or_start(connection, context, principal, instance, request)
        await audit.record(connection, context, principal, "sync.deletions_accepted", accepting)
        return accepting


async def _read_sync(connection: AsyncConnection, command_id: UUID) -> StoredSync:
    sync = await repository.syncs.read(connection, command_id)
    if sync is None:
        raise sync_not_found()
    return sync


async def _lock_synced(connection: AsyncConnection, instance_id: UUID) -> StoredInstance:
    """Return the instance, locked; raise Conflict while it is not synced."""
    instance = await lock(connection, instance_id)
    if instance.state not in SYNCED:
        raise Conflict(f"instance_{instance.state}", _NOT_SYNCED[instance.state])
    return instance


async def _join_or_start(
    connection: AsyncConnection,
    context: Context,
    principal: Principal,
    instance: StoredInstance,
    request: Request,
) -> UUID:
    """Return the command under way that does as much as the request, or start one. The instance is locked."""
    # The connector joins this request to a command that it has not answered yet, so a cancel of that command no longer holds.
    await repository.syncs.clear_cancels(connection, instance.instance_id)
    under_way = await repository.syncs.under_way(
        connection,
        instance.instance_id,
        request.mode,
        request.kinds,
        context.clock(),
        accepts=bool(request.accept_deletions),
    )
    return under_way or await start(connection, context, instance.key, request, principal.actor)


async def start(
    connection: AsyncConnection,
    context: Context,
    key: InstanceKey,
    request: Request,
    requested_by: str | None,
) -> UUID:
    """Store a command and send it, in the caller's transaction; return its id."""
    command_id = uuid4()
    await repository.syncs.add(
        connection,
        organization_id=key.organization_id,
        instance_id=key.instance_id,
        command_id=command_id,
        mode=request.mode,
        trigger=SyncTrigger.MANUAL,
        requested_at=context.clock(),
        requested_by=requested_by,
        kinds=request.kinds,
        accept_deletions=request.accept_deletions,
        accepted=[asdict(record) for record in request.accepted],
    )
    command = RunSync(
        command_id=command_id,
        instance_id=key.instance_id,
        mode=request.mode,
        trigger=SyncTrigger.MANUAL,
        kinds=request.kinds,
        accept_deletions=dict(request.accept_deletions),
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
