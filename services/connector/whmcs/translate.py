"""Translates WHMCS rows to billing facts. Each function names the fields that it takes; all others are ignored. Pure.

Every function takes one row of one action and returns the body of one fact. It raises ValueError, KeyError or TypeError when the row
cannot be read.

One file because all functions read their fields by the same rules, which are at the end.
"""

import hashlib
import html
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from libs.common.contracts.billing import (
    CancellationRequestChanged,
    CurrencyRateChanged,
    CustomerChanged,
    CustomerDetailChanged,
    InvoiceChanged,
    Kind,
    Price,
    ProductChanged,
    PromotionChanged,
    SubscriptionChanged,
)
from libs.common.contracts.money import parse_micros

Row = dict[str, Any]

_TEXT_LIMIT: Final = 500
_STATUS_LIMIT: Final = 60
_CURRENCY_LIMIT: Final = 16
_CACHED_TEXTS, _CACHED_LENGTH = 8192, 40
_CENTS: Final = re.compile(r"-?\d{1,12}\.\d\d")
_ZERO_DATES: Final = frozenset({"", "0000-00-00", "00/00/0000", "00-00-0000", "00.00.0000", "-0001-11-30"})
_SPACES: Final = re.compile(r"[\s-]+")
_CYCLES: Final = {
    "freeaccount": "free",
    "free": "free",
    "onetime": "one_time",
    "monthly": "monthly",
    "quarterly": "quarterly",
    "semiannually": "semiannually",
    "annually": "annually",
    "biennially": "biennially",
    "triennially": "triennially",
}
_STATUSES: Final = {"grace_period_(expired)": "grace", "redemption_period_(expired)": "redemption"}
_PRICE_CYCLES: Final = {
    "monthly": "msetupfee",
    "quarterly": "qsetupfee",
    "semiannually": "ssetupfee",
    "annually": "asetupfee",
    "biennially": "bsetupfee",
    "triennially": "tsetupfee",
}
_TRUE: Final = frozenset({"1", "on", "true", "yes"})
# Values that PHP treats as empty, and an amount of zero, which becomes 0 where WHMCS casts it to a number.
_NO_ID: Final[tuple[object, ...]] = (None, "", 0, "0", "0.00", [])
_Read = TypeVar("_Read")


class _TextCache(dict[object, _Read]):
    """Results by text. Rows repeat the same few texts, and a look-up costs less than parsing one again.

    An lru_cache would also keep long texts, and would treat 1, 1.0 and True as the same value.
    """

    def __init__(self, read: Callable[[object], _Read]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, value: object) -> _Read:
        result = self._read(value)
        if type(value) is str and len(value) <= _CACHED_LENGTH:
            if len(self) >= _CACHED_TEXTS:
                self.clear()
            self[value] = result
        return result


def _cached(read: Callable[[object], _Read]) -> Callable[[object], _Read]:
    return _TextCache(read).__getitem__


def customer(row: Row, *, store_names: bool) -> CustomerChanged:
    """Translate a row of GetClients. A company without a name shows as a person."""
    company = _text(row.get("companyname"))
    person = _text(f"{row.get('firstname') or ''} {row.get('lastname') or ''}")
    return {
        "id": _id(row["id"]),
        "status": _status(row["status"]),
        "group_id": _reference(row.get("groupid")),
        "display_name": (company or person) if store_names else None,
        "created_on": _day(row.get("datecreated")),
    }


def customer_detail(row: Row) -> CustomerDetailChanged:
    """Translate the `client` object of GetClientsDetails."""
    country = (_name(row.get("countrycode")) or _name(row.get("country")) or "").upper()
    return {
        "id": _reference(row.get("id")) or _reference(row.get("userid")) or _id(row["client_id"]),
        "currency": _currency(row.get("currency_code") or None),
        "country": country if len(country) == 2 and country.isalpha() else None,
    }


def service(row: Row) -> SubscriptionChanged:
    """Translate a row of GetClientsProducts."""
    return _subscription(
        row,
        Kind.SERVICE,
        customer_id=row["clientid"],
        product_id=row.get("pid"),
        product_name=row.get("name"),
        group_name=row.get("groupname"),
        label=row.get("domain"),
        recurring=row["recurringamount"],
        first_payment=row.get("firstpaymentamount"),
        cycle=cycle(row["billingcycle"]),
        cycle_text=str(row["billingcycle"]),
    )


def addon(row: Row) -> SubscriptionChanged:
    """Translate a row of GetClientsAddons: the customer is `userid`, the amount `recurring`."""
    return _subscription(
        row,
        Kind.ADDON,
        customer_id=row["userid"],
        parent_id=row.get("serviceid"),
        product_id=row.get("addonid"),
        product_name=row.get("name"),
        recurring=row["recurring"],
        cycle=cycle(row["billingcycle"]),
        cycle_text=str(row["billingcycle"]),
    )


