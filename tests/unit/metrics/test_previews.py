"""The effect of other definitions, from the segments of customers by both."""

from datetime import date

from libs.common.contracts.lenses import Lens
from services.metrics.formulas.coverage import Days
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.previews import Effect, Place, Totals, add_customer, effects, month_ends
from services.metrics.formulas.timeline import Segment

SERVICE = Subscription("service", 1)
FEB, MAR = date(2026, 2, 28), date(2026, 3, 31)
DAYS = {"service": Days(date(2026, 2, 10), date(2026, 4, 10), date(2026, 4, 9))}


def segment(from_on: date, to_on: date | None, customer_id: int = 7, lens: Lens = Lens.CONTRACT) -> Segment:
    return Segment(
        lens, from_on, to_on, customer_id, "EUR", 10_000_000, "service:1", "Web", "monthly", "active"
    )


def totals(*segments: Segment) -> Totals:
    result = Totals()
    add_customer(result, 7, {SERVICE: segments}, DAYS, [FEB, MAR])
    return result


def test_month_ends_are_the_last_twelve_known() -> None:
    days = Days(date(2020, 1, 1), date(2026, 3, 31), date(2026, 3, 30))

    ends = month_ends([days])

    assert (len(ends), ends[0], ends[-1]) == (12, date(2025, 4, 30), MAR)
    assert month_ends(DAYS.values()) == [FEB, MAR]
    assert month_ends([]) == []


def test_customer_that_leaves_is_churn_of_its_month() -> None:
    result = totals(segment(date(2026, 1, 1), date(2026, 3, 5)))

    assert result.mrr_micros == {Place(FEB, "EUR"): 10_000_000}
    assert result.customers == {Place(FEB, "EUR"): 1}
    assert result.churn_micros == {Place(MAR, "EUR"): -10_000_000}


def test_other_lenses_and_customers_are_left_out() -> None:
    result = totals(
        segment(date(2026, 1, 1), None, lens=Lens.ACTIVE), segment(date(2026, 1, 1), None, customer_id=8)
    )

    assert (result.mrr_micros, result.customers, result.churn_micros) == ({}, {}, {})


def test_effect_has_both_sides_of_each_month() -> None:
    shorter = totals(segment(date(2026, 1, 1), date(2026, 3, 5)))
    longer = totals(segment(date(2026, 1, 1), None))

    assert effects(shorter, longer) == [
        Effect(FEB, "EUR", 10_000_000, 10_000_000, 1, 1, 0, 0),
        Effect(MAR, "EUR", 0, 10_000_000, 0, 1, -10_000_000, 0),
    ]
