"""The overview: MRR and what it is made of, each currency for itself."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure, Point, Series
from libs.common.figures.catalogue import BY_SLUG, CATALOG, Group, Metric
from libs.common.figures.coverage import Freshness, Note, notes_on, oldest
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from services.gateway import syncs
from services.gateway.auth import signed_in
from services.gateway.context import Context, Here
from services.gateway.errors import Invalid, NotFound
from services.gateway.figures import SMALL, figures, freshness
from services.gateway.instances import views
from services.gateway.instances.states import ShownState
from services.gateway.instances.views import Instance
from services.gateway.pages.amounts import are_off_by_rounding
from services.gateway.pages.chart import Chart, draw
from services.gateway.pages.rendering import identifier, page
from services.gateway.pages.states import State, freshness_of, state_of
from services.gateway.pages.watching import values
from services.gateway.principals import Principal
from services.gateway.syncs import Sync

router = APIRouter()

_TOP = 8
_MOST = 100
_CHART_POINTS = 400
# A sync that is applied while the page is made makes it again; the next one is minutes away.
_READ_AGAIN = 3
_KINDS = {"service": "Services", "addon": "Addons", "domain": "Domains"}
_REASONS = {
    "carried": "That of an earlier day.",
    "not_permitted": "WHMCS does not let MRRlytics read it.",
    "not_synced": "Not synced yet.",
    "before_first_sync": "Not known before the first sync.",
    "no_subscription": "Nothing is live on this day.",
    "no_customers": "No customers to divide by.",
}
# What is late is told beside the figures, what is missing in part by their notes, and a first sync has a panel of its own.
_TROUBLED = (
    ShownState.FAILING,
    ShownState.SYNC_FAILED,
    ShownState.PAUSED,
    ShownState.WAITING_FOR_FIRST_SYNC,
)
# WHMCS names the cycles of services and counts the years of domains: both are read as a length.
_LENGTHS = {
    "monthly": "1 month",
    "quarterly": "3 months",
    "semiannually": "6 months",
    "annually": "1 year",
    "biennially": "2 years",
    "triennially": "3 years",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a split. `value` is a decimal string, None with `reason`; `share` is 0 to 100 of the largest.

    `key` is that of the group in the API.
    """

    key: str
    name: str
    value: str | None
    reason: str | None
    share: int


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of the MRR, largest first, at most `_MOST` of them.

    `rest` sums the `others` after the first ones; `unlisted` of these are beyond the last row, and `unlisted_sum` is theirs alone.
    `is_rounded`: what is shown does not add up.
    """

    rows: tuple[Row, ...]
    rest: str | None
    others: int
    unlisted: int
    unlisted_sum: str | None
    is_rounded: bool


@dataclass(frozen=True, slots=True)
class Currency:
    """The figures of one currency on the newest day, by metric."""

    code: str
    totals: dict[str, Point | None]
    kinds: Split
    products: Split
    cycles: Split
    chart: Chart | None


@dataclass(frozen=True, slots=True)
class _Selection:
    lens: Lens
    instance_ids: tuple[UUID, ...]
    start: date
    end: date

    @property
    def interval(self) -> Interval:
        days = (self.end - self.start).days + 1
        if days <= _CHART_POINTS:
            return Interval.DAY
        return Interval.WEEK if days <= 7 * _CHART_POINTS else Interval.MONTH


def _newest(answer: Figure, currency: str | None) -> Point | None:
    points = [
        series.points[-1]
        for series in answer.series
        if series.points and (currency is None or series.group.get("currency") == currency)
    ]
    return points[0] if points else None


def _split(answer: Figure, group: Group, currency: str) -> Split:
    """Return the largest parts, those of one name as one: amounts are added exactly, and only what is shown becomes a row."""
    points: dict[str, list[Point]] = defaultdict(list)
    names: dict[str, str] = {}
    for series in answer.series:
        if series.points and series.group.get("currency", currency) == currency:
            key = _key(series, group)
            points[key].append(series.points[-1])
            names[key] = _name(series, group)
    parts = [(key, _sum(of_key)) for key, of_key in points.items()]
    parts.sort(key=lambda part: (-abs(part[1] or Decimal()), names[part[0]]))
    largest = max((abs(value) for _, value in parts if value is not None), default=Decimal()) or Decimal(1)
    rows = tuple(
        Row(
            key=key,
            name=names[key],
            value=None if value is None else f"{value:f}",
            reason=points[key][0].reason,
            share=round(100 * abs(value or Decimal()) / largest),
        )
        for key, value in parts[:_MOST]
    )
    rest = _total(parts[_TOP:])
    shown = [row.value for row in rows[:_TOP]] + [rest]
    return Split(
        rows=rows,
        rest=rest,
        others=max(0, len(parts) - _TOP),
        unlisted=max(0, len(parts) - _MOST),
        unlisted_sum=_total(parts[_MOST:]),
        is_rounded=are_off_by_rounding([value for value in shown if value is not None], currency),
    )


def _total(parts: list[tuple[str, Decimal | None]]) -> str | None:
    values = [value for _, value in parts if value is not None]
    return f"{sum(values):f}" if values else None


def _sum(points: list[Point]) -> Decimal | None:
    values = [Decimal(point.value) for point in points if point.value is not None]
    return sum(values, Decimal()) if values else None


def _key(series: Series, group: Group) -> str:
    return _name(series, group) if group is Group.CYCLE else series.group[group.value]


def _name(series: Series, group: Group) -> str:
    key = series.group[group.value]
    if group is Group.CYCLE:
        return _length(key)
    text = key.rpartition(":")[2].replace("_", " ")
    return _KINDS.get(key) or series.names.get(group.value) or text[:1].upper() + text[1:]


def _length(cycle: str) -> str:
    """Return the length of a cycle in words: a year is a year, whoever bills it."""
    if cycle.startswith("years_"):
        number = cycle.removeprefix("years_")
        return f"{number} year{'' if number == '1' else 's'}"
    return _LENGTHS.get(cycle, cycle.replace("_", " ").capitalize())


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the API says of the chosen days: figures, of which each currency on the page is made."""

    history: Figure
    kinds: Figure
    products: Figure
    cycles: Figure
    customers: Figure
    totals: list[Figure]

    @property
    def is_small(self) -> bool:
        """Return whether the page is made faster than a thread is asked for it."""
        answers = (self.history, self.kinds, self.products, self.cycles)
        return sum(len(series.points) for answer in answers for series in answer.series) <= SMALL