def domain(row: Row) -> SubscriptionChanged:
    """Translate a row of GetClientsDomains: the amount covers `regperiod` years. Imported rows may have no period."""
    years = str(row.get("regperiod") or "0")
    has_period = years.isdigit() and 1 <= int(years) <= 99
    return _subscription(
        row,
        Kind.DOMAIN,
        customer_id=row["userid"],
        label=str(row["domainname"] or "").lower(),
        recurring=row["recurringamount"],
        first_payment=row.get("firstpaymentamount"),
        cycle=f"years_{int(years)}" if has_period else "unknown",
        cycle_text=years,
        renews=not _truth(row.get("donotrenew")),
    )


def _subscription(
    row: Row,
    kind: Kind,
    *,
    customer_id: object,
    recurring: object,
    cycle: str,
    cycle_text: str,
    parent_id: object = None,
    product_id: object = None,
    product_name: object = None,
    group_name: object = None,
    label: object = None,
    first_payment: object = None,
    renews: bool = True,
) -> SubscriptionChanged:
    return {
        "id": _id(row["id"]),
        "kind": kind.value,
        "customer_id": _id(customer_id),
        "parent_id": _reference(parent_id),
        "product_id": _reference(product_id),
        "product_name": _name(product_name),
        "product_group_name": _name(group_name),
        "label": _name(label),
        "status": _status(row["status"]),
        "cycle": cycle,
        "cycle_text": _name(cycle_text) or "",
        "recurring_micros": micros(recurring),
        "first_payment_micros": None if first_payment in (None, "") else micros(first_payment),
        "quantity": int(Decimal(str(row.get("qty") or 1))) or 1,
        "registered_on": _day(row.get("regdate")),
        "next_due_on": _day(row.get("nextduedate")),
        "expires_on": _day(row.get("expirydate")),
        "renews": renews,
        "promotion_id": _reference(row.get("promoid")),
        "payment_method": _name(row.get("paymentmethod")),
        "suspension_reason": _text(row.get("suspensionreason")),
    }


def product(row: Row) -> ProductChanged:
    """Translate a row of GetProducts, with the prices of its offered cycles: "-1.00" means that a cycle is not offered."""
    pay_type = str(row.get("paytype") or "").lower()
    prices: dict[str, dict[str, Price]] = {}
    pricing = row.get("pricing")
    for code, columns in pricing.items() if isinstance(pricing, dict) else ():
        offered: dict[str, Price] = {}
        for name, setup in _PRICE_CYCLES.items():
            amount = micros(columns.get(name, "-1.00"))
            if amount >= 0:
                # WHMCS keeps the price of a one-time product in the column `monthly`.
                key = "one_time" if pay_type == "onetime" else name
                offered[key] = {
                    "recurring_micros": amount,
                    "setup_micros": max(0, micros(columns.get(setup, "0.00"))),
                }
            if pay_type != "recurring":
                break
        if currency_code := _currency(code):
            prices[currency_code] = offered
    return {
        "id": _id(row["pid"]),
        "name": _name(row.get("name")) or "",
        "group_id": _reference(row.get("gid")),
        "kind": str(row.get("type") or ""),
        "pay_type": {"onetime": "one_time"}.get(pay_type, pay_type),
        "prices": prices,
        "retired": _truth(row.get("retired")),
    }


def invoice(row: Row) -> InvoiceChanged:
    """Translate a row of GetInvoices, which is the header of an invoice."""
    return {
        "id": _id(row["id"]),
        "customer_id": _id(row["userid"]),
        "number": _name(row.get("invoicenum")),
        "currency": _currency_code(row["currencycode"]),
        "status": _status(row["status"]),
        "issued_on": _day(row.get("date")),
        "due_on": _day(row.get("duedate")),
        "paid_at": _moment(row.get("datepaid")),
        "refunded_at": _moment(row.get("date_refunded")),
        "cancelled_at": _moment(row.get("date_cancelled")),
        "subtotal_micros": micros(row["subtotal"]),
        "credit_micros": micros(row["credit"]),
        "tax_micros": micros(row["tax"]),
        "tax2_micros": micros(row["tax2"]),
        "total_micros": micros(row["total"]),
        "tax_rate": _decimal(row.get("taxrate")),
        "tax_rate2": _decimal(row.get("taxrate2")),
        "payment_method": _name(row.get("paymentmethod")),
        "updated_at": _moment(row.get("updated_at")),
    }


