"""What the page of a sync says at each moment of it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.contracts.sync import KindProgress, SkippedKind
from services.gateway.pages.sync_progress import progress_of
from services.gateway.syncs.views import Sync

NOW = datetime(2026, 11, 29, 11, 32, tzinfo=UTC)


def sync(state: str, **values: Any) -> Sync:
    """A sync that was asked for ten seconds ago and said something just now."""
    return Sync(
        **{
            "id": UUID(int=1),
            "instance_id": UUID(int=2),
            "instance_name": "Main",
            "run_id": UUID(int=3),
            "state": state,
            "mode": "full",
            "trigger": "manual",
            "requested_at": NOW - timedelta(seconds=10),
            "requested_by": "owner@example.com",
            "started_at": NOW - timedelta(seconds=10),
            "ended_at": None,
            "heard_at": NOW,
            "progress": {},
            "per_cent": 0,
            "expected_rows": None,
            "counts": None,
            "changes": None,
            "skipped": (),
            "kinds": (),
            "accept_deletions": {},
            "accepted": (),
            "whole": (),
            "unreadable": {},
            "warnings": {},
            "held": {},
            "code": None,
            "message": None,
            "applied": False,
            "mrr_change": None,
            "mrr_change_reason": "not_ended",
        }
        | values
    )


def kinds(**rows: tuple[int, int | None]) -> dict[str, KindProgress]:
    return {kind: KindProgress(rows=read, expected=expected) for kind, (read, expected) in rows.items()}


def test_running_sync_says_how_long_it_still_takes() -> None:
    reading = sync("running", progress=kinds(customer=(100, None)), expected_rows=400)

    progress = progress_of(reading, NOW)

    assert progress.how_far == "100 of about 400 records, about 30 seconds left"
    assert (progress.has_bar, progress.is_over, progress.no_news) == (True, False, None)


def test_time_left_needs_a_basis() -> None:
    just_begun = sync("running", progress=kinds(customer=(100, 400)), started_at=NOW - timedelta(seconds=1))

    assert progress_of(just_begun, NOW).how_far == "100 of 400 records"


def test_silent_sync_says_no_time_left() -> None:
    silent = sync("running", progress=kinds(customer=(100, 400)))

    progress = progress_of(silent, NOW + timedelta(seconds=12))

    assert progress.how_far == "100 of 400 records"
    assert progress.no_news is not None
    assert progress.no_news.since == "No news for 12 seconds."


@pytest.mark.parametrize("state", ["failed", "cancelled", "not_picked_up"])
def test_ended_sync_waits_for_no_news(state: str) -> None:
    progress = progress_of(sync(state), NOW + timedelta(hours=1))

    assert (progress.is_over, progress.no_news) == (True, None)


def test_good_sync_is_over_once_its_figures_are_shown() -> None:
    assert not progress_of(sync("succeeded"), NOW).is_over
    assert progress_of(sync("succeeded", applied=True), NOW).is_over


def test_line_says_what_happens_to_its_list() -> None:
    skipped = SkippedKind(kind="addon", action="GetClientsAddons", code="permission_missing", required=True)
    reading = sync(
        "running",
        progress=kinds(customer=(40, 40), service=(7, 90), domain=(0, None)),
        skipped=(skipped,),
    )

    lines = progress_of(reading, NOW).lines

    assert [(line.name, line.state) for line in lines] == [
        ("Customers", "Read"),
        ("Services", "Reading"),
        ("Domains", "Waiting"),
        ("Addons", "Skipped"),
    ]
    assert "GetClientsAddons" in (lines[-1].advice or "")
