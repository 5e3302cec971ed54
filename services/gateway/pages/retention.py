"""The page of retention: how much of the MRR and how many of the customers of each month's start stayed to its end."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from libs.common.figures.families.retention import RETENTION
from libs.common.figures.questions import Question
from services.gateway.context import ContextDependency
from services.gateway.pages.callers import MetricsReader
from services.gateway.pages.currency_links import chosen_currency, currency_links
from services.gateway.pages.filters import AddressFilters, filter_form
from services.gateway.pages.months import months, questions_by_month
from services.gateway.pages.reading import Days, read
from services.gateway.pages.rendering import page
from services.gateway.pages.states import common_zone, oldest_freshness

router = APIRouter()


@router.get("/retention")
async def retention(
    request: Request, context: ContextDependency, principal: MetricsReader, filters: AddressFilters
) -> HTMLResponse:
    """Show the figures of retention month by month, in one currency."""
    reading = await read(context, principal, filters, _questions)
    answers = reading.answers
    links = currency_links(reading.customers, filters, reading.reporting)
    currency = chosen_currency(links, filters)
    zone, now = common_zone(reading.instances), context.clock()
    return page(
        request,
        "retention.html",
        principal=principal,
        filters=filter_form(
            filters, {instance.id: instance.name for instance in reading.instances}, reading.counting
        ),
        choices=links,
        currency=currency,
        counting=reading.counting[filters.counting],
        parameter=filters.parameter(currency),
        query=filters.address_of(currency),
        freshness=oldest_freshness(reading.chosen, zone, now),
        metrics=RETENTION,
        months=months([answers[metric.slug] for metric in RETENTION], currency, reading.days.months_from)
        if reading.days and currency
        else [],
        notes=reading.notes,
    )


def _questions(days: Days) -> dict[str, Question]:
    return questions_by_month(RETENTION, days)
