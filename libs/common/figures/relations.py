"""The statements that read figures, from the views of `metrics_read` in the caller's transaction of one organization."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from libs.common.contracts.lenses import Lens
from libs.common.figures.catalogue import Group
from libs.common.figures.coverage import Days, KindState

Row = Any
_ROWS_AT_ONCE: Final = 500

_COVERAGE: Final = """
SELECT instance_id, kind, first_on, last_on, closed_before, read_at, action, code FROM metrics_read.coverage"""

# A product is one of its instance; which top-level domains are sold is the same everywhere.
_COLUMNS: Final = {
    Group.KIND: ("kind",),
    Group.PRODUCT: ("instance_id", "product"),
    Group.CYCLE: ("cycle",),
    Group.CURRENCY: ("currency",),
    Group.INSTANCE: ("instance_id",),
}

# The same as one value each, to count by.
_IDENTITIES: Final = {
    Group.PRODUCT: "CASE WHEN s.kind = 'domain' THEN s.product ELSE s.instance_id || s.product END",
    Group.INSTANCE: "s.instance_id",
}

_STRETCHES: Final = """
WITH stretch AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::date[], $4::date[], $5::int[])
        AS t (instance_id, kind, opens_on, last_on, opening)
), present AS ("""
_OPENING: Final = """
    SELECT {columns}s.instance_id AS home, s.customer_id, t.opening AS point, s.mrr_micros, 1 AS subscriptions
    FROM metrics_read.segments s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $6 AND s.from_on <= t.opens_on AND (s.to_on IS NULL OR s.to_on > t.opens_on)"""
_CHANGES: Final = """
    UNION ALL
    SELECT {columns}s.instance_id, s.customer_id, width_bucket(s."on" - 1, $7::date[]), s.mrr_micros, s.subscriptions
    FROM metrics_read.ledger s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $6 AND s."on" > t.opens_on AND s."on" <= t.last_on"""
_BALANCES: Final = """
SELECT {columns}s.point, sum(s.mrr_micros) AS mrr_micros, sum(s.subscriptions) AS subscriptions
FROM present s GROUP BY {columns}s.point"""
_CUSTOMERS: Final = """, changed AS (
    SELECT {columns}s.home, s.customer_id, s.point, sum(s.subscriptions) AS change
    FROM present s GROUP BY {columns}s.home, s.customer_id, s.point
), running AS (
    SELECT {columns}s.point, s.change,
        sum(s.change) OVER (PARTITION BY {columns}s.home, s.customer_id ORDER BY s.point) AS live
    FROM changed s
)
SELECT {columns}s.point, sum((s.live > 0)::int - (s.live > s.change)::int) AS customers
FROM running s GROUP BY {columns}s.point"""

_GROUPS: Final = """
SELECT count(*) FROM (
    SELECT DISTINCT {columns} FROM metrics_read.segments s
    JOIN unnest($1::uuid[], $2::text[], $3::date[], $4::date[]) AS t (instance_id, kind, opens_on, last_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $5 AND s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > t.opens_on)
    LIMIT $6) g"""

_NAMES: Final = """
SELECT DISTINCT ON (instance_id, product) instance_id, product, product_name
FROM (
    SELECT instance_id, product, product_name, max(coalesce(to_on, 'infinity')) AS ends_on, max(from_on) AS begins_on
    FROM metrics_read.segments
    WHERE lens = $1 AND product_name IS NOT NULL
    GROUP BY instance_id, product, product_name) named
ORDER BY instance_id, product, ends_on DESC, begins_on DESC"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What to read of one kind in one instance: the state on `opens_on`, for the point `opening`, and the changes up to `last_on`."""

    instance_id: UUID
    kind: str
    opens_on: date
    last_on: date
    opening: int


def product_key(instance_id: object, product: str) -> str:
    """What a product is called among those of all instances."""
    return product if product.startswith("domain:") else f"{instance_id}:{product}"


def group_of(row: Row, group: Group) -> str:
    """The value of a group in a row of `read_balances` or `read_customers`."""
    if group is Group.PRODUCT:
        return product_key(row["instance_id"], row["product"])
    return str(row[_COLUMNS[group][-1]])


async def read_coverage(connection: Any) -> dict[UUID, dict[str, KindState]]:
    """Return what is known of each kind, by instance."""
    kinds: dict[UUID, dict[str, KindState]] = defaultdict(dict)
    for row in await connection.fetch(_COVERAGE):
        kinds[row["instance_id"]][row["kind"]] = _kind_state(row)
    return kinds


def _kind_state(row: Row) -> KindState:
    days = None if row["first_on"] is None else Days(row["first_on"], row["last_on"], row["closed_before"])
    return KindState(row["kind"], days, row["read_at"], row["action"] or "", row["code"])


async def read_names(connection: Any, lens: Lens) -> dict[str, str]:
    """The newest name of each product, by its key."""
    rows = await connection.fetch(_NAMES, lens)
    return {product_key(row["instance_id"], row["product"]): row["product_name"] for row in rows}


async def count_groups(
    connection: Any, stretches: Sequence[Stretch], lens: Lens, groups: Iterable[Group], most: int
) -> int:
    """Return how many groups have a live subscription on any day; stop counting at `most`."""
    names = dict.fromkeys(_IDENTITIES.get(group, f"s.{group}") for group in groups)
    columns = [
        [getattr(stretch, name) for stretch in stretches]
        for name in ("instance_id", "kind", "opens_on", "last_on")
    ]
    statement = _GROUPS.format(columns=", ".join(names))
    number: int = await connection.fetchval(statement, *columns, lens, most)
    return number


def read_balances(
    connection: Any, stretches: Sequence[Stretch], lens: Lens, points: Sequence[date], groups: Iterable[Group]
) -> AsyncIterator[list[Row]]:
    """By group and point, by how much `mrr_micros` and the number of `subscriptions` differ from those of the point before.

    Points without a difference have no row. The rows come in small lists, so that nobody has to hold them all.
    """
    return _read(connection, _BALANCES, stretches, lens, points, groups)


def read_customers(
    connection: Any, stretches: Sequence[Stretch], lens: Lens, points: Sequence[date], groups: Iterable[Group]
) -> AsyncIterator[list[Row]]:
    """Read the same for the number of `customers` with a live subscription."""
    return _read(connection, _CUSTOMERS, stretches, lens, points, groups)


async def _read(
    connection: Any,
    summary: str,
    stretches: Sequence[Stretch],
    lens: Lens,
    points: Sequence[date],
    groups: Iterable[Group],
) -> AsyncIterator[list[Row]]:
    names = dict.fromkeys(name for group in groups for name in _COLUMNS[group])
    has_changes = any(stretch.last_on > stretch.opens_on for stretch in stretches)
    statement = f"{_STRETCHES}{_OPENING}{_CHANGES if has_changes else ''}){summary}"
    columns = [
        [getattr(stretch, name) for stretch in stretches]
        for name in ("instance_id", "kind", "opens_on", "last_on", "opening")
    ]
    values = [*columns, lens, *([points] if has_changes else [])]
    cursor = await connection.cursor(
        statement.format(columns="".join(f"s.{name}, " for name in names)), *values
    )
    while rows := await cursor.fetch(_ROWS_AT_ONCE):
        yield rows
