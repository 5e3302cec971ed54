"""Issue the commands that are due."""

import asyncio
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts import topics
from libs.common.contracts.cadence import Schedule, rhythm_of
from libs.common.contracts.commands import CheckInstance, RunSync, SyncMode, SyncTrigger, tick_id
from libs.common.database import transaction
from libs.common.outbox import Outgoing, enqueue, outgoing
from libs.common.pause import pause
from libs.common.telemetry import last_tick, scheduler_commands, tick_lag, tracer
from services.scheduler import repository
from services.scheduler.repository import DueSchedule, Now, Plan
from services.scheduler.schedule import decide
from services.scheduler.tables import outbox

_BATCH: Final = 200
_POLL_SECONDS: Final = 1.0


async def tick_loop(engine: AsyncEngine, now: Now, full_spread_seconds: int, stop: asyncio.Event) -> None:
    """Issue what is due every second until `stop`, and at once again while more is due. Any number of replicas may run it."""
    while not stop.is_set():
        if await tick(engine, now, full_spread_seconds) < _BATCH:
            await pause(stop, _POLL_SECONDS)


async def tick(engine: AsyncEngine, now: Now, full_spread_seconds: int) -> int:
    """Handle one batch of due schedules and return its size.

    One transaction claims the schedules, writes their commands to the outbox and plans the next ticks. A process that is
    killed in between leaves no trace, and another replica repeats the batch with the same command ids.
    """
    async with transaction(engine) as connection:
        moment = await now(connection)
        last_tick.set(moment.timestamp())
        batch = await repository.claim_due(connection, moment, _BATCH)
        if not batch:
            return 0
        with tracer.start_as_current_span("scheduler.tick"):
            commands: list[Outgoing] = []
            plans: list[Plan] = []
            for due in batch:
                command, plan = _issue(due, moment, full_spread_seconds)
                plans.append(plan)
                if command is not None:
                    commands.append(command)
            await enqueue(connection, outbox, *commands)
            await repository.store_plans(connection, plans)
    return len(batch)


def _issue(due: DueSchedule, now: datetime, full_spread_seconds: int) -> tuple[Outgoing | None, Plan]:
    """Return the command of a due schedule (None after a gap) and the plan of its next tick."""
    rhythm = rhythm_of(due.schedule, due.instance.instance_id, full_spread_seconds)
    decision = decide(due.schedule, rhythm, due.instance.instance_id, due.tick, now)
    scheduler_commands.add(decision.coalesced, {"kind": due.schedule, "outcome": "coalesced"})
    if decision.issue is None:
        return None, Plan(due.instance, due.schedule, decision.following)
    tick_lag.record((now - due.tick.due_at).total_seconds(), {"kind": due.schedule})
    is_on_time = due.tick.due_at == decision.issue + rhythm.delay
    outcome = "issued" if is_on_time else "caught_up"
    scheduler_commands.add(1, {"kind": due.schedule, "outcome": outcome})
    return _command(due, decision.issue, now), Plan(due.instance, due.schedule, decision.following, now)


def _command(due: DueSchedule, scheduled_for: datetime, at: datetime) -> Outgoing:
    instance_id = due.instance.instance_id
    command_id = tick_id(instance_id, due.schedule, scheduled_for)
    body: RunSync | CheckInstance
    if due.schedule is Schedule.CHECK:
        body = CheckInstance(
            check_id=command_id,
            instance_id=instance_id,
            credential_id=due.credential_id,
            settings=due.settings,
        )
    else:
        body = RunSync(
            command_id=command_id,
            instance_id=instance_id,
            mode=SyncMode(due.schedule),
            trigger=SyncTrigger.SCHEDULE,
            scheduled_for=scheduled_for,
        )
    return outgoing(
        topics.SYNC_COMMANDS,
        body,
        message_id=str(command_id),
        source="scheduler",
        instance=due.instance,
        at=at,
    )
