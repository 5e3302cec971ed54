"""Store what the connector reports of runs, and act on how they end."""

from datetime import datetime
from typing import Final

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.failures import text_of, text_of_skipped
from libs.common.contracts.received import Received
from libs.common.contracts.sync import (
    Outcome,
    RunState,
    SkippedKind,
    SyncCancelled,
    SyncFailed,
    SyncProgressed,
    SyncQueued,
    SyncStarted,
    SyncSucceeded,
)
from services.gateway import repository
from services.gateway.context import Context
from services.gateway.instances import transitions
from services.gateway.kinds import plural
from services.gateway.progress import per_cent
from services.gateway.repository.instances import StoredInstance
from services.gateway.repository.runs import StoredRun
from services.gateway.standing import Standing, after_sync
from services.gateway.syncs.commands import cancel_run

_STANDING: Final = TypeAdapter(Standing)


async def queue(connection: AsyncConnection, context: Context, message: Received, event: SyncQueued) -> None:
    """Store the run that a command has joined. A command that was cancelled before it had a run cancels it now."""
    key, now = message.instance, context.clock()
    before = await repository.syncs.read(connection, event.command_id)
    if before is not None and before.run_id is not None and before.run_id != event.run_id:
        # The connector was restored without the run that this command had joined, and has begun another.
        await repository.runs.assume_ended(connection, before.run_id, RunState.FAILED, now, "run_timeout")
    # A run that is stored already keeps its kinds: the command has joined the run of another command.
    kinds = () if before is None else before.kinds
    await repository.runs.add(
        connection,
        organization_id=key.organization_id,
        instance_id=key.instance_id,
        run_id=event.run_id,
        mode=event.mode,
        trigger=event.trigger,
        kinds=kinds,
        expected_rows=await repository.runs.expected_rows(connection, key.instance_id, event.mode, kinds),
    )
    await repository.runs.change(connection, event.run_id, heard_at=now)
    await repository.syncs.add(
        connection,
        organization_id=key.organization_id,
        instance_id=key.instance_id,
        command_id=event.command_id,
        mode=event.mode,
        trigger=event.trigger,
        requested_at=message.at,
        run_id=event.run_id,
    )
    if before is not None and before.run_id is None and before.cancel_requested_at is not None:
        await cancel_run(connection, context, key, event.run_id)
        await repository.runs.assume_ended(connection, event.run_id, RunState.CANCELLED, now)


async def start(connection: AsyncConnection, context: Context, event: SyncStarted) -> None:
    """Store that a worker has begun the run."""
    await repository.runs.change(
        connection,
        event.run_id,
        state=RunState.RUNNING,
        started_at=event.started_at,
        heard_at=context.clock(),
    )


async def progress(connection: AsyncConnection, context: Context, event: SyncProgressed) -> None:
    """Store how far the run is. The share that is shown never decreases."""
    run = await repository.runs.change(
        connection,
        event.run_id,
        state=RunState.RUNNING,
        progress={kind: so_far.model_dump() for kind, so_far in event.kinds.items()},
        skipped=[skipped.model_dump(mode="json") for skipped in event.skipped],
        heard_at=context.clock(),
    )
    if run is not None:
        reached = per_cent(run.per_cent, event.kinds, run.expected_rows)
        await repository.runs.change(connection, event.run_id, per_cent=reached)


async def succeed(
    connection: AsyncConnection,
    context: Context,
    instance: StoredInstance | None,
    event: SyncSucceeded,
    at: datetime,
) -> None:
    """Store how a good run ended, and what it leaves open at its instance."""
    report = event.model_dump(mode="json")
    code, message = _outcome(event)
    run = await repository.runs.end(
        connection,
        event.run_id,
        state=RunState.PARTIAL if event.outcome is Outcome.PARTIAL else RunState.SUCCEEDED,
        started_at=event.started_at,
        ended_at=at,
        heard_at=context.clock(),
        progress={kind: {"rows": rows, "expected": rows} for kind, rows in event.counts.items()},
        counts=event.counts,
        changes=event.changes,
        code=code,
        message=message,
        epoch=event.epoch,
        skipped=report["skipped"],
        whole=report["whole"],
        unreadable=report["unreadable"],
        warnings=report["warnings"],
        held=report["held"],
    )
    if run is None or instance is None or await _is_late(connection, run, instance):
        return
    sync_id = await repository.syncs.of_run(connection, run.run_id)
    if sync_id is not None:
        standing = after_sync(instance.standing, event, sync_id, run.kinds)
        await repository.instances.note(
            connection, instance.instance_id, standing=_STANDING.dump_python(standing, mode="json")
        )
    await transitions.recover(connection, context, instance)


async def fail(
    connection: AsyncConnection,
    context: Context,
    instance: StoredInstance | None,
    event: SyncFailed,
    at: datetime,
) -> None:
    """Store that the run failed; stop the syncs of its instance when only a person can correct that."""
    run = await repository.runs.end(
        connection,
        event.run_id,
        state=RunState.FAILED,
        ended_at=at,
        heard_at=context.clock(),
        code=event.code,
        message=event.message,
    )
    if instance is not None and not await _is_late(connection, run, instance):
        await transitions.stop(connection, context, instance, event.code, event.message)


async def cancel(connection: AsyncConnection, context: Context, event: SyncCancelled, at: datetime) -> None:
    """Store that the run was cancelled."""
    await repository.runs.end(
        connection, event.run_id, state=RunState.CANCELLED, ended_at=at, heard_at=context.clock()
    )


async def _is_late(connection: AsyncConnection, run: StoredRun | None, instance: StoredInstance) -> bool:
    """Return whether the end of a run must not change the instance.

    It is late when it was stored before (`run` is None), when the credentials were replaced after the run began, or when a run
    that began later has ended.
    """
    if run is None:
        return True
    if run.started_at is None:
        return False
    entered_at = instance.credentials_updated_at
    is_replaced = entered_at is not None and run.started_at < entered_at
    return is_replaced or await repository.runs.has_later_end(connection, run)


def _outcome(event: SyncSucceeded) -> tuple[str | None, str | None]:
    """Return code and text for people of a good run; both are None when it read everything."""
    if event.outcome is Outcome.EMPTY:
        return "empty", text_of("empty")
    needed: list[SkippedKind] = [kind for kind in event.skipped if kind.required]
    texts = [text_of_skipped(kind.code, kind.action) for kind in needed]
    if event.bad_rows:
        unread = ", ".join(f"{plural(kind)} ({rows})" for kind, rows in sorted(event.bad_rows.items()))
        texts.append(
            f"Some records could not be read: {unread}. They count as they were last read, if at all. "
            "The page of this sync lists them. Correct them in WHMCS."
        )
    return needed[0].code if needed else None, " ".join(texts) or None
