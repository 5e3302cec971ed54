"""Sync Now, and how runs go."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts import topics
from libs.common.contracts.billing import Kind
from libs.common.contracts.commands import CancelSync, RunSync, SyncMode, SyncTrigger
from libs.common.contracts.instances import InstanceKey, InstanceState
from libs.common.contracts.message import Message
from libs.common.contracts.sync import KindProgress, SkippedKind
from libs.common.database import transaction
from libs.common.outbox import enqueue, outgoing
from services.gateway import audit, repository
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import Conflict, NotFound, instance_not_found
from services.gateway.instances.states import SYNCED
from services.gateway.instances.transitions import lock
from services.gateway.principals import Principal
from services.gateway.silence import Step, is_silent, next_step
from services.gateway.tables import outbox

PAGE: Final = 50
_ENDED: Final = ("succeeded", "partial")
_READ_IN_ORDER: Final = (
    Kind.CURRENCY,
    Kind.PRODUCT,
    Kind.PROMOTION,
    Kind.CUSTOMER,
    Kind.INVOICE,
    Kind.SERVICE,
    Kind.ADDON,
    Kind.DOMAIN,
    Kind.CANCELLATION_REQUEST,
    Kind.CUSTOMER_DETAIL,
)


@dataclass(frozen=True, slots=True)
class Sync:
    """A command and the run that it joined. `id` is the command's, `run_id` None until the connector has answered.

    `progress` is by kind, in the order in which they are read; `applied` tells whether the figures hold what was read. `heard_at` is when
    the connector last said something of the run. `per_cent` of about `expected_rows` records are read; a run in progress never shows all.
    """

    id: UUID
    instance_id: UUID
    instance_name: str
    run_id: UUID | None
    state: str
    mode: str
    trigger: str
    requested_at: datetime
    requested_by: str | None
    started_at: datetime | None
    ended_at: datetime | None
    heard_at: datetime | None
    progress: dict[str, KindProgress]
    per_cent: int
    expected_rows: int | None
    counts: dict[str, int] | None
    changes: dict[str, int] | None
    skipped: tuple[SkippedKind, ...]
    code: str | None
    message: str | None
    applied: bool


async def sync_now(
    context: Context, principal: Principal, instance_id: UUID, mode: SyncMode = SyncMode.FULL
) -> UUID:
    """Ask for a run and return the command's id; while one that reads as much is on its way, that one's.

    Raises NotFound, and Conflict while the instance is a draft, paused or being removed.
    """
    async with transaction(context.engine, principal.organization_id) as connection:
        instance = await lock(connection, instance_id)
        if instance.state not in SYNCED:
            raise Conflict(
                f"instance_{instance.state}",
                "A paused instance is not synced. Resume it first."
                if instance.state == InstanceState.PAUSED
                else f"This instance is not connected: it is {instance.state}.",
            )
        # The connector joins what is asked for now to a command that it has not answered yet: that one is wanted again.
        await repository.forget_cancels(connection, instance_id)
        under_way = await repository.sync_under_way(connection, instance_id, mode, context.clock())
        await audit.record(connection, context, principal, "sync.asked", instance_id)
        if under_way is not None:
            return under_way
        return await start(connection, context, principal.organization_id, instance_id, mode, principal.actor)


async def start(
    connection: AsyncConnection,
    context: Context,
    organization_id: UUID,
    instance_id: UUID,
    mode: SyncMode,
    requested_by: str | None,
) -> UUID:
    """Send a RunSync and write it down, in the caller's transaction; returns the command."""
    command_id = uuid4()
    await repository.add_sync(
        connection,
        organization_id=organization_id,
        instance_id=instance_id,
        command_id=command_id,
        mode=mode,
        trigger=SyncTrigger.MANUAL,
        requested_at=context.clock(),
        requested_by=requested_by,
    )
    command = RunSync(command_id=command_id, instance_id=instance_id, mode=mode, trigger=SyncTrigger.MANUAL)
    await _send(connection, context, organization_id, instance_id, command, str(command_id))
    return command_id


async def get_sync(context: Context, principal: Principal, command_id: UUID) -> Sync:
    """One command with its run."""
    async with transaction(context.engine, principal.organization_id) as connection:
        row = await repository.read_sync(connection, command_id)
    if row is None:
        raise NotFound("sync_not_found", "There is no such sync here.")
    return _sync(row, context.clock())


async def list_syncs(
    context: Context,
    principal: Principal,
    instance_id: UUID,
    before: tuple[datetime, UUID] | None = None,
    limit: int = PAGE,
) -> list[Sync]:
    """Commands of an instance, newest first; `before` is (requested_at, id) of the last one of the page before."""
    async with transaction(context.engine, principal.organization_id) as connection:
        if not await repository.read_instances(connection, context.clock(), instance_id):
            raise instance_not_found()
        rows = await repository.read_syncs(connection, instance_id, before, limit)
    now = context.clock()
    return [_sync(row, now) for row in rows]


