"""Builders of invoices, their lines and the subscriptions that they bill. Amounts are whole major units unless a name says micros."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.contracts.money import parse_micros
from services.metrics.formulas.date_formats import DateOrder
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoices import Invoice, Item, Line, LineRules, PaidPeriod, Payment
from services.metrics.formulas.paid_periods import PaidPeriods, paid_periods

CUSTOMER = 7
SERVICE, ADDON, DOMAIN = Subscription("service", 1), Subscription("addon", 1), Subscription("domain", 1)
STARTER, PLUS = "Web Starter", "Web Plus"
RULES = LineRules(
    date_order=DateOrder.DAY_FIRST,
    promotions={"FOREVER": True, "WELCOME": False},
    products={STARTER: "service:1", PLUS: "service:2"},
)
Amount = int | str | Decimal


def micros(amount: Amount) -> int:
    return parse_micros(amount)


def period(from_on: date, to_on: date) -> str:
    """Return the days [from_on, to_on) as a site with days first prints them."""
    return f" ({from_on:%d/%m/%Y} - {to_on - timedelta(days=1):%d/%m/%Y})"


def line(
    kind: str, amount: Amount, text: str = "", *, related_id: int | None = 1, taxed: bool = False
) -> Line:
    """Return a line that gets its id from its invoice."""
    return Line(0, kind, related_id, text, micros(amount), taxed)


def hosting(amount: Amount, *days: date, name: str = PLUS, label: str = "example.com", **values: Any) -> Line:
    """Return a line of a service; with two days it prints the period between them."""
    return line("Hosting", amount, f"{name} - {label}{period(*days) if days else ''}", **values)


def promotion(amount: Amount, code: str, **values: Any) -> Line:
    return line("PromoHosting", amount, f"Promotional Code: {code}", **values)


def invoice(id_: int, due_on: date | None, *lines: Line, **values: Any) -> Invoice:
    """Return an invoice without tax that was paid on the day on which it was due."""
    numbered = tuple(row._replace(id=row.id or 100 * id_ + index) for index, row in enumerate(lines))
    total = sum(row.amount_micros for row in lines)
    defaults: dict[str, Any] = {
        "customer_id": CUSTOMER,
        "currency": "EUR",
        "status": "paid",
        "issued_on": due_on,
        "paid_on": due_on,
        "refunded_on": None,
        "cancelled_on": None,
        "subtotal_micros": total,
        "credit_micros": 0,
        "tax_micros": 0,
        "tax2_micros": 0,
        "total_micros": total,
        "tax_rate": Fraction(0),
        "tax_rate2": Fraction(0),
    }
    return Invoice(id=id_, due_on=due_on, lines=numbered, **(defaults | values))


def paid_in(on: date | None, amount: Amount) -> Payment:
    return Payment(on, micros(amount), 0)


def paid_back(on: date | None, amount: Amount) -> Payment:
    return Payment(on, 0, micros(amount))


def item(subscription: Subscription = SERVICE, amount: Amount = 10, **values: Any) -> Item:
    """Return the record of a subscription; a service of 10.00 a month."""
    defaults: dict[str, Any] = {
        "customer_id": CUSTOMER,
        "cycle": "years_1" if subscription.kind == "domain" else "monthly",
        "recurring_micros": micros(amount),
        "label": "example.com",
        "product": "service:2",
        "product_name": PLUS,
        "registered_on": date(2026, 1, 1),
    }
    return Item(kind=subscription.kind, id=subscription.id, **(defaults | values))


def read(
    *invoices: Invoice, items: Sequence[Item] | None = None, rules: LineRules = RULES, **values: Any
) -> PaidPeriods:
    """Return what invoices say about their customers' items: one service unless `items` says otherwise."""
    return paid_periods(invoices, [item()] if items is None else items, rules._replace(**values))


def periods(
    *invoices: Invoice, subscription: Subscription = SERVICE, **values: Any
) -> tuple[PaidPeriod, ...]:
    return read(*invoices, **values).of_subscription.get(subscription, ())


def only(*invoices: Invoice, **values: Any) -> PaidPeriod:
    """Return the only period of a subscription."""
    [result] = periods(*invoices, **values)
    return result
