"""From the stored bodies of an invoice, which intake has checked, to the invoice as evidence."""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from services.metrics.formulas.evidence import json_day
from services.metrics.formulas.invoices import Invoice, Line, Payment


class StoredInvoice(NamedTuple):
    """The JSON texts of the newest header of an invoice in a cut, and of its newest lines; None while these are not read."""

    header: str
    lines: str | None


def invoice_of(stored: StoredInvoice) -> Invoice:
    """Return the invoice that the stored texts describe."""
    header: Mapping[str, Any] = orjson.loads(stored.header)
    content: Mapping[str, Any] = {} if stored.lines is None else orjson.loads(stored.lines)
    return Invoice(
        id=header["id"],
        customer_id=header["customer_id"],
        currency=header["currency"],
        status=header["status"],
        issued_on=json_day(header["issued_on"]),
        due_on=json_day(header["due_on"]),
        paid_on=json_day(header["paid_at"]),
        refunded_on=json_day(header["refunded_at"]),
        cancelled_on=json_day(header["cancelled_at"]),
        subtotal_micros=header["subtotal_micros"],
        credit_micros=header["credit_micros"],
        tax_micros=header["tax_micros"],
        tax2_micros=header["tax2_micros"],
        total_micros=header["total_micros"],
        tax_rate=_rate(header["tax_rate"]),
        tax_rate2=_rate(header["tax_rate2"]),
        lines=None if stored.lines is None else tuple(map(_line, content["lines"])),
        payments=tuple(map(_payment, content.get("payments", ()))),
    )


@lru_cache(256)
def _rate(text: str) -> Fraction:
    return Fraction(text)


def _line(line: Mapping[str, Any]) -> Line:
    return Line(
        line["id"],
        line["type"],
        line["related_id"],
        line["description"],
        line["amount_micros"],
        line["taxed"],
    )


def _payment(payment: Mapping[str, Any]) -> Payment:
    return Payment(json_day(payment["on"]), payment["in_micros"], payment["out_micros"])
