"""Decide about silent runs, of which the connector has reported nothing for a while. Pure: times are arguments.

Messages can be lost, so no run may wait for a certain message for ever. A clock can be set back, so a time that lies ahead of
now proves nothing and counts as silence, too.
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
    """Return whether the last event is more than two minutes away from now, in either direction."""
    return abs(now - heard_at) > SILENT_AFTER


def next_step(
    heard_at: datetime, asked_at: datetime | None, now: datetime, *, is_synced: bool, is_restart: bool = False
) -> Step:
    """Return the next step for an open run. `is_synced`: its instance is still synced. After a restart the next question comes earlier."""
    if not is_silent(heard_at, now):
        return Step.WAIT
    if not is_synced:
        return Step.CANCEL
    if now - heard_at >= _GIVEN_UP_AFTER:
        return Step.FAIL
    if asked_at is None or not heard_at <= asked_at <= now:
        return Step.ASK
    # The wait after a question is as long as the silence before it. So the waits double, up to an hour.
    wait = _FIRST_WAIT if is_restart else min(max(asked_at - heard_at, _FIRST_WAIT), _LONGEST_WAIT)
    return Step.ASK if now - asked_at >= wait else Step.WAIT
