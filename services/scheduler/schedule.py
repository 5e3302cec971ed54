"""When an instance is due, and what to do about a tick that is due. Pure: `now` is an argument, time zones play no part."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from libs.common.contracts.instances import InstanceState

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)

# A tick that is later than this was missed: the scheduler was away, or the clock jumped forward.
GAP: Final = timedelta(minutes=5)
_CATCH_UP_SPREAD_SECONDS: Final = 300


class Kind(StrEnum):
    """What a schedule is for; full and incremental are the modes of RunSync."""

    FULL = "full"
    INCREMENTAL = "incremental"
    CHECK = "check"


# Missed fulls come in the first five minutes after a gap, what else was missed in the five after them.
_CATCH_UP_START: Final = {Kind.FULL: 0, Kind.INCREMENTAL: 300, Kind.CHECK: 300}


@dataclass(frozen=True, slots=True)
class Tick:
    """One moment at which an instance is to be synced: its nominal time, and when its command is to be sent."""

    scheduled_for: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a tick that is due. `issue` is the nominal time of the command to send now, None after a gap.

    `coalesced` counts the ticks that passed without a command of their own.
    """

    issue: datetime | None
    following: Tick
    coalesced: int


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The ticks `phase + n * period` since 1970, each due `delay` after its nominal time."""

    period: timedelta
    phase: timedelta
    delay: timedelta

    def newest(self, now: datetime) -> Tick:
        """The last tick that is due at `now`."""
        return self._tick((now - self.delay - self.phase - _EPOCH) // self.period)

    def after(self, scheduled_for: datetime) -> Tick:
        """The first tick whose nominal time is later than `scheduled_for`."""
        return self._tick((scheduled_for - self.phase - _EPOCH) // self.period + 1)

    def _tick(self, number: int) -> Tick:
        scheduled_for = _EPOCH + self.phase + number * self.period
        return Tick(scheduled_for, scheduled_for + self.delay)


def kinds_of(state: str) -> tuple[Kind, ...]:
    """What is scheduled for an instance in `state`."""
    match state:
        case InstanceState.ACTIVE:
            return (Kind.FULL, Kind.INCREMENTAL)
        case InstanceState.NEEDS_ATTENTION:
            return (Kind.CHECK,)
        case _:
            return ()


def rhythm(kind: Kind, instance_id: UUID, full_spread_seconds: int) -> Rhythm:
    """An instance's own rhythm: incrementals each 15 minutes, checks each hour, fulls at midnight UTC and a little later.

    Which minute is a stable hash of its id, so that instances are spread and replicas agree.
    """
    match kind:
        case Kind.INCREMENTAL:
            return Rhythm(900 * _SECOND, _share(instance_id, 900) * _SECOND, 0 * _SECOND)
        case Kind.CHECK:
            return Rhythm(3600 * _SECOND, _share(instance_id, 3600) * _SECOND, 0 * _SECOND)
        case Kind.FULL:
            return Rhythm(_DAY, 0 * _SECOND, _share(instance_id, full_spread_seconds) * _SECOND)


def first_tick(
    kind: Kind, own: Rhythm, *, now: datetime, resumed: bool, last_issued_at: datetime | None
) -> Tick:
    """The tick to plan for an instance that has none.

    It is the next regular one, also for a new instance. An instance that `resumed` after it was paused or broken gets
    a full at once, unless one was issued in the last 24 hours.
    """
    newest = own.newest(now)
    if kind is Kind.FULL and resumed and (last_issued_at is None or now - last_issued_at > _DAY):
        return Tick(newest.scheduled_for, now)
    return own.after(newest.scheduled_for)


def decide(kind: Kind, own: Rhythm, instance_id: UUID, planned: Tick, now: datetime) -> Decision:
    """What to do about `planned`, which is due at `now`.

    On time, its command is issued. After a gap the newest tick that was missed is planned again, within ten minutes and fulls first; the
    others are given up. So a gap of any length costs at most one command of each kind.
    """
    newest = max(planned.scheduled_for, own.newest(now).scheduled_for)
    coalesced = (newest - planned.scheduled_for) // own.period
    if now - planned.due_at <= GAP:
        return Decision(newest, own.after(newest), coalesced)
    wait = _CATCH_UP_START[kind] + _share(instance_id, _CATCH_UP_SPREAD_SECONDS)
    return Decision(None, Tick(newest, now + wait * _SECOND), coalesced)


def _share(instance_id: UUID, width: int) -> int:
    """A stable number from 0 up to `width`, `width` itself not included; 0 when there is no width."""
    digest = hashlib.sha256(instance_id.bytes).digest()
    return int.from_bytes(digest[:8], "big") % width if width else 0