async def cancel(context: Context, principal: Principal, command_id: UUID) -> None:
    """Ask the connector to end the run at its next page; one that has ended stays as it is.

    A silent run ends at once, because its answer may never come. A command without a run is cancelled at once, and its run as soon as
    the connector tells it.
    """
    now = context.clock()
    async with transaction(context.engine, principal.organization_id) as connection:
        row = await repository.read_sync(connection, command_id)
        if row is not None:
            # The connector's answer may be written at this moment: whoever holds the instance comes first.
            await repository.lock_instance(connection, row.instance_id)
            row = await repository.read_sync(connection, command_id)
        if row is None:
            raise NotFound("sync_not_found", "There is no such sync here.")
        if row.run_id is None:
            if not await repository.keep_cancel(connection, command_id, now):
                return
        elif row.state in ("queued", "running"):
            await cancel_run(connection, context, principal.organization_id, row.instance_id, row.run_id)
            if is_silent(row.heard_at or row.started_at or row.requested_at, now):
                await repository.assume_ended(connection, row.run_id, "cancelled", now)
        else:
            return
        await audit.record(connection, context, principal, "sync.cancelled", command_id)


async def cancel_run(
    connection: AsyncConnection, context: Context, organization_id: UUID, instance_id: UUID, run_id: UUID
) -> None:
    """Send a CancelSync, in the caller's transaction."""
    command = CancelSync(command_id=uuid4(), instance_id=instance_id, run_id=run_id)
    await _send(connection, context, organization_id, instance_id, command, str(command.command_id))


async def follow_silent_runs(context: Context, *, is_restart: bool = False) -> None:
    """Ask the connector about each open run that went silent, and end those that nobody will answer for."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        runs = await repository.silent_runs(connection, context.clock())
    for organization_id, run_id in runs:
        async with transaction(context.engine, organization_id) as connection:
            run = await repository.hold_open_run(connection, run_id)
            if run is not None:
                await _follow_silent_run(connection, context, run, is_restart=is_restart)


async def _follow_silent_run(
    connection: AsyncConnection, context: Context, run: Row[Any], *, is_restart: bool
) -> None:
    now, is_wanted = context.clock(), run.instance_state in SYNCED
    match next_step(run.heard_at, run.asked_at, now, is_wanted=is_wanted, is_restart=is_restart):
        case Step.CANCEL:
            await repository.assume_ended(connection, run.run_id, "cancelled", now)
        case Step.FAIL:
            await repository.assume_ended(connection, run.run_id, "failed", now, "run_timeout")
        case Step.ASK:
            # The command that the run belongs to, sent again, is the question; a new message id lets it through.
            command = RunSync(
                command_id=run.command_id, instance_id=run.instance_id, mode=run.mode, trigger=run.trigger
            )
            await _send(
                connection,
                context,
                run.organization_id,
                run.instance_id,
                command,
                f"{run.command_id}.{uuid4()}",
            )
            # After a clock has stepped back, silence counts from now on.
            ahead = {"heard_at": now} if run.heard_at > now else {}
            await repository.change_run(connection, run.run_id, asked_at=now, **ahead)


async def _send(
    connection: AsyncConnection,
    context: Context,
    organization_id: UUID,
    instance_id: UUID,
    command: Message,
    message_id: str,
) -> None:
    message = outgoing(
        topics.SYNC_COMMANDS,
        command,
        message_id=message_id,
        source="gateway",
        instance=InstanceKey(organization_id, instance_id),
        at=context.clock(),
    )
    await enqueue(connection, outbox, message)


def _sync(row: Row[Any], now: datetime) -> Sync:
    is_cancelled = row.run_id is None and row.cancel_requested_at is not None
    waiting = "not_picked_up" if is_silent(row.requested_at, now) else "queued"
    state = row.state or ("cancelled" if is_cancelled else waiting)
    return Sync(
        id=row.command_id,
        instance_id=row.instance_id,
        instance_name=row.instance_name,
        run_id=row.run_id,
        state=state,
        mode=row.mode,
        trigger=row.trigger,
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        started_at=row.started_at,
        ended_at=row.cancel_requested_at if is_cancelled else row.ended_at,
        heard_at=row.heard_at,
        progress=_progress(row.progress or {}),
        per_cent=100 if state in _ENDED else row.per_cent or 0,
        expected_rows=row.expected_rows,
        counts=row.counts,
        changes=row.changes,
        skipped=tuple(SkippedKind.model_validate(one) for one in row.skipped or ()),
        code=row.code,
        message=row.message,
        applied=state in _ENDED and _is_applied(row),
    )


def _is_applied(row: Row[Any]) -> bool:
    """Tell whether the figures hold what an ended run read. Moments are of the connector's clock: epochs alone are sure."""
    if row.as_of is None:
        return False
    if row.epoch is not None and row.applied_epoch is not None:
        return bool(row.applied_epoch >= row.epoch)
    return bool(row.as_of >= row.started_at)


def _progress(kinds: dict[str, Any]) -> dict[str, KindProgress]:
    known = [kind for kind in _READ_IN_ORDER if kind in kinds]
    ordered = [*known, *sorted(kinds.keys() - set(known))]
    return {kind: KindProgress.model_validate(kinds[kind]) for kind in ordered}
