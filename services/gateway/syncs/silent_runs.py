"""Ask the connector about silent runs, or end them."""

from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.commands import RunSync, SyncMode, SyncTrigger
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import RunState
from libs.common.database import transaction
from services.gateway import repository
from services.gateway.context import SYSTEM, Context
from services.gateway.instances.states import SYNCED
from services.gateway.repository.runs import OpenRun, RunValues
from services.gateway.silence import Step, next_step
from services.gateway.syncs.commands import send


async def follow_silent_runs(context: Context, *, is_restart: bool = False) -> None:
    """Ask the connector about each silent run, and end the runs that it will not answer for."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        runs = await repository.runs.silent(connection, context.clock())
    for organization_id, run_id in runs:
        async with transaction(context.engine, organization_id) as connection:
            run = await repository.runs.lock_open(connection, run_id)
            if run is not None:
                await _follow_silent_run(connection, context, run, is_restart=is_restart)


async def _follow_silent_run(
    connection: AsyncConnection, context: Context, run: OpenRun, *, is_restart: bool
) -> None:
    now, is_synced = context.clock(), run.instance_state in SYNCED
    match next_step(run.heard_at, run.asked_at, now, is_synced=is_synced, is_restart=is_restart):
        case Step.CANCEL:
            await repository.runs.assume_ended(connection, run.run_id, RunState.CANCELLED, now)
        case Step.FAIL:
            await repository.runs.assume_ended(connection, run.run_id, RunState.FAILED, now, "run_timeout")
        case Step.ASK:
            # The question is the command of the run, sent again. Its new message id keeps it from being discarded as a repeat.
            command = RunSync(
                command_id=run.command_id,
                instance_id=run.instance_id,
                mode=SyncMode(run.mode),
                trigger=SyncTrigger(run.trigger),
                kinds=run.kinds,
                accept_deletions=run.accept_deletions,
            )
            key = InstanceKey(run.organization_id, run.instance_id)
            await send(connection, context, key, command, f"{run.command_id}.{uuid4()}")
            # After the clock was set back, measure the silence from now on.
            values = RunValues(asked_at=now)
            if run.heard_at > now:
                values["heard_at"] = now
            await repository.runs.change(connection, run.run_id, **values)
