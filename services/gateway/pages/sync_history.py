"""Syncs of the past as rows of a table."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.gateway.kinds import plural
from services.gateway.pages.times import duration, local
from services.gateway.syncs.views import Sync


@dataclass(frozen=True, slots=True)
class PastSync:
    """A sync in one line: what it read, by whom it was asked for, how long it took, and what it found."""

    id: UUID
    state: str
    requested: str
    reads: str
    by: str
    took: str
    rows: int | None
    changes: int | None
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
            result=sync.message or "",
        )
        for sync in syncs
    ]


def reads(sync: Sync) -> str:
    """Return what a sync reads, such as `everything`, `what changed` or `addons`."""
    if sync.kinds:
        return ", ".join(plural(kind) for kind in sync.kinds)
    return "everything" if sync.mode == "full" else "what changed"


def _took(started_at: datetime | None, ended_at: datetime | None) -> str:
    if started_at is None or ended_at is None or ended_at < started_at:
        return ""
    seconds = (ended_at - started_at).total_seconds()
    return f"{seconds:.0f} s" if seconds < 10 else duration(seconds)
