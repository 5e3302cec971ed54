"""An instance's state as a sentence, with a word beside it only when it is not the normal one."""

from dataclasses import dataclass
from datetime import datetime

from services.gateway.instances.states import ShownState
from services.gateway.instances.views import Instance
from services.gateway.pages.times import age_level, ago, clock_time


@dataclass(frozen=True, slots=True)
class State:
    """What to say of an instance. `word` and `level` are for a pill; without a word nothing is out of the ordinary."""

    sentence: str
    word: str | None = None
    level: str = ""


def state_of(instance: Instance, now: datetime) -> State:
    """Return what the instance is doing, why, and what happens next."""
    match instance.shown_state:
        case ShownState.HEALTHY:
            return State(f"Synced {_last(instance, now)}{_next(instance, now)}.")
        case ShownState.SYNCED_IN_PART:
            text = f"Synced {_last(instance, now)}{_next(instance, now)}. {_message(instance)}"
            return State(text, "Synced in part", "warn")
        case ShownState.DEGRADED:
            return State(f"Last synced {_last(instance, now)}{_next(instance, now)}.", "Late", "warn")
        case ShownState.SYNC_FAILED:
            good = f" Last good sync {_last(instance, now)}." if instance.last_sync_at else ""
            return State(
                f"{_message(instance)} Next try{_at(instance.next_sync_at, instance, now)}.{good}",
                "Last sync failed",
                "bad",
            )
        case ShownState.FAILING:
            why = instance.attention.message if instance.attention else ""
            again = f"It is checked again{_at(instance.next_check_at, instance, now)}; a passed check brings its syncs back."
            return State(f"{why} {again}", "Does not sync", "bad")
        case ShownState.WAITING_FOR_FIRST_SYNC:
            text = f"The first sync starts by itself{_at(instance.next_sync_at, instance, now)}. Sync Now starts it at once."
            return State(text, "Waiting for its first sync", "warn")
        case ShownState.FIRST_SYNC_RUNNING:
            return State("Its figures appear when the sync ends.", "First sync running", "running")
        case ShownState.PAUSED:
            good = f" Last synced {_last(instance, now)}." if instance.last_sync_at else ""
            return State(f"It is not synced until it is resumed.{good}", "Paused")
        case ShownState.DRAFT:
            return State(
                "Its checks have not passed yet. See what failed, and save again.", "Not connected", "warn"
            )
        case ShownState.DELETING:
            return State("All that was read from it is being removed.", "Being removed")


def freshness_of(instance: Instance, now: datetime) -> State:
    """Return how new the figures of a synced instance are."""
    if instance.as_of is None:
        return State("Not synced yet.")
    zone = instance.time_zone or "UTC"
    figures = f"figures as of {clock_time(instance.as_of, zone, now)} {zone}"
    words = {"bad": "Stale", "warn": "Late"}
    level = age_level(instance.as_of, now)
    return State(f"Synced {_last(instance, now)}, {figures}{_next(instance, now)}", words.get(level), level)


def _last(instance: Instance, now: datetime) -> str:
    return ago(instance.last_sync_at or instance.as_of or now, now)


def _next(instance: Instance, now: datetime) -> str:
    return f", next{_at(instance.next_sync_at, instance, now)}" if instance.next_sync_at else ""


def _at(moment: datetime | None, instance: Instance, now: datetime) -> str:
    return "" if moment is None else f" at {clock_time(moment, instance.time_zone or 'UTC', now)}"


def _message(instance: Instance) -> str:
    return (instance.last_sync.message if instance.last_sync else None) or "See its last sync for the reason."
