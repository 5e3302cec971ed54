"""Figures: questions of the catalogue in, dated values out, with all that has to be said beside them."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from typing import Any, Final, Literal
from uuid import UUID

from libs.common.contracts.billing import SUBSCRIPTION_KINDS
from libs.common.contracts.catalog import BY_SLUG, Group, Lens, Metric
from libs.common.contracts.money import divide_half_even, format_micros
from libs.common.database import raw, transaction
from services.gateway.context import Context
from services.gateway.coverage import (
    Freshness,
    Knowledge,
    Source,
    knowledge,
    newest_day,
    notes_on,
    oldest,
    sources_of,
)
from services.gateway.errors import Invalid, NotFound
from services.gateway.periods import Interval, points_of
from services.gateway.principals import Principal
from services.gateway.queries import (
    Known,
    Row,
    Stretch,
    count_groups,
    group_of,
    read_balances,
    read_customers,
    read_freshness,
    read_names,
)

NATIVE: Final = "native"
MOST_VALUES: Final = 50_000
# So many values take about 20 ms to compute: a thread would cost more than it saves.
SMALL: Final = 2_000

_Value = str | int | None
_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One metric over the days [start, end], split by groups."""

    slug: str
    start: date
    end: date
    interval: Interval = Interval.DAY
    group_by: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A value on a day: money as a decimal string, a count as an integer, None with its `reason`.

    `reason` beside a value is `carried`: it is that of an earlier day, because nothing newer is known. `complete`: it changes no more.
    """

    on: date
    value: str | int | None
    reason: str | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one group. `names` are for people: those of its product and its instance, by group."""

    group: dict[str, str]
    names: dict[str, str]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """The answer to a question. `additive`: the groups' values sum to the total."""

    metric: str
    unit: Literal["money", "count"]
    interval: Interval
    currency: str
    lens: Lens
    as_of: datetime | None
    additive: bool
    series: tuple[Series, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Balance:
    mrr_micros: int
    subscriptions: int
    customers: int


_Formula = Callable[[_Balance], _Value]


def _arpa(balance: _Balance) -> _Value:
    if balance.customers == 0:
        return None
    return format_micros(divide_half_even(balance.mrr_micros, balance.customers))


# The formula of each metric of the catalogue, on what is live on a day. Only ARPA can be undefined.
_FORMULAS: Final[Mapping[str, _Formula]] = {
    "mrr": lambda balance: format_micros(balance.mrr_micros),
    "arr": lambda balance: format_micros(12 * balance.mrr_micros),
    "customers": lambda balance: balance.customers,
    "subscriptions": lambda balance: balance.subscriptions,
    "arpa": _arpa,
}
_UNDEFINED: Final = "no_customers"
_BEFORE: Final = "before_first_sync"
_KINDS: Final = frozenset(SUBSCRIPTION_KINDS)
_MEASURES: Final = ("mrr_micros", "subscriptions", "customers")
_NEED_CUSTOMERS: Final = frozenset({"customers", "arpa"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question made exact: its days, and the groups that its answer is in. `is_split`: somebody asked for groups.

    `opens_on` is the first day of the whole range; a split answer leaves out what no group knows at its start.
    """

    metric: Metric
    interval: Interval
    opens_on: date
    points: tuple[date, ...]
    groups: tuple[Group, ...]
    is_split: bool


class _Changes:
    """By how much the balances of each group of a question differ from point to point."""

    def __init__(self, question: _Asked) -> None:
        self.question = question
        self._of: dict[_Key, dict[str, list[int]]] = {}
        if not question.groups:
            self._add(())

    @property
    def values(self) -> int:
        """Count the values of the answer."""
        return len(self._of) * len(self.question.points)

    def add(self, rows: Iterable[Row], *measures: str) -> None:
        """Add rows of `read_balances` or `read_customers`; Invalid as soon as the groups are too many."""
        for row in rows:
            key = tuple(group_of(row, group) for group in self.question.groups)
            of_group = self._of.get(key) or self._add(key)
            for name in measures:
                of_group[name][row["point"]] += int(row[name])

    def balances(self) -> dict[_Key, list[_Balance]]:
        """Return the balances of each group on each point."""
        return {
            key: [
                _Balance(*values)
                for values in zip(*(accumulate(of_group[name]) for name in _MEASURES), strict=True)
            ]
            for key, of_group in self._of.items()
        }

    def _add(self, key: _Key) -> dict[str, list[int]]:
        points = len(self.question.points)
        _refuse_too_large(points, len(self._of) + 1)
        self._of[key] = {name: [0] * points for name in _MEASURES}
        return self._of[key]


async def figure(
    context: Context,
    principal: Principal,
    slug: str,
    *,
    start: date,
    end: date,
    interval: Interval,
    group_by: Sequence[Group],
    currency: str,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> Figure:
    """The answer to one question; see `figures`."""
    question = Question(slug, start, end, interval, tuple(group_by))
    [answer] = await figures(
        context, principal, [question], currency=currency, lens=lens, instance_ids=instance_ids
    )
    return answer


async def figures(
    context: Context,
    principal: Principal,
    questions: Sequence[Question],
    *,
    currency: str,
    lens: Lens,
    instance_ids: Sequence[UUID],
) -> list[Figure]:
    """The answers, in the order of the questions, from one transaction; no `instance_ids` means all of the organization.

    Currency `native` keeps each subscription's own: money is always grouped by it, counts when it is asked for.
    A point is the state on the last day of its interval. Days before an instance's first sync are unpublished: without any other
    instance the value is None, `before_first_sync`. After its last applied run the last figure is carried, `carried`, up to today.
    An answer that is split leaves out the points before the first sync at the start of each group. What WHMCS does not let us read is
    None, `not_permitted`, where nothing else is in the group, and is said in `notes` where the total goes without it. Such a series has
    no currency.

    Raises NotFound for an unknown metric or instance, Invalid for a currency other than native, a range that is not allowed, or an
    answer of more than MOST_VALUES values.
    """
    if currency != NATIVE:
        raise Invalid(
            "currency_unknown", "Figures are in their own currency for now: use currency=native.", "currency"
        )
    # What is known of which days, and the figures of these days, are of one moment: a run may be applied between two statements.
    async with (
        context.reading,
        transaction(context.engine, principal.organization_id, is_snapshot=True) as connection,
    ):
        database = await raw(connection)
        instances = _chosen(await read_freshness(database), instance_ids)
        newest = newest_day(instances, context.clock())
        sources = sources_of(instances, lens)
        asked = [_exact(question, newest, sources) for question in questions]
        changes = await _changes(database, asked, sources, lens)
        names = await _names(database, asked, instances, lens)

    def answers() -> list[Figure]:
        return [
            Figure(
                metric=question.metric.slug,
                unit=question.metric.unit,
                interval=question.interval,
                currency=currency,
                lens=lens,
                as_of=oldest(instances),
                additive=question.metric.additive,
                series=_series(question, part.balances(), sources, names),
                notes=tuple(note.text for note in notes_on(instances, question.opens_on, lens))
                if question.points
                else (),
            )
            for question, part in zip(asked, changes, strict=True)
        ]

    is_small = sum(part.values for part in changes) <= SMALL
    return answers() if is_small else await context.answer_workers.run(answers)


async def freshness(context: Context, principal: Principal, instance_ids: Sequence[UUID]) -> list[Freshness]:
    """How far the figures of the chosen instances reach; of all but drafts when none is chosen. NotFound for an unknown one."""
    async with (
        context.reading,
        transaction(context.engine, principal.organization_id, is_snapshot=True) as connection,
    ):
        return _chosen(await read_freshness(await raw(connection)), instance_ids)


def _chosen(known: Iterable[Known], instance_ids: Sequence[UUID]) -> list[Freshness]:
    found, chosen = {one.freshness.instance_id: one for one in known}, set(instance_ids)
    if not found.keys() >= chosen:
        raise NotFound(
            "instance_not_found",
            "There is no such instance here. Choose one from the list.",
            "filter[instance]",
        )
    return [
        one.freshness
        for one in found.values()
        if (one.freshness.instance_id in chosen if chosen else not one.is_draft)
    ]


def _exact(question: Question, newest: date, sources: Sequence[Source]) -> _Asked:
    metric = BY_SLUG.get(question.slug)
    if metric is None:
        raise NotFound(
            "metric_unknown", f"There is no metric {question.slug:.40}. Choose one of {', '.join(BY_SLUG)}."
        )
    groups = dict.fromkeys(question.group_by)
    is_split = bool(groups)
    if metric.unit == "money":
        groups[Group.CURRENCY] = None
    points = points_of(question.start, question.end, newest, question.interval)
    first_on = min((source.days.first_on for source in sources if source.days), default=None)
    written = points
    if is_split and first_on is not None:
        written = points[bisect_left(points, first_on) :]
    return _Asked(
        metric, question.interval, min(points, default=question.start), written, tuple(groups), is_split
    )


async def _changes(
    database: Any, asked: Sequence[_Asked], sources: Sequence[Source], lens: Lens
) -> list[_Changes]:
    """Read what each question needs. Questions about the same days share a statement."""
    parts = [_Changes(question) for question in asked]
    of_days: dict[tuple[date, ...], list[_Changes]] = defaultdict(list)
    of_customers: dict[tuple[tuple[date, ...], tuple[Group, ...]], list[_Changes]] = defaultdict(list)
    for part in parts:
        await _check_size(database, part.question, sources, lens)
        of_days[part.question.points].append(part)
        if part.question.metric.slug in _NEED_CUSTOMERS:
            of_customers[part.question.points, part.question.groups].append(part)
    for points, same in of_days.items():
        groups = dict.fromkeys(group for part in same for group in part.question.groups)
        async for rows in read_balances(database, _stretches(sources, points), lens, points, groups):
            for part in same:
                part.add(rows, "mrr_micros", "subscriptions")
    for (points, split), same in of_customers.items():
        async for rows in read_customers(database, _stretches(sources, points), lens, points, split):
            for part in same:
                part.add(rows, "customers")
    return parts


async def _check_size(database: Any, question: _Asked, sources: Sequence[Source], lens: Lens) -> None:
    """Refuse an answer that is too large before anything of it is read.

    On a single day there are as many values as groups, which are cheaper to read than to count first.
    """
    if question.groups and len(question.points) > 1:
        stretches = _stretches(sources, question.points)
        groups = await count_groups(database, stretches, lens, question.groups, MOST_VALUES + 1)
        _refuse_too_large(len(question.points), groups)


def _refuse_too_large(points: int, groups: int) -> None:
    """Raise Invalid, with the numbers and what to do, when so many points of so many groups are too many values."""
    if points * groups > MOST_VALUES:
        number = f"{groups:,}" if groups <= MOST_VALUES else f"more than {MOST_VALUES:,}"
        raise Invalid(
            "answer_too_large",
            f"An answer has at most {MOST_VALUES:,} values. This would be {points:,} point{'s' if points > 1 else ''} x {number} groups. "
            "Choose a longer interval, a shorter range, fewer groups, or one instance.",
            "group_by",
        )


def _stretches(sources: Iterable[Source], points: Sequence[date]) -> list[Stretch]:
    """What to read for these points: from the first one that a source is known on, to the last one."""
    stretches = []
    for source in sources:
        if points and source.days is not None and source.days.first_on <= points[-1]:
            last = min(source.days.last_on, points[-1])
            opens = max(source.days.first_on, min(points[0], last))
            stretches.append(
                Stretch(source.instance_id, source.kind, opens, last, bisect_left(points, opens))
            )
    return stretches


async def _names(
    database: Any, asked: Iterable[_Asked], instances: Iterable[Freshness], lens: Lens
) -> dict[Group, dict[str, str]]:
    names = {Group.INSTANCE: {str(one.instance_id): one.name for one in instances}}
    if any(Group.PRODUCT in one.groups for one in asked):
        names[Group.PRODUCT] = await read_names(database, lens)
    return names


def _series(
    one: _Asked,
    balances: Mapping[_Key, Sequence[_Balance]],
    sources: Sequence[Source],
    names: Mapping[Group, Mapping[str, str]],
) -> tuple[Series, ...]:
    if not one.points:
        return ()
    known: dict[tuple[str | None, ...], list[Knowledge]] = {}

    def knowledge_of(group: Mapping[Group, str]) -> list[Knowledge]:
        part = _part(group)
        if part not in known:
            behind = [source for source in sources if _is_behind(source, *part)]
            known[part] = [knowledge(behind, on) for on in one.points]
        return known[part]

    def series(group: dict[Group, str], values: Sequence[_Balance]) -> Series:
        return Series(
            group={name.value: value for name, value in group.items()},
            names={
                name.value: names[name][value]
                for name, value in group.items()
                if value in names.get(name, {})
            },
            points=_points(one, values, knowledge_of(group)),
        )

    nothing = [_Balance(0, 0, 0)] * len(one.points)
    read = [series(dict(zip(one.groups, key, strict=True)), balances[key]) for key in sorted(balances)]
    return (*read, *(series(group, nothing) for group in _unread(one, sources)))


def _part(group: Mapping[Group, str]) -> tuple[str | None, str | None, str | None]:
    """Return kind, instance and the beginning of the product of a group: many groups share what is known of them."""
    product = group.get(Group.PRODUCT)
    if product is not None:
        # `domain:com` is of all instances, `<instance>:service:1` of one.
        first, _, rest = product.partition(":")
        product = first if first in _KINDS else f"{first}:{rest.partition(':')[0]}"
    return group.get(Group.KIND), group.get(Group.INSTANCE), product


def _is_behind(source: Source, kind: str | None, instance_id: str | None, product: str | None) -> bool:
    """Return whether the figures of a part are summed over this source."""
    return (
        kind in (None, source.kind)
        and instance_id in (None, str(source.instance_id))
        and product in (None, source.kind, f"{source.instance_id}:{source.kind}")
    )


def _unread(one: _Asked, sources: Iterable[Source]) -> list[dict[Group, str]]:
    """The groups by kind, or by kind and instance, of which not one source can be read."""
    if Group.KIND not in one.groups:
        return []
    known = [group for group in (Group.KIND, Group.INSTANCE) if group in one.groups]
    behind: dict[_Key, list[Source]] = defaultdict(list)
    for source in sources:
        if source.reason != "not_synced":
            names = {Group.KIND: source.kind.value, Group.INSTANCE: str(source.instance_id)}
            behind[tuple(names[group] for group in known)].append(source)
    return [
        dict(zip(known, key, strict=True))
        for key, of_group in sorted(behind.items())
        if all(source.days is None for source in of_group)
    ]


def _points(one: _Asked, balances: Sequence[_Balance], known: Sequence[Knowledge]) -> tuple[Point, ...]:
    formula = _FORMULAS[one.metric.slug]
    points: list[Point] = []
    for on, balance, there in zip(one.points, balances, known, strict=True):
        if one.is_split and not points and there.reason == _BEFORE:
            continue
        value = formula(balance) if there.is_known else None
        undefined = _UNDEFINED if there.is_known and value is None else None
        points.append(Point(on, value, undefined or there.reason, there.complete))
    return tuple(points)
