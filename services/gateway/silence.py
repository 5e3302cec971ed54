"""What to do about a run of which nothing was heard for a while. Pure: times are arguments.

A message can be lost, so a run must not stay open until one certain message comes. And a clock can step back: a time that lies ahead of
now proves nothing, so it counts as silence, too.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

SILENT_AFTER: Final = timedelta(minutes=2)
_FIRST_WAIT: Final = timedelta(minutes=1)
_LONGEST_WAIT: Final = timedelta(hours=1)
_GIVEN_UP_AFTER: Final = timedelta(hours=24)


class Step(StrEnum):
    """What the gateway does about a silent run."""

    WAIT = "wait"
    ASK = "ask"
    CANCEL = "cancel"
    FAIL = "fail"


def is_silent(heard_at: datetime, now: datetime) -> bool:
    """Tell whether the last news is more than two minutes away from now."""
    return abs(now - heard_at) > SILENT_AFTER


def next_step(
    heard_at: datetime, asked_at: datetime | None, now: datetime, *, is_synced: bool, is_restart: bool = False
) -> Step:
    """Return what to do about an open run. `is_synced`: its instance is still to be synced; a restart does not wait to ask."""
    if not is_silent(heard_at, now):
        return Step.WAIT
    if not is_synced:
        return Step.CANCEL
    if now - heard_at >= _GIVEN_UP_AFTER:
        return Step.FAIL
    if asked_at is None or not heard_at <= asked_at <= now:
        return Step.ASK
    # Each wait is as long as the silence was before it, so waits double up to an hour.
    wait = _FIRST_WAIT if is_restart else min(max(asked_at - heard_at, _FIRST_WAIT), _LONGEST_WAIT)
    return Step.ASK if now - asked_at >= wait else Step.WAIT
