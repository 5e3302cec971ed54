"""The page of MRR: its line, the bridge of a month with its largest movements, and all months in a table."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from libs.common.contracts.lenses import COUNTING
from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.groups import Group, limits_of
from libs.common.figures.movement_list import MovementSelection
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from services.gateway.context import Context, ContextDependency
from services.gateway.figures import movements
from services.gateway.pages.bridge import WORDS, Month, months_of, movements_in, waterfall
from services.gateway.pages.callers import MetricsReader
from services.gateway.pages.chart import Chart, draw
from services.gateway.pages.currencies import interval_of
from services.gateway.pages.currency_links import currency_links, customers_by_currency
from services.gateway.pages.filters import AddressFilters, Filters, filter_form
from services.gateway.pages.movements import Row, rows_of
from services.gateway.pages.reading import Days, read
from services.gateway.pages.rendering import page
from services.gateway.pages.states import common_zone, oldest_freshness
from services.gateway.principals import Principal

router = APIRouter()

_LARGEST: Final = 5


@router.get("/mrr")
async def show_mrr(
    request: Request,
    context: ContextDependency,
    principal: MetricsReader,
    filters: AddressFilters,
    month: Annotated[date | None, Query(description="The last day of the month to show.")] = None,
) -> HTMLResponse:
    """Show how MRR moved, in one currency. The bridge is that of the newest month unless `month` names another."""
    reading = await read(context, principal, filters, _questions)
    answers = reading.answers
    links = currency_links(customers_by_currency(answers["customers"]) if answers else {}, filters)
    currency = next((link.code for link in links if link.is_chosen), filters.currency)
    days = reading.days
    months = months_of(answers["mrr_bridge"], currency, days.months_from) if days and currency else []
    shown = next((row for row in months if row.on == month), months[0] if months else None)
    zone, now = common_zone(reading.instances), context.clock()
    largest = await _largest(context, principal, filters, shown, currency, _products(answers))
    return page(
        request,
        "mrr.html",
        principal=principal,
        filters=filter_form(filters, {instance.id: instance.name for instance in reading.instances}),
        choices=links,
        currency=currency,
        counting=COUNTING[filters.counting],
        freshness=oldest_freshness(reading.chosen, zone, now),
        notes=reading.notes,
        chart=_chart(answers, currency),
        words=WORDS,
        columns=movements_in(months),
        months=[(row, f"/mrr{filters.address_with(currency, month=str(row.on))}") for row in months],
        shown=shown,
        waterfall=waterfall(shown) if shown else None,
        behind=f"/mrr/movements{filters.address_with(currency)}",
        largest=largest,
    )


def _questions(days: Days) -> dict[str, Question]:
    newest, by_currency = (days.last_on, days.last_on, Interval.DAY), (Group.CURRENCY,)
    line = interval_of((days.last_on - days.first_on).days + 1)
    return {
        "customers": Question(BY_SLUG["customers"], *newest, by_currency),
        "mrr": Question(BY_SLUG["mrr"], days.first_on, days.last_on, line, by_currency),
        "mrr_bridge": Question(
            BY_SLUG["mrr_bridge"], days.months_from, days.last_on, Interval.MONTH, by_currency
        ),
        "products": Question(BY_SLUG["subscriptions"], *newest, (Group.PRODUCT,)),
    }


def _chart(answers: Mapping[str, Figure], currency: str | None) -> Chart | None:
    for series in answers["mrr"].series if answers else ():
        if series.group["currency"] == currency:
            return draw(BY_SLUG["mrr"].title, series.points, series.group["currency"])
    return None


def _products(answers: Mapping[str, Figure]) -> dict[str, str]:
    """Return the names of the products that count now, by key."""
    listed = answers["products"].series if answers else ()
    return {
        series.group["product"]: series.names["product"] for series in listed if "product" in series.names
    }


async def _largest(
    context: Context,
    principal: Principal,
    filters: Filters,
    month: Month | None,
    currency: str | None,
    products: Mapping[str, str],
) -> list[Row]:
    """Return the largest movements of a month, for people who may see customers."""
    if month is None or currency is None or not principal.may("customers:read"):
        return []
    limits = limits_of({Group.CURRENCY: [currency]})
    listed = await movements(
        context,
        principal,
        MovementSelection(month.starts_on, month.on, limits=limits),
        None,
        _LARGEST,
        lens=filters.counting,
        instance_ids=[filters.instance_id] if filters.instance_id else [],
    )
    return await rows_of(context, principal, listed, products)
