"""The list of restatements: which closed days changed, by how much, when and why."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from libs.common.contracts.restatements import RestatementCause
from libs.common.figures.counting import countings
from libs.common.figures.restatement_list import Restatement, RestatementKey, RestatementSelection
from services.gateway.context import Context, ContextDependency
from services.gateway.figures import freshness, restatements
from services.gateway.kinds import title
from services.gateway.pages.amounts import number
from services.gateway.pages.callers import MetricsReader
from services.gateway.pages.filters import AddressFilters, Filters
from services.gateway.pages.rendering import page
from services.gateway.pages.times import local
from services.gateway.paging import Cursor, key_of, page_of
from services.gateway.principals import Principal

router = APIRouter()

_ROWS: Final = 50
_MOST_MARKED: Final = 500
_KEY: Final = TypeAdapter(RestatementKey)
_CAUSES: Final[Mapping[str, str]] = {
    RestatementCause.LATE_EVIDENCE: "WHMCS has an invoice, a refund or a date that shows it later",
    RestatementCause.DEFINITION_CHANGE: "a setting or a rule changed",
    RestatementCause.MERGE: "belongs to another customer",
    RestatementCause.FRAUD: "turned out to be fraud",
    RestatementCause.DELETION: "was deleted in WHMCS",
}


class Row(NamedTuple):
    """A restatement as a list shows it. `change` is exact, `change_text` is for reading."""

    days: str
    why: str
    changed: str
    change: str
    change_text: str
    currency: str
    figures: str


@router.get("/mrr/restatements")
async def list_restatements(
    request: Request,
    context: ContextDependency,
    principal: MetricsReader,
    filters: AddressFilters,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show all restatements, in the chosen currency or in all."""
    instances = await freshness(context, principal, [])
    zones = {instance.instance_id: instance.time_zone for instance in instances}
    rows = await restatements(
        context,
        principal,
        RestatementSelection(currencies=[filters.currency] if filters.currency else None),
        key_of(cursor, _KEY),
        _ROWS + 1,
        lens=filters.counting,
        instance_ids=[filters.instance_id] if filters.instance_id else [],
    )
    shown = page_of(rows, _ROWS, lambda row: tuple(row.key))
    path = f"{principal.home}/mrr/restatements"
    return page(
        request,
        "restatements.html",
        principal=principal,
        counting=countings(instances)[filters.counting],
        back=f"{principal.home}/mrr{filters.address_with(filters.currency)}",
        rows=rows_of(shown.items, zones),
        first=f"{path}{filters.address_with(filters.currency)}" if cursor else None,
        next=shown.next and f"{path}{filters.address_with(filters.currency, cursor=shown.next)}",
    )


async def restated_in(
    context: Context, principal: Principal, filters: Filters, start: date, currency: str
) -> list[Restatement]:
    """Return the newest restatements of days from `start` on in a currency, 500 at most."""
    return await restatements(
        context,
        principal,
        RestatementSelection(start, currencies=[currency]),
        None,
        _MOST_MARKED,
        lens=filters.counting,
        instance_ids=[filters.instance_id] if filters.instance_id else [],
    )


def rows_of(listed: Iterable[Restatement], zones: Mapping[UUID, str]) -> list[Row]:
    """Return restatements as a list shows them. `zones` are the time zones of their instances."""
    return [
        Row(
            days=_days(row.from_on, row.to_on - timedelta(days=1)),
            why=f"{title(row.kind)}: {_CAUSES.get(row.cause, row.cause)}",
            changed=local(row.at, zones.get(row.instance_id, "UTC")),
            change=row.change,
            change_text=("" if row.change.startswith("-") else "+") + number(row.change, row.currency),
            currency=row.currency,
            figures=f"{number(row.mrr_before, row.currency)} \N{RIGHTWARDS ARROW} {number(row.mrr_after, row.currency)}",
        )
        for row in listed
    ]


def _days(first: date, last: date) -> str:
    return f"{first:%-d %b %Y}" if first == last else f"{first:%-d %b %Y} to {last:%-d %b %Y}"
