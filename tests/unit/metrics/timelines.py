"""Builders for tests of the timeline of one subscription, and how its segments are looked at."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import Lens
from services.metrics.formulas.evidence import Dated, Evidence, Observation, Request
from services.metrics.formulas.invoices import PaidPeriod
from services.metrics.formulas.timeline import Segment, Timeline, timeline

FIRST = date(2026, 3, 1)
CUSTOMER, OTHER = 7, 8
CURRENCIES = {CUSTOMER: "EUR", OTHER: "USD"}


def day(number: int) -> date:
    """Return a day counted from the first observation."""
    return FIRST + timedelta(days=number)


ENDED = {"status": "terminated", "next_due_on": day(-100)}


def seen(on: int = 0, **values: Any) -> Observation:
    """Return an active service of 10.00 a month that is paid for another 20 days. A run read all services the day before."""
    defaults: dict[str, Any] = {
        "customer_id": CUSTOMER,
        "status": "active",
        "cycle": "monthly",
        "recurring_micros": 10_000_000,
        "registered_on": day(-400),
        "next_due_on": day(20),
        "product": "service:1",
        "product_name": "Hosting",
        "last_read_on": day(on - 1),
    }
    return Observation(on=day(on), **(defaults | values))


def line(
    *observations: Observation,
    requests: Sequence[Request] = (),
    kind: Kind = Kind.SERVICE,
    currencies: Mapping[int, str | Sequence[Dated]] = CURRENCIES,
    **values: Any,
) -> Timeline:
    """Return the timeline of this evidence. A currency without a date is known from the first observation on."""
    dated = {
        customer: [Dated(FIRST, currency)] if isinstance(currency, str) else currency
        for customer, currency in currencies.items()
    }
    return timeline(Evidence(kind, observations, requests, dated, **values))


def paid(from_on: int, to_on: int, **values: Any) -> PaidPeriod:
    """Return days that an invoice paid at 10.00 a month. It was issued 14 days before them and paid on their first day."""
    defaults: dict[str, Any] = {
        "mrr_micros": 10_000_000,
        "amount_micros": 10_000_000,
        "counts_from": day(from_on),
        "customer_id": CUSTOMER,
        "currency": "EUR",
        "invoice_id": 1000 + from_on,
        "line_id": 1000 + from_on,
        "issued_on": day(from_on - 14),
        "paid_on": day(from_on),
        "refunded_on": None,
        "cycle_months": Fraction(1),
    }
    return PaidPeriod(day(from_on), day(to_on), **(defaults | values))


def history(*periods: PaidPeriod, later: Sequence[Observation] = (), **values: Any) -> Timeline:
    """Return the timeline of a service that the first sync of its instance saw, with its paid periods."""
    names = ("kind", "requests", "grace_days", "parent_ended_on", "currencies")
    evidence = {name: values.pop(name) for name in names if name in values}
    first = seen(0, **({"last_read_on": None, "registered_on": day(-100)} | values))
    return line(first, *later, paid_periods=periods, **evidence)


def spans(result: Timeline, lens: Lens = Lens.CONTRACT) -> list[tuple[date, date | None]]:
    return [(segment.from_on, segment.to_on) for segment in result.segments if segment.lens is lens]


def contract(result: Timeline) -> list[Segment]:
    return [segment for segment in result.segments if segment.lens is Lens.CONTRACT]


def live_on(result: Timeline, on: date, lens: Lens = Lens.CONTRACT) -> list[Segment]:
    return [
        segment
        for segment in result.segments
        if segment.lens is lens and segment.from_on <= on and (segment.to_on is None or on < segment.to_on)
    ]
