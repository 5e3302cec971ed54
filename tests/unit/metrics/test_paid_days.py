"""The lens `paid`: the days for which invoices are paid, before and after the first observation."""

from datetime import date, timedelta

from hypothesis import given, settings

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.evidence import Evidence
from services.metrics.formulas.timeline import Segment, Timeline, timeline
from tests.unit.metrics.test_timeline_laws import EVIDENCE
from tests.unit.metrics.timelines import CUSTOMER, OTHER, day, history, line, paid, seen, spans


def shape(result: Timeline) -> list[tuple[date, date | None, int]]:
    return [(s.from_on, s.to_on, s.mrr_micros // 1_000_000) for s in of_paid(result)]


def of_paid(result: Timeline) -> list[Segment]:
    return [segment for segment in result.segments if segment.lens is Lens.PAID]


def test_paid_days_end_with_the_last_line() -> None:
    result = history(paid(-40, -10), paid(-10, 20))

    assert shape(result) == [(day(-40), day(20), 10)]
    assert of_paid(result)[0].cause is Cause.NON_PAYMENT
    assert spans(result, Lens.CONTRACT)[-1][1] == day(35)


def test_lines_decide_after_the_first_observation_too() -> None:
    result = history(paid(-10, 20, mrr_micros=7_000_000), paid(20, 50, mrr_micros=8_000_000))

    assert shape(result) == [(day(-10), day(20), 7), (day(20), day(50), 8)]


def test_missing_lines_leave_no_day_paid() -> None:
    assert of_paid(line(seen(0))) == []


def test_line_paid_after_the_grace_counts_from_its_payment() -> None:
    result = history(paid(-40, -10), paid(-10, 20, counts_from=day(8), paid_on=day(8)))

    assert shape(result) == [(day(-40), day(-10), 10), (day(8), day(20), 10)]
    assert [segment.cause for segment in of_paid(result)] == [Cause.NON_PAYMENT, Cause.NON_PAYMENT]


def test_refund_in_full_ends_the_paid_days() -> None:
    result = history(paid(-40, -10), paid(-10, 20, refunded_on=day(3)))

    assert shape(result) == [(day(-40), day(3), 10)]
    assert of_paid(result)[0].cause is Cause.CANCELLATION


def test_free_line_is_no_paid_mrr() -> None:
    result = history(paid(-40, -10), paid(-10, 20, mrr_micros=0))

    assert shape(result) == [(day(-40), day(-10), 10)]
    assert of_paid(result)[0].cause is Cause.BECAME_FREE


def test_paid_days_go_on_after_the_subscription_ended() -> None:
    result = history(paid(-10, 20), later=[seen(5, status="cancelled")])

    assert spans(result, Lens.CONTRACT)[-1][1] == day(5)
    assert [(s.from_on, s.to_on, s.status) for s in of_paid(result)] == [
        (day(-10), day(5), "active"),
        (day(5), day(20), "cancelled"),
    ]


def test_paid_days_have_the_product_of_the_record_seen() -> None:
    result = history(
        paid(-10, 20, product="service:9", product_name="Old"), later=[seen(5, product="service:2")]
    )

    assert [(s.from_on, s.product) for s in of_paid(result)] == [
        (day(-10), "service:9"),
        (day(0), "service:1"),
        (day(5), "service:2"),
    ]


def test_fraud_never_paid() -> None:
    assert of_paid(history(paid(-10, 20), status="fraud")) == []


def test_customer_and_currency_are_those_of_the_invoice() -> None:
    [segment] = of_paid(history(paid(-10, 20, customer_id=OTHER, currency="USD"), customer_id=CUSTOMER))

    assert (segment.customer_id, segment.currency) == (OTHER, "USD")


@given(EVIDENCE)
@settings(max_examples=300)
def test_each_day_has_the_mrr_of_the_line_that_covers_it(evidence: Evidence) -> None:
    segments = [segment for segment in timeline(evidence).segments if segment.lens is Lens.PAID]
    first = evidence.observations[0].on

    for number in range(-220, 90):
        on = first + timedelta(number)
        lines = [
            (period.customer_id, period.currency, period.mrr_micros)
            for period in evidence.paid_periods or ()
            if period.counts_from <= on < min(period.to_on, period.refunded_on or date.max)
            and period.mrr_micros > 0
        ]
        assert lines == [
            (segment.customer_id, segment.currency, segment.mrr_micros)
            for segment in segments
            if segment.from_on <= on and (segment.to_on is None or on < segment.to_on)
        ]
