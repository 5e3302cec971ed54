"""The page of subscriptions that may end soon: overdue, suspended, or not to renew."""

from enum import StrEnum
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.end_list import EndSelection, ExpectedEndKey
from libs.common.figures.end_parts import AT_RISK, SCHEDULED, EndPart
from libs.common.figures.groups import Group, limits_of
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from services.gateway.context import ContextDependency
from services.gateway.figures import expected_ends
from services.gateway.pages.callers import CustomersReader
from services.gateway.pages.currencies import ENDS
from services.gateway.pages.currency_links import chosen_currency, currency_links, customers_by_currency
from services.gateway.pages.filters import AddressFilters, Choice, Filter, filter_form
from services.gateway.pages.leaving_rows import end_rows, sums_of
from services.gateway.pages.reading import Days, read
from services.gateway.pages.rendering import page
from services.gateway.pages.states import common_zone, oldest_freshness
from services.gateway.paging import Cursor, key_of, page_of

router = APIRouter()

_ROWS: Final = 50
_KEY: Final = TypeAdapter(ExpectedEndKey)


class Shown(StrEnum):
    """Which subscriptions the list has."""

    ALL = "all"
    OVERDUE = "overdue"
    ENDING = "ending"


_PARTS: Final[dict[Shown, tuple[EndPart, ...]]] = {
    Shown.ALL: tuple(EndPart),
    Shown.OVERDUE: AT_RISK,
    Shown.ENDING: SCHEDULED,
}
_WORDS: Final[dict[str, str]] = {
    Shown.ALL: "all",
    Shown.OVERDUE: "overdue or suspended",
    Shown.ENDING: "not to renew",
}


@router.get("/leaving")
async def show_leaving(
    request: Request,
    context: ContextDependency,
    principal: CustomersReader,
    filters: AddressFilters,
    show: Shown = Shown.ALL,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show the subscriptions that may end soon in one currency, the first to end first."""
    filters = filters.native
    reading = await read(context, principal, filters, _questions)
    answers = reading.answers
    links = currency_links(
        customers_by_currency(answers["customers"]) if answers else {}, filters, show=[show]
    )
    currency = chosen_currency(links, filters)
    behind = await expected_ends(
        context,
        principal,
        EndSelection(_PARTS[show], limits_of({Group.CURRENCY: [currency]} if currency and links else {})),
        key_of(cursor, _KEY),
        _ROWS + 1,
        lens=filters.counting,
        instance_ids=[filters.instance_id] if filters.instance_id else [],
    )
    shown = page_of(behind, _ROWS, lambda row: tuple(row.key))
    names = {instance.id: instance.name for instance in reading.instances}
    offered = [choice for choice in filter_form(filters, names, reading.counting) if choice.name != "period"]
    path = f"{principal.home}/leaving"
    return page(
        request,
        "leaving.html",
        principal=principal,
        filters=[*offered, _filter(show)],
        choices=links,
        currency=currency,
        counting=reading.counting[filters.counting],
        freshness=oldest_freshness(reading.chosen, common_zone(reading.instances), context.clock()),
        sums=[sums_of(answers[slug], currency) for slug in ENDS] if answers and currency else [],
        query=filters.address_with(currency),
        rows=await end_rows(context, principal, filters, shown.items),
        first=f"{path}{filters.address_with(currency, show=show)}" if cursor else None,
        next=shown.next and f"{path}{filters.address_with(currency, show=show, cursor=shown.next)}",
    )


def _questions(days: Days) -> dict[str, Question]:
    newest = (days.last_on, days.last_on, Interval.DAY)
    return {slug: Question(BY_SLUG[slug], *newest, (Group.CURRENCY,)) for slug in ("customers", *ENDS)}


def _filter(chosen: Shown) -> Filter:
    choices = (Choice(value, words, value == chosen) for value, words in _WORDS.items())
    return Filter("show", "Show", tuple(choices))
