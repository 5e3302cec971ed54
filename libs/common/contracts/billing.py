"""Billing facts: the whole present state of one WHMCS row, one TypedDict per shape.

Money is integer micros of the customer's currency. Ids are those of WHMCS. Dates are calendar dates of WHMCS; a field
`…_at` is its local date and time, in the instance's time zone, without an offset. None means that WHMCS has no value there
("0000-00-00", "") or that the value could not be read. A `status` is the status in WHMCS, in lower case and with "_" between words
("transferred_away"), or "unknown" if WHMCS has none. A `next_due_on` in a year after 2200 means that no end is in sight.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from libs.common.contracts.values import Integer, Text

Id = Annotated[int, Field(ge=0, lt=2**63)]
Micros = Annotated[int, Field(ge=-(2**63), lt=2**63)]
DecimalText = Annotated[str, Field(pattern=r"^-?\d{1,30}(\.\d{1,20})?$")]
CurrencyCode = Annotated[str, Field(min_length=1, max_length=16)]
Cycle = Annotated[
    str,
    Field(
        pattern=r"^(free|one_time|monthly|quarterly|semiannually|annually|biennially|triennially|years_[1-9]\d?|unknown)$"
    ),
]


class Kind(StrEnum):
    """The kind of a WHMCS row; the second part of the key of its fact."""

    CUSTOMER = "customer"
    CUSTOMER_DETAIL = "customer_detail"
    SERVICE = "service"
    ADDON = "addon"
    DOMAIN = "domain"
    PRODUCT = "product"
    INVOICE = "invoice"
    INVOICE_LINES = "invoice_lines"
    TRANSACTION = "transaction"
    CANCELLATION_REQUEST = "cancellation_request"
    CURRENCY = "currency"
    PROMOTION = "promotion"


SUBSCRIPTION_KINDS: Final = (Kind.SERVICE, Kind.ADDON, Kind.DOMAIN)
# How WHMCS writes that a cycle is not offered.
NOT_OFFERED_MICROS: Final = -1_000_000


class CustomerChanged(TypedDict):
    """A client (GetClients). `display_name` is the company, else first and last name; None when names are not stored."""

    id: Id
    status: Text
    group_id: Id | None
    display_name: Text | None
    created_on: date | None


class CustomerDetailChanged(TypedDict):
    """The fields of a client that only GetClientsDetails returns: currency code and ISO country."""

    id: Id
    currency: CurrencyCode | None
    country: Text | None


class SubscriptionChanged(TypedDict):
    """A service, addon or domain (GetClientsProducts, GetClientsAddons, GetClientsDomains).

    `product_id` is the product of a service, the predefined addon of an addon (None: a custom one), None for a domain.
    `parent_id` is the service of an addon. `renews` is False for a domain marked "do not renew".
    `cycle_text` is the cycle as WHMCS writes it, so that an unknown cycle can be shown.
    """

    id: Id
    kind: Text
    customer_id: Id
    parent_id: Id | None
    product_id: Id | None
    product_name: Text | None
    product_group_name: Text | None
    label: Text | None
    status: Text
    cycle: Cycle
    cycle_text: Text
    recurring_micros: Micros
    first_payment_micros: Micros | None
    quantity: Integer
    registered_on: date | None
    next_due_on: date | None
    expires_on: date | None
    renews: bool
    promotion_id: Id | None
    payment_method: Text | None
    suspension_reason: Text | None


class Price(TypedDict):
    """The price of a product for one cycle in one currency."""

    recurring_micros: Micros
    setup_micros: Micros


class ProductChanged(TypedDict):
    """A product of the catalogue. `prices` contains, per currency code and cycle, the cycles that are offered."""

    id: Id
    name: Text
    group_id: Id | None
    kind: Text
    pay_type: Text
    prices: dict[str, dict[str, Price]]
    retired: bool


class InvoiceChanged(TypedDict):
    """An invoice header (GetInvoices): subtotal + tax + tax2 = total + credit."""

    id: Id
    customer_id: Id
    number: Text | None
    currency: CurrencyCode
    status: Text
    issued_on: date | None
    due_on: date | None
    paid_at: datetime | None
    refunded_at: datetime | None
    cancelled_at: datetime | None
    subtotal_micros: Micros
    credit_micros: Micros
    tax_micros: Micros
    tax2_micros: Micros
    total_micros: Micros
    tax_rate: DecimalText
    tax_rate2: DecimalText
    payment_method: Text | None
    updated_at: datetime | None


class InvoiceLine(TypedDict):
    """One line of an invoice. `related_id` is the id of a row of the kind that `type` names.

    `type` is as WHMCS writes it ("Hosting"), "" for a line that was typed in; modules of WHMCS write types of their own.
    """

    id: Id
    type: Text
    related_id: Id | None
    description: Text
    amount_micros: Micros
    taxed: bool


class InvoicePayment(TypedDict):
    """One payment or refund of an invoice, as GetInvoice lists it."""

    id: Id
    on: date | None
    gateway: Text | None
    in_micros: Micros
    out_micros: Micros
    fee_micros: Micros


class InvoiceLinesChanged(TypedDict):
    """The lines and payments of one invoice (GetInvoice). Its header is a separate fact."""

    id: Id
    lines: list[InvoiceLine]
    payments: list[InvoicePayment]


class TransactionChanged(TypedDict):
    """Money in or out (GetTransactions). `rate` is the exchange rate to the default currency at that time; 0 when there is none.

    `currency` is None when it is that of the customer, and when WHMCS names one by an id only.
    """

    id: Id
    customer_id: Id | None
    invoice_id: Id | None
    currency: CurrencyCode | None
    on: date | None
    gateway: Text | None
    in_micros: Micros
    out_micros: Micros
    fee_micros: Micros
    rate: DecimalText
    refund_id: Id | None


class CancellationRequestChanged(TypedDict):
    """A customer's wish to end a service; `type` is "immediate" or "end_of_billing_period"."""

    id: Id
    service_id: Id
    requested_at: datetime | None
    type: Text
    reason: Text | None


