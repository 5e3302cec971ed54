"""Movements and days of change of customers."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple, TypeVar

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.movements import MovementKind
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.movement_updates import Beside, ItemDay
from services.metrics.formulas.movements import CustomerDay, CustomerHistory, Movement
from services.metrics.formulas.timeline import Segment
from services.metrics.repository.driver import Connection, column_types, columns, unnest
from services.metrics.turn import Turn


class DayKey(NamedTuple):
    """A customer and a day."""

    customer_id: int
    on: date


class _RowKey(NamedTuple):
    """What the keys of movements and of days of change have in common."""

    customer_id: int
    on: date
    lens: str


_ROWS_AT_ONCE: Final = 500
_ROWS_OF_STATEMENT: Final = 10_000
_Item = TypeVar("_Item")

_ROW: Final = column_types(_RowKey)
_SEGMENT: Final = column_types(Segment)
_MOVEMENT: Final = column_types(Movement)
_CUSTOMER_DAY: Final = column_types(CustomerDay)


def _quoted(names: Mapping[str, str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


# First the subscriptions of each customer by the index by customer, then all their segments by primary key: those of their other customers
# too, because they say where MRR came from. OFFSET 0 keeps the look-ups, as in marks.py.
_READ_SEGMENTS: Final = f"""
SELECT owned.of_customer, s.* FROM (
    SELECT DISTINCT c AS of_customer, o.kind, o.id FROM unnest($3::bigint[]) AS t (c) CROSS JOIN LATERAL (
        SELECT kind, id FROM metrics.segments
        WHERE organization_id = $1 AND instance_id = $2 AND customer_id = c OFFSET 0) o) owned
CROSS JOIN LATERAL (
    SELECT kind, id, {", ".join(_SEGMENT)} FROM metrics.segments
    WHERE organization_id = $1 AND instance_id = $2 AND kind = owned.kind AND id = owned.id OFFSET 0) s"""

_READ: Final = """
SELECT customer_id, {columns} FROM metrics.{table}
WHERE organization_id = $1 AND instance_id = $2 AND customer_id = ANY ($3::bigint[]) ORDER BY {order}"""
_READ_MOVEMENTS: Final = _READ.format(
    columns=_quoted(_MOVEMENT), table="movements", order='lens, "on", number'
)
_READ_DAYS: Final = _READ.format(
    columns=_quoted(_CUSTOMER_DAY), table="customer_days", order='lens, currency, "on"'
)

# A join would read the whole table for each batch while the planner has no statistics of it.
_DELETE: Final = """
DELETE FROM metrics.{table} WHERE ctid = ANY (ARRAY(
    SELECT s.ctid FROM {rows} CROSS JOIN LATERAL (
        SELECT ctid FROM metrics.{table}
        WHERE organization_id = $1 AND instance_id = $2 AND customer_id = t.customer_id AND "on" = t."on" AND lens = t.lens
            AND {detail} = t.{detail} OFFSET 0) s))"""
_NUMBERED: Final = _ROW | {"number": "bigint"}
_IN_CURRENCY: Final = _ROW | {"currency": "text"}
_DELETE_MOVEMENTS: Final = _DELETE.format(table="movements", rows=unnest(_NUMBERED, 3), detail="number")
_DELETE_DAYS: Final = _DELETE.format(table="customer_days", rows=unnest(_IN_CURRENCY, 3), detail="currency")

# Index scans that stop at the limit.
_LARGE: Final = """
SELECT t.customer_id FROM unnest($3::bigint[]) AS t (customer_id) CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM (
        SELECT FROM metrics.segments
        WHERE organization_id = $1 AND instance_id = $2 AND customer_id = t.customer_id LIMIT $4) s) counted
