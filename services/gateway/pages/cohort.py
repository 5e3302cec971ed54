"""The page of one cell of the cohorts: its customers, with what they paid in their first month and what they pay later."""

from datetime import date
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from libs.common.figures.cohorts import CohortCustomer, CohortCustomerKey, CohortSelection
from libs.common.figures.counting import countings
from libs.common.figures.customers import CustomerId, Record
from libs.common.figures.groups import Group, limits_of
from services.gateway import figures
from services.gateway.context import ContextDependency
from services.gateway.pages.amounts import number
from services.gateway.pages.callers import CustomersReader
from services.gateway.pages.filters import AddressFilters, Filters
from services.gateway.pages.rendering import page
from services.gateway.paging import Cursor, key_of, page_of

router = APIRouter()

_ROWS: Final = 50
_KEY: Final = TypeAdapter(CohortCustomerKey)


class Row(NamedTuple):
    """A customer of a cohort. Amounts are exact, their texts for reading."""

    name: str
    href: str
    first_on: date
    start: str
    start_text: str
    mrr: str
    text: str
    currency: str
    what: str


@router.get("/cohorts/{month}/{months_after}")
async def show_cohort(
    request: Request,
    context: ContextDependency,
    principal: CustomersReader,
    filters: AddressFilters,
    month: date,
    months_after: Annotated[int, Path(ge=0, le=1_200)],
    earlier: bool = False,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show the customers of the cohort of a month, as they are some months later. Those who pay most come first."""
    limits = limits_of({Group.CURRENCY: [filters.currency]} if filters.currency else {})
    rows = await figures.cohort_customers(
        context,
        principal,
        CohortSelection(month, months_after, earlier, limits),
        key_of(cursor, _KEY),
        _ROWS + 1,
        lens=filters.counting,
        instance_ids=[filters.instance_id] if filters.instance_id else [],
    )
    shown = page_of(rows, _ROWS, lambda row: tuple(row.key))
    keys = [CustomerId(row.instance_id, row.customer_id) for row in shown.items]
    records = await figures.customer_records(context, principal, list(dict.fromkeys(keys)))
    instances = await figures.freshness(context, principal, [])
    path = f"{principal.home}/cohorts/{month}/{months_after}"
    kept = {"earlier": "true"} if earlier else {}
    return page(
        request,
        "cohort.html",
        principal=principal,
        month=month,
        months_after=months_after,
        is_earlier=earlier,
        currency=filters.currency,
        counting=countings(instances)[filters.counting],
        back=f"{principal.home}/cohorts{filters.address_with(filters.currency)}",
        rows=[
            _row(principal.home, filters, row, records.get(key))
            for row, key in zip(shown.items, keys, strict=True)
        ],
        first=f"{path}{filters.address_with(filters.currency, **kept)}" if cursor else None,
        next=shown.next and f"{path}{filters.address_with(filters.currency, **kept, cursor=shown.next)}",
    )


def _row(home: str, filters: Filters, customer: CohortCustomer, record: Record | None) -> Row:
    return Row(
        name=(record.name if record else None) or f"Customer {customer.customer_id}",
        href=f"{home}/customers/{customer.instance_id}/{customer.customer_id}{filters.address_with(None)}",
        first_on=customer.first_on,
        start=customer.mrr_at_start,
        start_text=number(customer.mrr_at_start, customer.currency),
        mrr=customer.mrr,
        text=number(customer.mrr, customer.currency),
        currency=customer.currency,
        what=_what(customer),
    )


def _what(customer: CohortCustomer) -> str:
    """Return in a word what became of a customer."""
    start, now = customer.key.start_micros, customer.key.mrr_micros
    if not now:
        return "left"
    if not start:
        return "came back"
    if now == start:
        return "pays the same"
    return "pays more" if now > start else "pays less"
