"""Brings the movements of customers up to date with their segments, in the transaction that replaces the segments."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.movement_messages import sent_rows
from services.metrics.formulas.movement_updates import (
    Place,
    Segments,
    other_items,
    update_of,
    updated_movements,
)
from services.metrics.formulas.movements import CustomerHistory, Movement, history_in_steps
from services.metrics.repository import movements, movements_to_send
from services.metrics.repository.driver import Connection
from services.metrics.repository.movements import DayKey
from services.metrics.turn import Turn

# A customer may have thousands of segments, so they are read a few customers at a time.
_CUSTOMERS_AT_ONCE: Final = 100
# To compute a customer with fewer segments anew costs less than to find out which of its days change.
LARGE: Final = 1_000


class ChangedSegments(NamedTuple):
    """The segments of some subscriptions as they were stored, and as they are now."""

    before: Segments
    after: Segments

    @property
    def customers(self) -> set[int]:
        """Return the customers of all segments. A subscription that changed its customer concerns both."""
        lines = (*self.before.values(), *self.after.values())
        return {segment.customer_id for line in lines for segment in line}


class _Difference(NamedTuple):
    """The rows of a customer as they are stored, and as they are computed, without those days that stay as they are."""

    stored: CustomerHistory
    computed: CustomerHistory


async def update_movements(database: Connection, key: InstanceKey, customers: Collection[int]) -> None:
    """Store the movements of customers. Equal rows are not written again, so a full recalculation changes no row."""
    ordered = sorted(customers)
    for start in range(0, len(ordered), _CUSTOMERS_AT_ONCE):
        await _store(
            database, key, await _differences(database, key, ordered[start : start + _CUSTOMERS_AT_ONCE])
        )


async def update_changed(
    database: Connection, key: InstanceKey, customers: Collection[int], changed: ChangedSegments
) -> None:
    """Store the movements of customers of whom only these subscriptions changed. Of a large customer, compute only the days that differ."""
    small = set(customers)
    for customer in await movements.find_large(database, key, customers, LARGE):
        difference = await _difference(database, key, customer, changed)
        if difference is not None:
            await _store(database, key, {customer: difference})
            small.discard(customer)
    await update_movements(database, key, small)


async def _differences(
    database: Connection, key: InstanceKey, customers: Sequence[int]
) -> dict[int, _Difference]:
    segments = await movements.read_segments(database, key, customers)
    stored = await movements.read(database, key, customers)
    turn = Turn()
    differences: dict[int, _Difference] = {}
    for customer in customers:
        before, after = stored.get(customer, CustomerHistory()), CustomerHistory()
        for step in history_in_steps(customer, segments.get(customer, {})):
            after = step or after
            await turn.pause()
        if before != after:
            differences[customer] = _Difference(before, after)
    return differences


async def _difference(
    database: Connection, key: InstanceKey, customer: int, changed: ChangedSegments
) -> _Difference | None:
    """Return what differs of a customer of whom only these subscriptions changed; None when all of it must be computed."""
    stored_days = await movements.read_days(database, key, customer)
    update = update_of(customer, stored_days, changed.before, changed.after)
    if update is None or await movements.has_moved(database, key, customer):
        return None
    stored = await movements.read_on(database, key, customer, {place.on for place in update.lives})
    items = other_items(stored, update, changed.after.keys())
    beside = await movements.read_beside(database, key, items)
    turn, computed = Turn(), [row for row in stored if Place(row.lens, row.on) not in update.lives]
    for of_day in updated_movements(customer, update, changed.after, beside):
        computed += of_day
        await turn.pause()
    days = [day for day in stored_days if day.lens in update.lenses]
    return _Difference(
        CustomerHistory(tuple(stored), tuple(days)), CustomerHistory(tuple(computed), tuple(update.days))
    )


async def _store(database: Connection, key: InstanceKey, differences: Mapping[int, _Difference]) -> None:
    """Replace the rows that differ, and let the days be sent whose messages differ."""
    removed, new = {}, {}
    before: dict[DayKey, list[Movement]] = defaultdict(list)
    after: dict[DayKey, list[Movement]] = defaultdict(list)
    for customer, (stored, computed) in differences.items():
        removed[customer] = _without(stored, computed)
        new[customer] = _without(computed, stored)
        changed = {row.on for row in (*removed[customer].movements, *new[customer].movements)}
        _add_days(before, customer, stored.movements, changed)
        _add_days(after, customer, computed.movements, changed)
    if removed:
        await movements.delete(database, key, removed)
        await movements.insert(database, key, new)
        await _let_send(database, key, before, after)


def _without(history: CustomerHistory, other: CustomerHistory) -> CustomerHistory:
    movements, days = set(other.movements), set(other.days)
    return CustomerHistory(
        tuple(row for row in history.movements if row not in movements),
        tuple(day for day in history.days if day not in days),
    )


def _add_days(
    days: dict[DayKey, list[Movement]], customer: int, rows: Iterable[Movement], on: Collection[date]
) -> None:
    for row in rows:
        if row.on in on:
            days[DayKey(customer, row.on)].append(row)


async def _let_send(
    database: Connection,
    key: InstanceKey,
    before: Mapping[DayKey, Sequence[Movement]],
    after: Mapping[DayKey, Sequence[Movement]],
) -> None:
    """Let the days be sent whose messages differ."""
    changed = sorted(before.keys() | after.keys())
    old = {at: sent_rows(before.get(at, ())) for at in changed}
    new = {at: sent_rows(after.get(at, ())) for at in changed}
    await movements_to_send.add(database, key, [at for at in changed if old[at] != new[at]])
    await movements_to_send.discard_unknown(database, key, [at for at in changed if old[at] and not new[at]])
