"""When an instance is due, and what to do about a tick that is due. Pure: `now` is an argument, time zones play no part."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from libs.common.contracts.cadence import Rhythm, Schedule, Tick, share
from libs.common.contracts.instances import InstanceState

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)

# A tick that is later than this was missed: the scheduler was away, or the clock jumped forward.
GAP: Final = timedelta(minutes=5)
_CATCH_UP_SPREAD_SECONDS: Final = 300
# Missed fulls come in the first five minutes after a gap, what else was missed in the five after them.
_CATCH_UP_START: Final = {Schedule.FULL: 0, Schedule.INCREMENTAL: 300, Schedule.CHECK: 300}


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a tick that is due. `issue` is the nominal time of the command to send now, None after a gap.

    `coalesced` counts the ticks that passed without a command of their own.
    """

    issue: datetime | None
    following: Tick
    coalesced: int


def kinds_of(state: str) -> tuple[Schedule, ...]:
    """What is scheduled for an instance in `state`."""
    match state:
        case InstanceState.ACTIVE:
            return (Schedule.FULL, Schedule.INCREMENTAL)
        case InstanceState.NEEDS_ATTENTION:
            return (Schedule.CHECK,)
        case _:
            return ()


def first_tick(
    kind: Schedule, own: Rhythm, *, now: datetime, resumed: bool, last_issued_at: datetime | None
) -> Tick:
    """The tick to plan for an instance that has none.

    It is the next regular one, also for a new instance. An instance that `resumed` after it was paused or broken gets
    a full at once, unless one was issued in the last 24 hours.
    """
    newest = own.newest(now)
    if kind is Schedule.FULL and resumed and (last_issued_at is None or now - last_issued_at > _DAY):
        return Tick(newest.scheduled_for, now)
    return own.after(newest.scheduled_for)


def decide(kind: Schedule, own: Rhythm, instance_id: UUID, planned: Tick, now: datetime) -> Decision:
    """What to do about `planned`, which is due at `now`.

    On time, its command is issued. After a gap the newest tick that was missed is planned again, within ten minutes and fulls first; the
    others are given up. So a gap of any length costs at most one command of each kind.
    """
    newest = max(planned.scheduled_for, own.newest(now).scheduled_for)
    coalesced = (newest - planned.scheduled_for) // own.period
    if now - planned.due_at <= GAP:
        return Decision(newest, own.after(newest), coalesced)
    wait = _CATCH_UP_START[kind] + share(instance_id, _CATCH_UP_SPREAD_SECONDS)
    return Decision(None, Tick(newest, now + wait * _SECOND), coalesced)
