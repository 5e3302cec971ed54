"""The progress of a sync in words: how far it is, how long it was silent, and which lists it skipped."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from libs.common.contracts.failures import text_of_skipped
from libs.common.contracts.sync import KindProgress, SkippedKind
from services.gateway.kinds import title
from services.gateway.pages.sync_history import mrr_effect
from services.gateway.pages.times import duration
from services.gateway.progress import Size, seconds_left, size
from services.gateway.silence import SILENT_AFTER
from services.gateway.syncs.views import Sync

_GOOD: Final = ("succeeded", "partial")
_OPEN: Final = ("queued", "running")
_QUIET_AFTER: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Line:
    """One list of WHMCS in a sync. `changes` is known once the sync has ended. `advice` says why it was skipped and what to do."""

    kind: str
    name: str
    state: str
    level: str
    rows: int
    expected: int | None
    changes: int | None
    advice: str | None


@dataclass(frozen=True, slots=True)
class NoNews:
    """How long the sync said nothing, and what happens next."""

    since: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A sync as its page shows it. `is_read`: every record is read.

    `next_attempt` says when MRRlytics tries again. `log_entry` names the entry about a failure in the connector's log. `can_retry`:
    the sync has ended, so a list that it skipped can be read again. `mrr` is how MRR changed with it.
    """

    sync: Sync
    is_over: bool
    is_read: bool
    has_bar: bool
    how_far: str
    no_news: NoNews | None
    lines: tuple[Line, ...]
    next_attempt: str
    log_entry: UUID | None
    can_retry: bool
    mrr: tuple[str, ...]


def progress_of(sync: Sync, now: datetime, next_attempt: str = "") -> Progress:
    """Return what the page of a sync shows now."""
    so_far = size(sync.progress, sync.expected_rows)
    is_read = sync.state in _GOOD
    return Progress(
        sync=sync,
        is_over=is_over(sync),
        is_read=is_read,
        has_bar=is_read or (sync.state == "running" and so_far.total is not None),
        how_far=_how_far(sync, so_far, now),
        no_news=_no_news(sync, now),
        lines=tuple(_lines(sync)),
        next_attempt=next_attempt,
        # The gateway itself ends a sync that stayed silent: then the connector logged nothing.
        can_retry=sync.state not in _OPEN,
        log_entry=sync.run_id if sync.state == "failed" and sync.code != "run_timeout" else None,
        mrr=mrr_effect(sync) if sync.applied else (),
    )


def is_over(sync: Sync) -> bool:
    """Return whether the page changes no more: a good sync is over once its figures are on the overview."""
    return sync.applied or sync.state in ("failed", "cancelled", "not_picked_up")


def _how_far(sync: Sync, so_far: Size, now: datetime) -> str:
    if sync.state != "running":
        return f"{so_far.rows:,} records read"
    if so_far.total is None:
        return f"{so_far.rows:,} records read so far"
    about = "" if so_far.is_exact else "about "
    text = f"{so_far.rows:,} of {about}{so_far.total:,} records"
    left = _time_left(sync, so_far)
    return text if left is None or _quiet_for(sync, now) > _QUIET_AFTER else f"{text}, {left}"


def _time_left(sync: Sync, so_far: Size) -> str | None:
    if sync.started_at is None or sync.heard_at is None:
        return None
    seconds = seconds_left(so_far, (sync.heard_at - sync.started_at).total_seconds())
    if seconds is None:
        return None
    return "a few seconds left" if seconds < 8 else f"about {duration(seconds)} left"


def _quiet_for(sync: Sync, now: datetime) -> timedelta:
    return now - (sync.heard_at or sync.started_at or sync.requested_at)


def _no_news(sync: Sync, now: datetime) -> NoNews | None:
    quiet = _quiet_for(sync, now)
    if is_over(sync) or quiet <= _QUIET_AFTER:
        return None
    since = f"No news for {_since(quiet)}."
    if sync.state in _GOOD:
        return NoNews(since, "All records are read. The figures appear when they are computed.")
    if quiet > SILENT_AFTER:
        return NoNews(
            since,
            "MRRlytics is finding out what happened to this sync. "
            "You need not wait: press Sync Now on the page of the instance to start another.",
        )
    next_step = "starts" if sync.state == "queued" else "continues"
    return NoNews(since, f"The sync {next_step} by itself. This page updates when there is news.")


def _since(quiet: timedelta) -> str:
    seconds = int(quiet.total_seconds())
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def _lines(sync: Sync) -> Iterator[Line]:
    skipped = {skip.kind: skip for skip in sync.skipped}
    for kind in (*sync.progress, *(kind for kind in skipped if kind not in sync.progress)):
        yield _line(sync, kind, sync.progress.get(kind, KindProgress(rows=0)), skipped.get(kind))


def _line(sync: Sync, kind: str, so_far: KindProgress, skipped: SkippedKind | None) -> Line:
    name = title(kind)
    changes = None if sync.changes is None else sync.changes.get(kind, 0)
    if skipped is not None:
        advice = text_of_skipped(skipped.code, skipped.action)
        return Line(kind, name, "Skipped", "warn", so_far.rows, None, changes or None, advice)
    state, level = "Waiting", ""
    if sync.state in _GOOD or (so_far.expected is not None and so_far.rows >= so_far.expected):
        state, level = "Read", "good"
    elif sync.state not in _OPEN:
        state = "Stopped"
    elif sync.state == "running" and so_far.rows:
        state, level = "Reading", "running"
    return Line(kind, name, state, level, so_far.rows, so_far.expected, changes, None)
