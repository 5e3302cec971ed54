"""The page of one customer: the steps of their MRR, and each subscription with its dates and the evidence for them."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import accumulate
from typing import Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from libs.common.contracts.billing import Kind
from libs.common.contracts.money import format_micros
from libs.common.figures.answers import Point
from libs.common.figures.counting import countings
from libs.common.figures.coverage import Freshness
from libs.common.figures.customers import CustomerId, CustomerSegment
from services.gateway.context import ContextDependency
from services.gateway.errors import NotFound
from services.gateway.figures import customer_history, customer_records
from services.gateway.instances.views import get_instance
from services.gateway.pages.amounts import number
from services.gateway.pages.callers import CustomersReader
from services.gateway.pages.chart import Chart, draw
from services.gateway.pages.filters import AddressFilters, filter_form
from services.gateway.pages.findings import link
from services.gateway.pages.movement_words import BASES, REASONS
from services.gateway.pages.rendering import page
from services.gateway.pages.splits import cycle_in_words

router = APIRouter()

# A page stays readable, whatever a reseller has.
_MOST_STEPS: Final = 500


class Step(NamedTuple):
    """Days from `from_on` to `last_on`, both included, on which a subscription counts with constant MRR.

    `ended` says why it stopped; it is empty, and `last_on` is None, while it goes on.
    """

    name: str
    href: str | None
    cycle: str
    from_on: date
    last_on: date | None
    basis: str
    ended: str
    mrr: str
    text: str
    currency: str


@router.get("/customers/{instance_id}/{customer_id}")
async def show_customer(
    request: Request,
    context: ContextDependency,
    principal: CustomersReader,
    instance_id: UUID,
    customer_id: int,
    filters: AddressFilters,
) -> HTMLResponse:
    """Show a customer that exists in WHMCS or ever had a subscription that counted."""
    key = CustomerId(instance_id, customer_id)
    if not 0 <= customer_id < 2**63:
        raise _not_found()
    history = await customer_history(context, principal, key, _MOST_STEPS + 1, lens=filters.counting)
    segments = history.segments[:_MOST_STEPS]
    record = (await customer_records(context, principal, [key])).get(key)
    if record is None and not segments:
        raise _not_found()
    instance = await get_instance(context, principal, instance_id)
    counting = countings([history.fresh])
    return page(
        request,
        "customer.html",
        principal=principal,
        filters=[choice for choice in filter_form(filters, {}, counting) if choice.name == "lens"],
        counting=counting[filters.counting],
        name=(record.name if record else None) or f"Customer {customer_id}",
        record=record,
        instance=instance,
        href=link(instance.address, Kind.CUSTOMER, customer_id),
        charts=charts(history.changes, history.fresh),
        most=_MOST_STEPS if len(history.segments) > _MOST_STEPS else None,
        now=[_step(segment, instance.address) for segment in segments if segment.to_on is None],
        before=[_step(segment, instance.address) for segment in segments if segment.to_on is not None],
    )


def charts(changes: Mapping[str, Mapping[date, int]], fresh: Freshness) -> list[Chart]:
    """Return the line of each currency up to the last known day; without two days to show, there is none."""
    if fresh.first_on is None or fresh.last_on is None:
        return []
    drawn = [
        draw("MRR", points(in_currency, fresh.first_on, fresh.last_on), code)
        for code, in_currency in sorted(changes.items())
    ]
    return [chart for chart in drawn if chart is not None]


def points(changes: Mapping[date, int], first_on: date, last_on: date) -> list[Point]:
    """Return the MRR on each day on which it changes, and on the last known day.

    The line begins at zero, on the day before the first change, unless that day is before the first known day.
    """
    before = min(changes) - timedelta(days=1)
    days = sorted({*changes, max(max(changes), last_on), *([before] if before >= first_on else [])})
    amounts = accumulate(changes.get(on, 0) for on in days)
    return [
        Point(on, format_micros(micros), None, complete=True)
        for on, micros in zip(days, amounts, strict=True)
    ]


def _step(segment: CustomerSegment, address: str) -> Step:
    return Step(
        name=segment.product_name or f"{segment.kind.capitalize()} {segment.id}",
        href=link(address, segment.kind, segment.id),
        cycle=cycle_in_words(segment.cycle),
        from_on=segment.from_on,
        last_on=None if segment.to_on is None else segment.to_on - timedelta(days=1),
        basis=BASES.get(segment.basis, segment.basis),
        ended="" if segment.to_on is None else _ended(segment.cause),
        mrr=format_micros(segment.mrr_micros),
        text=number(format_micros(segment.mrr_micros), segment.currency),
        currency=segment.currency,
    )


def _ended(cause: str | None) -> str:
    """Return why a segment ended. Without a cause, its subscription goes on with other values."""
    return "changed" if cause is None else REASONS.get(cause, "ended")


def _not_found() -> NotFound:
    return NotFound("not_found", "There is no such customer. Choose one from the list of customers.")
