"""Open runs of which nothing was heard for a while: ask the connector about them, or end them."""

from typing import Any
from uuid import uuid4

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.commands import RunSync
from libs.common.database import transaction
from services.gateway import repository
from services.gateway.context import SYSTEM, Context
from services.gateway.instances.states import SYNCED
from services.gateway.silence import Step, next_step
from services.gateway.syncs.commands import send


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
            await send(
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