def cancellation_request(row: Row) -> CancellationRequestChanged:
    """Translate a row of GetCancelledPackages: `relid` is the service."""
    return {
        "id": _id(row["id"]),
        "service_id": _id(row["relid"]),
        "requested_at": _moment(row.get("date")),
        "type": _status(row["type"]),
        "reason": _text(row.get("reason")),
    }


def currency(row: Row) -> CurrencyRateChanged:
    """Translate a row of GetCurrencies. No field names the default: its rate is 1, and its id is usually the first."""
    rate = Decimal(str(row["rate"]))
    return {
        "id": _id(row["id"]),
        "code": _currency_code(row["code"]),
        "rate": _decimal(row["rate"]),
        "is_default": rate == 1 and _id(row["id"]) == 1,
    }


def promotion(row: Row) -> PromotionChanged:
    """Translate a row of GetPromotions."""
    return {
        "id": _id(row["id"]),
        "code": _name(row.get("code")) or "",
        "type": _status(row["type"]),
        "recurring": _truth(row.get("recurring")),
        "value": _decimal(row.get("value")),
        "recurs_for": int(row.get("recurfor") or 0),
    }


def cycle(text: object) -> str:
    """Return our name of a billing cycle; `unknown` for one that WHMCS does not document."""
    return _CYCLES.get(_SPACES.sub("", str(text).lower()), "unknown")


@_cached
def micros(value: object) -> int:
    """Return an amount in micros; raise ValueError for a text that is no amount."""
    if isinstance(value, str) and _CENTS.fullmatch(value):
        return int(value.replace(".", "")) * 10_000
    return parse_micros(value)


def _id(value: object) -> int:
    number = int(str(value))
    if not 0 < number < 2**63:
        raise ValueError(f"{value!r:.40} is no id")
    return number


def _reference(value: object) -> int | None:
    """Return an id that may be absent. WHMCS writes "", 0 or "0" for none, and some sites -1."""
    return None if value in _NO_ID or str(value) == "-1" else _id(value)


def _text(value: object) -> str | None:
    """Return a text for people, cut to 500 characters; None for an empty one."""
    return _unescaped(value)[:_TEXT_LIMIT] or None


def _name(value: object) -> str | None:
    """Return a name that identifies or groups something; None for an empty one. A name of 500 characters or more ends with its digest.

    If long names were only cut, two names with the same beginning would be equal, and figures would add up two things as one. A whole
    name is shorter than 500 characters and a shortened name has exactly 500, so they are never equal.
    """
    name = _unescaped(value)
    if len(name) < _TEXT_LIMIT:
        return name or None
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name[: _TEXT_LIMIT - len(digest) - 1]}…{digest}"


def _unescaped(value: object) -> str:
    """Return a text as users typed it: WHMCS stores it escaped, so unescape it once. A list or an object counts as empty."""
    if value is None or value == "" or isinstance(value, (list, dict)):
        return ""
    text = str(value)
    if "&" in text:
        text = html.unescape(text)
    return text.replace("\0", "").strip()


@_cached
def _status(value: object) -> str:
    name = str(value).strip().lower().replace(" ", "_").replace("-", "_")
    if not name:
        raise ValueError("the row has no status")
    if len(name) > _STATUS_LIMIT:
        raise ValueError(f"a status has at most {_STATUS_LIMIT} characters")
    return _STATUSES.get(name, name)


@_cached
def _currency(value: object) -> str | None:
    """Return a currency code; None for an empty one and for one that is too long to be a code."""
    code = str(value or "").strip().upper()
    return code if 0 < len(code) <= _CURRENCY_LIMIT else None


def _currency_code(value: object) -> str:
    code = _currency(value)
    if code is None:
        raise ValueError(f"the currency is empty or longer than {_CURRENCY_LIMIT} characters")
    return code


def _truth(value: object) -> bool:
    return str(value).lower() in _TRUE


@_cached
def _decimal(value: object) -> str:
    return str(Decimal(str(value))) if value not in (None, "") else "0"


@_cached
def _day(value: object) -> date | None:
    if value is None or (text := str(value)[:10]) in _ZERO_DATES:
        return None
    day = date.fromisoformat(text)
    return day if _is_real(day) else None


def _moment(value: object) -> datetime | None:
    if value is None or (text := str(value))[:10] in _ZERO_DATES:
        return None
    moment = datetime.fromisoformat(text)
    if not _is_real(moment):
        return None
    return moment if moment.tzinfo is None else moment.replace(tzinfo=None)


def _is_real(day: date) -> bool:
    """Return whether the day is real: some installations write 1970-01-01 for none. Raise ValueError for a year after 2200."""
    if day.year > 2200:
        raise ValueError(f"{day} is no plausible date")
    return day.year > 1970
