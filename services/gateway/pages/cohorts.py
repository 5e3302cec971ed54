"""The page of cohorts: a heat map of how many customers of each month, and how much of their MRR, stayed."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from libs.common.figures.cohorts import Months
from libs.common.figures.matrix import WORDS
from services.gateway import figures
from services.gateway.context import ContextDependency
from services.gateway.pages.callers import MetricsReader
from services.gateway.pages.currency_links import chosen_currency, currency_links
from services.gateway.pages.filters import AddressFilters, filter_form
from services.gateway.pages.heat_map import Measure, heat_map, measure_filter
from services.gateway.pages.reading import read
from services.gateway.pages.rendering import page
from services.gateway.pages.states import common_zone, oldest_freshness

router = APIRouter()


@router.get("/cohorts")
async def show_cohorts(
    request: Request,
    context: ContextDependency,
    principal: MetricsReader,
    filters: AddressFilters,
    show: Measure = Measure.COUNT,
) -> HTMLResponse:
    """Show the cohorts of the months of the chosen period, in one currency."""
    filters = filters.native
    reading = await read(context, principal, filters, lambda _: {})
    days = reading.days
    links = currency_links(reading.customers, filters, show=[show])
    currency = chosen_currency(links, filters)
    matrix = await figures.cohorts(
        context,
        principal,
        Months(start=days.first_on if days else None),
        lens=filters.counting,
        instance_ids=[filters.instance_id] if filters.instance_id else [],
    )
    shown = heat_map(matrix.cohorts, matrix.averages, currency, show) if currency else None
    names = {instance.id: instance.name for instance in reading.instances}
    return page(
        request,
        "cohorts.html",
        principal=principal,
        filters=[*filter_form(filters, names, reading.counting), measure_filter(show)],
        choices=links,
        currency=currency,
        counting=reading.counting[filters.counting],
        freshness=oldest_freshness(reading.chosen, common_zone(reading.instances), context.clock()),
        notes=reading.notes,
        measure=show,
        shown=shown if shown and shown.rows else None,
        has_earlier=shown is not None and any(row.is_earlier for row in shown.rows),
        words=WORDS,
        lists=f"{principal.home}/cohorts" if principal.may("customers:read") else None,
        query=filters.address_with(currency),
    )
