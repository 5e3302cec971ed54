"""What metrics does about blocks of records that differ from those of the connector."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from services.metrics.formulas.reconciliation import (
    Asked,
    Digest,
    Digests,
    Stored,
    Verdict,
    judge,
    may_remove,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
YESTERDAY = Asked(NOON - DAY, 5)
SAME, OTHER = Digest(2, 2**64 - 1), Digest(2, 5)
NOTHING = Verdict((), (), (), ())


def verdict(
    stored: Stored | None,
    theirs: Digest | None = SAME,
    asked: Asked | None = None,
    published: Digest | None = None,
    *,
    now: datetime = NOON + timedelta(minutes=10),
    read_fully: bool = True,
) -> Verdict:
    """Return the verdict on block 3 of the services, of a run that began at noon with epoch 9."""
    block: Mapping[int, Digest] = {} if theirs is None else {3: theirs}
    digests = Digests(9, NOON, {"service": block}, {"service"} if read_fully else set())
    return judge(
        digests,
        "service",
        {} if stored is None else {3: stored},
        {} if asked is None else {3: asked},
        {} if published is None else {3: published},
        now,
    )


def stored(digest: Digest, *, undigested: int = 0, epoch: int = 9) -> Stored:
    return Stored(digest, undigested, epoch)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (stored(SAME), SAME),
        (stored(Digest(2, 1), undigested=1), SAME),
        (stored(OTHER, epoch=10), SAME),
        (stored(SAME), None),
    ],
    ids=["equal", "count alone", "newer facts", "no digest"],
)
def test_block_without_a_difference_is_left_alone(ours: Stored, theirs: Digest | None) -> None:
    assert verdict(ours, theirs) == NOTHING
    assert verdict(ours, theirs, YESTERDAY).published == ()


@pytest.mark.parametrize(
    "ours",
    [stored(OTHER), None, stored(Digest(1, 1), undigested=1)],
    ids=["sum", "no records", "count"],
)
def test_block_that_differs_is_asked_for(ours: Stored | None) -> None:
    assert verdict(ours) == Verdict((3,), (), (), ())


def test_block_is_healed_once_it_is_equal() -> None:
    assert verdict(stored(SAME), asked=YESTERDAY) == Verdict((), (3,), (), ())


def test_run_that_began_before_the_question_proves_nothing() -> None:
    assert verdict(stored(OTHER), asked=Asked(NOON, 5)) == NOTHING


@pytest.mark.parametrize(("hours", "asks"), [(23, ()), (24, (3,))])
def test_block_that_stays_different_is_asked_for_once_a_day(hours: int, asks: tuple[int, ...]) -> None:
    asked = Asked(NOON - timedelta(hours=1), 5)

    decided = verdict(stored(OTHER), asked=asked, now=asked.at + timedelta(hours=hours))

    assert decided == Verdict(asks, (), (3,), ())


def test_rows_that_were_not_published_again_are_gone() -> None:
    ours = stored(Digest(3, 7))

    assert verdict(ours, asked=YESTERDAY, published=SAME) == Verdict((), (), (), (3,))


def test_kind_with_rows_that_wait_or_are_unreadable_loses_none() -> None:
    decided = verdict(stored(Digest(3, 7)), asked=YESTERDAY, published=SAME, read_fully=False)

    assert decided.published == ()
    assert decided.failed == (3,)


@pytest.mark.parametrize(
    ("rows", "total", "may"), [(20, 20, True), (21, 104, False), (21, 105, True), (300, 1000, False)]
)
def test_more_than_a_fifth_of_the_rows_is_kept(rows: int, total: int, may: bool) -> None:
    assert may_remove(rows, total) is may
