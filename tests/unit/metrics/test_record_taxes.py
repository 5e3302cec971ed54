"""Tax in the amounts of records: it is taken out at the rate that invoices show."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.formulas.months import add_months
from services.metrics.formulas.record_taxes import divisor_of, with_taxes
from services.metrics.formulas.states import mrr_micros
from tests import lines
from tests.lines import hosting, invoice, micros
from tests.unit.metrics.timelines import CUSTOMER, contract, day, line, paid, seen

LISBON = Fraction(123, 100)


@pytest.mark.parametrize(
    ("tax", "tax2", "divisor"),
    [("20.00", "5.00", "1.25"), ("20.00", "6.00", "1.26"), ("0.00", "0.00", "1.25")],
)
def test_second_tax_may_be_on_the_first(tax: str, tax2: str, divisor: str) -> None:
    assert divisor_of(Fraction(20), Fraction(5), micros(tax), micros(tax2)) == Fraction(divisor)


def test_exempt_customer_has_no_tax_in_its_prices() -> None:
    assert divisor_of(Fraction(0), Fraction(0), 0, 0) == 1


def test_customer_without_lines_has_the_rate_of_its_invoice() -> None:
    [state] = with_taxes([seen(recurring_micros=12_300_000)], (), {CUSTOMER: LISBON})

    assert mrr_micros(state) == 10_000_000


def test_unknown_rate_leaves_the_price_and_is_listed() -> None:
    result = line(*with_taxes([seen()], (), {}))

    assert {segment.mrr_micros for segment in result.segments} == {10_000_000}
    assert result.issues == ("tax_rate_unknown",)


def test_untaxed_line_shows_that_its_record_has_no_tax() -> None:
    [state] = with_taxes([seen()], [paid(-10, 20)], {CUSTOMER: LISBON})

    assert mrr_micros(state) == 10_000_000


def test_new_rate_counts_from_the_payment_that_shows_it() -> None:
    periods = [paid(-10, 20, tax_divisor=Fraction(6, 5)), paid(20, 50, tax_divisor=Fraction(5, 4))]
    states = [
        seen(0, recurring_micros=12_000_000),
        seen(20, recurring_micros=12_000_000, next_due_on=day(50)),
    ]

    result = line(*with_taxes(states, periods, {}))

    assert [(s.from_on, s.mrr_micros) for s in contract(result)] == [
        (day(0), 10_000_000),
        (day(20), 9_600_000),
    ]


@given(
    st.integers(1, 10**8),
    st.sampled_from([(1, "monthly"), (3, "quarterly"), (12, "annually"), (36, "triennially")]),
    st.integers(1, 3000),
)
def test_record_and_line_have_one_amount_without_tax(
    hundredths: int, cycle: tuple[int, str], per_mille: int
) -> None:
    months, name = cycle
    start, rate = date(2026, 1, 1), Fraction(per_mille, 10)
    gross = Fraction(hundredths, 100)
    net = round(gross / (1 + rate / 100), 2)
    bill = invoice(
        1,
        start,
        hosting(f"{hundredths / 100:.2f}", start, add_months(start, months), taxed=True),
        subtotal_micros=int(net * 10**6),
        tax_micros=int((gross - net) * 10**6),
        tax_rate=rate,
    )
    [period] = lines.periods(bill, prices_include_tax=True)
    record = seen(recurring_micros=hundredths * 10_000, cycle=name)

    [state] = with_taxes([record], [period], {})

    assert mrr_micros(state) == period.mrr_micros
