"""The only SQL of figures: constant texts over the views of `metrics_read`.

Text from a caller never becomes SQL: it selects a key of a table in this module, or is bound to a parameter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Group(StrEnum):
    """A way to split a figure."""

    KIND = "kind"
    PRODUCT = "product"
    CYCLE = "cycle"
    CURRENCY = "currency"
    INSTANCE = "instance"


# A product belongs to one instance. A top-level domain is the same product in all of them.
COLUMNS: Final = {
    Group.KIND: ("kind",),
    Group.PRODUCT: ("instance_id", "product"),
    Group.CYCLE: ("cycle",),
    Group.CURRENCY: ("currency",),
    Group.INSTANCE: ("instance_id",),
}

# The same as one value per group, for counting.
_IDENTITIES: Final = {
    Group.KIND: "s.kind",
    Group.PRODUCT: "CASE WHEN s.kind = 'domain' THEN s.product ELSE s.instance_id || s.product END",
    Group.CYCLE: "s.cycle",
    Group.CURRENCY: "s.currency",
    Group.INSTANCE: "s.instance_id",
}


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """The rows that one statement returns: changes by group and point, which the text `summary` computes from `present`.

    A row has the columns of its group, its `point`, and measures: the difference of each to the point before. Points without a difference
    have no row. `is_additive`: the rows of parts sum to those of the whole, so questions with different groups can share a statement.
    """

    summary: str
    is_additive: bool
    groups: frozenset[Group] = frozenset(Group)
    filters: frozenset[Group] = frozenset({Group.INSTANCE})


BALANCES: Final = Relation(
    """
SELECT {columns}s.point, sum(s.mrr_micros) AS mrr_micros, sum(s.subscriptions) AS subscriptions
FROM present s GROUP BY {columns}s.point""",
    is_additive=True,
)

# A customer counts from the first live subscription of a group to the last one, so parts do not sum to the whole.
CUSTOMER_COUNTS: Final = Relation(
    """, changed AS (
    SELECT {columns}s.home, s.customer_id, s.point, sum(s.subscriptions) AS change
    FROM present s GROUP BY {columns}s.home, s.customer_id, s.point
), running AS (
    SELECT {columns}s.point, s.change,
        sum(s.change) OVER (PARTITION BY {columns}s.home, s.customer_id ORDER BY s.point) AS live
    FROM changed s
)
SELECT {columns}s.point, sum((s.live > 0)::int - (s.live > s.change)::int) AS customers,
    sum((s.live = 0 AND s.change < 0)::int) AS customers_lost
FROM running s GROUP BY {columns}s.point""",
    is_additive=False,
)

# The number of customers by amount: a customer whose MRR changes counts -1 at the old amount and 1 at the new one.
CUSTOMER_AMOUNTS: Final = Relation(
    """, changed AS (
    SELECT {columns}s.home, s.customer_id, s.point, sum(s.mrr_micros) AS change
    FROM present s GROUP BY {columns}s.home, s.customer_id, s.point
), running AS (
    SELECT {columns}s.point, s.change,
        sum(s.change) OVER (PARTITION BY {columns}s.home, s.customer_id ORDER BY s.point) AS mrr
    FROM changed s
)
SELECT {columns}s.point, step.amount::bigint AS amount, sum(step.customers) AS customers
FROM running s CROSS JOIN LATERAL (VALUES (s.mrr, 1), (s.mrr - s.change, -1)) AS step (amount, customers)
WHERE step.amount > 0 GROUP BY {columns}s.point, step.amount""",
    is_additive=False,
)

# What customers who paid at the point before pay less or more at a point.
CUSTOMER_CHANGES: Final = Relation(
    """, changed AS (
    SELECT {columns}s.home, s.customer_id, s.point, sum(s.mrr_micros) AS change
    FROM present s GROUP BY {columns}s.home, s.customer_id, s.point
), running AS (
    SELECT {columns}s.point, s.change,
        sum(s.change) OVER (PARTITION BY {columns}s.home, s.customer_id ORDER BY s.point) AS mrr
    FROM changed s
)
SELECT {columns}s.point, sum(greatest(-s.change, 0)) AS lost_micros,
    sum(CASE WHEN s.mrr > s.change THEN greatest(s.change, 0) ELSE 0 END) AS gained_micros
