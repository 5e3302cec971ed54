"""What the API would show to the ideal reader, from the bodies of facts: for cases that are written out by hand."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Any

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind, cycle_months
from tests.ideal_reader.shown import KINDS, Invoice, Key, Line, Request, Row, Shown, date_format, period

Body = tuple[Kind, dict[str, Any]]


def shown_of(bodies: Iterable[Body], today: date) -> Shown:
    """Return what the API shows when it shows these facts and no others."""
    of_kind: dict[Kind, list[dict[str, Any]]] = defaultdict(list)
    for kind, body in bodies:
        of_kind[kind].append(body)
    headers = {body["id"]: body for body in of_kind[Kind.INVOICE]}
    lines = [line for body in of_kind[Kind.INVOICE_LINES] for line in _lines(headers[body["id"]], body)]
    format_ = date_format(line.text for line in lines)
    lines = [line._replace(period=period(line.text, format_)) for line in lines]
    billed: dict[Key, list[Line]] = defaultdict(list)
    for line in lines:
        if line.type in KINDS:
            billed[KINDS[line.type], line.related_id].append(line)
    rows = [_row(body) for kind in SUBSCRIPTION_KINDS for body in of_kind[kind]]
    return Shown(
        today=today,
        rows={row.key: row for row in rows},
        currencies={body["id"]: body["currency"] for body in of_kind[Kind.CUSTOMER_DETAIL]},
        billed=billed,
        upgrades=[line for line in lines if line.type == "Upgrade"],
        requests={
            ("service", body["service_id"]): Request(_day(body["requested_at"]), body["type"] == "immediate")
            for body in of_kind[Kind.CANCELLATION_REQUEST]
        },
        lasting_codes=frozenset(body["code"] for body in of_kind[Kind.PROMOTION] if body["recurring"]),
    )


def _lines(header: dict[str, Any], body: dict[str, Any]) -> list[Line]:
    invoice = Invoice(
        id=header["id"],
        customer_id=header["customer_id"],
        currency=header["currency"],
        status=header["status"].capitalize(),
        issued_on=_day(header["issued_on"]),
        due_on=_day(header["due_on"]),
        paid_on=_day(header["paid_at"]) if header["paid_at"] else None,
        refunded_on=_day(header["refunded_at"]) if header["refunded_at"] else None,
    )
    return [
        Line(line["type"], line["related_id"], line["description"], line["amount_micros"], invoice, None)
        for line in body["lines"]
    ]


def _row(body: dict[str, Any]) -> Row:
    return Row(
        key=(body["kind"], body["id"]),
        customer_id=body["customer_id"],
        parent=("service", body["parent_id"]) if body["parent_id"] else None,
        name=body["product_name"] or body["label"] or "",
        status=body["status"].replace("_", " ").title(),
        months=cycle_months(body["cycle"]),
        recurring_micros=body["recurring_micros"],
        registered_on=_day(body["registered_on"]),
        next_due_on=_day(body["next_due_on"]) if body["next_due_on"] else None,
        renews=body["renews"],
    )


def _day(text: str) -> date:
    return date.fromisoformat(text[:10])
