"""Partial periods: they are scaled to a full cycle, and have the price that they are a rounded share of."""

from datetime import date
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.money import parse_micros as micros
from services.metrics.formulas.months import add_months
from tests.lines import hosting, invoice, item, only, periods

FEB, MAR, APR = (date(2026, month, 1) for month in (2, 3, 4))
NEXT_JAN = date(2027, 1, 1)
MIDDLE = date(2026, 1, 20)


def test_partial_first_period_has_the_price_of_the_next_one() -> None:
    # 9.99 * 12 / 31 = 3.8671
    bills = invoice(1, MIDDLE, hosting("3.87", MIDDLE, FEB)), invoice(2, FEB, hosting("9.99", FEB, MAR))

    assert [paid.mrr_micros for paid in periods(*bills)] == [micros("9.99")] * 2


def test_partial_only_period_has_the_price_of_the_record() -> None:
    bill = invoice(1, MIDDLE, hosting("3.87", MIDDLE, FEB))

    assert only(bill, items=[item(amount="9.99")]).mrr_micros == micros("9.99")


def test_partial_period_at_another_price_is_scaled() -> None:
    bills = invoice(1, MIDDLE, hosting("6.00", MIDDLE, FEB)), invoice(2, FEB, hosting("9.99", FEB, MAR))

    assert [paid.mrr_micros for paid in periods(*bills)] == [micros("15.50"), micros("9.99")]


def test_partial_period_with_the_next_month_is_scaled() -> None:
    # 12 of 31 days and a month.
    paid = only(invoice(1, MIDDLE, hosting("43.00", MIDDLE, MAR)), items=[])

    assert (paid.mrr_micros, paid.cycle_months) == (micros(31), 1)


def test_partial_year_is_a_share_of_the_year() -> None:
    # 100.00 * 346 / 365 = 94.7945
    bills = (
        invoice(1, MIDDLE, hosting("94.79", MIDDLE, NEXT_JAN)),
        invoice(2, NEXT_JAN, hosting("100.00", NEXT_JAN, date(2028, 1, 1))),
    )

    assert [(paid.mrr_micros, paid.cycle_months) for paid in periods(*bills)] == [(8_333_333, 12)] * 2


def test_months_of_a_year_may_be_a_part_of_it() -> None:
    # 92 of the 365 days before January.
    october = date(2026, 10, 1)
    bills = (
        invoice(1, october, hosting("25.21", october, NEXT_JAN)),
        invoice(2, NEXT_JAN, hosting("100.00", NEXT_JAN, date(2028, 1, 1))),
    )

    assert [paid.mrr_micros for paid in periods(*bills)] == [8_333_333] * 2


def test_shorter_cycle_before_a_longer_one_keeps_its_price() -> None:
    bills = invoice(1, FEB, hosting(10, FEB, MAR)), invoice(2, MAR, hosting(96, MAR, date(2027, 3, 1)))

    assert [(paid.mrr_micros, paid.cycle_months) for paid in periods(*bills)] == [
        (micros(10), 1),
        (micros(8), 12),
    ]


def test_rounded_price_of_a_shorter_cycle_stays_exact() -> None:
    # Half of 215.15 is 107.575, and a year costs 107.57.
    bills = (
        invoice(1, FEB, hosting("107.57", FEB, date(2027, 2, 1))),
        invoice(2, date(2027, 2, 1), hosting("215.15", date(2027, 2, 1), date(2029, 2, 1))),
    )

    assert [paid.mrr_micros for paid in periods(*bills)] == [8_964_167, 8_964_583]


def test_yen_are_shares_of_whole_yen() -> None:
    # 1000 * 12 / 31 = 387.1
    bills = (
        invoice(1, MIDDLE, hosting(387, MIDDLE, FEB), currency="JPY"),
        invoice(2, FEB, hosting(1000, FEB, MAR), currency="JPY"),
    )

    assert [paid.mrr_micros for paid in periods(*bills)] == [micros(1000)] * 2


def test_partial_period_alone_is_scaled_to_a_month() -> None:
    assert only(invoice(1, MIDDLE, hosting("12.00", MIDDLE, FEB)), items=[]).mrr_micros == micros(31)


@given(
    st.dates(date(2020, 1, 1), date(2030, 12, 31)),
    st.integers(500, 100_000),
    st.sampled_from([1, 3, 6, 12]),
)
def test_share_gives_back_its_price(start: date, hundredths: int, months: int) -> None:
    due_on = add_months(start.replace(day=1), months)
    end = add_months(due_on, months)
    days_of_cycle = (add_months(start, months) - start).days
    share = round(Fraction(hundredths * (due_on - start).days, days_of_cycle))
    bills = (
        invoice(1, start, hosting(f"{share / 100:.2f}", start, due_on)),
        invoice(2, due_on, hosting(f"{hundredths / 100:.2f}", due_on, end)),
    )

    first, second = periods(*bills)

    assert first.mrr_micros == second.mrr_micros == round(Fraction(hundredths * 10_000, months))
