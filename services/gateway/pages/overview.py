"""The overview: MRR, its change and its parts, in one currency at a time."""

from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from services.gateway.context import Context, ContextDependency
from services.gateway.instances.views import Instance
from services.gateway.pages import currencies
from services.gateway.pages.bridge import months_of
from services.gateway.pages.callers import MetricsReader
from services.gateway.pages.filters import AddressFilters, Filters, filter_form
from services.gateway.pages.leaving_rows import leaving_panel
from services.gateway.pages.month_panel import MonthPanel, month_panel, names_of_products
from services.gateway.pages.reading import Reading, read
from services.gateway.pages.rendering import page
from services.gateway.pages.states import common_zone, oldest_freshness, troubled
from services.gateway.pages.sync_progress import Progress, is_over, progress_of
from services.gateway.principals import Principal
from services.gateway.syncs.views import list_syncs

router = APIRouter()


@router.get("/")
async def overview(
    request: Request, context: ContextDependency, principal: MetricsReader, filters: AddressFilters
) -> HTMLResponse:
    """Show the figures of the newest day."""
    reading = await read(context, principal, filters, currencies.questions)
    now, zone, answers = context.clock(), common_zone(reading.instances), reading.answers
    first_syncs = await _first_syncs(context, principal, reading.instances, now)
    names = {instance.id: instance.name for instance in reading.instances}
    choices = currencies.choices(answers, filters, reading.customers, reading.reporting)
    chosen = next((choice for choice in choices if choice.is_chosen), None)
    panel = await _panel(context, principal, filters, reading, chosen)
    leaving = (
        await leaving_panel(
            context, principal, filters, [answers[slug] for slug in currencies.ENDS], chosen.code
        )
        if chosen
        else None
    )

    def show() -> HTMLResponse:
        return page(
            request,
            "overview.html",
            principal=principal,
            filters=filter_form(filters, names, reading.counting),
            currency=filters.currency,
            parameter=filters.parameter(filters.currency),
            is_converted=filters.target is not None,
            counting=reading.counting[filters.counting],
            instances=reading.instances,
            first_syncs=first_syncs,
            troubled=troubled(reading.instances, zone, now),
            freshness=oldest_freshness(reading.chosen, zone, now),
            first_on=reading.first_on,
            notes=[note for note in reading.notes if not note.is_history],
            history_notes=[note for note in reading.notes if note.is_history],
            interval=currencies.interval(answers),
            choices=choices,
            shown=currencies.currency(answers, chosen) if chosen else None,
            panel=panel,
            leaving=leaving,
        )

    return show() if reading.is_small else await context.answer_workers.run(show)


async def _panel(
    context: Context,
    principal: Principal,
    filters: Filters,
    reading: Reading,
    chosen: currencies.Choice | None,
) -> MonthPanel | None:
    """Return what changed in the newest month, None on the first known day."""
    if chosen is None or reading.days is None:
        return None
    months = months_of(reading.answers["bridge"], chosen.code, reading.days.months_from)
    products = names_of_products(reading.answers["By product"].series)
    return (
        await month_panel(context, principal, filters, months[0], chosen.code, products) if months else None
    )


async def _first_syncs(
    context: Context, principal: Principal, instances: list[Instance], now: datetime
) -> list[Progress]:
    """Return the running first syncs: their instances have no figures yet."""
    progress = []
    for instance in instances:
        if instance.as_of is None:
            history = await list_syncs(context, principal, instance.id)
            under_way = [sync for sync in history if not is_over(sync)]
            progress += [progress_of(sync, now) for sync in under_way[:1]]
    return progress
