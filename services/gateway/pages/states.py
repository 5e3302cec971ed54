"""The state of an instance in sentences, with a word for a pill when something is out of the ordinary."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from libs.common.contracts.failures import text_of_skipped
from services.gateway.instances.states import DRAFT_LIFE, ShownState
from services.gateway.instances.views import Instance
from services.gateway.pages.times import age_level, ago, clock_time

# The heading of the overview says what is late, notes say what is missing in part, and a first sync has its own panel.
_TROUBLED: Final = (
    ShownState.FAILING,
    ShownState.SYNC_FAILED,
    ShownState.PAUSED,
    ShownState.WAITING_FOR_FIRST_SYNC,
)


@dataclass(frozen=True, slots=True)
class State:
    """A sentence about an instance. `word` and `level` are for a pill; without a word nothing is out of the ordinary."""

    sentence: str
    word: str | None = None
    level: str = ""


def common_zone(instances: Iterable[Instance]) -> str:
    """Return the time zone of all these instances, UTC when they have several: one list has one zone."""
    zones = {instance.time_zone or "UTC" for instance in instances}
    return zones.pop() if len(zones) == 1 else "UTC"


def state_of(instance: Instance, zone: str, now: datetime) -> State:
    """Return what the instance is doing, why, and what happens next, with times in this zone."""
    match instance.shown_state:
        case ShownState.HEALTHY if instance.held:
            text = f"{_synced(instance, zone, now)} Some records are missing in WHMCS and wait for your decision."
            return State(text, "Decision needed", "warn")
        case ShownState.HEALTHY:
            return State(_synced(instance, zone, now))
        case ShownState.SYNCED_IN_PART:
            text = f"{_synced(instance, zone, now)} {_omitted(instance)}".rstrip()
            return State(text, "Synced in part", "warn")
        case ShownState.DEGRADED:
            text = f"Last synced {_last(instance, now)}{_next(instance, zone, now)}."
            return State(text, "Late", "warn")
        case ShownState.SYNC_FAILED:
            text = f"{_reason(instance)} {next_attempt(instance, zone, now)}{_last_good(instance, now)}"
            return State(text, "Last sync failed", "bad")
        case ShownState.FAILING:
            reason = instance.attention.message if instance.attention else ""
            return State(f"{reason} {next_attempt(instance, zone, now)}", "Syncs stopped", "bad")
        case ShownState.WAITING_FOR_FIRST_SYNC:
            start = f"The first sync starts{_at(instance.next_sync_at, zone, now)}."
            return State(f"{start} Sync Now starts it at once.", "Waiting for its first sync", "warn")
        case ShownState.FIRST_SYNC_RUNNING:
            return State("The figures appear when the sync ends.", "First sync running", "running")
        case ShownState.PAUSED:
            text = f"There are no syncs until you press Resume.{_last_good(instance, now)}"
            return State(text, "Paused")
        case ShownState.DRAFT:
            return State(_draft(instance, zone, now), "Not connected", "warn")
        case ShownState.DELETING:
            return State("Its credentials, records and figures are being deleted.", "Being deleted")


def next_attempt(instance: Instance, zone: str, now: datetime) -> str:
    """Return when MRRlytics tries again after a failure, in a sentence; empty when it does not."""
    if instance.next_check_at is not None:
        time = clock_time(instance.next_check_at, zone, now)
        return f"We test the connection again at {time}. When it works, syncs start again."
    if instance.next_sync_at is not None:
        return f"We try again at {clock_time(instance.next_sync_at, zone, now)}."
    return ""


def freshness_of(instance: Instance, zone: str, now: datetime) -> State:
    """Return how new the figures of a synced instance are, with the zone of its times."""
    if instance.as_of is None:
        return State("Not synced yet.")
    figures = f"figures as of {clock_time(instance.as_of, zone, now)} {zone}"
    words = {"bad": "Stale", "warn": "Late"}
    level = age_level(instance.as_of, now)
    text = f"Synced {_last(instance, now)}, {figures}{_next(instance, zone, now)}"
    return State(text, words.get(level), level)


def oldest_freshness(instances: Iterable[Instance], zone: str, now: datetime) -> State | None:
    """Return the freshness of the instance that was synced longest ago: figures of all of them are no newer. None without a sync."""
    synced = [(instance.as_of, instance) for instance in instances if instance.as_of is not None]
    return freshness_of(min(synced, key=lambda pair: pair[0])[1], zone, now) if synced else None


def troubled(instances: Iterable[Instance], zone: str, now: datetime) -> list[tuple[Instance, State]]:
    """Return the instances that need attention, with the reason."""
    return [
        (instance, state_of(instance, zone, now))
        for instance in instances
        if instance.shown_state in _TROUBLED
    ]


def _synced(instance: Instance, zone: str, now: datetime) -> str:
    return f"Synced {_last(instance, now)}{_next(instance, zone, now)}."


def _last(instance: Instance, now: datetime) -> str:
    return ago(instance.last_sync_at or instance.as_of or now, now)


def _last_good(instance: Instance, now: datetime) -> str:
    return f" Last good sync {_last(instance, now)}." if instance.last_sync_at else ""


def _next(instance: Instance, zone: str, now: datetime) -> str:
    return f", next{_at(instance.next_sync_at, zone, now)}" if instance.next_sync_at else ""


def _at(moment: datetime | None, zone: str, now: datetime) -> str:
    return "" if moment is None else f" at {clock_time(moment, zone, now)}"


def _reason(instance: Instance) -> str:
    return (instance.last_sync.message if instance.last_sync else None) or "See its last sync for the reason."


def _omitted(instance: Instance) -> str:
    """Return why the lists that figures need are not read, each reason once."""
    texts = (text_of_skipped(kind.code, kind.action) for kind in instance.skipped if kind.required)
    return " ".join(dict.fromkeys(texts))


def _draft(instance: Instance, zone: str, now: datetime) -> str:
    if instance.check is not None and not instance.check.complete:
        return "The connection test is running."
    since = instance.check.started_at if instance.check else instance.created_at
    time = clock_time(since + DRAFT_LIFE, zone, now)
    failed = (
        line.message for line in (instance.check.checks if instance.check else ()) if line.state == "failed"
    )
    reason = next(failed, "The connection test did not pass.")
    return f"{reason} We keep what you entered until {time}."
