"""The only SQL of figures: constant texts over the views of `metrics_read`.

Text from a caller never becomes SQL: it selects a key of a table in this module, or is bound to a parameter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from libs.common.figures.groups import COLUMNS, KEYS, Group


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """The rows that one statement returns: changes by group and point, which the text `summary` computes from `present`.

    A row has the columns of its group, its `point`, and measures: the difference of each to the point before. Points without a difference
    have no row. `is_additive`: the rows of parts sum to those of the whole, so questions with different groups can share a statement.
    """

    summary: str
    is_additive: bool
    groups: frozenset[Group] = frozenset(Group)
    filters: frozenset[Group] = frozenset(Group)


BALANCES: Final = Relation(
    """
SELECT {columns}s.point, sum(s.mrr_micros) AS mrr_micros, sum(s.subscriptions) AS subscriptions
FROM present s GROUP BY {columns}s.point""",
    is_additive=True,
)

# The changes of each customer, and the values behind them.
_OF_CUSTOMERS: Final = """, changed AS (
    SELECT {columns}s.home, s.customer_id, s.point, sum(s.<measure>) AS change
    FROM present s GROUP BY {columns}s.home, s.customer_id, s.point
), running AS (
    SELECT {columns}s.point, s.change,
        sum(s.change) OVER (PARTITION BY {columns}s.home, s.customer_id ORDER BY s.point) AS <measure>
    FROM changed s
)"""
_SUBSCRIPTIONS_OF_CUSTOMERS: Final = _OF_CUSTOMERS.replace("<measure>", "subscriptions")
_MRR_OF_CUSTOMERS: Final = _OF_CUSTOMERS.replace("<measure>", "mrr_micros")

# A customer counts from the first live subscription of a group to the last one, so parts do not sum to the whole.
CUSTOMER_COUNTS: Final = Relation(
    _SUBSCRIPTIONS_OF_CUSTOMERS
    + """
SELECT {columns}s.point, sum((s.subscriptions > 0)::int - (s.subscriptions > s.change)::int) AS customers,
    sum((s.subscriptions = 0 AND s.change < 0)::int) AS customers_lost
FROM running s GROUP BY {columns}s.point""",
    is_additive=False,
)

# The number of customers by amount: a customer whose MRR changes counts -1 at the old amount and 1 at the new one.
CUSTOMER_AMOUNTS: Final = Relation(
    _MRR_OF_CUSTOMERS
    + """
SELECT {columns}s.point, step.amount::bigint AS amount, sum(step.customers) AS customers
FROM running s
CROSS JOIN LATERAL (VALUES (s.mrr_micros, 1), (s.mrr_micros - s.change, -1)) AS step (amount, customers)
WHERE step.amount > 0 GROUP BY {columns}s.point, step.amount""",
    is_additive=False,
)

# What customers who paid at the point before pay less or more at a point.
CUSTOMER_CHANGES: Final = Relation(
    _MRR_OF_CUSTOMERS
    + """