FROM running s GROUP BY {columns}s.point""",
    is_additive=False,
)

RELATIONS: Final = (BALANCES, CUSTOMER_COUNTS, CUSTOMER_AMOUNTS, CUSTOMER_CHANGES)

# `present` holds the segments that are live on the first day of each stretch, and the changes on its other days.
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


def changes_statement(relation: Relation, groups: Iterable[Group], *, has_changes: bool) -> str:
    """Return the statement of a relation.

    $1 to $5 are the columns of the stretches, $6 is the lens. With `has_changes`, $7 are the days of the points; otherwise every stretch
    is one day long and the ledger is not read.
    """
    names = dict.fromkeys(name for group in groups for name in COLUMNS[group])
    text = f"{_STRETCHES}{_OPENING}{_CHANGES if has_changes else ''}){relation.summary}"
    return text.format(columns="".join(f"s.{name}, " for name in names))


_COUNT: Final = """
SELECT count(*) FROM (
    SELECT DISTINCT {columns} FROM metrics_read.segments s
    JOIN unnest($1::uuid[], $2::text[], $3::date[], $4::date[]) AS t (instance_id, kind, opens_on, last_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $5 AND s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > t.opens_on)
    LIMIT $6) g"""


def count_statement(groups: Iterable[Group]) -> str:
    """Return the statement that counts the groups with a live subscription on any day, and stops at $6 of them."""
    return _COUNT.format(columns=", ".join(_IDENTITIES[group] for group in groups))


# The same rows as in _OPENING, not summed. A filter that is NULL filters nothing.
_LIVE: Final = """
WITH live AS (
    SELECT s.* FROM metrics_read.segments s
    JOIN unnest($1::uuid[], $2::text[], $3::date[]) AS t (instance_id, kind, opens_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $4 AND s.from_on <= t.opens_on AND (s.to_on IS NULL OR s.to_on > t.opens_on)
      AND ($5::text IS NULL OR s.product = $5) AND ($6::text IS NULL OR s.cycle = $6)
      AND ($7::text IS NULL OR s.currency = $7)
)"""

# Lists begin with the largest amount. $8 is the size of a page, the others are the key of the row before it.
SUBSCRIPTIONS: Final = f"""{_LIVE}
SELECT s.instance_id, s.kind, s.id, s.customer_id, s.product, s.product_name, s.cycle, s.status, s.currency,
    s.mrr_micros, s.from_on, s.to_on
FROM live s
WHERE $9::bigint IS NULL OR (-s.mrr_micros, s.instance_id, s.kind, s.id) > (-$9, $10::uuid, $11::text, $12::bigint)
ORDER BY -s.mrr_micros, s.instance_id, s.kind, s.id LIMIT $8"""  # noqa: S608  constants

CUSTOMERS: Final = f"""{_LIVE}, customer AS (
    SELECT s.instance_id, s.customer_id, s.currency, sum(s.mrr_micros)::bigint AS mrr_micros, count(*) AS subscriptions
    FROM live s GROUP BY s.instance_id, s.customer_id, s.currency
)
SELECT s.instance_id, s.customer_id, s.currency, s.mrr_micros, s.subscriptions
FROM customer s
WHERE $9::bigint IS NULL OR (-s.mrr_micros, s.instance_id, s.customer_id) > (-$9, $10::uuid, $11::bigint)
ORDER BY -s.mrr_micros, s.instance_id, s.customer_id LIMIT $8"""  # noqa: S608  constants

# The customers at the start or at the end of a period. $3 are the days before it, NULL where a source is not known yet, $4 its last days.
CUSTOMER_CHANGES_LIST: Final = """
WITH live AS (
    SELECT s.instance_id, s.customer_id, s.currency, s.mrr_micros,
        coalesce(s.from_on <= t.before_on AND (s.to_on IS NULL OR s.to_on > t.before_on), false) AS at_start,
        s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > t.last_on) AS at_end
    FROM metrics_read.segments s
    JOIN unnest($1::uuid[], $2::text[], $3::date[], $4::date[]) AS t (instance_id, kind, before_on, last_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $5 AND s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > coalesce(t.before_on, t.last_on))
      AND ($6::text IS NULL OR s.product = $6) AND ($7::text IS NULL OR s.cycle = $7)
      AND ($8::text IS NULL OR s.currency = $8)
), customer AS (
    SELECT s.instance_id, s.customer_id, s.currency,
        coalesce(sum(s.mrr_micros) FILTER (WHERE s.at_start), 0)::bigint AS mrr_at_start,
        coalesce(sum(s.mrr_micros) FILTER (WHERE s.at_end), 0)::bigint AS mrr_at_end,
        count(*) FILTER (WHERE s.at_start) AS subscriptions_at_start, count(*) FILTER (WHERE s.at_end) AS subscriptions_at_end,
        sum(count(*) FILTER (WHERE s.at_end)) OVER (PARTITION BY s.instance_id, s.customer_id) AS staying
    FROM live s GROUP BY s.instance_id, s.customer_id, s.currency
)
SELECT s.instance_id, s.customer_id, s.currency, s.mrr_at_start, s.mrr_at_end, s.subscriptions_at_start,
    s.subscriptions_at_end, abs(s.mrr_at_end - s.mrr_at_start) AS change_micros
FROM customer s
WHERE CASE $9::text
    WHEN 'left' THEN s.subscriptions_at_start > 0 AND s.staying = 0
    WHEN 'lost' THEN s.mrr_at_end < s.mrr_at_start
    WHEN 'gained' THEN s.mrr_at_start > 0 AND s.mrr_at_end > s.mrr_at_start
    ELSE s.mrr_at_end <> s.mrr_at_start OR s.subscriptions_at_start <> s.subscriptions_at_end END
  AND ($11::bigint IS NULL OR (-abs(s.mrr_at_end - s.mrr_at_start), s.instance_id, s.customer_id, s.currency)
      > (-$11, $12::uuid, $13::bigint, $14::text))
ORDER BY -abs(s.mrr_at_end - s.mrr_at_start), s.instance_id, s.customer_id, s.currency LIMIT $10"""

NAMES: Final = """
SELECT DISTINCT ON (instance_id, product) instance_id, product, product_name
FROM (
    SELECT instance_id, product, product_name, max(coalesce(to_on, 'infinity')) AS ends_on, max(from_on) AS begins_on
    FROM metrics_read.segments
    WHERE lens = $1 AND product_name IS NOT NULL
    GROUP BY instance_id, product, product_name) named
ORDER BY instance_id, product, ends_on DESC, begins_on DESC"""

COVERAGE: Final = """
SELECT instance_id, kind, first_on, last_on, closed_before, read_at, action, code, last_at, skipped_at
FROM metrics_read.coverage"""

ISSUES: Final = """
SELECT kind, reason, count(*) AS number FROM metrics_read.issues
WHERE instance_id = ANY($1::uuid[]) GROUP BY kind, reason ORDER BY kind, reason"""
