"""The list of subscriptions behind a part of the gap between MRR by contract and paid MRR, the largest first."""

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from libs.common.contracts.gaps import GAP_WORDS, GapPart
from libs.common.figures.coverage import last_known_day
from libs.common.figures.customers import CustomerId
from libs.common.figures.gap_list import Gap, GapKey, GapSelection
from libs.common.figures.groups import Group, limits_of
from services.gateway.context import Context, ContextDependency
from services.gateway.figures import customer_records, freshness, gaps
from services.gateway.pages.amounts import number
from services.gateway.pages.callers import CustomersReader
from services.gateway.pages.filters import AddressFilters
from services.gateway.pages.rendering import page
from services.gateway.pages.splits import cycle_in_words
from services.gateway.paging import Cursor, key_of, page_of
from services.gateway.principals import Principal

router = APIRouter()

_ROWS: Final = 50
_KEY: Final = TypeAdapter(GapKey)


class Row(NamedTuple):
    """A gap as the list shows it. `gap` is exact, the texts are for reading."""

    name: str
    href: str
    what: str
    cycle: str
    since: date
    contract: str
    paid: str
    gap: str
    text: str
    currency: str


@router.get("/mrr/gaps")
async def list_gaps(
    request: Request,
    context: ContextDependency,
    principal: CustomersReader,
    filters: AddressFilters,
    on: date | None = None,
    part: GapPart | None = None,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show the subscriptions of a part of the gap on a day, by default on the newest known day; of all parts without one.

    Amounts are not converted. In place of a currency of reports, the list has all currencies.
    """
    day = on or last_known_day(await freshness(context, principal, []), context.clock())
    currencies = {Group.CURRENCY: [filters.currency]} if filters.currency else {}
    behind = await gaps(
        context,
        principal,
        GapSelection(day, part, limits_of(currencies)),
        key_of(cursor, _KEY),
        _ROWS + 1,
        instance_ids=[filters.instance_id] if filters.instance_id else [],
    )
    shown = page_of(behind, _ROWS, lambda row: tuple(row.key))
    kept = {"on": str(day), **({"part": part.value} if part else {})}
    path = f"{principal.home}/mrr/gaps"
    return page(
        request,
        "gaps.html",
        principal=principal,
        title=GAP_WORDS[part].title if part else "MRR that is not paid MRR",
        meaning=GAP_WORDS[part].meaning if part else "",
        on=day,
        back=f"{principal.home}/mrr{filters.address_of(filters.currency)}",
        rows=await _rows(context, principal, shown.items),
        first=f"{path}{filters.address_of(filters.currency, **kept)}" if cursor else None,
        next=shown.next and f"{path}{filters.address_of(filters.currency, **kept, cursor=shown.next)}",
    )


async def _rows(context: Context, principal: Principal, listed: Sequence[Gap]) -> list[Row]:
    keys = [CustomerId(row.instance_id, row.customer_id) for row in listed]
    records = await customer_records(context, principal, list(dict.fromkeys(keys)))
    names = {key: record.name for key, record in records.items() if record.name}
    return [
        Row(
            name=names.get(key, f"Customer {row.customer_id}"),
            href=f"{principal.home}/customers/{row.instance_id}/{row.customer_id}",
            what=row.product_name or f"{row.kind.capitalize()} {row.id.rpartition(':')[2]}",
            cycle=cycle_in_words(row.cycle),
            since=row.from_on,
            contract=number(row.contract_mrr, row.currency),
            paid=number(row.paid_mrr, row.currency),
            gap=row.gap,
            text=number(row.gap, row.currency),
            currency=row.currency,
        )
        for row, key in zip(listed, keys, strict=True)
    ]
