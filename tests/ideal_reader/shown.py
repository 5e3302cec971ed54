"""Read all that the API of a simulated WHMCS shows today, as WHMCS writes it."""

import html
import re
from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.company import Company

MONTHS: Final = {
    "Monthly": 1,
    "Quarterly": 3,
    "Semi-Annually": 6,
    "Annually": 12,
    "Biennially": 24,
    "Triennially": 36,
}
FORMATS: Final = ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m/%d/%Y", "%Y/%m/%d", "%Y-%m-%d")
_PERIOD: Final = re.compile(r"\((\d[\d./-]{8}\d) - (\d[\d./-]{8}\d)\)\s*$")

Key = tuple[str, int]
"""The kind and the id of a subscription."""


class Invoice(NamedTuple):
    id: int
    customer_id: int
    currency: str
    status: str
    issued_on: date
    due_on: date
    paid_on: date | None
    refunded_on: date | None


class Line(NamedTuple):
    """A line that names a subscription, or an upgrade. `period` is the first day and the day after the last."""

    type: str
    related_id: int
    text: str
    amount_micros: int
    invoice: Invoice
    period: tuple[date, date] | None


class Request(NamedTuple):
    made_on: date
    is_immediate: bool


class Row(NamedTuple):
    """A service, addon or domain. `months` is None when its cycle does not recur."""

    key: Key
    customer_id: int
    parent: Key | None
    name: str
    status: str
    months: int | None
    recurring_micros: int
    registered_on: date
    next_due_on: date | None
    renews: bool


class Shown(NamedTuple):
    """All that the API shows. `billed` has the lines that name a subscription, also one whose row is gone."""

    today: date
    rows: dict[Key, Row]
    currencies: dict[int, str]
    billed: dict[Key, list[Line]]
    upgrades: list[Line]
    requests: dict[Key, Request]
    lasting_codes: frozenset[str]
    """The codes of promotions that also reduce renewals."""


KINDS: Final = {
    "Hosting": "service",
    "PromoHosting": "service",
    "Addon": "addon",
    "Domain": "domain",
    "DomainRegister": "domain",
    "DomainTransfer": "domain",
    "PromoDomain": "domain",
}


def read(company: Company) -> Shown:
    """Return what the API of this company shows today."""
    answers = Answers(company, "numbers")

    def rows(action: str, plural: str, singular: str) -> list[Any]:
        body = answers.answer({"action": action, "limitnum": "10000000"})
        return (body.get(plural) or {}).get(singular, [])

    headers = rows("GetInvoices", "invoices", "invoice")
    details = {
        row["id"]: answers.answer({"action": "GetInvoice", "invoiceid": str(row["id"])}) for row in headers
    }
    format_ = date_format(item["description"] for body in details.values() for item in body["items"]["item"])
    lines = [line for row in headers for line in _lines(row, details[row["id"]], format_)]
    billed: dict[Key, list[Line]] = defaultdict(list)
    for line in lines:
        if line.type in KINDS:
            billed[KINDS[line.type], line.related_id].append(line)
    subscriptions = [
        *(_service(row) for row in rows("GetClientsProducts", "products", "product")),
        *(_addon(row) for row in rows("GetClientsAddons", "addons", "addon")),
        *(_domain(row) for row in rows("GetClientsDomains", "domains", "domain")),
    ]
    currencies = {
        row["id"]: answers.answer({"action": "GetClientsDetails", "clientid": str(row["id"])})[
            "currency_code"
        ]
        for row in rows("GetClients", "clients", "client")
    }
    return Shown(
        today=date.fromordinal(company.today),
        rows={row.key: row for row in subscriptions},
        currencies=currencies,
        billed=billed,
        upgrades=[line for line in lines if line.type == "Upgrade"],
        requests={
            ("service", row["relid"]): Request(_day(row["date"]), row["type"] == "Immediate")  # type: ignore[arg-type]
            for row in rows("GetCancelledPackages", "packages", "package")
        },
        lasting_codes=frozenset(
            row["code"] for row in rows("GetPromotions", "promotions", "promotion") if row["recurring"]
        ),
    )


