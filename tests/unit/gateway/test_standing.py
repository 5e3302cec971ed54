"""What the syncs of an instance left open."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from libs.common.contracts.sync import (
    HeldDeletions,
    SkippedKind,
    SyncSucceeded,
    UnreadableRow,
    UnreadableRows,
)
from services.gateway.standing import HeldKind, Standing, StillSkipped, UnreadableKind, after_sync

FIRST, SECOND = UUID(int=1), UUID(int=2)
LACKING = SkippedKind(kind="addon", action="GetClientsAddons", code="permission_missing", required=True)
NOT_WHOLE = SkippedKind(kind="service", action="GetClientsProducts", code="not_whole", required=True)
HELD = HeldDeletions(count=312, total=1020, reason="ids_went_down")


def still(skipped: SkippedKind, sync_id: UUID = FIRST) -> StillSkipped:
    return StillSkipped(sync_id, **skipped.model_dump())


def run(mode: str = "incremental", **values: Any) -> SyncSucceeded:
    return SyncSucceeded(
        **{
            "run_id": FIRST,
            "mode": mode,
            "started_at": datetime(2026, 11, 29, tzinfo=UTC),
            "outcome": "complete",
            "counts": {},
            "changes": {},
            "positions": {},
            "whole": (),
        }
        | values
    )


def unreadable(*ids: int) -> UnreadableRows:
    rows = tuple(UnreadableRow(id=number, reason="The status is missing.") for number in ids)
    return UnreadableRows(count=len(rows), rows=rows)


def test_incremental_does_not_hide_a_partial_full_sync() -> None:
    partial = after_sync(Standing(), run("full", skipped=(LACKING, NOT_WHOLE)), FIRST, ())

    later = after_sync(partial, run(counts={"invoice": 3}), SECOND, ())

    assert later.skipped == (still(LACKING), still(NOT_WHOLE))
    assert later.is_partial


@pytest.mark.parametrize(
    ("counts", "whole", "skipped"),
    [
        ({"addon": 7, "service": 90}, (), (NOT_WHOLE,)),
        ({"addon": 7, "service": 90}, ("service",), ()),
        ({"service": 90}, ("service",), (LACKING,)),
    ],
)
def test_reading_a_list_ends_its_trouble(
    counts: dict[str, int], whole: tuple[str, ...], skipped: tuple[SkippedKind, ...]
) -> None:
    before = Standing(skipped=(still(LACKING), still(NOT_WHOLE)))

    after = after_sync(before, run(counts=counts, whole=whole), SECOND, ())

    assert after.skipped == tuple(still(kind) for kind in skipped)


def test_full_sync_says_all_that_is_skipped() -> None:
    before = Standing(skipped=(still(LACKING), still(NOT_WHOLE)))

    after = after_sync(before, run("full", skipped=(LACKING,)), SECOND, ())

    assert after.skipped == (still(LACKING, SECOND),)


def test_retry_of_a_list_speaks_of_that_list_alone() -> None:
    before = Standing(skipped=(still(LACKING), still(NOT_WHOLE)))
    retry = run("full", counts={"service": 90}, whole=("service",))

    assert after_sync(before, retry, SECOND, ("service",)).skipped == (still(LACKING),)


def test_newest_reason_replaces_the_one_before() -> None:
    slow = LACKING.model_copy(update={"code": "read_timeout"})

    before = Standing(skipped=(still(LACKING),))

    after = after_sync(before, run(counts={"addon": 1}, skipped=(slow,)), SECOND, ())

    assert after.skipped == (still(slow, SECOND),)


def test_held_deletions_wait_until_a_whole_reading() -> None:
    held = after_sync(Standing(), run("full", held={"service": HELD}, whole=("service",)), FIRST, ())
    silent = after_sync(held, run(counts={"service": 20}), SECOND, ())
    whole = after_sync(silent, run("full", whole=("service",)), SECOND, ("service",))

    assert held.held == silent.held == {"service": HeldKind(FIRST, 312, 1020, "ids_went_down")}
    assert whole.held == {}


def test_repeated_report_keeps_the_review() -> None:
    before = Standing(held={"service": HeldKind(FIRST, 312, 1020, "ids_went_down")})
    more = HELD.model_copy(update={"count": 313})

    same = after_sync(before, run(held={"service": HELD}), SECOND, ())
    other = after_sync(before, run(held={"service": more}), SECOND, ())

    assert (same.held["service"].sync_id, other.held["service"].sync_id) == (FIRST, SECOND)


def test_unreadable_records_stay_until_a_whole_reading() -> None:
    full = after_sync(
        Standing(), run("full", whole=("invoice",), unreadable={"invoice": unreadable(1, 2)}), FIRST, ()
    )
    part = after_sync(full, run(unreadable={"invoice": unreadable(2)}), SECOND, ())
    whole = after_sync(part, run("full", whole=("invoice",)), SECOND, ())

    assert full.unreadable == part.unreadable == {"invoice": UnreadableKind(FIRST, 2)}
    assert whole.unreadable == {}


def test_full_sync_says_who_reads_the_same() -> None:
    full = after_sync(Standing(), run("full", same_as=(SECOND,)), FIRST, ())
    retried = after_sync(full, run("full", whole=("service",)), FIRST, ("service",))

    assert full.same_as == retried.same_as == (SECOND,)
    assert after_sync(retried, run("full"), FIRST, ()).same_as == ()


def test_earlier_connector_read_its_kinds_whole() -> None:
    before = Standing(skipped=(still(NOT_WHOLE),), unreadable={"service": UnreadableKind(FIRST, 2)})

    after = after_sync(before, run(counts={"service": 90}, whole=None), SECOND, ())

    assert after == Standing()
