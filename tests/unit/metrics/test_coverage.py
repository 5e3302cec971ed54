"""From what runs could read to the days that are known of each kind."""

from datetime import UTC, date, datetime, timedelta
from functools import reduce
from uuid import uuid4

import pytest

from services.metrics.formulas.coverage import Coverage, Days, Run, Skipped, days_of, with_run

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
REFUSED = Skipped("GetClientsAddons", "permission_missing", True)


def run(epoch: int, started_at: datetime = NOON, *, minutes: int = 5, reads_addons: bool = True) -> Run:
    kinds = frozenset({"service", "addon"} if reads_addons else {"service"})
    skipped = {} if reads_addons else {"addon": REFUSED}
    return Run(uuid4(), started_at, started_at + timedelta(minutes=minutes), epoch, kinds, skipped)


def after(first: Run, *runs: Run) -> Coverage:
    return reduce(with_run, runs, with_run(None, first))


def test_run_before_midnight_sees_the_day_after_it() -> None:
    coverage = after(run(1, datetime(2026, 3, 1, 23, 50, tzinfo=UTC), minutes=20))

    assert days_of(coverage, "service", "UTC") == Days(date(2026, 3, 2), date(2026, 3, 2), date(2026, 3, 1))


def test_refused_kind_ends_with_its_last_reading() -> None:
    coverage = after(run(1), run(2, NOON + timedelta(days=3), reads_addons=False))

    assert days_of(coverage, "service", "UTC") == Days(date(2026, 3, 1), date(2026, 3, 4), date(2026, 3, 4))
    assert days_of(coverage, "addon", "UTC") == Days(date(2026, 3, 1), date(2026, 3, 1), date(2026, 3, 1))
    assert coverage.kinds["addon"].skipped == REFUSED
    assert (coverage.epoch_of("service"), coverage.epoch_of("addon")) == (2, 1)


def test_kind_that_was_never_read_has_no_days() -> None:
    coverage = after(run(1, reads_addons=False))

    assert days_of(coverage, "addon", "UTC") is None
    assert days_of(coverage, "domain", "UTC") is None
    assert coverage.epoch_of("addon") is None


def test_kind_that_is_read_again_begins_where_it_began() -> None:
    days = [run(number + 1, NOON + timedelta(days=number), reads_addons=number != 1) for number in range(3)]

    coverage = after(*days)

    assert days_of(coverage, "addon", "UTC") == Days(date(2026, 3, 1), date(2026, 3, 3), date(2026, 3, 3))
    assert coverage.kinds["addon"].skipped is None
    assert coverage.epoch_of("addon") == 3


@pytest.mark.parametrize(("time_zone", "day"), [("UTC", 1), ("Pacific/Auckland", 2), ("Pacific/Midway", 1)])
def test_days_are_those_of_the_time_zone(time_zone: str, day: int) -> None:
    coverage = after(run(1))

    assert days_of(coverage, "service", time_zone) == Days(*[date(2026, 3, day)] * 3)


def test_newer_run_counts_whatever_its_clock_says() -> None:
    coverage = after(run(3, NOON + timedelta(hours=1)), run(7))

    assert (coverage.epoch, coverage.as_of) == (7, NOON)
    assert coverage.last_at == NOON + timedelta(hours=1, minutes=5)