async def _ask(context: Context, principal: Principal, chosen: _Selection) -> _Answers:
    def newest(metric: Metric, *group_by: Group) -> Question:
        return Question(metric, chosen.end, chosen.end, Interval.DAY, group_by)

    history, kinds, products, cycles, customers, *totals = await figures(
        context,
        principal,
        [
            Question(BY_SLUG["mrr"], chosen.start, chosen.end, chosen.interval, (Group.CURRENCY,)),
            *(
                newest(BY_SLUG["mrr"], group, Group.CURRENCY)
                for group in (Group.KIND, Group.PRODUCT, Group.CYCLE)
            ),
            newest(BY_SLUG["customers"]),
            *(newest(metric, Group.CURRENCY) for metric in CATALOG),
        ],
        lens=chosen.lens,
        instance_ids=chosen.instance_ids,
    )
    return _Answers(history, kinds, products, cycles, customers, totals)


def _currencies(answers: _Answers) -> list[Currency]:
    points = {series.group["currency"]: series.points for series in answers.history.series}
    return [
        Currency(
            code=code,
            totals={answer.metric: _newest(answer, code) for answer in answers.totals},
            kinds=_split(answers.kinds, Group.KIND, code),
            products=_split(answers.products, Group.PRODUCT, code),
            cycles=_split(answers.cycles, Group.CYCLE, code),
            chart=draw(points[code], code),
        )
        for code in sorted(points)
    ]


def _count(answer: Figure) -> int | None:
    point = _newest(answer, None)
    return point.value if point and isinstance(point.value, int) else None


def _lens(text: str) -> Lens:
    try:
        return Lens(text)
    except ValueError as error:
        raise Invalid("lens_unknown", "The lens is one of contract, active and status.", "lens") from error


