"""Tax in the amounts of lines: where prices include tax, the invoice shows whether its lines do."""

from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.formulas.invoices import Invoice, Line, LineIssue
from services.metrics.formulas.paid_periods import PaidPeriod, PaidPeriods
from tests import lines
from tests.lines import SERVICE, hosting, invoice, line, micros, promotion

JAN, FEB = date(2026, 1, 1), date(2026, 2, 1)


def bill(*parts: Line, subtotal: str, tax: str = "0.00", tax2: str = "0.00", **values: Any) -> Invoice:
    rates = {"tax_rate": Fraction(21)} | values
    return invoice(
        1,
        JAN,
        *parts,
        subtotal_micros=micros(subtotal),
        tax_micros=micros(tax),
        tax2_micros=micros(tax2),
        **rates,
    )


def only(bill: Invoice, *, prices_include_tax: bool = True) -> PaidPeriod:
    return lines.only(bill, prices_include_tax=prices_include_tax)


def read(bill: Invoice) -> PaidPeriods:
    return lines.read(bill, prices_include_tax=True)


def taxed(amount: str, **values: Any) -> Line:
    return hosting(amount, JAN, FEB, taxed=True, **values)


def test_tax_on_top_is_in_no_amount() -> None:
    assert only(bill(taxed("10.00"), subtotal="10.00", tax="2.10")).mrr_micros == micros(10)


def test_included_tax_is_taken_out_at_the_rate_of_the_invoice() -> None:
    assert only(bill(taxed("12.10"), subtotal="10.00", tax="2.10")).mrr_micros == micros(10)


def test_included_tax_is_exact_where_the_invoice_is_rounded() -> None:
    paid = only(bill(taxed("9.99"), subtotal="8.26", tax="1.73"))

    # 9.99 / 1.21 = 8.25619834...
    assert paid.mrr_micros == 8_256_198


def test_tax_stays_in_unless_prices_include_it() -> None:
    gross = bill(taxed("12.10"), subtotal="10.00", tax="2.10")

    assert only(gross, prices_include_tax=False).mrr_micros == micros("12.10")


def test_lines_without_tax_keep_their_amount() -> None:
    untaxed = hosting("5.00", JAN, FEB, related_id=1)

    paid = only(bill(untaxed, line("Setup", "12.10", taxed=True), subtotal="15.00", tax="2.10"))

    assert paid.mrr_micros == micros(5)


def test_discount_is_reduced_like_its_line() -> None:
    parts = (taxed("12.10"), promotion("-2.42", "FOREVER", taxed=True))

    assert only(bill(*parts, subtotal="8.00", tax="1.68")).mrr_micros == micros(8)


def test_two_taxes_are_added() -> None:
    paid = only(
        bill(
            taxed("11.50"),
            subtotal="10.00",
            tax="1.00",
            tax2="0.50",
            tax_rate=Fraction(10),
            tax_rate2=Fraction(5),
        )
    )

    assert paid.mrr_micros == micros(10)


def test_second_tax_may_be_charged_on_the_first() -> None:
    rates = {"tax_rate": Fraction(10), "tax_rate2": Fraction(50)}

    paid = only(bill(taxed("16.50"), subtotal="10.00", tax="1.00", tax2="5.50", **rates))

    assert paid.mrr_micros == micros(10)


def test_share_of_the_tax_stands_in_for_a_missing_rate() -> None:
    parts = (taxed("12.10"), line("LateFee", 5))

    result = read(bill(*parts, subtotal="15.00", tax="2.10", tax_rate=Fraction(0)))

    assert result.of_subscription[SERVICE][0].mrr_micros == micros(10)
    assert result.issues == {}


def test_invoice_that_does_not_add_up_follows_the_instance() -> None:
    edited = bill(taxed("12.10"), subtotal="99.00", tax="20.79")

    assert only(edited).mrr_micros == micros(10)
    assert only(edited, prices_include_tax=False).mrr_micros == micros("12.10")


def test_unknown_rate_is_listed() -> None:
    edited = bill(taxed("12.10"), subtotal="99.00", tax_rate=Fraction(0))

    result = read(edited)

    assert result.issues == {SERVICE: (LineIssue.TAX_RATE_UNKNOWN,)}
    assert result.of_subscription[SERVICE][0].mrr_micros == micros("12.10")


def test_rate_below_zero_counts_as_missing() -> None:
    edited = bill(taxed("12.10"), subtotal="99.00", tax_rate=Fraction(-100))

    assert read(edited).issues == {SERVICE: (LineIssue.TAX_RATE_UNKNOWN,)}


def test_customer_without_tax_pays_net_prices() -> None:
    paid = only(bill(taxed("12.10"), subtotal="12.10", tax_rate=Fraction(0)))

    assert paid.mrr_micros == micros("12.10")


def test_credit_note_without_rates_does_not_divide_by_zero() -> None:
    note = bill(taxed("-12.10"), subtotal="-10.00", tax="-2.10", tax_rate=Fraction(0))
    odd = bill(taxed("2.10"), subtotal="0.00", tax="2.10", tax_rate=Fraction(0))

    assert only(note).mrr_micros == micros(-10)
    assert read(odd).issues == {SERVICE: (LineIssue.TAX_RATE_UNKNOWN,)}


@given(st.integers(100, 1_000_000), st.sampled_from([5, 7, 19, 20, 21, 25]))
def test_net_and_gross_prices_give_the_same_mrr(hundredths: int, rate: int) -> None:
    gross = Fraction(hundredths * (100 + rate), 100)
    shown = round(gross)
    if shown != gross:
        return
    net_text, gross_text, tax_text = (
        f"{value / 100:.2f}" for value in (hundredths, shown, shown - hundredths)
    )

    excluded = bill(taxed(net_text), subtotal=net_text, tax=tax_text, tax_rate=Fraction(rate))
    included = bill(taxed(gross_text), subtotal=net_text, tax=tax_text, tax_rate=Fraction(rate))

    assert only(excluded).mrr_micros == only(included).mrr_micros == hundredths * 10_000


@pytest.mark.parametrize("amount", ["0.01", "0.02"])
def test_tax_of_a_hundredth_is_no_puzzle(amount: str) -> None:
    assert only(bill(taxed(amount), subtotal=amount, tax="0.01")).mrr_micros == micros(amount)
