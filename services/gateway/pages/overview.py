"""The overview: MRR and what it is made of, each currency for itself."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from libs.common.contracts.catalog import BY_SLUG, Group, Lens
from services.gateway import instances as instances_of
from services.gateway import syncs
from services.gateway.auth import Principal, signed_in
from services.gateway.context import Context, Here
from services.gateway.coverage import Freshness
from services.gateway.errors import Invalid, NotFound
from services.gateway.figures import NATIVE, Figure, Question, Series, figures, freshness
from services.gateway.instances import Instance
from services.gateway.pages.rendering import age_level, as_of, identifier, page
from services.gateway.periods import Interval
from services.gateway.syncs import Sync

router = APIRouter()

_TOP = 8
_CHART_POINTS = 400
_KINDS = {"service": "Services", "addon": "Addons", "domain": "Domains"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a split. `value` is a decimal string, None with `reason`; `share` is 0 to 100 of the largest."""

    name: str
    value: str | None
    reason: str | None
    share: int


@dataclass(frozen=True, slots=True)
class Currency:
    """The figures of one currency on the newest day. Values are decimal strings, counts integers."""

    code: str
    values: dict[str, str | int | None]
    kinds: tuple[Row, ...]
    products: tuple[Row, ...]
    cycles: tuple[Row, ...]
    history: tuple[tuple[date, str | None, bool], ...]
    chart: str
    notes: tuple[str, ...]


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

    @property
    def chart(self) -> str:
        """The address of the line in the public API."""
        query = {
            "start": self.start,
            "end": self.end,
            "interval": self.interval.value,
            "group_by": "currency",
            "currency": NATIVE,
            "lens": self.lens.value,
        }
        chosen = [("filter[instance]", str(one)) for one in self.instance_ids]
        return f"/api/v1/metrics/mrr?{urlencode([*query.items(), *chosen])}"


def _newest(answer: Figure, currency: str | None) -> str | int | None:
    values = [
        series.points[-1].value
        for series in answer.series
        if series.points and (currency is None or series.group.get("currency") == currency)
    ]
    return values[0] if values else None


def _rows(answer: Figure, group: Group, currency: str) -> tuple[Row, ...]:
    found = [
        (_name(series, group), series.points[-1].value, series.points[-1].reason)
        for series in answer.series
        if series.points and series.group.get("currency", currency) == currency
    ]
    sized = [(abs(Decimal(value or 0)), name, value, reason) for name, value, reason in found]
    largest = max((size for size, *_ in sized), default=Decimal()) or Decimal(1)
    return tuple(
        Row(name, None if value is None else str(value), reason, round(100 * size / largest))
        for size, name, value, reason in sorted(sized, key=lambda row: (-row[0], row[1]))
    )


def _name(series: Series, group: Group) -> str:
    key = series.group[group.value]
    if group is Group.CYCLE and key.startswith("years_"):
        number = key.removeprefix("years_")
        return f"{number} year{'' if number == '1' else 's'}"
    text = key.rpartition(":")[2].replace("_", " ")
    return _KINDS.get(key) or series.names.get(group.value) or text[:1].upper() + text[1:]


async def _currencies(
    context: Context, principal: Principal, chosen: _Selection
) -> tuple[list[Currency], int | None]:
    def newest(slug: str, *group_by: Group) -> Question:
        return Question(slug, chosen.end, chosen.end, Interval.DAY, group_by)

    history, kinds, products, cycles, all_customers, *totals = await figures(
        context,
        principal,
        [
            Question("mrr", chosen.start, chosen.end, chosen.interval, (Group.CURRENCY,)),
            *(newest("mrr", group, Group.CURRENCY) for group in (Group.KIND, Group.PRODUCT, Group.CYCLE)),
            newest("customers"),
            *(newest(slug, Group.CURRENCY) for slug in BY_SLUG),
        ],
        currency=NATIVE,
        lens=chosen.lens,
        instance_ids=chosen.instance_ids,
    )
    customers = _newest(all_customers, None)
    points = {series.group["currency"]: series.points for series in history.series}
    shown = [
        Currency(
            code=code,
            values={answer.metric: _newest(answer, code) for answer in totals},
            kinds=_rows(kinds, Group.KIND, code),
            products=_rows(products, Group.PRODUCT, code),
            cycles=_rows(cycles, Group.CYCLE, code),
            history=tuple((point.on, _text(point.value), point.complete) for point in points[code]),
            chart=chosen.chart,
            notes=kinds.notes,
        )
        for code in sorted(points)
    ]
    return shown, customers if isinstance(customers, int) else None


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


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


async def _first_runs(context: Context, principal: Principal, instances: list[Instance]) -> list[Sync]:
    """The runs on their way of instances that have no finished one yet."""
    found: list[Sync] = []
    for instance in instances:
        if instance.as_of is None:
            history = await syncs.list_syncs(context, principal, instance.id)
            found += [sync for sync in history if _is_on_its_way(sync)][:1]
    return found


def _oldest(fresh: list[Freshness], instances: list[Instance], now: datetime) -> tuple[str, str] | None:
    """The text and level of the least fresh instance: the figures are no newer than that."""
    zones = {instance.id: instance.time_zone for instance in instances}
    known = [(one.as_of, zones.get(one.instance_id)) for one in fresh if one.as_of is not None]
    if not known:
        return None
    moment, zone = min(known, key=lambda pair: pair[0])
    return as_of(moment, zone, now), age_level(moment, now)


@router.get("/")
async def overview(
    request: Request,
    context: Here,
    principal: Annotated[Principal, Depends(signed_in("metrics:read"))],
    lens: str = Lens.CONTRACT,
    instance: str = "",
) -> HTMLResponse:
    """Everything of the newest day; the address carries the lens and the instance."""
    chosen_lens = _lens(lens)
    instances = [one for one in await instances_of.list_instances(context, principal) if one.state != "draft"]
    chosen = _chosen(instance, instances)
    fresh = await freshness(context, principal, chosen)
    days = [(one.first_on, one.last_on) for one in fresh if one.first_on and one.last_on]
    currencies: list[Currency] = []
    customers: int | None = None
    if days:
        selection = _Selection(chosen_lens, chosen, min(day[0] for day in days), max(day[1] for day in days))
        currencies, customers = await _currencies(context, principal, selection)
    return page(
        request,
        "overview.html",
        principal=principal,
        instances=instances,
        instance_id=instance,
        lens=chosen_lens,
        lenses=list(Lens),
        runs=await _first_runs(context, principal, instances),
        attention=[one for one in instances if one.attention],
        freshness=_oldest(fresh, instances, context.clock()),
        first_on=min((day[0] for day in days), default=None),
        currencies=currencies,
        customers=customers,
        top=_TOP,
    )