SELECT {columns}s.point, sum(greatest(-s.change, 0)) AS lost_micros,
    sum(CASE WHEN s.mrr_micros > s.change THEN greatest(s.change, 0) ELSE 0 END) AS gained_micros
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
    SELECT {selected}s.instance_id AS home, s.customer_id, t.opening AS point, s.mrr_micros, 1 AS subscriptions
    FROM metrics_read.segments s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $6 AND s.from_on <= t.opens_on AND (s.to_on IS NULL OR s.to_on > t.opens_on){limits}"""
_CHANGES: Final = """
    UNION ALL
    SELECT {selected}s.instance_id, s.customer_id, width_bucket(s."on" - 1, $7::date[]), s.mrr_micros, s.subscriptions
    FROM metrics_read.ledger s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $6 AND s."on" > t.opens_on AND s."on" <= t.last_on{limits}"""


def changes_statement(
    relation: Relation, groups: Iterable[Group], limits: Iterable[Group] = (), *, has_changes: bool
) -> str:
    """Return the statement of a relation.

    $1 to $5 are the columns of the stretches, $6 is the lens. With `has_changes`, $7 are the days of the points; otherwise every stretch
    is one day long and the ledger is not read. The values to which the groups `limits` are limited follow.
    """
    columns = dict.fromkeys(column for group in groups for column in COLUMNS[group])
    text = f"{_STRETCHES}{_OPENING}{_CHANGES if has_changes else ''}){relation.summary}"
    return text.format(
        selected="".join(f"{column.selected}, " for column in columns),
        columns="".join(f"s.{column.name}, " for column in columns),
        limits=_limited(limits, 8 if has_changes else 7),
    )


def _limited(limits: Iterable[Group], first: int) -> str:
    """Return conditions on the keys of groups. The first of them has the parameter number `first`."""
    return "".join(
        f"\n      AND {KEYS[group]} = ANY(${number}::text[])" for number, group in enumerate(limits, first)
    )


_COUNT: Final = """
SELECT count(*) FROM (
    SELECT DISTINCT {columns} FROM metrics_read.segments s
    JOIN unnest($1::uuid[], $2::text[], $3::date[], $4::date[]) AS t (instance_id, kind, opens_on, last_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $5 AND s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > t.opens_on){limits}
    LIMIT $6) g"""


def count_statement(groups: Iterable[Group], limits: Iterable[Group] = ()) -> str:
    """Return the statement that counts the groups with a live subscription on any day, and stops at $6 of them.

    The values to which the groups `limits` are limited follow.
    """
    return _COUNT.format(columns=", ".join(KEYS[group] for group in groups), limits=_limited(limits, 7))


_STRANGE: Final = """
SELECT v.value FROM unnest($1::text[]) WITH ORDINALITY AS v (value, number)
WHERE NOT EXISTS (SELECT FROM metrics_read.segments s WHERE {key} = v.value)
ORDER BY v.number LIMIT 1"""


def strange_value_statement(group: Group) -> str:
    """Return the statement that finds the first of the values $1 that no subscription has or had."""
    return _STRANGE.format(key=KEYS[group])


# The same rows as in _OPENING, not summed.
_LIVE: Final = """
WITH live AS (
    SELECT s.* FROM metrics_read.segments s
    JOIN unnest($1::uuid[], $2::text[], $3::date[]) AS t (instance_id, kind, opens_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $4 AND s.from_on <= t.opens_on AND (s.to_on IS NULL OR s.to_on > t.opens_on){limits}
)"""

# Lists begin with the largest amount. $5 is the size of a page. The key of the row before it and the values of limits follow.
_SUBSCRIPTIONS: Final = f"""{_LIVE}
SELECT s.instance_id, s.kind, s.id, s.customer_id, s.product, s.product_name, s.cycle, s.status, s.currency,
    s.mrr_micros, s.from_on, s.to_on
FROM live s
WHERE $6::bigint IS NULL OR (-s.mrr_micros, s.instance_id, s.kind, s.id) > (-$6, $7::uuid, $8::text, $9::bigint)
ORDER BY -s.mrr_micros, s.instance_id, s.kind, s.id LIMIT $5"""  # noqa: S608  constants

_CUSTOMERS: Final = f"""{_LIVE}, customer AS (
    SELECT s.instance_id, s.customer_id, s.currency, sum(s.mrr_micros)::bigint AS mrr_micros, count(*) AS subscriptions
    FROM live s GROUP BY s.instance_id, s.customer_id, s.currency
)
SELECT s.instance_id, s.customer_id, s.currency, s.mrr_micros, s.subscriptions
FROM customer s
WHERE $6::bigint IS NULL OR (-s.mrr_micros, s.instance_id, s.customer_id) > (-$6, $7::uuid, $8::bigint)
ORDER BY -s.mrr_micros, s.instance_id, s.customer_id LIMIT $5"""  # noqa: S608  constants

# The customers at the start or at the end of a period. $3 are the days before it, NULL where a source is not known yet, $4 its last days.
_CUSTOMER_CHANGES: Final = """
WITH live AS (
    SELECT s.instance_id, s.customer_id, s.currency, s.mrr_micros,
        coalesce(s.from_on <= t.before_on AND (s.to_on IS NULL OR s.to_on > t.before_on), false) AS at_start,
        s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > t.last_on) AS at_end
    FROM metrics_read.segments s
    JOIN unnest($1::uuid[], $2::text[], $3::date[], $4::date[]) AS t (instance_id, kind, before_on, last_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $5 AND s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > coalesce(t.before_on, t.last_on)){limits}
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
WHERE CASE $6::text
    WHEN 'left' THEN s.subscriptions_at_start > 0 AND s.staying = 0
    WHEN 'lost' THEN s.mrr_at_end < s.mrr_at_start
    WHEN 'gained' THEN s.mrr_at_start > 0 AND s.mrr_at_end > s.mrr_at_start
    ELSE s.mrr_at_end <> s.mrr_at_start OR s.subscriptions_at_start <> s.subscriptions_at_end END
  AND ($8::bigint IS NULL OR (-abs(s.mrr_at_end - s.mrr_at_start), s.instance_id, s.customer_id, s.currency)
      > (-$8, $9::uuid, $10::bigint, $11::text))
ORDER BY -abs(s.mrr_at_end - s.mrr_at_start), s.instance_id, s.customer_id, s.currency LIMIT $7"""


def subscriptions_statement(limits: Iterable[Group]) -> str:
    """Return the statement of the list of subscriptions; the values of limits begin with $10."""
    return _SUBSCRIPTIONS.format(limits=_limited(limits, 10))


def customers_statement(limits: Iterable[Group]) -> str:
    """Return the statement of the list of customers; the values of limits begin with $9."""
    return _CUSTOMERS.format(limits=_limited(limits, 9))


def customer_changes_statement(limits: Iterable[Group]) -> str:
    """Return the statement of the list of customers that changed; the values of limits begin with $12."""
    return _CUSTOMER_CHANGES.format(limits=_limited(limits, 12))


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
