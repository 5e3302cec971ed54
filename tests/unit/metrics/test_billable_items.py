"""Billable items: only lines show them, and only a rhythm shows that they recur."""

from datetime import date, timedelta
from fractions import Fraction

import pytest

from libs.common.contracts.money import parse_micros as micros
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoices import PaidPeriod
from tests.lines import invoice, line, periods

JAN = date(2026, 1, 1)
ITEM = Subscription("billable_item", 1)


def billed(*days: date, amount: str = "30.00") -> tuple[PaidPeriod, ...]:
    bills = [invoice(id_, on, line("Item", amount, "Trustee")) for id_, on in enumerate(days, start=1)]
    return periods(*bills, subscription=ITEM, items=[])


@pytest.mark.parametrize(
    ("days", "months"),
    [
        ((JAN, date(2026, 2, 1)), 1),
        ((JAN, date(2026, 4, 1), date(2026, 7, 1)), 3),
        ((JAN, date(2028, 1, 1)), 24),
        ((JAN, date(2026, 2, 1), date(2026, 5, 1)), 1),
        ((date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31)), 1),
    ],
)
def test_months_between_lines_are_the_cycle(days: tuple[date, ...], months: int) -> None:
    paid = billed(*days)

    assert [row.from_on for row in paid] == [*days]
    assert {row.cycle_months for row in paid} == {months}
    assert {row.mrr_micros for row in paid} == {round(Fraction(micros(30), months))}


def test_days_between_lines_are_an_exact_fraction() -> None:
    paid = billed(*(JAN + timedelta(days=10 * number) for number in range(3)))

    assert [row.cycle_months for row in paid] == [Fraction(10 * 12 * 100, 36525)] * 3
    assert paid[0].mrr_micros == round(micros(30) / Fraction(480, 1461))
    assert paid[-1].to_on == JAN + timedelta(days=30)


def test_two_lines_show_weeks() -> None:
    assert billed(JAN, JAN + timedelta(days=14))[0].cycle_months == Fraction(14 * 48, 1461)


@pytest.mark.parametrize(
    "days",
    [
        (JAN,),
        (JAN, JAN),
        (JAN, JAN + timedelta(days=17)),
        (JAN, JAN + timedelta(days=17), JAN + timedelta(days=60)),
        (JAN, date(2026, 3, 1), date(2026, 6, 1)),
    ],
)
def test_item_without_a_rhythm_covers_nothing(days: tuple[date, ...]) -> None:
    assert billed(*days) == ()


def test_missing_line_leaves_a_gap() -> None:
    assert [(row.from_on, row.to_on) for row in billed(JAN, date(2026, 2, 1), date(2026, 4, 1))] == [
        (JAN, date(2026, 2, 1)),
        (date(2026, 2, 1), date(2026, 3, 1)),
        (date(2026, 4, 1), date(2026, 5, 1)),
    ]
