"""When an invoice was paid, and when all of it was paid back."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, NamedTuple

from services.metrics.formulas.invoices import Invoice, Payment

# The type of a line of a mass payment: its `related_id` is the invoice that it pays.
_MASS_PAYMENT: Final = "invoice"


class Settlement(NamedTuple):
    """The days on which an invoice was paid and refunded in full. `paid_on` is None when nothing dates the payment."""

    paid_on: date | None
    refunded_on: date | None


def settlement(invoice: Invoice, mass_paid: Mapping[int, date]) -> Settlement | None:
    """Return when an invoice was paid; None when it was not. `mass_paid` has the days of mass payments by the invoice that they pay.

    An invoice of which the bank took all money back was paid, too: WHMCS gives it another status, but its period was paid until then.
    """
    returned_on = _returned_on(invoice)
    if invoice.status not in ("paid", "refunded") and returned_on is None:
        return None
    paid_on = (
        invoice.paid_on
        or mass_paid.get(invoice.id)
        or _last_day(payment for payment in invoice.payments if payment.in_micros > 0)
        or invoice.due_on
        or invoice.issued_on
    )
    if invoice.status == "refunded":
        return Settlement(paid_on, invoice.refunded_on or returned_on or paid_on)
    return Settlement(paid_on, returned_on)


def mass_payments(invoices: Iterable[Invoice]) -> dict[int, date]:
    """Return the invoices that paid invoices of mass payments pay, with the day of the payment."""
    return {
        line.related_id: invoice.paid_on
        for invoice in invoices
        if invoice.status == "paid" and invoice.paid_on is not None
        for line in invoice.lines or ()
        if line.type.lower() == _MASS_PAYMENT and line.related_id is not None
    }


def _returned_on(invoice: Invoice) -> date | None:
    """Return the day on which the last money of an invoice was paid back; None when some is left or when credit paid a part."""
    if not any(payment.out_micros for payment in invoice.payments):
        return None
    received = sum(payment.in_micros for payment in invoice.payments)
    returned = sum(payment.out_micros for payment in invoice.payments)
    if not 0 < received <= returned or invoice.credit_micros > 0:
        return None
    return _last_day(payment for payment in invoice.payments if payment.out_micros > 0) or invoice.paid_on


def _last_day(payments: Iterable[Payment]) -> date | None:
    return max((payment.on for payment in payments if payment.on is not None), default=None)
