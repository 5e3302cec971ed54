"""The list of movements behind a figure of MRR, the largest first."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from libs.common.contracts.movements import MovementKind
from libs.common.figures.counting import countings
from libs.common.figures.coverage import last_known_day
from libs.common.figures.customers import CustomerId
from libs.common.figures.groups import Group, limits_of
from libs.common.figures.movement_list import Movement, MovementKey, MovementSelection
from services.gateway.context import Context, ContextDependency
from services.gateway.figures import customer_records, freshness, movements
from services.gateway.pages.amounts import number
from services.gateway.pages.bridge import WORDS
from services.gateway.pages.callers import CustomersReader
from services.gateway.pages.filters import AddressFilters
from services.gateway.pages.movement_words import BASES, sentence
from services.gateway.pages.rendering import page
from services.gateway.paging import Cursor, key_of, page_of
from services.gateway.principals import Principal

router = APIRouter()

_ROWS: Final = 50
_KEY: Final = TypeAdapter(MovementKey)


class Row(NamedTuple):
    """A movement as a list shows it. `amount` is exact, `text` is for reading."""

    on: date
    name: str
    href: str
    what: str
    basis: str
    amount: str
    text: str
    currency: str


@router.get("/mrr/movements")
async def list_movements(
    request: Request,
    context: ContextDependency,
    principal: CustomersReader,
    filters: AddressFilters,
    start: date | None = None,
    end: date | None = None,
    movement: MovementKind | None = None,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show the movements of a period, by default of the newest month, of one kind or of all."""
    instances = await freshness(context, principal, [])
    last = end or last_known_day(instances, context.clock())
    first = start or last.replace(day=1)
    selection = MovementSelection(
        first,
        last,
        movements=None if movement is None else (movement.value,),
        limits=limits_of({Group.CURRENCY: [filters.currency]} if filters.currency else {}),
        target=filters.target,
    )
    behind = await movements(
        context,
        principal,
        selection,
        key_of(cursor, _KEY),
        _ROWS + 1,
        lens=filters.counting,
        instance_ids=[filters.instance_id] if filters.instance_id else [],
    )
    shown = page_of(behind, _ROWS, lambda row: tuple(row.key))
    kept = {"start": str(first), "end": str(last), **({"movement": movement.value} if movement else {})}
    path = f"{principal.home}/mrr/movements"
    return page(
        request,
        "movements.html",
        principal=principal,
        title=WORDS.get(movement, "Transfers") if movement else "All movements",
        start=first,
        end=last,
        counting=countings(instances)[filters.counting],
        back=f"{principal.home}/mrr{filters.address_of(filters.currency, month=str(last))}",
        rows=await rows_of(context, principal, shown.items, {}),
        first=f"{path}{filters.address_of(filters.currency, **kept)}" if cursor else None,
        next=shown.next and f"{path}{filters.address_of(filters.currency, **kept, cursor=shown.next)}",
    )


async def rows_of(
    context: Context, principal: Principal, listed: Sequence[Movement], products: Mapping[str, str]
) -> list[Row]:
    """Return movements as a list shows them, with the names of their customers. `products` are names by key."""
    keys = [CustomerId(row.instance_id, row.customer_id) for row in listed]
    records = await customer_records(context, principal, list(dict.fromkeys(keys)))
    names = {key: record.name for key, record in records.items() if record.name}
    return [
        Row(
            on=row.on,
            name=names.get(key, f"Customer {row.customer_id}"),
            href=f"{principal.home}/customers/{row.instance_id}/{row.customer_id}",
            what=sentence(row, products),
            basis=BASES.get(row.basis, row.basis),
            amount=row.amount,
            text=number(row.amount, row.currency),
            currency=row.currency,
        )
        for row, key in zip(listed, keys, strict=True)
    ]
