"""Which rows of a customer's history change with some of its subscriptions, without a look at all the others.

A customer may have thousands of subscriptions. The movements of a day follow from the changes of that day, and from whether the customer
was there before and after it. So only two kinds of days are computed again: those on which the changed subscriptions change otherwise than
before, and those on which the customer now comes, goes or stays otherwise. The stored days of the customer tell which these are.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from libs.common.contracts.lenses import Lens
from services.metrics.formulas.accounts import accounts_of, is_move
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.item_changes import Change, changes_by_day, concerns
from services.metrics.formulas.movements import (
    CustomerDay,
    DayChange,
    Life,
    Movement,
    days_of,
    movements_of_day,
)
from services.metrics.formulas.timeline import Segment

# The segments of changed subscriptions.
Segments = Mapping[Subscription, Sequence[Segment]]
# By how many micros the MRR of a customer changes, by day and currency.
_Amounts = dict[date, dict[str, int]]


class Place(NamedTuple):
    """A day of a lens."""

    lens: Lens
    on: date


class ItemDay(NamedTuple):
    """A day of a subscription in a lens."""

    kind: str
    id: int
    lens: Lens
    on: date


class Beside(NamedTuple):
    """The last segment of a subscription that began before a day, and the one that begins on it; None where there is none."""

    last: Segment | None = None
    begins: Segment | None = None


class Update(NamedTuple):
    """All days of a customer in the lenses that change, and its life before each day that is computed again."""

    lenses: Collection[Lens]
    days: Sequence[CustomerDay]
    lives: Mapping[Place, Life]


class _State(NamedTuple):
    """What decides the kinds of the movements of a day, besides its changes."""

    was_there: bool
    is_there: bool
    has_counted: bool
    left_on: date | None


def update_of(
    customer_id: int, stored: Iterable[CustomerDay], before: Segments, after: Segments
) -> Update | None:
    """Return what changes with the segments of some subscriptions; None when one of them moves between customers or currencies.

    `stored` are all days of the customer. None of its subscriptions ever moved: then it may have been there on a day that no stored day
    tells.
    """
    old, new = changes_by_day(before, customer_id), changes_by_day(after, customer_id)
    if any(map(_is_move, [*_all_changes(old), *_all_changes(new)])):
        return None
    amounts: dict[Lens, _Amounts] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    for day in stored:
        amounts[day.lens][day.on][day.currency] = day.after_micros - day.before_micros
    days: list[CustomerDay] = []
    lives: dict[Place, Life] = {}
    for lens in sorted(old.keys() | new.keys()):
        of_old, of_new = old.get(lens, {}), new.get(lens, {})
        touched = {on for on in of_old.keys() | of_new.keys() if of_old.get(on) != of_new.get(on)}
        states = {on: state for on, _, state in _lives(amounts[lens], touched)}
        _add(amounts[lens], of_old, -1)
        _add(amounts[lens], of_new, 1)
        for on, life, state in _lives(amounts[lens], touched):
            if on in touched or state != states.get(on):
                lives[Place(lens, on)] = life
        days += days_of(lens, _day_changes(amounts[lens]))
    return Update(old.keys() | new.keys(), days, lives)


def _all_changes(by_lens: Mapping[Lens, Mapping[date, Sequence[Change]]]) -> Iterator[Change]:
    for by_day in by_lens.values():
        for changes in by_day.values():
            yield from changes


def _is_move(change: Change) -> bool:
    return change.before is not None and change.after is not None and is_move(change.before, change.after)


def _add(amounts: _Amounts, by_day: Mapping[date, Sequence[Change]], sign: int) -> None:
    for on, changes in by_day.items():
        for change in changes:
            gained = change.after.mrr_micros if change.after else 0
            lost = change.before.mrr_micros if change.before else 0
            amounts[on][change.newest.currency] += sign * (gained - lost)


def _lives(amounts: _Amounts, touched: Collection[date]) -> Iterator[tuple[date, Life, _State]]:
    """Yield the life of the customer before each day, and what it decides on that day, in order."""
    life = Life()
    for on in sorted({*amounts, *touched}):
        before, was_there = life.copy(), life.is_there
        for currency, amount in amounts.get(on, {}).items():
            life.balances[currency] += amount
        yield on, before, _State(was_there, life.is_there, before.has_counted, before.left_on)
        life.end_day(on, was_there=was_there)


def _day_changes(amounts: _Amounts) -> Iterator[DayChange]:
    balances: dict[str, int] = defaultdict(int)
    for on in sorted(amounts):
        for currency, amount in amounts[on].items():
            if amount:
                yield DayChange(on, currency, balances[currency], balances[currency] + amount)
                balances[currency] += amount


def other_items(
    stored: Iterable[Movement], update: Update, changed: Collection[Subscription]
) -> list[ItemDay]:
    """Return the other subscriptions that change on the days that are computed again, as the stored movements of these days tell.

    A change without a movement has no effect on the movements of other subscriptions.
    """
    items = (ItemDay(row.kind, row.id, row.lens, row.on) for row in stored)
    return [
        item
        for item in dict.fromkeys(items)
        if Place(item.lens, item.on) in update.lives and Subscription(item.kind, item.id) not in changed
    ]


def updated_movements(
    customer_id: int, update: Update, after: Segments, others: Mapping[ItemDay, Beside]
) -> Iterator[list[Movement]]:
    """Yield the movements of each day that is computed again."""
    of_changed = changes_by_day(after, customer_id)
    of_others: dict[Place, list[Change]] = defaultdict(list)
    for item, beside in others.items():
        change = _change(Subscription(item.kind, item.id), item.on, beside)
        if change is not None and concerns(change, customer_id):
            of_others[Place(item.lens, item.on)].append(change)
    for place, life in update.lives.items():
        changes = [*of_others[place], *of_changed.get(place.lens, {}).get(place.on, ())]
        changes.sort(key=lambda change: change.item)
        accounts = accounts_of(changes, customer_id, life.balances)
        yield list(movements_of_day(place.lens, place.on, accounts, life))


def _change(item: Subscription, on: date, beside: Beside) -> Change | None:
    """Return the change of a subscription on a day; None when it has none."""
    last, begins = beside
    ends = last if last is not None and last.to_on == on else None
    if begins is not None:
        return Change(item, ends, begins, begins, None if ends else last)
    return None if ends is None else Change(item, ends, None, ends)
