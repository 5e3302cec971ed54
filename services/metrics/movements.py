"""Brings the movements of customers up to date with their segments, in the transaction that replaces the segments."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.movement_messages import sent_rows
from services.metrics.formulas.movements import CustomerDay, CustomerHistory, Movement, history_of
from services.metrics.repository import movements, movements_to_send
from services.metrics.repository.driver import Connection
from services.metrics.repository.movements import Day, DayKey

# A customer may have thousands of segments, so they are read a few customers at a time.
_CUSTOMERS_AT_ONCE: Final = 100

_EMPTY: Final = Day((), ())


class _Change(NamedTuple):
    """A day of a customer as it is stored, and as it is computed."""

    before: Day
    after: Day


async def update_movements(database: Connection, key: InstanceKey, customers: Collection[int]) -> None:
    """Store the movements of customers. Equal days are not written again, so a full recalculation changes no row."""
    ordered = sorted(customers)
    for start in range(0, len(ordered), _CUSTOMERS_AT_ONCE):
        await _update(database, key, ordered[start : start + _CUSTOMERS_AT_ONCE])


async def _update(database: Connection, key: InstanceKey, customers: Sequence[int]) -> None:
    segments = await movements.read_segments(database, key, customers)
    stored = await movements.read(database, key, customers)
    changes: dict[DayKey, _Change] = {}
    for customer in customers:
        history = history_of(customer, segments.get(customer, {}))
        changes |= _changes(customer, stored.get(customer, CustomerHistory()), history)
        await asyncio.sleep(0)  # let the other tasks of the loop run
    if changes:
        await movements.delete(
            database, key, [at for at, change in changes.items() if change.before != _EMPTY]
        )
        await movements.insert(database, key, {at: change.after for at, change in changes.items()})
        await _let_send(database, key, changes)


async def _let_send(database: Connection, key: InstanceKey, changes: Mapping[DayKey, _Change]) -> None:
    """Let the days be sent whose messages differ."""
    before = {at: sent_rows(change.before.movements) for at, change in changes.items()}
    after = {at: sent_rows(change.after.movements) for at, change in changes.items()}
    await movements_to_send.add(database, key, [at for at in changes if before[at] != after[at]])
    await movements_to_send.discard_unknown(
        database, key, [at for at in changes if before[at] and not after[at]]
    )


def _changes(customer: int, stored: CustomerHistory, computed: CustomerHistory) -> dict[DayKey, _Change]:
    """Return the days of a customer that differ."""
    if stored == computed:
        return {}
    before, after = _by_day(customer, stored), _by_day(customer, computed)
    return {
        at: _Change(before.get(at, _EMPTY), after.get(at, _EMPTY))
        for at in sorted(before.keys() | after.keys())
        if before.get(at) != after.get(at)
    }


def _by_day(customer: int, history: CustomerHistory) -> dict[DayKey, Day]:
    movements_of: dict[DayKey, list[Movement]] = defaultdict(list)
    for movement in history.movements:
        movements_of[DayKey(customer, movement.on)].append(movement)
    days_of: dict[DayKey, list[CustomerDay]] = defaultdict(list)
    for day in history.days:
        days_of[DayKey(customer, day.on)].append(day)
    return {
        at: Day(tuple(movements_of[at]), tuple(days_of[at])) for at in movements_of.keys() | days_of.keys()
    }
