"""Movements and days of change of customers. Those of one customer and day are replaced together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.movements import CustomerDay, CustomerHistory, Movement
from services.metrics.formulas.timeline import Segment
from services.metrics.repository.driver import Connection, column_types, columns, unnest


class DayKey(NamedTuple):
    """A customer and a day."""

    customer_id: int
    on: date


class Day(NamedTuple):
    """What is stored of a customer on a day."""

    movements: tuple[Movement, ...]
    days: tuple[CustomerDay, ...]


_DAY: Final = column_types(DayKey)
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
_DELETE: Final = tuple(
    f"""DELETE FROM metrics.{table} WHERE ctid = ANY (ARRAY(
        SELECT s.ctid FROM {unnest(_DAY, 3)} CROSS JOIN LATERAL (
            SELECT ctid FROM metrics.{table}
            WHERE organization_id = $1 AND instance_id = $2 AND customer_id = t.customer_id AND "on" = t."on" OFFSET 0) s))"""
    for table in ("movements", "customer_days")
)

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
    for row in await connection.fetch(_READ_SEGMENTS, *key, customers):
        segment = Segment(**{name: row[name] for name in _SEGMENT})
        segments[row["of_customer"]][Subscription(row["kind"], row["id"])].append(segment)
    return segments


async def read(
    connection: Connection, key: InstanceKey, customers: Sequence[int]
) -> dict[int, CustomerHistory]:
    """Return the stored history of customers; those without one are missing."""
    movements: dict[int, list[Movement]] = defaultdict(list)
    for row in await connection.fetch(_READ_MOVEMENTS, *key, customers):
        movements[row["customer_id"]].append(Movement(**{name: row[name] for name in _MOVEMENT}))
    days: dict[int, list[CustomerDay]] = defaultdict(list)
    for row in await connection.fetch(_READ_DAYS, *key, customers):
        days[row["customer_id"]].append(CustomerDay(**{name: row[name] for name in _CUSTOMER_DAY}))
    return {
        customer: CustomerHistory(tuple(movements[customer]), tuple(days[customer]))
        for customer in movements.keys() | days.keys()
    }


async def delete(connection: Connection, key: InstanceKey, days: Sequence[DayKey]) -> None:
    """Delete what is stored of these days."""
    if days:
        for statement in _DELETE:
            await connection.execute(statement, *key, *columns(_DAY, days))


async def insert(connection: Connection, key: InstanceKey, days: Mapping[DayKey, Day]) -> None:
    """Insert days of which nothing is stored."""
    owners = [at.customer_id for at, day in days.items() for _ in day.movements]
    movements = [row for day in days.values() for row in day.movements]
    await connection.execute(_INSERT_MOVEMENTS, *key, owners, *columns(_MOVEMENT, movements))
    owners = [at.customer_id for at, day in days.items() for _ in day.days]
    rows = [row for day in days.values() for row in day.days]
    await connection.execute(_INSERT_DAYS, *key, owners, *columns(_CUSTOMER_DAY, rows))
