"""Emits what is due: claims schedules, writes their commands to the outbox and plans the next tick, in one transaction."""

import asyncio
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts import topics
from libs.common.contracts.cadence import Schedule, rhythm
from libs.common.contracts.commands import CheckInstance, RunSync, SyncMode, SyncTrigger, tick_id
from libs.common.contracts.instances import InstanceKey
from libs.common.database import transaction
from libs.common.outbox import Outgoing, enqueue, outgoing
from libs.common.pause import pause
from libs.common.telemetry import last_tick, scheduler_commands, tick_lag, tracer
from services.scheduler import repository
from services.scheduler.repository import Due, Now
from services.scheduler.schedule import decide
from services.scheduler.tables import outbox

_BATCH: Final = 200
_POLL_SECONDS: Final = 1.0


async def tick_loop(engine: AsyncEngine, now: Now, full_spread_seconds: int, stop: asyncio.Event) -> None:
    """Tick each second until `stop`, and at once again while more is due. Any number of replicas may do so."""
    while not stop.is_set():
        if await tick(engine, now, full_spread_seconds) == _BATCH:
            continue
        await pause(stop, _POLL_SECONDS)


async def tick(engine: AsyncEngine, now: Now, full_spread_seconds: int) -> int:
    """Handle one batch of what is due; returns its size. Killed anywhere, nothing of it has happened."""
    async with transaction(engine) as connection:
        moment = await now(connection)
        last_tick.set(moment.timestamp())
        batch = await repository.claim_due(connection, moment, _BATCH)
        if not batch:
            return 0
        with tracer.start_as_current_span("scheduler.tick"):
            commands, plans = [], []
            for due in batch:
                own = rhythm(due.kind, due.instance_id, full_spread_seconds)
                decision = decide(due.kind, own, due.instance_id, due.planned, moment)
                scheduler_commands.add(decision.coalesced, {"kind": due.kind, "outcome": "coalesced"})
                if decision.issue is not None:
                    commands.append(_command(due, decision.issue, moment))
                    tick_lag.record((moment - due.planned.due_at).total_seconds(), {"kind": due.kind})
                    outcome = "issued" if due.planned.due_at == decision.issue + own.delay else "caught_up"
                    scheduler_commands.add(1, {"kind": due.kind, "outcome": outcome})
                issued_at = None if decision.issue is None else moment
                plans.append((due.organization_id, due.instance_id, due.kind, decision.following, issued_at))
            await enqueue(connection, outbox, *commands)
            await repository.plan(connection, plans)
    return len(batch)


def _command(due: Due, scheduled_for: datetime, at: datetime) -> Outgoing:
    command_id = tick_id(due.instance_id, due.kind, scheduled_for)
    body: RunSync | CheckInstance
    if due.kind is Schedule.CHECK:
        body = CheckInstance(
            check_id=command_id,
            instance_id=due.instance_id,
            credential_id=due.credential_id,
            settings=due.settings,
        )
    else:
        body = RunSync(
            command_id=command_id,
            instance_id=due.instance_id,
            mode=SyncMode(due.kind),
            trigger=SyncTrigger.SCHEDULE,
            scheduled_for=scheduled_for,
        )
    return outgoing(
        topics.SYNC_COMMANDS,
        body,
        message_id=str(command_id),
        source="scheduler",
        instance=InstanceKey(due.organization_id, due.instance_id),
        at=at,
    )