WHERE counted.number = $4"""

_HAS_MOVED: Final = f"""
SELECT EXISTS (SELECT FROM metrics.movements
    WHERE organization_id = $1 AND instance_id = $2 AND customer_id = $3 AND movement = '{MovementKind.MOVED}')"""

_READ_ON: Final = f"""
SELECT m.* FROM unnest($4::date[]) AS t ("on") CROSS JOIN LATERAL (
    SELECT {_quoted(_MOVEMENT)} FROM metrics.movements
    WHERE organization_id = $1 AND instance_id = $2 AND customer_id = $3 AND "on" = t."on" OFFSET 0) m"""

# The two last segments that began until a day, by primary key.
_READ_BESIDE: Final = f"""
SELECT t.kind, t.id, t."on", {", ".join(f"s.{name}" for name in _SEGMENT)}
FROM {unnest(column_types(ItemDay), 3)} CROSS JOIN LATERAL (
    SELECT {", ".join(_SEGMENT)} FROM metrics.segments
    WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.id AND lens = t.lens AND from_on <= t."on"
    ORDER BY from_on DESC LIMIT 2) s"""

_INSERT: Final = """
INSERT INTO metrics.{table} (organization_id, instance_id, customer_id, {columns})
SELECT $1, $2, t.* FROM {rows}"""
_CUSTOMER: Final = {"customer_id": "bigint"}
_INSERT_MOVEMENTS: Final = _INSERT.format(
    table="movements", columns=_quoted(_MOVEMENT), rows=unnest(_CUSTOMER | _MOVEMENT, 3)
)
_INSERT_DAYS: Final = _INSERT.format(
    table="customer_days", columns=_quoted(_CUSTOMER_DAY), rows=unnest(_CUSTOMER | _CUSTOMER_DAY, 3)
)


async def read_segments(
    connection: Connection, key: InstanceKey, customers: Sequence[int]
) -> dict[int, dict[Subscription, list[Segment]]]:
    """Return, for each customer, all segments of each subscription that it ever had; customers without one are missing."""
    segments: dict[int, dict[Subscription, list[Segment]]] = defaultdict(lambda: defaultdict(list))
    turn = Turn()
    async for row in connection.cursor(_READ_SEGMENTS, *key, customers, prefetch=_ROWS_AT_ONCE):
        segment = _segment(row)
        segments[row["of_customer"]][Subscription(row["kind"], row["id"])].append(segment)
        await turn.pause()
    return segments


async def read(
    connection: Connection, key: InstanceKey, customers: Sequence[int]
) -> dict[int, CustomerHistory]:
    """Return the stored history of customers; those without one are missing."""
    movements: dict[int, list[Movement]] = defaultdict(list)
    turn = Turn()
    async for row in connection.cursor(_READ_MOVEMENTS, *key, customers, prefetch=_ROWS_AT_ONCE):
        movements[row["customer_id"]].append(_movement(row))
        await turn.pause()
    days: dict[int, list[CustomerDay]] = defaultdict(list)
    for row in await connection.fetch(_READ_DAYS, *key, customers):
        days[row["customer_id"]].append(_customer_day(row))
    return {
        customer: CustomerHistory(tuple(movements[customer]), tuple(days[customer]))
        for customer in movements.keys() | days.keys()
    }


async def find_large(
    connection: Connection, key: InstanceKey, customers: Collection[int], segments: int
) -> list[int]:
    """Return the customers with at least so many segments, in order."""
    rows = await connection.fetch(_LARGE, *key, sorted(customers), segments)
    return sorted(row["customer_id"] for row in rows)


async def has_moved(connection: Connection, key: InstanceKey, customer: int) -> bool:
    """Return whether a subscription ever moved to or from a customer, or to another currency."""
    moved: bool = await connection.fetchval(_HAS_MOVED, *key, customer)
    return moved


async def read_days(connection: Connection, key: InstanceKey, customer: int) -> list[CustomerDay]:
    """Return all stored days of a customer."""
    return [_customer_day(row) for row in await connection.fetch(_READ_DAYS, *key, [customer])]


async def read_on(
    connection: Connection, key: InstanceKey, customer: int, days: Collection[date]
) -> list[Movement]:
    """Return the stored movements of a customer on these days."""
    return [_movement(row) for row in await connection.fetch(_READ_ON, *key, customer, sorted(days))]


async def read_beside(
    connection: Connection, key: InstanceKey, items: Sequence[ItemDay]
) -> dict[ItemDay, Beside]:
    """Return the segments of subscriptions around a day of each."""
    beside: dict[ItemDay, Beside] = {}
    for row in await connection.fetch(_READ_BESIDE, *key, *columns(column_types(ItemDay), items)):
        segment = _segment(row)
        item = ItemDay(row["kind"], row["id"], segment.lens, row["on"])
        near = beside.get(item, Beside())
        if segment.from_on == item.on:
            beside[item] = near._replace(begins=segment)
        elif near.last is None or near.last.from_on < segment.from_on:
            beside[item] = near._replace(last=segment)
    return beside


async def delete(connection: Connection, key: InstanceKey, rows: Mapping[int, CustomerHistory]) -> None:
    """Delete rows of customers."""
    movements = [
        [customer, row.on, row.lens, row.number]
        for customer, removed in rows.items()
        for row in removed.movements
    ]
    days = [
        [customer, day.on, day.lens, day.currency]
        for customer, removed in rows.items()
        for day in removed.days
    ]
    for statement, keys in ((_DELETE_MOVEMENTS, movements), (_DELETE_DAYS, days)):
        if keys:
            await connection.execute(statement, *key, *map(list, zip(*keys, strict=True)))


async def insert(connection: Connection, key: InstanceKey, rows: Mapping[int, CustomerHistory]) -> None:
    """Insert rows of customers."""
    movements = [(customer, row) for customer, new in rows.items() for row in new.movements]
    for part in _parts(movements):
        owners, of_part = [customer for customer, _ in part], [row for _, row in part]
        await connection.execute(_INSERT_MOVEMENTS, *key, owners, *columns(_MOVEMENT, of_part))
    days = [(customer, day) for customer, new in rows.items() for day in new.days]
    for days_of_part in _parts(days):
        owners, of_days = [customer for customer, _ in days_of_part], [day for _, day in days_of_part]
        await connection.execute(_INSERT_DAYS, *key, owners, *columns(_CUSTOMER_DAY, of_days))


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield rows in lists for one statement each: a large customer has so many that one statement would take too long."""
    for start in range(0, len(items), _ROWS_OF_STATEMENT):
        yield items[start : start + _ROWS_OF_STATEMENT]


def _segment(row: Connection) -> Segment:
    values = {name: row[name] for name in _SEGMENT}
    return Segment(**values)


def _movement(row: Connection) -> Movement:
    values = {name: row[name] for name in _MOVEMENT}
    return Movement(**values)


def _customer_day(row: Connection) -> CustomerDay:
    values = {name: row[name] for name in _CUSTOMER_DAY}
    return CustomerDay(**values)
