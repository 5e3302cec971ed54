"""The ends of subscriptions before their first observation: what dates them, and why they ended."""

from datetime import date
from itertools import pairwise

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.movements import Cause
from services.metrics.formulas.evidence import Request
from services.metrics.formulas.invoices import PaidPeriod
from services.metrics.formulas.timeline import Timeline
from tests.unit.metrics.timelines import ENDED, contract, day, history, line, paid, spans


def last_end(result: Timeline) -> tuple[date | None, Cause | None, str]:
    last = contract(result)[-1]
    return last.to_on, last.cause, last.basis


def test_unpaid_subscription_ended_after_its_grace() -> None:
    overdue = history(paid(-70, -40), next_due_on=day(-40), registered_on=day(-70))
    terminated = history(paid(-130, -100), **ENDED, registered_on=day(-130))

    assert last_end(overdue) == (day(-25), Cause.NON_PAYMENT, "invoice")
    assert last_end(terminated) == (day(-85), Cause.NON_PAYMENT, "invoice")


def test_end_of_a_paid_subscription_is_dated_when_observed() -> None:
    terminated = history(paid(-10, 20), status="terminated", registered_on=day(-10))
    cancelled = history(paid(-10, 20), status="cancelled", registered_on=day(-10))

    assert last_end(terminated) == (day(0), Cause.UNKNOWN, "observed")
    assert last_end(cancelled) == (day(0), Cause.CANCELLATION, "observed")


@pytest.mark.parametrize(
    ("asked_on", "is_immediate", "end"),
    [(-120, False, -99), (-120, True, -120), (-95, False, -95), (-95, True, -95), (-80, True, -85)],
)
def test_request_dates_the_end_that_it_asked_for(asked_on: int, is_immediate: bool, end: int) -> None:
    asked = Request(day(0), 1, is_open=True, requested_on=day(asked_on), is_immediate=is_immediate)

    result = history(paid(-130, -100), **ENDED, registered_on=day(-130), requests=[asked])

    basis = "request" if end != -85 else "invoice"
    assert last_end(result)[::2] == (day(end), basis)


def test_request_before_a_later_invoice_dates_no_end() -> None:
    asked = Request(day(0), 1, is_open=True, requested_on=day(-170), is_immediate=True)
    periods = (paid(-180, -130), paid(-130, -100, issued_on=day(-140)))

    result = history(*periods, **ENDED, registered_on=day(-180), requests=[asked])

    assert last_end(result) == (day(-85), Cause.NON_PAYMENT, "invoice")


def test_withdrawn_request_dates_no_end() -> None:
    asked = Request(day(0), 1, is_open=True, requested_on=day(-120), is_immediate=True)

    result = history(
        paid(-130, -100), **ENDED, registered_on=day(-130), requests=[asked, asked._replace(is_open=False)]
    )

    assert last_end(result)[0] == day(-85)


def test_refunded_last_line_ends_on_the_day_of_the_refund() -> None:
    refunded = paid(-130, -100, refunded_on=day(-110))

    result = history(paid(-160, -130), refunded, **ENDED, registered_on=day(-160))

    assert last_end(result) == (day(-110), Cause.CANCELLATION, "invoice")


def test_refunded_line_of_a_live_subscription_ends_nothing() -> None:
    refunded = paid(-10, 20, refunded_on=day(-5))

    assert spans(history(refunded, registered_on=day(-10))) == [(day(-10), day(35))]


def test_refunded_line_before_the_last_one_ends_nothing() -> None:
    periods = (paid(-160, -130, refunded_on=day(-140)), paid(-130, -100))

    assert last_end(history(*periods, **ENDED, registered_on=day(-160)))[0] == day(-85)


