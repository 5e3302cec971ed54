"""The page of MRR: its line, the bridge of a month with its largest movements, and all months in a table."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.groups import Group
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from libs.common.figures.restatement_list import Restatement
from services.gateway.context import ContextDependency
from services.gateway.pages.bridge import WORDS, months_of, movements_in
from services.gateway.pages.callers import MetricsReader
from services.gateway.pages.chart import Chart, Stretch, draw
from services.gateway.pages.currencies import interval_of
from services.gateway.pages.currency_links import chosen_currency, currency_links
from services.gateway.pages.filters import AddressFilters, filter_form
from services.gateway.pages.gap import gap_table
from services.gateway.pages.month_panel import month_panel, names_of_products
from services.gateway.pages.reading import Days, read
from services.gateway.pages.rendering import page
from services.gateway.pages.restatements import restated_in, rows_of
from services.gateway.pages.states import common_zone, oldest_freshness

router = APIRouter()

_SHOWN: Final = 5


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
    links = currency_links(reading.customers, filters, reading.reporting)
    currency = chosen_currency(links, filters)
    days = reading.days
    months = months_of(answers["mrr_bridge"], currency, days.months_from) if days and currency else []
    shown = next((row for row in months if row.on == month), months[0] if months else None)
    zone, now = common_zone(reading.instances), context.clock()
    products = names_of_products(answers["products"].series if answers else ())
    panel = (
        await month_panel(context, principal, filters, shown, currency, products)
        if shown and currency
        else None
    )
    restated = (
        await restated_in(context, principal, filters, days.first_on, currency) if days and currency else []
    )
    return page(
        request,
        "mrr.html",
        principal=principal,
        filters=filter_form(
            filters, {instance.id: instance.name for instance in reading.instances}, reading.counting
        ),
        choices=links,
        currency=currency,
        parameter=filters.parameter(currency),
        counting=reading.counting[filters.counting],
        freshness=oldest_freshness(reading.chosen, zone, now),
        notes=reading.notes,
        chart=_chart(answers, currency, restated),
        restated=rows_of(
            restated[:_SHOWN], {instance.id: instance.time_zone or "UTC" for instance in reading.instances}
        ),
        all_restated=f"{principal.home}/mrr/restatements{filters.address_with(currency)}",
        words=WORDS,
        columns=movements_in(months),
        months=[
            (row, f"{principal.home}/mrr{filters.address_of(currency, month=str(row.on))}") for row in months
        ],
        panel=panel,
        gap=gap_table(answers["paid_mrr"], answers["mrr_gap"], currency, days.last_on)
        if days and currency
        else None,
        explain_paid=f"{principal.home}/explain/paid_mrr{filters.address_of(currency)}",
        gaps_behind=f"{principal.home}/mrr/gaps{filters.address_of(currency)}",
        behind=f"{principal.home}/mrr/movements{filters.address_of(currency)}",
    )


def _questions(days: Days) -> dict[str, Question]:
    newest, by_currency = (days.last_on, days.last_on, Interval.DAY), (Group.CURRENCY,)
    line = interval_of((days.last_on - days.first_on).days + 1)
    return {
        "mrr": Question(BY_SLUG["mrr"], days.first_on, days.last_on, line, by_currency),
        "mrr_bridge": Question(
            BY_SLUG["mrr_bridge"], days.months_from, days.last_on, Interval.MONTH, by_currency
        ),
        "paid_mrr": Question(BY_SLUG["paid_mrr"], *newest, by_currency),
        "mrr_gap": Question(BY_SLUG["mrr_gap"], *newest, by_currency),
        "products": Question(BY_SLUG["subscriptions"], *newest, (Group.PRODUCT,)),
    }


def _chart(
    answers: Mapping[str, Figure], currency: str | None, restated: Sequence[Restatement]
) -> Chart | None:
    stretches = [Stretch(row.from_on, row.to_on) for row in restated]
    for series in answers["mrr"].series if answers else ():
        if series.group["currency"] == currency:
            return draw(BY_SLUG["mrr"].title, series.points, series.group["currency"], stretches)
    return None
