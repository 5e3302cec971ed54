"""When a line was paid and when it was paid back: mass payments, credit, refunds and chargebacks."""

from datetime import date
from typing import Any

from services.metrics.formulas.invoices import Invoice, PaidPeriod
from tests.lines import hosting, invoice, line, only, paid_back, paid_in, periods

JAN, FEB = date(2026, 1, 1), date(2026, 2, 1)
PAID_ON, BACK_ON = date(2026, 1, 3), date(2026, 1, 20)


def bill(**values: Any) -> Invoice:
    return invoice(1, JAN, hosting(10, JAN, FEB), **({"paid_on": PAID_ON} | values))


def days(paid: PaidPeriod) -> tuple[date | None, date | None]:
    return paid.paid_on, paid.refunded_on


def test_invoice_is_paid_on_the_day_in_its_header() -> None:
    assert days(only(bill(payments=(paid_in(FEB, 10),)))) == (PAID_ON, None)


def test_credit_pays_like_money() -> None:
    assert days(only(bill(credit_micros=10_000_000, total_micros=0))) == (PAID_ON, None)


def test_mass_payment_pays_no_period_twice() -> None:
    mass = invoice(2, PAID_ON, line("Invoice", 10, "Invoice #1", related_id=1))

    assert days(only(bill(), mass)) == (PAID_ON, None)


def test_mass_payment_dates_an_invoice_without_a_day() -> None:
    mass = invoice(2, BACK_ON, line("Invoice", 10, "Invoice #1", related_id=1))

    assert days(only(bill(paid_on=None), mass)) == (BACK_ON, None)


def test_unpaid_mass_payment_dates_nothing() -> None:
    mass = invoice(2, BACK_ON, line("Invoice", 10, "Invoice #1", related_id=1), status="unpaid")

    assert days(only(bill(paid_on=None), mass)) == (JAN, None)


def test_last_payment_dates_an_invoice_without_a_day() -> None:
    parts = (paid_in(PAID_ON, 4), paid_in(BACK_ON, 6), paid_in(None, 0))

    assert days(only(bill(paid_on=None, payments=parts))) == (BACK_ON, None)


def test_due_date_dates_an_invoice_without_a_day_and_payments() -> None:
    assert days(only(bill(paid_on=None))) == (JAN, None)


def test_invoice_without_any_date_counts_from_its_period() -> None:
    paid = only(bill(paid_on=None)._replace(due_on=None, issued_on=None))

    assert (paid.paid_on, paid.counts_from) == (None, JAN)


def test_refund_in_part_leaves_the_period() -> None:
    payments = (paid_in(PAID_ON, 10), paid_back(BACK_ON, 3))

    assert days(only(bill(payments=payments))) == (PAID_ON, None)


def test_refund_in_full_has_its_day() -> None:
    assert days(only(bill(status="refunded", refunded_on=BACK_ON))) == (PAID_ON, BACK_ON)


def test_payment_back_dates_a_refund_without_a_day() -> None:
    payments = (paid_in(PAID_ON, 10), paid_back(BACK_ON, 10))

    assert days(only(bill(status="refunded", payments=payments))) == (PAID_ON, BACK_ON)


def test_refund_to_credit_without_a_day_ends_when_it_was_paid() -> None:
    assert days(only(bill(status="refunded", payments=(paid_in(PAID_ON, 10),)))) == (PAID_ON, PAID_ON)


def test_refund_of_all_money_is_full_whatever_the_status() -> None:
    payments = (paid_in(PAID_ON, 10), paid_back(BACK_ON, 10))

    assert days(only(bill(payments=payments))) == (PAID_ON, BACK_ON)


def test_refund_of_the_money_leaves_what_credit_paid() -> None:
    payments = (paid_in(PAID_ON, 4), paid_back(BACK_ON, 4))

    assert days(only(bill(credit_micros=6_000_000, payments=payments))) == (PAID_ON, None)


def test_chargeback_takes_a_payment_back() -> None:
    payments = (paid_in(PAID_ON, 10), paid_back(BACK_ON, 10))

    assert days(only(bill(status="collections", payments=payments))) == (PAID_ON, BACK_ON)


def test_payment_after_a_chargeback_counts() -> None:
    payments = (paid_in(PAID_ON, 10), paid_back(BACK_ON, 10), paid_in(FEB, 10))

    assert days(only(bill(payments=payments))) == (PAID_ON, None)


def test_part_payment_of_an_open_invoice_pays_nothing() -> None:
    assert periods(bill(status="unpaid", paid_on=None, payments=(paid_in(PAID_ON, 9),))) == ()


def test_new_bill_replaces_a_refunded_one_for_the_same_days() -> None:
    refunded = bill(status="refunded", refunded_on=BACK_ON)._replace(id=2)
    again = invoice(1, JAN, hosting(8, JAN, FEB))

    paid = only(refunded, again)

    assert (paid.invoice_id, paid.refunded_on) == (1, None)
