"""Why a subscription stops counting, and what ends nothing."""

from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.evidence import Observation, Request
from services.metrics.formulas.timeline import Timeline
from tests.unit.metrics.timelines import OTHER, contract, day, line, live_on, paid, seen, spans

ASKED = Request(day(5), id=1, is_open=True, requested_on=day(5))


def causes(result: Timeline, lens: Lens = Lens.CONTRACT) -> list[Cause | None]:
    return [segment.cause for segment in result.segments if segment.lens is lens]


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        ({"is_removed": True}, Cause.DISAPPEARED),
        ({"status": "cancelled"}, Cause.CANCELLATION),
        ({"status": "terminated"}, Cause.UNKNOWN),
        ({"status": "terminated", "next_due_on": day(-2)}, Cause.NON_PAYMENT),
        ({"recurring_micros": 0}, Cause.BECAME_FREE),
        ({"cycle": "free"}, Cause.BECAME_FREE),
        ({"cycle": "unknown"}, Cause.UNKNOWN),
        ({"status": "on_hold"}, Cause.UNKNOWN),
    ],
)
def test_observed_end_has_a_cause(end: dict[str, Any], cause: Cause) -> None:
    result = line(seen(0), seen(8, **end))

    assert spans(result) == [(day(0), day(8))]
    assert causes(result) == causes(result, Lens.STATUS) == [cause]


def test_domain_transferred_away_ends_that_day() -> None:
    result = line(seen(0), seen(8, status="transferred_away"), kind=Kind.DOMAIN)

    assert spans(result) == [(day(0), day(8))]
    assert causes(result) == [Cause.TRANSFERRED_AWAY]


def test_unpaid_subscription_ends_by_non_payment() -> None:
    assert causes(line(seen(0))) == [Cause.NON_PAYMENT]


def test_requested_end_is_a_cancellation() -> None:
    carried_out = line(seen(0), seen(8, status="terminated"), requests=[ASKED])

    assert causes(line(seen(0), requests=[ASKED])) == [Cause.CANCELLATION]
    assert causes(carried_out) == [Cause.CANCELLATION]


def test_request_in_grace_is_the_cause_of_the_end() -> None:
    result = line(seen(0, next_due_on=day(-3)), requests=[ASKED])

    assert [(s.from_on, s.to_on, s.cause) for s in contract(result)] == [(day(0), day(5), Cause.CANCELLATION)]


def test_suspension_ends_the_lens_active_with_a_cause() -> None:
    overdue = line(seen(0), seen(8, status="suspended", next_due_on=day(-2)))
    abuse = line(seen(0), seen(8, status="suspended"))

    assert causes(overdue, Lens.ACTIVE) == [Cause.NON_PAYMENT]
    assert causes(abuse, Lens.ACTIVE) == [Cause.UNKNOWN]
    # By contract it goes on, with another status.
    assert causes(abuse) == [None, Cause.NON_PAYMENT]


def test_change_of_price_ends_nothing() -> None:
    result = line(seen(0), seen(8, recurring_micros=12_000_000))

    assert causes(result) == [None, Cause.NON_PAYMENT]


def test_customer_without_currency_ends_it_without_known_cause() -> None:
    result = line(seen(0), seen(4, customer_id=99))

    assert [(s.to_on, s.cause) for s in contract(result)] == [(day(4), Cause.UNKNOWN)]


def test_lapse_before_reactivation_keeps_its_cause() -> None:
    result = line(seen(0, next_due_on=day(0)), seen(20, next_due_on=day(30)))

    assert causes(result) == [Cause.NON_PAYMENT, Cause.NON_PAYMENT]


@pytest.mark.parametrize("later", [[], [seen(8, status="terminated", next_due_on=day(40))]])
def test_fraud_never_counted(later: list[Observation]) -> None:
    assert line(seen(0), *later, seen(9, status="fraud")) == Timeline((), ())
    assert line(seen(0), *later, seen(9, status="fraud", is_removed=True)) == Timeline((), ())


def test_corrected_fraud_counts_again() -> None:
    assert spans(line(seen(0), seen(3, status="fraud"), seen(5))) == [(day(0), day(3)), (day(5), day(35))]


def test_domain_that_does_not_renew_has_no_grace() -> None:
    result = line(seen(0), seen(3, renews=False), kind=Kind.DOMAIN)

    assert spans(result) == [(day(0), day(21))]
    assert causes(result) == [Cause.CANCELLATION]


def test_domain_marked_to_renew_again_has_its_grace() -> None:
    result = line(seen(0), seen(3, renews=False), seen(9), kind=Kind.DOMAIN)

    assert spans(result) == [(day(0), day(35))]


def test_later_invoice_that_is_paid_withdraws_a_request() -> None:
    renewed = [seen(0), seen(20, next_due_on=day(50))]
    periods = [paid(20, 50, issued_on=day(6))]

    assert spans(line(*renewed, requests=[ASKED])) == [(day(0), day(51))]
    assert spans(line(*renewed, requests=[ASKED], paid_periods=periods)) == [(day(0), day(65))]


def test_outlived_request_stays_over_when_it_is_seen_again() -> None:
    renewed = [seen(0), seen(20, next_due_on=day(50))]
    asked = [ASKED, ASKED._replace(on=day(30))]

    result = line(*renewed, requests=asked, paid_periods=[paid(20, 50, issued_on=day(6))])

    assert spans(result) == [(day(0), day(65))]


@pytest.mark.parametrize("values", [{"issued_on": day(5)}, {"paid_on": None}, {"issued_on": None}])
def test_older_or_unpaid_invoice_withdraws_no_request(values: dict[str, Any]) -> None:
    renewed = [seen(0), seen(20, next_due_on=day(50))]
    periods = [paid(20, 50, **({"issued_on": day(6)} | values))]

    assert spans(line(*renewed, requests=[ASKED], paid_periods=periods)) == [(day(0), day(51))]


def test_request_after_a_payment_stands() -> None:
    renewed = [seen(0), seen(20, next_due_on=day(50))]
    asked = [Request(day(25), id=1, is_open=True, requested_on=day(25))]

    result = line(*renewed, requests=asked, paid_periods=[paid(20, 50, issued_on=day(6))])

    assert spans(result) == [(day(0), day(51))]


def test_moved_subscription_goes_on_at_the_other_customer() -> None:
    result = line(seen(0), seen(4, customer_id=OTHER))

    assert causes(result) == [None, Cause.NON_PAYMENT]
    assert [segment.customer_id for segment in live_on(result, day(4))] == [OTHER]
