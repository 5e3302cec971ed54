"""Computing the days that changed subscriptions touch gives the history that all subscriptions give."""

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.movements import MovementKind
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.movement_updates import (
    Beside,
    ItemDay,
    Place,
    Update,
    other_items,
    update_of,
    updated_movements,
)
from services.metrics.formulas.movements import CustomerHistory
from tests.unit.metrics.lives import Company, companies, day, history, segment

ITEM, OTHER = Subscription("service", 1), Subscription("service", 2)


def beside(company: Company, item: ItemDay) -> Beside:
    """Return what is stored of a subscription around a day."""
    line = [part for part in company[Subscription(item.kind, item.id)] if part.lens == item.lens]
    last = max((part for part in line if part.from_on < item.on), key=lambda part: part.from_on, default=None)
    return Beside(last, next((part for part in line if part.from_on == item.on), None))


def updated(before: Company, after: Company, changed: set[Subscription]) -> CustomerHistory | None:
    """Return the history of customer 1 after some subscriptions changed, computed from the one before; None if something moved."""
    stored = history(before)
    old, new = ({item: company.get(item, ()) for item in changed} for company in (before, after))
    if any(row.movement is MovementKind.MOVED for row in stored.movements):
        return None
    update = update_of(1, stored.days, old, new)
    return None if update is None else merged(stored, update, after, changed)


def merged(
    stored: CustomerHistory, update: Update, after: Company, changed: set[Subscription]
) -> CustomerHistory:
    items = other_items(stored.movements, update, changed)
    new = {item: after.get(item, ()) for item in changed}
    rows = updated_movements(1, update, new, {item: beside(after, item) for item in items})
    kept = [row for row in stored.movements if Place(row.lens, row.on) not in update.lives]
    movements = [*kept, *(row for of_day in rows for row in of_day)]
    days = [*(day for day in stored.days if day.lens not in update.lenses), *update.days]
    return CustomerHistory(
        tuple(sorted(movements, key=lambda row: (row.lens, row.on, row.number))),
        tuple(sorted(days, key=lambda row: (row.lens, row.currency, row.on))),
    )


@settings(max_examples=500, deadline=None)
@given(companies(), companies(), st.integers(1, 2))
def test_update_gives_the_whole_history(before: Company, drawn: Company, count: int) -> None:
    changed = set(list(drawn)[:count])
    after = {**before, **{item: drawn[item] for item in changed}}

    result = updated(before, after, changed)

    assert result is None or result == history(after)


@settings(max_examples=500, deadline=None)
@given(companies(can_move=False), companies(can_move=False), st.integers(1, 2))
def test_update_needs_no_whole_history_without_moves(before: Company, drawn: Company, count: int) -> None:
    changed = set(list(drawn)[:count])
    after = {**before, **{item: drawn[item] for item in changed}}

    assert updated(before, after, changed) == history(after)


def test_later_days_that_stay_as_they_are_are_not_computed() -> None:
    before = {ITEM: (segment(0, 9, 10),), OTHER: (segment(1, 5, 7), segment(5, 20, 8), segment(20, None, 3))}
    after = {**before, ITEM: (segment(0, 9, 12),)}

    update = update_of(1, history(before).days, {ITEM: before[ITEM]}, {ITEM: after[ITEM]})

    assert update is not None
    assert [place.on for place in update.lives] == [day(0), day(9)]
