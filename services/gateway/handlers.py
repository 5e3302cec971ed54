"""Messages in: what the connector says of checks and runs."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts import topics
from libs.common.contracts.failures import text_of, text_of_skipped
from libs.common.contracts.received import Received
from libs.common.contracts.sync import (
    InstanceChecked,
    InstancePurged,
    SkippedKind,
    SyncCancelled,
    SyncFailed,
    SyncProgressed,
    SyncQueued,
    SyncStarted,
    SyncSucceeded,
)
from libs.common.database import transaction
from libs.common.errors import Permanent
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.messages import subscribe_messages
from libs.common.kafka.publisher import Publisher
from services.gateway import demo, repository, syncs
from services.gateway.context import Context
from services.gateway.instances import checks, transitions
from services.gateway.progress import per_cent

_ENDS: Final = (SyncSucceeded, SyncFailed, SyncCancelled)


def build_handlers(consumer: Consumer, publisher: Publisher, context: Context) -> None:
    """Events of checks and runs in; all replicas share the work."""

    async def on_event(message: Received) -> None:
        await follow(context, message)

    subscribe_messages(
        consumer, publisher, topics.SYNC_EVENTS, group="gateway", handle=on_event, clock=context.clock
    )


async def follow(context: Context, message: Received) -> None:
    """Write down what an event says, once; a repeat changes nothing.

    Only the end of a run is looked at again: it may have come before the run was heard of, and changes nothing of an ended run.
    """
    at, now = message.at, context.clock()
    async with transaction(context.engine, message.instance.organization_id) as connection:
        if not await repository.has_instance(connection, message.instance.instance_id):
            raise Permanent(
                "instance_unknown",
                f"{message.instance.organization_id} has no instance {message.instance.instance_id}.",
            )
        is_new = await repository.add_event(
            connection,
            organization_id=message.instance.organization_id,
            instance_id=message.instance.instance_id,
            message_id=message.id,
            type=message.type,
            subject=_subject(message.body),
            body=message.body.model_dump(mode="json"),
            at=at,
        )
        if not is_new and not isinstance(message.body, _ENDS):
            return
        instance = await repository.lock_instance(connection, message.instance.instance_id)
        match message.body:
            case InstanceChecked() as checked:
                if await checks.store_answer(connection, context, instance, checked):
                    await demo.start_first_sync(
                        connection, context, message.instance.organization_id, message.instance.instance_id
                    )
            case SyncQueued() as queued:
                await _on_queued(connection, context, message, queued)
            case SyncStarted() as started:
                await repository.change_run(
                    connection, started.run_id, state="running", started_at=started.started_at, heard_at=now
                )
            case SyncProgressed() as progressed:
                kinds = {kind: one.model_dump() for kind, one in progressed.kinds.items()}
                run = await repository.change_run(
                    connection,
                    progressed.run_id,
                    state="running",
                    progress=kinds,
                    skipped=[one.model_dump(mode="json") for one in progressed.skipped],
                    heard_at=now,
                )
                if run is not None:
                    reached = per_cent(run.per_cent, progressed.kinds, run.expected_rows)
                    await repository.change_run(connection, progressed.run_id, per_cent=reached)
            case SyncSucceeded() as succeeded:
                await _on_succeeded(connection, context, instance, succeeded, at, now)
            case SyncFailed() as failed:
                changed = await repository.end_run(
                    connection,
                    failed.run_id,
                    state="failed",
                    ended_at=at,
                    heard_at=now,
                    code=failed.code,
                    message=failed.message,
                )
                if instance is not None and not await _is_late(connection, changed, instance):
                    await transitions.stop(connection, context, instance, failed.code, failed.message)
            case SyncCancelled() as cancelled:
                await repository.end_run(
                    connection, cancelled.run_id, state="cancelled", ended_at=at, heard_at=now
                )
            case InstancePurged():
                if instance is not None:
                    await transitions.finish_deletion(connection, context, instance)


async def _is_late(connection: AsyncConnection, run: Row[Any] | None, instance: Row[Any]) -> bool:
    """Whether the end of a run says nothing of the present: it was told before, or credentials or a later run took its place."""
    if run is None:
        return True
    if run.started_at is None:
        return False
    entered_at = instance.credentials_updated_at
    is_replaced = entered_at is not None and run.started_at < entered_at
    return is_replaced or await repository.is_overtaken(connection, run)


def _subject(event: Any) -> UUID:
    match event:
        case InstanceChecked():
            return event.check_id
        case InstancePurged():
            return event.instance_id
        case _:
            found: UUID = event.run_id
            return found


async def _on_queued(
    connection: AsyncConnection, context: Context, message: Received, queued: SyncQueued
) -> None:
    now = context.clock()
    before = await repository.read_sync(connection, queued.command_id)
    if before is not None and before.run_id not in (None, queued.run_id):
        # The connector lost the run that this command had joined, and has begun another.
        await repository.assume_ended(connection, before.run_id, "failed", now, "run_timeout")
    whose = {"organization_id": message.instance.organization_id, "instance_id": message.instance.instance_id}
    await repository.add_run(
        connection,
        **whose,
        run_id=queued.run_id,
        mode=queued.mode,
        trigger=queued.trigger,
        state="queued",
        expected_rows=await repository.expected_rows(connection, message.instance.instance_id),
    )
    await repository.change_run(connection, queued.run_id, heard_at=now)
    await repository.add_sync(
        connection,
        **whose,
        command_id=queued.command_id,
        mode=queued.mode,
        trigger=queued.trigger,
        requested_at=message.at,
        run_id=queued.run_id,
    )
    if before is not None and before.run_id is None and before.cancel_requested_at is not None:
        await syncs.cancel_run(
            connection, context, message.instance.organization_id, message.instance.instance_id, queued.run_id
        )
        await repository.assume_ended(connection, queued.run_id, "cancelled", now)


async def _on_succeeded(
    connection: AsyncConnection,
    context: Context,
    instance: Row[Any] | None,
    succeeded: SyncSucceeded,
    at: datetime,
    now: datetime,
) -> None:
    skipped = [one.model_dump(mode="json") for one in succeeded.skipped]
    code, message = _outcome(succeeded)
    changed = await repository.end_run(
        connection,
        succeeded.run_id,
        state="partial" if succeeded.outcome == "partial" else "succeeded",
        started_at=succeeded.started_at,
        ended_at=at,
        heard_at=now,
        progress={kind: {"rows": rows, "expected": rows} for kind, rows in succeeded.counts.items()},
        counts=succeeded.counts,
        changes=succeeded.changes,
        skipped=skipped,
        code=code,
        message=message,
        epoch=succeeded.epoch,
    )
    if instance is not None and not await _is_late(connection, changed, instance):
        await transitions.recover(connection, context, instance)


def _outcome(succeeded: SyncSucceeded) -> tuple[str | None, str | None]:
    """Code and text of a run that did not simply read everything."""
    if succeeded.outcome == "empty":
        return "empty", text_of("empty")
    needed: list[SkippedKind] = [one for one in succeeded.skipped if one.required]
    texts = [text_of_skipped(one.code, one.action) for one in needed]
    if succeeded.bad_rows:
        left_out = ", ".join(
            f"{rows} of kind {kind.replace('_', ' ')}" for kind, rows in sorted(succeeded.bad_rows.items())
        )
        texts.append(
            f"Rows that could not be read are left out: {left_out}. Correct them in WHMCS: "
            "whoever runs MRRlytics finds their ids in its log."
        )
    return needed[0].code if needed else None, " ".join(texts) or None