def test_domain_transferred_away_ended_with_its_paid_period() -> None:
    left = {"kind": Kind.DOMAIN, "status": "transferred_away", "registered_on": day(-400)}

    before = history(paid(-400, -35), **left, next_due_on=day(-35))
    undated = history(paid(-400, -35), **left, next_due_on=None)
    paid_ahead = history(paid(-265, 100), **left, next_due_on=day(100))

    assert last_end(before) == last_end(undated) == (day(-34), Cause.TRANSFERRED_AWAY, "record")
    assert last_end(paid_ahead) == (day(0), Cause.TRANSFERRED_AWAY, "record")


def test_domain_that_was_not_to_renew_had_no_grace() -> None:
    result = history(
        paid(-400, -35),
        kind=Kind.DOMAIN,
        status="expired",
        renews=False,
        registered_on=day(-400),
        next_due_on=day(-35),
    )

    assert last_end(result) == (day(-34), Cause.CANCELLATION, "invoice")


def test_free_period_ends_a_paid_one() -> None:
    free = history(paid(-70, -10), recurring_micros=0, registered_on=day(-70))
    between = history(paid(-70, -40), paid(-40, -10, mrr_micros=0), paid(-10, 20), registered_on=day(-70))

    assert [(s.from_on, s.to_on, s.cause) for s in contract(free)] == [
        (day(-70), day(-10), Cause.BECAME_FREE)
    ]
    assert spans(between) == [(day(-70), day(-40)), (day(-10), day(35))]
    assert contract(between)[0].cause == Cause.BECAME_FREE


def test_ended_addon_ended_with_its_service() -> None:
    result = history(
        paid(-40, 20), kind=Kind.ADDON, status="cancelled", registered_on=day(-40), parent_ended_on=day(-7)
    )

    assert last_end(result) == (day(-7), Cause.CANCELLATION, "record")


@pytest.mark.parametrize(
    ("days", "parent_ended_on", "end"),
    [
        ((-40, -10, 20), -7, -7),
        ((-40, -10, 20), -12, -10),
        ((-90, -60, -30), -95, -15),
    ],
)
def test_addon_paid_for_after_its_service_ended_went_on(
    days: tuple[int, ...], parent_ended_on: int, end: int
) -> None:
    result = history(
        *(paid(from_on, to_on) for from_on, to_on in pairwise(days)),
        kind=Kind.ADDON,
        status="terminated",
        next_due_on=day(days[-1]),
        parent_ended_on=day(parent_ended_on),
    )

    assert last_end(result)[0] == day(end)


def test_addon_paid_ahead_ends_with_its_service() -> None:
    # Both periods begin after the service ended, and only the second one was paid after that.
    result = history(
        paid(-60, -30, paid_on=day(-70)),
        paid(-30, 0, paid_on=day(-45)),
        kind=Kind.ADDON,
        status="terminated",
        next_due_on=day(0),
        parent_ended_on=day(-62),
        registered_on=day(-90),
    )

    assert last_end(result)[0] == day(-30)


def test_addon_that_lapsed_and_was_paid_late_ends_with_the_lapse() -> None:
    result = history(
        paid(-40, -25),
        paid(-25, 5, counts_from=day(-5), paid_on=day(-5)),
        kind=Kind.ADDON,
        status="terminated",
        next_due_on=day(5),
        parent_ended_on=day(-30),
    )

    assert last_end(result)[0] == day(-10)


def test_subscription_that_no_sync_saw_has_its_lines() -> None:
    def deleted(*periods: PaidPeriod) -> Timeline:
        return line(paid_periods=periods, missing_on=day(0))

    lapsed = deleted(paid(-70, -40), paid(-40, -30, product="service:9", product_name="Old"))

    assert last_end(lapsed) == (day(-15), Cause.NON_PAYMENT, "invoice")
    assert {segment.product for segment in lapsed.segments} == {"service:9"}
    assert last_end(deleted(paid(-10, 20))) == (day(0), Cause.DISAPPEARED, "observed")
    assert deleted().segments == line(paid_periods=[paid(-10, 20)]).segments == ()