class CurrencyRateChanged(TypedDict):
    """A currency and today's rate: an amount divided by `rate` is in the default currency."""

    id: Id
    code: CurrencyCode
    rate: DecimalText
    is_default: bool


class PromotionChanged(TypedDict):
    """A promotion code. `recurs_for` is the number of discounted renewals after the first invoice; 0 means all."""

    id: Id
    code: Text
    type: Text
    recurring: bool
    value: DecimalText
    recurs_for: Integer


SHAPES: Final[dict[Kind, type]] = {
    Kind.CUSTOMER: CustomerChanged,
    Kind.CUSTOMER_DETAIL: CustomerDetailChanged,
    Kind.SERVICE: SubscriptionChanged,
    Kind.ADDON: SubscriptionChanged,
    Kind.DOMAIN: SubscriptionChanged,
    Kind.PRODUCT: ProductChanged,
    Kind.INVOICE: InvoiceChanged,
    Kind.INVOICE_LINES: InvoiceLinesChanged,
    Kind.TRANSACTION: TransactionChanged,
    Kind.CANCELLATION_REQUEST: CancellationRequestChanged,
    Kind.CURRENCY: CurrencyRateChanged,
    Kind.PROMOTION: PromotionChanged,
}

ADAPTERS: Final[dict[Kind, TypeAdapter[object]]] = {
    kind: TypeAdapter(shape) for kind, shape in SHAPES.items()
}
_VALIDATORS: Final = {kind: adapter.validator for kind, adapter in ADAPTERS.items()}
# The escaped character 0 anywhere in a JSON text. An even number of backslashes before it escapes only themselves.
_ESCAPED_ZERO: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def read_body(kind: Kind, value: bytes) -> Any:
    """Return the fields of a fact's body; raise ValueError when it cannot be stored.

    Strict, because metrics stores the text itself and reads it by SQL, where neither "7" nor 7.0 is the number 7.
    """
    _check_text(value)
    body: Any = _VALIDATORS[kind].validate_json(value, strict=True)
    _check_kind(kind, body)
    return body


def write_body(kind: Kind, content: Mapping[str, Any]) -> bytes:
    """Return the body of a fact with these fields; raise ValueError or TypeError unless `read_body` accepts it.

    Both sides use the same rules, so the connector publishes no body that a consumer refuses. Checking the fields takes half the time of
    reading the text again.
    """
    # Copy the bytes: the object that orjson returns keeps its whole write buffer, at least 8 KiB.
    value = bytes(memoryview(orjson.dumps(content)))
    _check_text(value)
    _VALIDATORS[kind].validate_python(content, strict=True)
    _check_kind(kind, content)
    return value


def _check_text(value: bytes) -> None:
    # Hardly any body has a backslash, and to look for one byte costs a twentieth of looking for six.
    if b"\\" in value and _ESCAPED_ZERO.search(value):
        raise ValueError("the body has a character 0")


def _check_kind(kind: Kind, body: Mapping[str, Any]) -> None:
    if kind in SUBSCRIPTION_KINDS and body["kind"] != kind:
        raise ValueError("the kind of the body is not the kind of the key")


def fact_key(instance_id: object, kind: Kind, entity_id: int) -> str:
    """Return the Kafka key of one WHMCS row, `<instance>:<kind>:<id>`. It is also the public id of the row."""
    return f"{instance_id}:{kind}:{entity_id}"


def parse_fact_key(key: str) -> tuple[UUID, Kind, int]:
    """Return instance, kind and id of a key; raise ValueError unless the key is exactly as `fact_key` writes it."""
    of_kind, _, number = key.rpartition(":")
    instance_id, kind = _parse_kind_key(of_kind)
    entity_id = int(number)
    if str(entity_id) != number or not 0 <= entity_id < 2**63:
        raise ValueError("this is not the key of a fact")
    return instance_id, kind, entity_id


@lru_cache(4096)
def _parse_kind_key(key: str) -> tuple[UUID, Kind]:
    """Return instance and kind. Very many keys share them, so the result is cached."""
    instance, kind = key.split(":")
    instance_id = UUID(instance)
    if str(instance_id) != instance:
        raise ValueError("this is not the key of a fact")
    return instance_id, Kind(kind)


def cycle_months(cycle: str) -> int | None:
    """Return the months that one payment of `cycle` covers; None when it never recurs or is unknown."""
    if cycle.startswith("years_"):
        return 12 * int(cycle.removeprefix("years_"))
    return _MONTHS.get(cycle)


_MONTHS: Final = {
    "monthly": 1,
    "quarterly": 3,
    "semiannually": 6,
    "annually": 12,
    "biennially": 24,
    "triennially": 36,
}
