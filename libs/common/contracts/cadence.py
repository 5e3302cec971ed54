"""When instances are synced and checked: the rhythm that the scheduler keeps and that the gateway tells of. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)


class Schedule(StrEnum):
    """What a schedule is for; full and incremental are the modes of RunSync."""

    FULL = "full"
    INCREMENTAL = "incremental"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Tick:
    """One moment at which an instance is to be synced: its nominal time, and when its command is to be sent."""

    scheduled_for: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The ticks `phase + n * period` since 1970, each due `delay` after its nominal time."""

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


def rhythm(kind: Schedule, instance_id: UUID, full_spread_seconds: int) -> Rhythm:
    """Return an instance's own rhythm: incrementals each 15 minutes, checks each hour, fulls at midnight UTC and a little later.

    Which minute is a stable hash of its id, so that instances are spread and replicas agree.
    """
    match kind:
        case Schedule.INCREMENTAL:
            return Rhythm(900 * _SECOND, share(instance_id, 900) * _SECOND, 0 * _SECOND)
        case Schedule.CHECK:
            return Rhythm(3600 * _SECOND, share(instance_id, 3600) * _SECOND, 0 * _SECOND)
        case Schedule.FULL:
            return Rhythm(_DAY, 0 * _SECOND, share(instance_id, full_spread_seconds) * _SECOND)


def next_run(kind: Schedule, instance_id: UUID, now: datetime) -> datetime:
    """Return when the scheduler next sends an incremental sync or a check for this instance."""
    ticks = rhythm(kind, instance_id, full_spread_seconds=0)
    return ticks.after(ticks.newest(now).scheduled_for).due_at


def share(instance_id: UUID, width: int) -> int:
    """Return a stable number from 0 up to `width`, `width` itself not included; 0 when there is no width."""
    digest = hashlib.sha256(instance_id.bytes).digest()
    return int.from_bytes(digest[:8], "big") % width if width else 0
