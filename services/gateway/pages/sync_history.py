"""Syncs of the past as rows of a table."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from services.gateway.kinds import plural
from services.gateway.pages.amounts import change
from services.gateway.pages.times import duration, local
from services.gateway.syncs.effects import NoEffect
from services.gateway.syncs.views import Sync

_NO_EFFECT: Final = {
    NoEffect.NOT_APPLIED: "being computed",
    NoEffect.FIRST_SYNC: "first figures",
    NoEffect.WITH_LATER_SYNC: "counted with a later sync",
    NoEffect.NOT_RECORDED: "not recorded",
}


@dataclass(frozen=True, slots=True)
class PastSync:
    """A sync in one line: what it read, by whom it was asked for, how long it took, what it found, and how MRR changed with it."""

    id: UUID
    state: str
    requested: str
    reads: str
    by: str
    took: str
    rows: int | None
    changes: int | None
    mrr: tuple[str, ...]
    result: str


def history_of(syncs: Iterable[Sync], zone: str) -> list[PastSync]:
    """Return the syncs as lines, with times in this zone."""
    return [
        PastSync(
            id=sync.id,
            state=sync.state,
            requested=local(sync.requested_at, zone),
            reads=reads(sync),
            by=sync.requested_by or "the schedule",
            took=_took(sync.started_at, sync.ended_at),
            rows=None if sync.counts is None else sum(sync.counts.values()),
            changes=None if sync.changes is None else sum(sync.changes.values()),
            mrr=mrr_effect(sync),
            result=sync.message or "",
        )
        for sync in syncs
    ]


def reads(sync: Sync) -> str:
    """Return what a sync reads, such as `everything`, `what changed` or `addons`."""
    if sync.kinds:
        return ", ".join(plural(kind) for kind in sync.kinds)
    return "everything" if sync.mode == "full" else "what changed"


def mrr_effect(sync: Sync) -> tuple[str, ...]:
    """Return how MRR changed with a sync, such as `▲ up 12.00 EUR` for each currency; nothing for a sync that changes no figures."""
    if sync.mrr_change is None:
        reason = _NO_EFFECT.get(sync.mrr_change_reason or NoEffect.NOT_ENDED)
        return (reason,) if reason else ()
    changes = (change(Decimal(amount), currency) for currency, amount in sync.mrr_change.items())
    return tuple(changes) or ("no change",)


def _took(started_at: datetime | None, ended_at: datetime | None) -> str:
    if started_at is None or ended_at is None or ended_at < started_at:
        return ""
    seconds = (ended_at - started_at).total_seconds()
    return f"{seconds:.0f} s" if seconds < 10 else duration(seconds)
