"""From what runs could read to the days that are known of each kind."""

from datetime import UTC, date, datetime, timedelta
from functools import reduce
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


NOT_WHOLE = Skipped("GetClientsServices", "not_whole", True)
TROUBLE = Skipped("GetClientsServices", "server_error", True)


def looked(epoch: int, days: float, **kinds: str | Skipped) -> Run:
    """Return a run of a number of days after noon that read some kinds "whole", kept some "in step", and skipped others."""
    started_at = NOON + timedelta(days=days)
    return Run(
        uuid4(),
        started_at,
        started_at + timedelta(minutes=5),
        epoch,
        frozenset(kind for kind, how in kinds.items() if how == "whole"),
        {kind: how for kind, how in kinds.items() if isinstance(how, Skipped)},
        frozenset(kind for kind, how in kinds.items() if how == "step"),
    )


def test_kind_in_step_is_known_and_not_closed() -> None:
    coverage = after(looked(1, 0, service="whole"), looked(2, 2, service="step"))

    assert days_of(coverage, "service", "UTC") == Days(date(2026, 3, 1), date(2026, 3, 3), date(2026, 3, 1))
    assert (coverage.epoch_of("service"), coverage.as_of) == (2, NOON + timedelta(days=2))


def test_kind_in_step_that_was_never_read_whole_has_no_days() -> None:
    coverage = after(
        looked(1, 0, service="step"), looked(2, 1, service=NOT_WHOLE), looked(3, 2, service="step")
    )

    assert days_of(coverage, "service", "UTC") is None
    assert coverage.epoch_of("service") is None
    assert coverage.kinds["service"].skipped == NOT_WHOLE


def test_kind_that_is_not_whole_stays_so_until_it_is_read_whole() -> None:
    runs = [looked(1, 0, service="whole"), looked(2, 1, service=NOT_WHOLE), looked(3, 2, service="step")]
    coverage = after(*runs)
    whole = after(*runs, looked(4, 3, service="whole"))

    assert coverage.kinds["service"].skipped == NOT_WHOLE
    assert coverage.kinds["service"].skipped_at == NOON + timedelta(days=1)
    assert coverage.epoch_of("service") == 1
    assert days_of(coverage, "service", "UTC") == Days(*[date(2026, 3, 1)] * 3)
    assert (whole.kinds["service"].skipped, whole.epoch_of("service")) == (None, 4)


def test_look_in_step_disproves_a_failure() -> None:
    coverage = after(
        looked(1, 0, service="whole"), looked(2, 1, service=TROUBLE), looked(3, 2, service="step")
    )

    assert coverage.kinds["service"].skipped is None
    assert coverage.epoch_of("service") == 3


def test_days_that_were_known_in_step_stay_known_after_a_failure() -> None:
    runs = (looked(1, 0, service="whole"), looked(2, 2, service="step"), looked(3, 3, service=TROUBLE))

    days = days_of(after(*runs), "service", "UTC")

    assert days == Days(date(2026, 3, 1), date(2026, 3, 3), date(2026, 3, 1))


def test_retry_of_one_list_changes_no_other_kind() -> None:
    first = looked(1, 0, service="whole", addon=TROUBLE)
    coverage = after(first, looked(2, 2, addon="whole"))

    assert coverage.kinds["service"] == after(first).kinds["service"]
    assert days_of(coverage, "addon", "UTC") == Days(*[date(2026, 3, 3)] * 3)
    assert (coverage.epoch, coverage.as_of) == (2, NOON)


def test_unreadable_rows_keep_days_open() -> None:
    coverage = after(*(looked(number, number, service="whole") for number in range(1, 9)))

    days = days_of(coverage, "service", "UTC", NOON + timedelta(days=3))

    assert days == Days(date(2026, 3, 2), date(2026, 3, 9), date(2026, 3, 4))


HOWS = st.dictionaries(
    st.sampled_from(["service", "addon"]), st.sampled_from(["whole", "step", NOT_WHOLE, TROUBLE])
)


@given(st.lists(st.tuples(HOWS, st.floats(0, 3)), min_size=1, max_size=10))
def test_only_whole_readings_are_evidence(steps: list[tuple[dict[str, str | Skipped], float]]) -> None:
    runs, at = [], 0.0
    for epoch, (kinds, pause) in enumerate(steps, 1):
        at += pause
        runs.append(looked(epoch, at, **kinds))

    coverage = after(*runs)

    for kind in ("service", "addon"):
        whole = [run for run in runs if kind in run.read]
        days = days_of(coverage, kind, "UTC")
        if not whole:
            assert (days, coverage.epoch_of(kind)) == (None, None)
            continue
        assert days is not None
        assert days.first_on == whole[0].ended_at.date()
        assert days.closed_before == whole[-1].started_at.date()
        looks = [run for run in runs if kind in run.read | run.in_step and run.epoch >= whole[0].epoch]
        assert whole[-1].epoch <= (coverage.epoch_of(kind) or 0) <= looks[-1].epoch
        assert days.last_on <= looks[-1].ended_at.date()