def _chosen(text: str, instances: list[Instance]) -> tuple[UUID, ...]:
    if not text:
        return ()
    wanted = identifier(text)
    if wanted not in {instance.id for instance in instances}:
        raise NotFound("instance_not_found", "There is no such instance here. Choose one from the list.")
    return (wanted,) if wanted else ()


def _is_on_its_way(sync: Sync) -> bool:
    return sync.state in ("queued", "running") or (
        sync.state in ("succeeded", "partial") and not sync.applied
    )


async def _first_syncs(context: Context, principal: Principal, instances: list[Instance]) -> list[Sync]:
    """Return the syncs on their way of instances that have no finished one yet."""
    found: list[Sync] = []
    for instance in instances:
        if instance.as_of is None:
            history = await syncs.list_syncs(context, principal, instance.id)
            found += [sync for sync in history if _is_on_its_way(sync)][:1]
    return found


def _oldest(fresh: list[Freshness], instances: list[Instance], now: datetime) -> State | None:
    """Return the freshness of the least fresh instance: the figures are no newer than that."""
    shown = {one.instance_id for one in fresh}
    synced = [(one.as_of, one) for one in instances if one.id in shown and one.as_of is not None]
    return freshness_of(min(synced, key=lambda pair: pair[0])[1], now) if synced else None


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the page is made of; no `answers` while no day of the chosen instances is known."""

    instances: list[Instance]
    fresh: list[Freshness]
    answers: _Answers | None
    interval: Interval
    notes: tuple[Note, ...]

    @property
    def as_of(self) -> datetime | None:
        """Return the moment that the figures hold for."""
        return self.answers.history.as_of if self.answers else oldest(self.fresh)

    def is_of_one_moment(self) -> bool:
        """Tell whether no sync was applied between the statements that read this."""
        chosen = {one.instance_id for one in self.fresh}
        listed = [one.as_of for one in self.instances if one.id in chosen and one.as_of is not None]
        return oldest(self.fresh) == self.as_of == min(listed, default=None)


async def _read(context: Context, principal: Principal, lens: Lens, instance: str) -> _Reading:
    instances = [one for one in await views.list_instances(context, principal) if one.state != "draft"]
    chosen = _chosen(instance, instances)
    fresh = await freshness(context, principal, chosen)
    days = [(one.first_on, one.last_on) for one in fresh if one.first_on and one.last_on]
    if not days:
        return _Reading(instances, fresh, None, Interval.DAY, ())
    selection = _Selection(lens, chosen, min(day[0] for day in days), max(day[1] for day in days))
    notes = notes_on(fresh, selection.start, lens)
    answers = await _ask(context, principal, selection)
    return _Reading(instances, fresh, answers, selection.interval, notes)


@router.get("/")
async def overview(
    request: Request,
    context: Here,
    principal: Annotated[Principal, Depends(signed_in("metrics:read"))],
    lens: str = Lens.CONTRACT,
    instance: str = "",
) -> HTMLResponse:
    """Everything of the newest day; the address carries the lens and the instance."""
    chosen_lens, now = _lens(lens), context.clock()
    read = await _read(context, principal, chosen_lens, instance)
    for _ in range(_READ_AGAIN):
        if read.is_of_one_moment():
            break
        read = await _read(context, principal, chosen_lens, instance)
    first_syncs = [
        values(sync, principal, now) for sync in await _first_syncs(context, principal, read.instances)
    ]
    answers = read.answers

    def shown() -> HTMLResponse:
        return page(
            request,
            "overview.html",
            principal=principal,
            instances=read.instances,
            instance_id=instance,
            lens=chosen_lens,
            lenses=list(Lens),
            first_syncs=first_syncs,
            troubled=[(one, state_of(one, now)) for one in read.instances if one.shown_state in _TROUBLED],
            freshness=_oldest(read.fresh, read.instances, now),
            first_on=min((one.first_on for one in read.fresh if one.first_on), default=None),
            interval=read.interval,
            notes=[note for note in read.notes if not note.is_history],
            history_notes=[note for note in read.notes if note.is_history],
            reasons=_REASONS,
            currencies=_currencies(answers) if answers else [],
            customers=_count(answers.customers) if answers else None,
            top=_TOP,
        )

    is_small = answers is None or answers.is_small
    return shown() if is_small else await context.answer_workers.run(shown)
