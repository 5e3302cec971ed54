"""States of an instance: which state follows an event, and which state people see. Pure: times are arguments."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from libs.common.contracts.instances import InstanceState

_LATE_AFTER: Final = timedelta(minutes=20)
_DEGRADED_AFTER: Final = timedelta(minutes=30)
# How long a draft is kept after its newest check began.
DRAFT_LIFE: Final = timedelta(minutes=15)
# States in which an instance is synced.
SYNCED: Final = frozenset({InstanceState.ACTIVE, InstanceState.NEEDS_ATTENTION})


class Event(StrEnum):
    """An event that can change the state of an instance."""

    CONNECT = "connect"  # new credentials passed their check
    RECOVER = "recover"  # a sync or a check of the stored credentials went well
    STOP = "stop"  # a sync or a check failed in a way that only a person can correct
    PAUSE = "pause"
    RESUME = "resume"
    DELETE = "delete"
    PURGE = "purge"  # the connector has erased everything of it


_NEXT: Final = {
    (InstanceState.DRAFT, Event.CONNECT): InstanceState.ACTIVE,
    # Nothing of a draft was published, so no other service has anything to erase first.
    (InstanceState.DRAFT, Event.DELETE): InstanceState.DELETED,
    (InstanceState.ACTIVE, Event.STOP): InstanceState.NEEDS_ATTENTION,
    (InstanceState.ACTIVE, Event.PAUSE): InstanceState.PAUSED,
    (InstanceState.ACTIVE, Event.DELETE): InstanceState.DELETING,
    (InstanceState.NEEDS_ATTENTION, Event.CONNECT): InstanceState.ACTIVE,
    (InstanceState.NEEDS_ATTENTION, Event.RECOVER): InstanceState.ACTIVE,
    (InstanceState.NEEDS_ATTENTION, Event.PAUSE): InstanceState.PAUSED,
    (InstanceState.NEEDS_ATTENTION, Event.DELETE): InstanceState.DELETING,
    (InstanceState.PAUSED, Event.RESUME): InstanceState.ACTIVE,
    (InstanceState.PAUSED, Event.DELETE): InstanceState.DELETING,
    (InstanceState.DELETING, Event.PURGE): InstanceState.DELETED,
}


def next_state(state: InstanceState, event: Event) -> InstanceState:
    """Return the state after an event; pairs that are not in the table leave the state as it is."""
    return _NEXT.get((state, event), state)


class ShownState(StrEnum):
    """The state of an instance as people see it. Only `healthy` needs no explanation."""

    DRAFT = "draft"
    WAITING_FOR_FIRST_SYNC = "waiting_for_first_sync"
    FIRST_SYNC_RUNNING = "first_sync_running"
    HEALTHY = "healthy"
    SYNCED_IN_PART = "synced_in_part"
    SYNC_FAILED = "sync_failed"
    DEGRADED = "degraded"
    FAILING = "failing"
    PAUSED = "paused"
    DELETING = "deleting"


class Freshness(StrEnum):
    """How old the newest good sync of an instance is: at most 20 minutes, at most 30, or older."""

    FRESH = "fresh"
    LATE = "late"
    STALE = "stale"


def freshness_of(synced_at: datetime | None, now: datetime) -> Freshness:
    """Return how fresh an instance is whose newest good sync ended then; None when there was none."""
    if synced_at is None or now - synced_at > _DEGRADED_AFTER:
        return Freshness.STALE
    return Freshness.LATE if now - synced_at > _LATE_AFTER else Freshness.FRESH


@dataclass(frozen=True, slots=True)
class SyncHistory:
    """How the syncs of an instance went. `synced_at` is the end of the newest good one, or the time of the figures.

    `is_partial`: a list that figures need could not be read, and no later sync has read it.
    """

    synced_at: datetime | None
    is_partial: bool
    is_running: bool
    has_failed: bool


def shown_state(state: InstanceState, history: SyncHistory, now: datetime) -> ShownState:
    """Return the state that people see."""
    match state:
        case InstanceState.ACTIVE:
            return _shown_while_active(history, now)
        case InstanceState.NEEDS_ATTENTION:
            return ShownState.FAILING
        case _:
            return ShownState(state)


def _shown_while_active(history: SyncHistory, now: datetime) -> ShownState:
    if history.synced_at is None:
        if history.is_running:
            return ShownState.FIRST_SYNC_RUNNING
        return ShownState.SYNC_FAILED if history.has_failed else ShownState.WAITING_FOR_FIRST_SYNC
    if now - history.synced_at > _DEGRADED_AFTER:
        return ShownState.DEGRADED
    if history.has_failed:
        return ShownState.SYNC_FAILED
    return ShownState.SYNCED_IN_PART if history.is_partial else ShownState.HEALTHY
