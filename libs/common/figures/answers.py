"""Answers: dated values, with all that has to be said beside them. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

from libs.common.contracts.billing import SUBSCRIPTION_KINDS
from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import divide_half_even, format_micros
from libs.common.figures.catalogue import Group
from libs.common.figures.coverage import Knowledge, Source, knowledge, notes_on, oldest
from libs.common.figures.periods import Interval
from libs.common.figures.reading import Asked, Balance, Key, Reading

NATIVE: Final = "native"

_Value = str | int | None


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


_Formula = Callable[[Balance], _Value]


def _arpa(balance: Balance) -> _Value:
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


def figures_of(reading: Reading) -> list[Figure]:
    """Return the answers, in the order of the questions.

    Money is always grouped by currency, counts when it is asked for.
    A point is the state on the last day of its interval. Days before an instance's first sync are unpublished: without any other
    instance the value is None, `before_first_sync`. After its last applied run the last figure is carried, `carried`, up to today.
    An answer that is split leaves out the points before the first sync at the start of each group. What WHMCS does not let us read is
    None, `not_permitted`, where nothing else is in the group, and is said in `notes` where the total goes without it. Such a series has
    no currency.
    """
    return [
        Figure(
            metric=part.question.metric.slug,
            unit=part.question.metric.unit,
            interval=part.question.interval,
            currency=NATIVE,
            lens=reading.lens,
            as_of=oldest(reading.instances),
            additive=part.question.metric.additive,
            series=_series(part.question, part.balances(), reading.sources, reading.names),
            notes=tuple(
                note.text for note in notes_on(reading.instances, part.question.opens_on, reading.lens)
            )
            if part.question.points
            else (),
        )
        for part in reading.parts
    ]


def _series(
    one: Asked,
    balances: Mapping[Key, Sequence[Balance]],
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

    def series(group: dict[Group, str], values: Sequence[Balance]) -> Series:
        return Series(
            group={name.value: value for name, value in group.items()},
            names={
                name.value: names[name][value]
                for name, value in group.items()
                if value in names.get(name, {})
            },
            points=_points(one, values, knowledge_of(group)),
        )

    nothing = [Balance(0, 0, 0)] * len(one.points)
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


def _unread(one: Asked, sources: Iterable[Source]) -> list[dict[Group, str]]:
    """The groups by kind, or by kind and instance, of which not one source can be read."""
    if Group.KIND not in one.groups:
        return []
    known = [group for group in (Group.KIND, Group.INSTANCE) if group in one.groups]
    behind: dict[Key, list[Source]] = defaultdict(list)
    for source in sources:
        if source.reason != "not_synced":
            names = {Group.KIND: source.kind.value, Group.INSTANCE: str(source.instance_id)}
            behind[tuple(names[group] for group in known)].append(source)
    return [
        dict(zip(known, key, strict=True))
        for key, of_group in sorted(behind.items())
        if all(source.days is None for source in of_group)
    ]


def _points(one: Asked, balances: Sequence[Balance], known: Sequence[Knowledge]) -> tuple[Point, ...]:
    formula = _FORMULAS[one.metric.slug]
    points: list[Point] = []
    for on, balance, there in zip(one.points, balances, known, strict=True):
        if one.is_split and not points and there.reason == _BEFORE:
            continue
        value = formula(balance) if there.is_known else None
        undefined = _UNDEFINED if there.is_known and value is None else None
        points.append(Point(on, value, undefined or there.reason, there.complete))
    return tuple(points)
