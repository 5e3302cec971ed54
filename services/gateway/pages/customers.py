"""The list of customers with a subscription that counts on a day, those who pay most first."""

from datetime import date
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from libs.common.contracts.lenses import COUNTING
from libs.common.figures.coverage import last_known_day
from libs.common.figures.customers import CustomerId, Record
from libs.common.figures.lists import Customer, CustomerKey, Selection
from libs.common.figures.relations import Group
from services.gateway.context import ContextDependency
from services.gateway.figures import customer_records, customers, freshness
from services.gateway.pages.amounts import number
from services.gateway.pages.callers import CustomersReader
from services.gateway.pages.filters import AddressFilters, Filters, filter_form
from services.gateway.pages.rendering import page
from services.gateway.paging import Cursor, key_of, page_of

router = APIRouter()

_ROWS: Final = 50
_KEY: Final = TypeAdapter(CustomerKey)


class Row(NamedTuple):
    """A customer as the list shows it. `mrr` is exact, `text` is for reading."""

    href: str
    name: str
    instance: str
    mrr: str
    text: str
    currency: str
    subscriptions: int


@router.get("/customers")
async def list_customers(
    request: Request,
    context: ContextDependency,
    principal: CustomersReader,
    filters: AddressFilters,
    on: date | None = None,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show a page of the customers that count on a day, by default the newest known one."""
    group = {Group.CURRENCY: filters.currency} if filters.currency else {}
    chosen = [filters.instance_id] if filters.instance_id else []
    rows = await customers(
        context,
        principal,
        Selection(on, group),
        key_of(cursor, _KEY),
        _ROWS + 1,
        lens=filters.counting,
        instance_ids=chosen,
    )
    shown = page_of(rows, _ROWS, lambda row: tuple(row.key))
    instances = await freshness(context, principal, [])
    names = {instance.instance_id: instance.name for instance in instances}
    keys = [CustomerId(row.instance_id, row.customer_id) for row in shown.items]
    records = await customer_records(context, principal, keys)
    day = on or last_known_day(instances, context.clock())
    following = {"cursor": shown.next, "on": str(day)} if shown.next else {}
    return page(
        request,
        "customers.html",
        principal=principal,
        filters=[choice for choice in filter_form(filters, names) if choice.name != "period"],
        currency=filters.currency,
        counting=COUNTING[filters.counting],
        on=day,
        has_several_instances=len(names) > 1,
        rows=[
            _row(principal.home, filters, row, names[row.instance_id], records.get(key))
            for row, key in zip(shown.items, keys, strict=True)
        ],
        first=None
        if cursor is None
        else f"{principal.home}/customers{filters.address_with(filters.currency)}",
        next=f"{principal.home}/customers{filters.address_with(filters.currency, **following)}"
        if following
        else None,
    )


def _row(home: str, filters: Filters, customer: Customer, instance: str, record: Record | None) -> Row:
    return Row(
        href=f"{home}/customers/{customer.instance_id}/{customer.customer_id}{filters.address_with(None)}",
        name=(record.name if record else None) or f"Customer {customer.customer_id}",
        instance=instance,
        mrr=customer.mrr,
        text=number(customer.mrr, customer.currency),
        currency=customer.currency,
        subscriptions=customer.subscriptions,
    )
