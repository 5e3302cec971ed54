"""The overview: MRR and its parts, separately for each currency."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from libs.common.contracts.lenses import COUNTING
from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import BY_SLUG, METRICS
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from libs.common.figures.relations import Group
from services.gateway.context import Context, ContextDependency
from services.gateway.instances.states import ShownState
from services.gateway.instances.views import Instance
from services.gateway.pages.callers import MetricsReader
from services.gateway.pages.chart import Chart, draw
from services.gateway.pages.filters import AddressFilters, Filter, Filters, filter_form
from services.gateway.pages.reading import Reading, read
from services.gateway.pages.rendering import page
from services.gateway.pages.splits import Split, split
from services.gateway.pages.states import State, common_zone, freshness_of, state_of
from services.gateway.pages.sync_progress import Progress, is_over, progress_of
from services.gateway.pages.tiles import Tile, newest_point, tiles
from services.gateway.principals import Principal
from services.gateway.syncs.views import list_syncs

router = APIRouter()

_CHART_POINTS = 400
# The heading says what is late, notes say what is missing in part, and a first sync has its own panel.
_TROUBLED = (
    ShownState.FAILING,
    ShownState.SYNC_FAILED,
    ShownState.PAUSED,
    ShownState.WAITING_FOR_FIRST_SYNC,
)
_SPLITS = {"By type": Group.KIND, "By product": Group.PRODUCT, "By billing cycle": Group.CYCLE}


@dataclass(frozen=True, slots=True)
class Currency:
    """The figures of one currency on the newest day, and its MRR by day. `splits` are by title."""

    code: str
    tiles: list[Tile]
    splits: dict[str, Split]
    chart: Chart | None


@router.get("/")
async def overview(
    request: Request, context: ContextDependency, principal: MetricsReader, filters: AddressFilters
) -> HTMLResponse:
    """Show the figures of the newest day."""
    reading, now = await read(context, principal, filters, _questions), context.clock()
    first_syncs = await _first_syncs(context, principal, reading.instances)
    zone = common_zone(reading.instances)

    def show() -> HTMLResponse:
        return page(
            request,
            "overview.html",
            principal=principal,
            filters=_filter_form(reading, filters),
            currency=filters.currency,
            counting=COUNTING[filters.counting],
            instances=reading.instances,
            first_syncs=first_syncs,
            troubled=_troubled(reading.instances, zone, now),
            freshness=_freshness(reading, zone, now),
            first_on=reading.first_on,
            notes=[note for note in reading.notes if not note.is_history],
            history_notes=[note for note in reading.notes if note.is_history],
            interval=_interval(reading),
            currencies=_currencies(reading.answers, filters.currency),
            customers=_customers(reading.answers),
        )

    return show() if reading.is_small else await context.answer_workers.run(show)


def _questions(first_on: date, last_on: date) -> dict[str, Question]:
    days = (last_on - first_on).days + 1
    interval = Interval.DAY
    if days > _CHART_POINTS:
        interval = Interval.WEEK if days <= 7 * _CHART_POINTS else Interval.MONTH
    mrr, newest = BY_SLUG["mrr"], (last_on, last_on, Interval.DAY)
    return {
        "history": Question(mrr, first_on, last_on, interval, (Group.CURRENCY,)),
        "all customers": Question(BY_SLUG["customers"], *newest),
        **{title: Question(mrr, *newest, (group, Group.CURRENCY)) for title, group in _SPLITS.items()},
        **{metric.slug: Question(metric, *newest, (Group.CURRENCY,)) for metric in METRICS},
    }


def _codes(answers: Mapping[str, Figure]) -> list[str]:
    return sorted(series.group["currency"] for series in answers["history"].series) if answers else []


def _currencies(answers: Mapping[str, Figure], chosen: str | None) -> list[Currency]:
    return [_currency(answers, code) for code in _codes(answers) if chosen in (None, code)]


def _currency(answers: Mapping[str, Figure], code: str) -> Currency:
    [points] = [series.points for series in answers["history"].series if series.group["currency"] == code]
    return Currency(
        code=code,
        tiles=tiles([answers[metric.slug] for metric in METRICS], code),
        splits={title: split(answers[title], group, code) for title, group in _SPLITS.items()},
        chart=draw(BY_SLUG["mrr"].title, points, code),
    )


def _customers(answers: Mapping[str, Figure]) -> int | None:
    """Return how many customers there are in all currencies: one with two currencies counts once."""
    point = newest_point(answers["all customers"], None) if answers else None
    return point.value if point and isinstance(point.value, int) else None


def _filter_form(reading: Reading, filters: Filters) -> list[Filter]:
    names = {instance.id: instance.name for instance in reading.instances}
    return filter_form(filters, _codes(reading.answers), names)


def _interval(reading: Reading) -> Interval:
    return reading.answers["history"].interval if reading.answers else Interval.DAY


def _troubled(instances: list[Instance], zone: str, now: datetime) -> list[tuple[Instance, State]]:
    """Return the instances that need attention, with the reason."""
    troubled = [instance for instance in instances if instance.shown_state in _TROUBLED]
    return [(instance, state_of(instance, zone, now)) for instance in troubled]


def _freshness(reading: Reading, zone: str, now: datetime) -> State | None:
    """Return the freshness of the least fresh instance: the figures are no newer than that."""
    synced = [(instance.as_of, instance) for instance in reading.chosen if instance.as_of is not None]
    return freshness_of(min(synced, key=lambda pair: pair[0])[1], zone, now) if synced else None


async def _first_syncs(context: Context, principal: Principal, instances: list[Instance]) -> list[Progress]:
    """Return the running first syncs: their instances have no figures yet."""
    progress = []
    for instance in instances:
        if instance.as_of is None:
            history = await list_syncs(context, principal, instance.id)
            under_way = [sync for sync in history if not is_over(sync)]
            progress += [progress_of(sync, context.clock()) for sync in under_way[:1]]
    return progress
