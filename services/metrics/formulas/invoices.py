"""Invoices as evidence: their lines and payments, the subscriptions that lines may bill, and the periods that lines paid.

Dates are days of the instance's time zone, and money is micros of the invoice's currency.
"""

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple

from libs.common.contracts.definitions import STANDARD, Definitions
from services.metrics.formulas.date_formats import DateOrder

# The kind of subscriptions that have no record in WHMCS, only lines.
BILLABLE_ITEM: Final = "billable_item"

# Micros. Amounts that were divided are exact.
Amount = int | Fraction


class Line(NamedTuple):
    """A line of an invoice. `type` is as WHMCS writes it; `related_id` is the id of a row of the kind that `type` names."""

    id: int
    type: str
    related_id: int | None
    description: str
    amount_micros: int
    is_taxed: bool


class Payment(NamedTuple):
    """A payment or a refund of an invoice; `on` is None when WHMCS has no date."""

    on: date | None
    in_micros: int
    out_micros: int


class Invoice(NamedTuple):
    """An invoice: subtotal + tax + tax2 = total + credit. The tax rates are percents. `lines` is None while they are not read."""

    id: int
    customer_id: int
    currency: str
    status: str
    issued_on: date | None
    due_on: date | None
    paid_on: date | None
    refunded_on: date | None
    cancelled_on: date | None
    subtotal_micros: int
    credit_micros: int
    tax_micros: int
    tax2_micros: int
    total_micros: int
    tax_rate: Fraction
    tax_rate2: Fraction
    lines: tuple[Line, ...] | None
    payments: tuple[Payment, ...] = ()


class Item(NamedTuple):
    """What links lines to a subscription: its newest record. The `cycle` of a domain is `years_1` and so on.

    `label` is the domain of a service, and the name of a domain. `customer_id` is the present customer: invoices may name a former one.
    `has_begun` is False when the record shows that the subscription never counted: it is fraud, or it ended before its first payment.
    """

    kind: str
    id: int
    customer_id: int
    cycle: str
    recurring_micros: int
    label: str | None
    product: str
    product_name: str | None
    registered_on: date | None
    promotion_id: int | None = None
    has_begun: bool = True


class LineRules(NamedTuple):
    """How to read the lines of an instance.

    `date_order` is that of dates in descriptions, None while it is ambiguous. `promotions` says of each code whether it recurs. `products`
    has the key of each product by its name; names that several products share are left out. The `definitions` say how late a line may be
    paid.
    """

    date_order: DateOrder | None = None
    prices_include_tax: bool = False
    promotions: Mapping[str, bool] = {}
    products: Mapping[str, str] = {}
    definitions: Definitions = STANDARD


class LineIssue(StrEnum):
    """What was wrong with the lines of a subscription."""

    AMOUNT_NOT_OFFERED = "amount_not_offered"
    AMOUNT_TOO_LARGE = "amount_too_large"
    DATE_FORMAT_UNKNOWN = "date_format_unknown"
    DATED_ROUGHLY = "dated_roughly"
    NO_LINE = "no_line"
    PERIOD_UNKNOWN = "period_unknown"
    TAX_RATE_UNKNOWN = "tax_rate_unknown"


class PeriodChange(StrEnum):
    """What an upgrade line that begins a period says about the price."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"


class PaidPeriod(NamedTuple):
    """Days [from_on, to_on) that a paid line covers.

    `mrr_micros` is the MRR at which a full cycle is paid, net of tax and of recurring promotions, rounded once. `amount_micros` is what the
    line paid, also for days that a later line covers again. The period counts from `counts_from`: the day on which it was paid when grace
    was over by then, otherwise `from_on`. `refunded_on` is the day on which the invoice was refunded in full. `product` and `product_name`
    are None unless the description names a product of the catalogue. `is_rough` says that the description shows no period, so due date
    and cycle do. The line paid the amount times `tax_divisor`, with the tax that the prices of its instance include.
    """

    from_on: date
    to_on: date
    mrr_micros: int
    amount_micros: int
    counts_from: date
    customer_id: int
    currency: str
    invoice_id: int
    line_id: int
    issued_on: date | None
    paid_on: date | None
    refunded_on: date | None
    cycle_months: Fraction | None
    product: str | None = None
    product_name: str | None = None
    change: PeriodChange | None = None
    is_rough: bool = False
    basis: str = "invoice"
    tax_divisor: Fraction = Fraction(1)
