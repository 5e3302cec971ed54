"""The list of customers with a subscription that counts on a day, those who pay most first."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.counting import countings
from libs.common.figures.coverage import last_known_day
from libs.common.figures.customers import CustomerId, Record
from libs.common.figures.groups import Group, limits_of
from libs.common.figures.lists import Customer, CustomerKey, Selection
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from services.gateway.context import ContextDependency
from services.gateway.figures import customer_records, customers, figures, freshness
from services.gateway.pages.amounts import number
from services.gateway.pages.callers import CustomersReader
from services.gateway.pages.currency_links import chosen_currency, currency_links, customers_by_currency
from services.gateway.pages.filters import AddressFilters, Filters, filter_form
from services.gateway.pages.limits import AddressLimits, words_of
from services.gateway.pages.rendering import page
from services.gateway.paging import Cursor, key_of, page_of
from services.gateway.reporting import get_reporting

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
    limited: AddressLimits,
    on: date | None = None,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show a page of the customers that count on a day in one currency, by default on the newest known day."""
    chosen = [filters.instance_id] if filters.instance_id else []
    instances = await freshness(context, principal, [])
    day = on or last_known_day(instances, context.clock())
    counts, *by_product = await figures(
        context, principal, _questions(day, limited), lens=filters.counting, instance_ids=chosen
    )
    kept = {**limited, **({"on": [str(day)]} if on else {})}
    reporting = (await get_reporting(context, principal)).reporting_currency
    links = currency_links(customers_by_currency(counts), filters, reporting, **kept)
    currency = chosen_currency(links, filters)
    only = {**limited, Group.CURRENCY: [currency]} if currency and not filters.target else limited
    rows = await customers(
        context,
        principal,
        Selection(
            day, limits_of({Group(name): values for name, values in only.items()}), target=filters.target
        ),
        key_of(cursor, _KEY),
        _ROWS + 1,
        lens=filters.counting,
        instance_ids=chosen,
    )
    shown = page_of(rows, _ROWS, lambda row: tuple(row.key))
    names = {instance.instance_id: instance.name for instance in instances}
    counting = countings(instance for instance in instances if not chosen or instance.instance_id in chosen)
    keys = [CustomerId(row.instance_id, row.customer_id) for row in shown.items]
    records = await customer_records(context, principal, keys)
    path = f"{principal.home}/customers"
    following = filters.address_of(currency, **kept, cursor=shown.next) if shown.next else None
    return page(
        request,
        "customers.html",
        principal=principal,
        filters=[choice for choice in filter_form(filters, names, counting) if choice.name != "period"],
        choices=links,
        limits=words_of(limited, by_product),
        currency=currency,
        parameter=filters.parameter(currency),
        counting=counting[filters.counting],
        on=day,
        is_synced=any(instance.last_on for instance in instances),
        has_several_instances=len(names) > 1,
        rows=[
            _row(principal.home, filters, row, names[row.instance_id], records.get(key))
            for row, key in zip(shown.items, keys, strict=True)
        ],
        first=None if cursor is None else f"{path}{filters.address_of(currency, **kept)}",
        next=following and f"{path}{following}",
    )


def _questions(day: date, limited: Mapping[str, Sequence[str]]) -> list[Question]:
    """Return the question how many customers there are in each currency; if products limit them, also one whose answer names these."""
    limits = limits_of({Group(name): values for name, values in limited.items()})
    groups = {"customers": (Group.CURRENCY,)}
    if Group.PRODUCT in limited:
        groups["subscriptions"] = (Group.PRODUCT,)
    return [Question(BY_SLUG[slug], day, day, Interval.DAY, group, limits) for slug, group in groups.items()]


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
