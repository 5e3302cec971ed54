"""The days before the first observation: what paid periods and the record say about them, and what they do not say."""

from datetime import date

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.evidence import Dated
from services.metrics.formulas.timeline import Timeline
from tests.unit.metrics.timelines import (
    CUSTOMER,
    ENDED,
    OTHER,
    contract,
    day,
    history,
    line,
    live_on,
    paid,
    seen,
    spans,
)


def shape(result: Timeline) -> list[tuple[date, date | None, int, str]]:
    return [(s.from_on, s.to_on, s.mrr_micros // 1_000_000, s.basis) for s in contract(result)]


def test_paid_periods_count_before_the_first_observation() -> None:
    result = history(paid(-70, -40), paid(-40, -10), paid(-10, 20), registered_on=day(-70))

    assert shape(result) == [(day(-70), day(35), 10, "invoice")]


def test_missing_lines_leave_earlier_days_open() -> None:
    first = seen(0, last_read_on=None)

    assert spans(line(first)) == [(day(0), day(35))]


def test_subscription_that_an_earlier_sync_did_not_see_is_new() -> None:
    first = seen(0, registered_on=day(-70))

    assert spans(line(first, paid_periods=[paid(-40, -10), paid(-10, 20)])) == [(day(0), day(35))]


def test_changed_amount_of_a_line_starts_a_segment() -> None:
    result = history(
        paid(-70, -40, mrr_micros=8_000_000), paid(-40, -10), paid(-10, 20), registered_on=day(-70)
    )

    assert shape(result) == [(day(-70), day(-40), 8, "invoice"), (day(-40), day(35), 10, "invoice")]


def test_last_period_has_the_amount_of_the_record() -> None:
    introductory = paid(-10, 20, mrr_micros=1_000_000)
    raised = history(paid(-40, -10), introductory, registered_on=day(-40), recurring_micros=12_000_000)

    assert shape(history(introductory, registered_on=day(-10))) == [(day(-10), day(35), 10, "invoice")]
    assert shape(raised) == [(day(-40), day(-10), 10, "invoice"), (day(-10), day(35), 12, "invoice")]


def test_short_gap_is_bridged() -> None:
    result = history(paid(-70, -40), paid(-25, 20), registered_on=day(-70))

    assert spans(result) == [(day(-70), day(35))]


def test_long_gap_is_a_lapse() -> None:
    result = history(paid(-70, -40), paid(-24, 20), registered_on=day(-70))

    assert spans(result) == [(day(-70), day(-25)), (day(-24), day(35))]
    assert contract(result)[0].cause == Cause.NON_PAYMENT


def test_late_payment_counts_from_its_day() -> None:
    result = history(paid(-70, -40), paid(-40, 20, counts_from=day(-15)), registered_on=day(-70))

    assert spans(result) == [(day(-70), day(-25)), (day(-15), day(35))]
    assert contract(result)[0].cause == Cause.NON_PAYMENT


def test_period_paid_after_it_was_over_counts_no_day() -> None:
    late = paid(-90, -60, counts_from=day(-30), paid_on=day(-30))

    result = history(paid(-100, -90), late, paid(-30, 20), registered_on=day(-100))

    assert spans(result) == [(day(-100), day(-75)), (day(-30), day(35))]


def test_registration_before_the_first_line_has_its_amount() -> None:
    result = history(paid(-40, -10, mrr_micros=8_000_000), paid(-10, 20))

    assert shape(result) == [(day(-100), day(-10), 8, "record"), (day(-10), day(35), 10, "invoice")]


def test_subscription_without_a_line_has_its_record() -> None:
    assert shape(history()) == [(day(-100), day(35), 10, "record")]
    assert shape(history(registered_on=None)) == [(day(0), day(35), 10, "observed")]


def test_due_date_beyond_the_lines_shows_a_payment() -> None:
    result = history(paid(-40, -10, mrr_micros=8_000_000), registered_on=day(-40))

    assert shape(result) == [(day(-40), day(-10), 8, "invoice"), (day(-10), day(35), 10, "record")]


def test_due_date_that_was_moved_by_some_days_shows_none() -> None:
    result = history(paid(-40, -10), paid(-10, 12, mrr_micros=8_000_000), registered_on=day(-40))

    assert shape(result) == [(day(-40), day(35), 10, "invoice")]


def test_day_before_the_registration_never_counts() -> None:
    assert spans(history(paid(-40, -10), paid(-10, 20), registered_on=day(-20))) == [(day(-20), day(35))]


def test_grace_of_the_instance_bridges_and_ends() -> None:
    periods = (paid(-70, -40), paid(-15, 5))

    patient = history(*periods, registered_on=day(-70), grace_days=30, next_due_on=day(5))
    strict = history(*periods, registered_on=day(-70), grace_days=0, next_due_on=day(5))

    assert spans(patient) == [(day(-70), day(36))]
    assert spans(strict) == [(day(-70), day(-39)), (day(-15), day(6))]


def test_ended_subscription_without_a_line_has_its_record() -> None:
    result = history(**ENDED, registered_on=day(-130))

    assert shape(result) == [(day(-130), day(-85), 10, "record")]


@pytest.mark.parametrize("status", ["terminated", "cancelled"])
def test_ended_subscription_that_was_never_paid_never_counted(status: str) -> None:
    assert history(status=status, next_due_on=day(-100)).segments == ()


@pytest.mark.parametrize("status", ["pending", "pending_transfer", "completed", "on_hold", "fraud"])
def test_subscription_that_never_started_has_no_history(status: str) -> None:
    result = history(paid(-40, -10), status=status, kind=Kind.DOMAIN)

    assert {segment.lens for segment in result.segments} <= {Lens.PAID}


def test_active_subscription_that_was_never_paid_has_its_grace() -> None:
    result = history(next_due_on=day(-100))

    assert [(s.from_on, s.to_on, s.cause) for s in contract(result)] == [
        (day(-100), day(-85), Cause.NON_PAYMENT)
    ]


def test_earlier_customer_keeps_its_periods() -> None:
    periods = (paid(-40, -10, customer_id=OTHER, currency="USD"), paid(-10, 20))

    result = history(*periods, registered_on=day(-40))

    assert [(s.customer_id, s.currency, s.from_on) for s in contract(result)] == [
        (OTHER, "USD", day(-40)),
        (CUSTOMER, "EUR", day(-10)),
    ]
    assert contract(result)[0].cause is None


def test_period_before_a_change_of_currency_is_in_the_old_one() -> None:
    periods = (paid(-40, -10, currency="USD"), paid(-10, 20))

    result = history(*periods, registered_on=day(-40), currencies={CUSTOMER: [Dated(day(0), "EUR")]})

    assert [(s.currency, s.from_on) for s in contract(result)] == [("USD", day(-40)), ("EUR", day(-10))]


def test_product_and_cycle_of_a_line_are_those_of_its_days() -> None:
    yearly = paid(-400, -35, product="service:9", product_name="Old", cycle_months=12)

    result = history(yearly, paid(-35, -5), paid(-5, 25), registered_on=day(-400), next_due_on=day(25))

    assert [(s.product, s.product_name, s.cycle) for s in contract(result)] == [
        ("service:9", "Old", "annually"),
        ("service:1", "Hosting", "monthly"),
    ]


def test_change_after_the_first_observation_is_observed() -> None:
    raised = seen(5, registered_on=day(-10), recurring_micros=12_000_000)

    result = history(paid(-10, 20), registered_on=day(-10), later=[raised])

    assert shape(result) == [(day(-10), day(5), 10, "invoice"), (day(5), day(35), 12, "observed")]


def test_lenses_by_status_count_with_the_contract() -> None:
    result = history(paid(-70, -40), paid(-10, 20), registered_on=day(-70))

    for lens in (Lens.ACTIVE, Lens.STATUS):
        assert spans(result, lens) == [(day(-70), day(-25)), (day(-10), None)]


def test_overdue_subscription_that_is_active_was_active() -> None:
    result = history(paid(-70, -40), registered_on=day(-70), next_due_on=day(-40))
    without_date = history(next_due_on=None)

    assert spans(result, Lens.ACTIVE) == [(day(-70), None)]
    assert spans(without_date, Lens.ACTIVE) == [(day(-100), None)]
    assert spans(without_date) == []


def test_suspended_subscription_was_active_until_it_was_overdue() -> None:
    overdue = history(paid(-40, -5), registered_on=day(-40), next_due_on=day(-5), status="suspended")
    abuse = history(paid(-10, 20), registered_on=day(-10), status="suspended")

    assert spans(overdue, Lens.ACTIVE) == [(day(-40), day(-4))]
    assert spans(abuse, Lens.ACTIVE) == [(day(-10), day(0))]
    assert live_on(overdue, day(-1), Lens.STATUS) != []
