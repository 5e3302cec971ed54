"""When instances are synced and checked. The scheduler follows these rhythms, and the gateway shows the next time. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


class Schedule(StrEnum):
    """What is repeated for an instance. `full` and `incremental` are the modes of RunSync."""

    FULL = "full"
    INCREMENTAL = "incremental"
    CHECK = "check"


PERIODS: Final = {
    Schedule.FULL: 86_400 * _SECOND,
    Schedule.INCREMENTAL: 900 * _SECOND,
    Schedule.CHECK: 3_600 * _SECOND,
}


@dataclass(frozen=True, slots=True)
class Tick:
    """One repetition: its nominal time, and the moment at which its command is due."""

    scheduled_for: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The ticks at `phase + n * period` since 1970, each due `delay` after its nominal time."""

    period: timedelta
    phase: timedelta
    delay: timedelta

    def newest(self, now: datetime) -> Tick:
        """Return the last tick that is due at `now`."""
        return self._tick((now - self.delay - self.phase - _EPOCH) // self.period)

    def after(self, scheduled_for: datetime) -> Tick:
        """Return the first tick whose nominal time is later than `scheduled_for`."""
        return self._tick((scheduled_for - self.phase - _EPOCH) // self.period + 1)

    def _tick(self, number: int) -> Tick:
        scheduled_for = _EPOCH + self.phase + number * self.period
        return Tick(scheduled_for, scheduled_for + self.delay)


def rhythm_of(schedule: Schedule, instance_id: UUID, full_spread_seconds: int) -> Rhythm:
    """Return the rhythm of one instance: incremental syncs every 15 minutes, checks every hour, full syncs at midnight UTC.

    The phase is a stable hash of the id. So instances do not all start in the same second, and all replicas agree.
    A full sync keeps midnight as its nominal time and is due up to `full_spread_seconds` later.
    """
    period = PERIODS[schedule]
    if schedule is Schedule.FULL:
        return Rhythm(period, 0 * _SECOND, stable_share(instance_id, full_spread_seconds) * _SECOND)
    return Rhythm(period, stable_share(instance_id, period // _SECOND) * _SECOND, 0 * _SECOND)


def next_due(schedule: Schedule, instance_id: UUID, now: datetime) -> datetime:
    """Return when the next incremental sync or check of an instance is due."""
    rhythm = rhythm_of(schedule, instance_id, full_spread_seconds=0)
    return rhythm.after(rhythm.newest(now).scheduled_for).due_at


def stable_share(instance_id: UUID, width: int) -> int:
    """Return a number in [0, width) that is always the same for one instance; 0 when `width` is 0."""
    digest = hashlib.sha256(instance_id.bytes).digest()
    return int.from_bytes(digest[:8], "big") % width if width else 0