def _lines(header: dict[str, Any], details: dict[str, Any], format_: str) -> list[Line]:
    payments = (details["transactions"] or {}).get("transaction", [])
    refunded_on = _day(header.get("date_refunded", ""))
    paid_back = [row for row in payments if _micros(row["amountout"])]
    # A bank that takes all money back leaves the status Collections, and WHMCS 8.0 shows no day of refund.
    if refunded_on is None and paid_back and header["status"] in ("Refunded", "Collections"):
        refunded_on = _day(paid_back[-1]["date"])
    invoice = Invoice(
        id=header["id"],
        customer_id=header["userid"],
        currency=header["currencycode"],
        status=header["status"],
        issued_on=_day(header["date"]),  # type: ignore[arg-type]
        due_on=_day(header["duedate"]),  # type: ignore[arg-type]
        paid_on=_day(header["datepaid"]),
        refunded_on=refunded_on,
    )
    return [
        Line(
            type=item["type"],
            related_id=item["relid"],
            text=html.unescape(item["description"]),
            amount_micros=_micros(item["amount"]),
            invoice=invoice,
            period=period(item["description"], format_),
        )
        for item in details["items"]["item"]
    ]


def date_format(texts: Any) -> str:
    """Return the one format that fits all periods of the site."""
    written = [day for text in texts if (match := _PERIOD.search(text)) for day in match.groups()]
    fitting = [format_ for format_ in FORMATS if all(_parsed(day, format_) for day in written)]
    assert len(fitting) == 1 or not written, f"the dates of the site are ambiguous: {fitting}"
    return fitting[0]


def _parsed(day: str, format_: str) -> date | None:
    try:
        return datetime.strptime(day, format_).date()  # noqa: DTZ007 - a calendar day
    except ValueError:
        return None


def period(text: str, format_: str) -> tuple[date, date] | None:
    match = _PERIOD.search(text)
    if match is None:
        return None
    first, last = (_parsed(day, format_) for day in match.groups())
    return (first, date.fromordinal(last.toordinal() + 1)) if first and last else None


def _service(row: dict[str, Any]) -> Row:
    return Row(
        ("service", row["id"]), row["clientid"], None, html.unescape(row["name"]), row["status"],
        MONTHS.get(row["billingcycle"]), _micros(row["recurringamount"]), _day(row["regdate"]),  # type: ignore[arg-type]
        _day(row["nextduedate"]), True,
    )  # fmt: skip


def _addon(row: dict[str, Any]) -> Row:
    return Row(
        ("addon", row["id"]), row["userid"], ("service", row["serviceid"]), html.unescape(row["name"]), row["status"],
        MONTHS.get(row["billingcycle"]), _micros(row["recurring"]), _day(row["regdate"]),  # type: ignore[arg-type]
        _day(row["nextduedate"]), True,
    )  # fmt: skip


def _domain(row: dict[str, Any]) -> Row:
    return Row(
        ("domain", row["id"]), row["userid"], None, row["domainname"], row["status"],
        12 * row["regperiod"] or None, _micros(row["recurringamount"]), _day(row["regdate"]),  # type: ignore[arg-type]
        _day(row["nextduedate"]), row["donotrenew"] not in ("1", "on"),
    )  # fmt: skip


def _micros(amount: str) -> int:
    return int(Decimal(amount) * 1_000_000)


def _day(text: str) -> date | None:
    return None if not text or text.startswith("0000") else date.fromisoformat(text[:10])


def monthly(amount_micros: int | Fraction, months: int) -> int:
    """Return the part of an amount that falls on one month, rounded once to whole micros, a half to the even neighbour."""
    return round(Fraction(amount_micros) / months)
