"""Messages in: what the connector says of checks and runs."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from faststream.kafka import KafkaBroker
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.broker import Publisher, subscribe_messages
from libs.common.contracts import topics
from libs.common.contracts.commands import SyncMode
from libs.common.contracts.envelope import Received
from libs.common.contracts.failures import FAILURES, text_of, text_of_skipped
from libs.common.contracts.instances import InstanceState
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
from services.gateway import instances, repository, syncs
from services.gateway.context import Context
from services.gateway.progress import per_cent

_ENDS: Final = (SyncSucceeded, SyncFailed, SyncCancelled)
_RUNNING: Final = (InstanceState.ACTIVE, InstanceState.NEEDS_ATTENTION)


def build_handlers(broker: KafkaBroker, context: Context, publisher: Publisher, replica: str | None) -> None:
    """Events of checks and runs in; all replicas share the work."""

    async def on_event(message: Received) -> None:
        await follow(context, message)

    subscribe_messages(
        broker,
        topics.SYNC_EVENTS,
        group="gateway",
        replica=replica,
        publisher=publisher,
        handle=on_event,
        clock=context.clock,
    )


async def follow(context: Context, message: Received) -> None:
    """Write down what an event says, once; a repeat changes nothing.

    Only the end of a run is looked at again: it may have come before the run was heard of, and changes nothing of an ended run.
    """
    at, now = message.at, context.clock()
    async with transaction(context.engine, message.organization_id) as connection:
        if not await repository.has_instance(connection, message.instance_id):
            raise Permanent(
                "instance_unknown", f"{message.organization_id} has no instance {message.instance_id}."
            )
        is_new = await repository.add_event(
            connection,
            organization_id=message.organization_id,
            instance_id=message.instance_id,
            message_id=message.id,
            type=message.type,
            subject=_subject(message.body),
            body=message.body.model_dump(mode="json"),
            at=at,
        )
        if not is_new and not isinstance(message.body, _ENDS):
            return
        there = await repository.lock_instance(connection, message.instance_id)
        match message.body:
            case InstanceChecked() as checked:
                await _on_checked(connection, context, there, checked)
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
                await _on_succeeded(connection, context, there, succeeded, at, now)
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
                if _stops(failed.code) and not await _is_late(connection, changed, there):
                    await _need_attention(connection, context, there, failed.code, failed.message)
            case SyncCancelled() as cancelled:
                await repository.end_run(
                    connection, cancelled.run_id, state="cancelled", ended_at=at, heard_at=now
                )
            case InstancePurged():
                if there is not None and there.state == InstanceState.DELETING:
                    gone = await repository.change_instance(
                        connection, there.instance_id, state=InstanceState.DELETED
                    )
                    await instances.publish(connection, context, gone)


async def _is_late(connection: AsyncConnection, run: Row[Any] | None, there: Row[Any] | None) -> bool:
    """Whether the end of a run says nothing of the present: it was told before, or credentials or a later run took its place."""
    if run is None:
        return True
    if run.started_at is None or there is None:
        return False
    is_replaced = there.credentials_updated_at is not None and run.started_at < there.credentials_updated_at
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
    whose = {"organization_id": message.organization_id, "instance_id": message.instance_id}
    await repository.add_run(
        connection,
        **whose,
        run_id=queued.run_id,
        mode=queued.mode,
        trigger=queued.trigger,
        state="queued",
        expected_rows=await repository.expected_rows(connection, message.instance_id),
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
            connection, context, message.organization_id, message.instance_id, queued.run_id
        )
        await repository.assume_ended(connection, queued.run_id, "cancelled", now)


async def _on_succeeded(
    connection: AsyncConnection,
    context: Context,
    there: Row[Any] | None,
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
    if not await _is_late(connection, changed, there):
        await _recover(connection, context, there)


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


async def _on_checked(
    connection: AsyncConnection, context: Context, there: Row[Any] | None, checked: InstanceChecked
) -> None:
    known = await repository.read_check(connection, checked.check_id)
    if known is not None and known.is_complete and not (known.is_assumed and checked.complete):
        return  # said already
    check = await repository.change_check(
        connection,
        checked.check_id,
        is_complete=checked.complete,
        is_assumed=False,
        checks=[line.model_dump(mode="json") for line in checked.checks],
        whmcs_version=checked.whmcs_version,
        seen_address=checked.seen_address,
        estimate=None if checked.estimate is None else checked.estimate.model_dump(),
    )
    if not checked.complete or there is None or there.state == InstanceState.DELETING:
        return
    failed = next((line for line in checked.checks if line.state == "failed"), None)
    if check is not None and check.is_new_credential:
        if failed is None:
            await _take(connection, context, there, check)
        elif there.state != InstanceState.DRAFT:
            await repository.drop_credential(connection, there.instance_id, check.credential_id)
    elif failed is None:
        await _recover(connection, context, there, checked.whmcs_version)
    elif failed.code is not None and _stops(failed.code):
        await _need_attention(connection, context, there, failed.code, failed.message)


async def _take(connection: AsyncConnection, context: Context, there: Row[Any], check: Row[Any]) -> None:
    """A checked credential takes its place; a newer one, entered meanwhile, will by its own check."""
    if not await repository.has_credential(connection, there.instance_id, check.credential_id):
        return
    state = InstanceState.PAUSED if there.state == InstanceState.PAUSED else InstanceState.ACTIVE
    changed = await repository.change_instance(
        connection,
        there.instance_id,
        state=state,
        credential_id=check.credential_id,
        address=check.address,
        identifier_hint=check.identifier_hint,
        credentials_updated_at=check.started_at,
        whmcs_version=check.whmcs_version,
        attention_code=None,
        attention_message=None,
    )
    await repository.drop_credentials(connection, there.instance_id, keep=check.credential_id)
    await instances.publish(connection, context, changed)
    if there.state == InstanceState.DRAFT and await repository.is_demo(connection, there.organization_id):
        await syncs.start(
            connection, context, there.organization_id, there.instance_id, SyncMode.FULL, "the demo"
        )


async def _recover(
    connection: AsyncConnection, context: Context, there: Row[Any] | None, whmcs_version: str | None = None
) -> None:
    """It works: the instance needs no attention any more, and is of the version that was seen."""
    if there is None or there.state not in _RUNNING:
        return
    version = whmcs_version or there.whmcs_version
    if (there.state, there.whmcs_version) == (InstanceState.ACTIVE, version):
        return
    changed = await repository.change_instance(
        connection,
        there.instance_id,
        state=InstanceState.ACTIVE,
        whmcs_version=version,
        attention_code=None,
        attention_message=None,
    )
    await instances.publish(connection, context, changed)


async def _need_attention(
    connection: AsyncConnection, context: Context, there: Row[Any] | None, code: str, message: str
) -> None:
    if there is None or there.state not in _RUNNING:
        return
    if (there.state, there.attention_code, there.attention_message) == (
        InstanceState.NEEDS_ATTENTION,
        code,
        message,
    ):
        return
    changed = await repository.change_instance(
        connection,
        there.instance_id,
        state=InstanceState.NEEDS_ATTENTION,
        attention_code=code,
        attention_message=message,
    )
    await instances.publish(connection, context, changed)


def _stops(code: str) -> bool:
    failure = FAILURES.get(code)
    return failure is not None and failure.needs_attention
