"""Which schedules an instance has, when the first tick is due, and what to do when a tick is due. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from libs.common.contracts.cadence import PERIODS, Rhythm, Schedule, Tick, stable_share
from libs.common.contracts.instances import InstanceState

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)

# A tick that is later than this was missed: no scheduler ran, or the clock jumped forward.
MISSED_AFTER: Final = timedelta(minutes=5)
# A clock that is set back by no more than this issues nothing until it has come to where it was.
SET_BACK_AT_MOST: Final = _DAY
_CATCH_UP_SPREAD_SECONDS: Final = 300
# Missed full syncs come in the first five minutes after a gap, all other missed ticks in the five minutes after them.
_CATCH_UP_START: Final = {Schedule.FULL: 0, Schedule.INCREMENTAL: 300, Schedule.CHECK: 300}


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a due tick: the nominal time of the command to issue now (None after a gap) and the next tick.

    `coalesced` counts the ticks that passed without a command.
    """

    issue: datetime | None
    following: Tick
    coalesced: int


def schedules_of(state: str) -> tuple[Schedule, ...]:
    """Return the schedules of an instance in `state`."""
    match state:
        case InstanceState.ACTIVE:
            return (Schedule.FULL, Schedule.INCREMENTAL)
        case InstanceState.NEEDS_ATTENTION:
            return (Schedule.CHECK,)
        case _:
            return ()


def latest_due_at(schedule: Schedule, now: datetime) -> datetime:
    """Return the latest time for which a tick can be planned, unless the clock was ahead of `now` by more than a day."""
    return now + PERIODS[schedule] + SET_BACK_AT_MOST


def first_tick(
    schedule: Schedule, rhythm: Rhythm, *, now: datetime, is_resumed: bool, last_issued_at: datetime | None
) -> Tick:
    """Return the tick to plan for a schedule that has none: the next regular one.

    An instance that works again after a pause or a failure gets a full sync at once, unless it had one in the last 24 hours.
    """
    newest = rhythm.newest(now)
    # A time in the future is one of a clock that was ahead, and says nothing.
    had_none_today = last_issued_at is None or not now - _DAY <= last_issued_at <= now
    if schedule is Schedule.FULL and is_resumed and had_none_today:
        return Tick(newest.scheduled_for, now)
    return rhythm.after(newest.scheduled_for)


def decide(schedule: Schedule, rhythm: Rhythm, instance_id: UUID, planned: Tick, now: datetime) -> Decision:
    """Decide what to do about `planned`, which is due at `now` or later than `latest_due_at`.

    A tick that is so far ahead was planned while the clock was wrong. The next regular one takes its place, or else nothing would be
    synced for as long. A tick on time issues its command. After a gap, however long, only the newest missed tick is planned again: all
    instances missed ticks at the same time, so their commands are spread over ten minutes, full syncs first.
    """
    regular = rhythm.newest(now).scheduled_for
    if planned.due_at > now:
        return Decision(None, rhythm.after(regular), 0)
    # After `full_sync_spread` was raised, the newest tick of the rhythm can be older than the planned one.
    newest = max(planned.scheduled_for, regular)
    coalesced = (newest - planned.scheduled_for) // rhythm.period
    if now - planned.due_at <= MISSED_AFTER:
        return Decision(newest, rhythm.after(newest), coalesced)
    wait = _CATCH_UP_START[schedule] + stable_share(instance_id, _CATCH_UP_SPREAD_SECONDS)
    return Decision(None, Tick(newest, now + wait * _SECOND), coalesced)
