"""The only SQL of figures: constant texts over the views of `metrics_read`.

Text from a caller never becomes SQL: it selects a key of a table in this module, or is bound to a parameter.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from libs.common.contracts.gaps import GapPart
from libs.common.contracts.lenses import Lens
from libs.common.figures.conversions import CHANGES
from libs.common.figures.end_parts import CONDITIONS
from libs.common.figures.groups import COLUMNS, KEYS, Group


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """The rows that one statement returns: changes by group and point, which the text `summary` computes from `present`.

    A row has the columns of its group, its `point`, and measures: the difference of each to the point before. Points without a difference
    have no row. `is_additive`: the rows of parts sum to those of the whole, so questions with different groups can share a statement.
    `readable` are the rows of `readable` from which people compute the same. `is_of_movements`: `present` holds movements.
    `is_of_newest_day`: `present` holds the subscriptions that may end soon, known for the last known day alone. `is_of_gaps`: it holds both
    sides of gaps between MRR by contract and paid MRR. With a `lens`, rows count by it, whatever the lens of the question is. `converted`
    is the summary where amounts are converted, if that is another one.
    """

    summary: str
    is_additive: bool
    converted: str = ""
    readable: str = "customer"
    is_of_movements: bool = False
    is_of_newest_day: bool = False
    is_of_gaps: bool = False
    lens: Lens | None = None
    groups: frozenset[Group] = frozenset(Group)
    filters: frozenset[Group] = frozenset(Group)


_CONVERTED_BALANCES: Final = """
SELECT {columns}s.point, sum(s.change) AS mrr_micros, sum(s.subscriptions) AS subscriptions, sum(s.opened_micros) AS opened_micros
FROM (
    SELECT {columns}s.point, s.change, 0 AS subscriptions, 0 AS opened_micros FROM step s
    UNION ALL
    SELECT {columns}s.point, 0, s.subscriptions, metrics_read.converted(s.opened_micros, r.numerator, r.denominator)
    FROM present s JOIN rate r ON r.home = s.home AND r.code = s.paid_in AND r.number = s.point) s
GROUP BY {columns}s.point"""
BALANCES: Final = Relation(
    """
SELECT {columns}s.point, sum(s.mrr_micros) AS mrr_micros, sum(s.subscriptions) AS subscriptions,
    sum(s.opened_micros) AS opened_micros
FROM present s GROUP BY {columns}s.point""",
    is_additive=True,
    converted=CHANGES.replace("{owner}", "") + _CONVERTED_BALANCES,
)

PAID_BALANCES: Final = replace(BALANCES, lens=Lens.PAID)


def _by_part(rows: str, amount: str) -> str:
    """Return the summary of the amounts of gaps by their part."""
    sums = "".join(
        f", sum(CASE s.part WHEN '{part}' THEN s.{amount} ELSE 0 END) AS {part}" for part in GapPart
    )
    return f"\nSELECT {{columns}}s.point{sums}\nFROM {rows} s GROUP BY {{columns}}s.point"


# Both sides are converted by themselves, as in MRR by contract and paid MRR, so the parts add up to the micro.
GAPS: Final = Relation(
    _by_part("present", "mrr_micros"),
    is_additive=True,
    converted=CHANGES.replace("{owner}", "s.part, ") + _by_part("step", "change"),
    readable="gap",
    is_of_gaps=True,
    lens=Lens.PAID,
)

# How the MRR of each customer changes in each currency, and the MRR after the change. Both are equal in the first row of an account. The
# relations below keep this row, so that they have all groups with live subscriptions, even those in which nobody pays.
_MRR_OF_CUSTOMERS: Final = """, changed AS (
    SELECT {columns}s.home, s.customer_id, s.paid_in, s.point, sum(s.mrr_micros)::bigint AS change
    FROM present s GROUP BY {columns}s.home, s.customer_id, s.paid_in, s.point
), running AS (
    SELECT {columns}s.home, s.customer_id, s.point, s.change,
        (sum(s.change) OVER (PARTITION BY {columns}s.home, s.customer_id, s.paid_in ORDER BY s.point))::bigint AS mrr_micros
    FROM changed s
)"""
_CONVERTED_MRR_OF_CUSTOMERS: Final = """, changed AS (
    SELECT {columns}s.home, s.customer_id, s.point, sum(s.change)::bigint AS change
    FROM step s GROUP BY {columns}s.home, s.customer_id, s.point
), running AS (
    SELECT {columns}s.home, s.customer_id, s.point, s.change,
        (sum(s.change) OVER (PARTITION BY {columns}s.home, s.customer_id ORDER BY s.point))::bigint AS mrr_micros
    FROM changed s
)"""
# A customer with several currencies has one converted MRR.
_CONVERTED_OF_CUSTOMERS: Final = CHANGES.replace("{owner}", "s.customer_id, ") + _CONVERTED_MRR_OF_CUSTOMERS

# A customer counts while its MRR in a group is above 0 in any currency, so parts do not sum to the whole. `crossed` holds by how many the
# currencies in which a customer pays become more or fewer.
CUSTOMER_COUNTS: Final = Relation(
    _MRR_OF_CUSTOMERS  # noqa: S608  constants
    + """, crossed AS (
    SELECT {columns}s.home, s.customer_id, s.point, sum((s.mrr_micros > 0)::int - (s.mrr_micros > s.change)::int) AS change
    FROM running s WHERE (s.mrr_micros > 0) <> (s.mrr_micros > s.change) OR s.mrr_micros = s.change
    GROUP BY {columns}s.home, s.customer_id, s.point
), paying AS (
    SELECT {columns}s.point, s.change,
        sum(s.change) OVER (PARTITION BY {columns}s.home, s.customer_id ORDER BY s.point) AS currencies
    FROM crossed s
)
SELECT {columns}s.point, sum((s.currencies > 0)::int - (s.currencies > s.change)::int) AS customers,
    sum((s.currencies = 0 AND s.change < 0)::int) AS customers_lost
FROM paying s GROUP BY {columns}s.point""",
    is_additive=False,
)

_AMOUNTS_OF_CUSTOMERS: Final = """
SELECT {columns}s.point, greatest(step.amount, 0)::bigint AS amount, sum(step.customers * (step.amount > 0)::int) AS customers
FROM running s
CROSS JOIN LATERAL (VALUES (s.mrr_micros, 1), (s.mrr_micros - s.change, -1)) AS step (amount, customers)
WHERE step.amount > 0 OR s.mrr_micros = s.change GROUP BY {columns}s.point, greatest(step.amount, 0)"""
# The number of customers by amount: a customer whose MRR changes counts -1 at the old amount and 1 at the new one.
CUSTOMER_AMOUNTS: Final = Relation(
    _MRR_OF_CUSTOMERS + _AMOUNTS_OF_CUSTOMERS,
    is_additive=False,
    converted=_CONVERTED_OF_CUSTOMERS + _AMOUNTS_OF_CUSTOMERS,
)

_LOST_AND_GAINED: Final = """
SELECT {columns}s.point, sum(greatest(s.mrr_micros, 0) - greatest(s.mrr_micros - s.change, 0)) AS paying_micros,
    sum(CASE WHEN s.mrr_micros > s.change THEN greatest(-s.change, 0) ELSE 0 END) AS lost_micros,
    sum(CASE WHEN s.mrr_micros > s.change THEN greatest(s.change, 0) ELSE 0 END) AS gained_micros
FROM running s GROUP BY {columns}s.point"""
# The MRR of customers whose MRR is above 0, and what those of the point before pay less or more at a point.
CUSTOMER_CHANGES: Final = Relation(
    _MRR_OF_CUSTOMERS + _LOST_AND_GAINED,
    is_additive=False,
    converted=_CONVERTED_OF_CUSTOMERS + _LOST_AND_GAINED,
)

# The sum of the amounts of each movement, and of churn by its reason.
MOVEMENTS: Final = Relation(
    """
SELECT {columns}s.point,
    sum(CASE s.movement WHEN 'new_business' THEN s.amount_micros ELSE 0 END) AS new_business,
    sum(CASE s.movement WHEN 'reactivation' THEN s.amount_micros ELSE 0 END) AS reactivation,
    sum(CASE s.movement WHEN 'expansion' THEN s.amount_micros ELSE 0 END) AS expansion,
    sum(CASE s.movement WHEN 'contraction' THEN s.amount_micros ELSE 0 END) AS contraction,
    sum(CASE s.movement WHEN 'churn' THEN s.amount_micros ELSE 0 END) AS churn,
    sum(CASE s.movement WHEN 'moved' THEN s.amount_micros ELSE 0 END) AS moved,
    sum(CASE WHEN s.movement = 'churn' AND s.reason = 'cancellation' THEN s.amount_micros ELSE 0 END) AS churn_cancellation,
    sum(CASE WHEN s.movement = 'churn' AND s.reason = 'non_payment' THEN s.amount_micros ELSE 0 END) AS churn_non_payment,
    sum(CASE WHEN s.movement = 'churn' AND s.reason = 'disappeared' THEN s.amount_micros ELSE 0 END) AS churn_disappeared,
    sum(CASE WHEN s.movement = 'churn' AND s.reason = 'transferred_away' THEN s.amount_micros ELSE 0 END) AS churn_transferred_away,
    sum(CASE WHEN s.movement = 'churn' AND s.reason = 'became_free' THEN s.amount_micros ELSE 0 END) AS churn_became_free,
    sum(CASE WHEN s.movement = 'churn' AND coalesce(s.reason, '') NOT IN (
        'cancellation', 'non_payment', 'disappeared', 'transferred_away', 'became_free') THEN s.amount_micros ELSE 0 END) AS churn_unknown
FROM present s GROUP BY {columns}s.point""",
    is_additive=True,
    readable="movement",
    is_of_movements=True,
)

_OF_DAY: Final = """, of_day AS (
    SELECT {columns}s.point, s.home, s.customer_id, s.on_day, s.movement, sum(s.amount_micros) AS amount
    FROM present s GROUP BY {columns}s.point, s.home, s.customer_id, s.on_day, s.movement
)"""
# What a customer transfers in one currency sums to 0, so it is converted after it is netted.
_CONVERTED_OF_DAY: Final = """, netted AS (
    SELECT {columns}s.point, s.home, s.customer_id, s.on_day, s.movement,
        metrics_read.converted(sum(s.native_micros)::bigint, s.numerator, s.denominator) AS amount
    FROM present s GROUP BY {columns}s.point, s.home, s.customer_id, s.on_day, s.movement, s.numerator, s.denominator
), of_day AS (
    SELECT {columns}s.point, s.home, s.customer_id, s.on_day, s.movement, sum(s.amount) AS amount
    FROM netted s GROUP BY {columns}s.point, s.home, s.customer_id, s.on_day, s.movement
)"""
_CUSTOMER_MOVEMENTS: Final = """
SELECT {columns}s.point, sum((s.movement = 'new_business')::int) AS new_customers,
    sum((s.movement = 'churn')::int) AS churned_customers,
    sum(CASE s.movement WHEN 'transfer' THEN greatest(s.amount, 0) ELSE 0 END) AS entering,
    sum(CASE s.movement WHEN 'transfer' THEN least(s.amount, 0) ELSE 0 END) AS leaving
FROM of_day s GROUP BY {columns}s.point"""
# What customers do on a day. Transfers of a customer are netted within each group, so parts do not sum to the whole.
CUSTOMER_MOVEMENTS: Final = Relation(
    _OF_DAY + _CUSTOMER_MOVEMENTS,
    is_additive=False,
    converted=_CONVERTED_OF_DAY + _CUSTOMER_MOVEMENTS,
    readable="movement_of_day",
    is_of_movements=True,
)

# What moves between customers or currencies. If both sides of a move are in a group, they sum to 0: what the rate of the day leaves between
# the price in the old currency and that in the new one is no movement.
MOVES: Final = Relation(
    """, of_item AS (
    SELECT {columns}s.point, sum(s.amount_micros) AS amount, min(s.amount_micros) < 0 AND max(s.amount_micros) > 0 AS is_whole
    FROM present s WHERE s.movement = 'moved' GROUP BY {columns}s.point, s.home, s.item_kind, s.item_id, s.on_day
)
SELECT {columns}s.point, sum(CASE WHEN s.is_whole THEN 0 ELSE s.amount END) AS moved FROM of_item s GROUP BY {columns}s.point""",
    is_additive=False,
    readable="movement",
    is_of_movements=True,
)

# A customer who paid at the point before: ($7)[i] is the day before period i, because arrays begin with 1 and days with number 0.
_STARTER_MOVEMENTS: Final = """
SELECT {columns}s.point, sum(CASE s.movement WHEN 'churn' THEN s.amount_micros ELSE 0 END) AS starter_churn,
    sum(CASE s.movement WHEN 'contraction' THEN s.amount_micros ELSE 0 END) AS starter_contraction,
    sum(CASE s.movement WHEN 'expansion' THEN s.amount_micros ELSE 0 END) AS starter_expansion
FROM present s
WHERE s.movement IN ('churn', 'contraction', 'expansion') AND EXISTS (
    SELECT FROM metrics_read.customer_days d
    WHERE d.instance_id = s.home AND d.customer_id = s.customer_id AND d.lens = $6 AND d.after_micros > 0<in_currency>
      AND d."on" <= ($7::date[])[s.point] AND (d.next_on IS NULL OR d.next_on > ($7::date[])[s.point]))
GROUP BY {columns}s.point"""
# Who paid in another currency did not pay in that of the figure, unless all are converted.
STARTER_MOVEMENTS: Final = Relation(
    _STARTER_MOVEMENTS.replace("<in_currency>", " AND d.currency = s.paid_in"),
    is_additive=True,
    readable="movement_of_starter",
    is_of_movements=True,
    converted=_STARTER_MOVEMENTS.replace("<in_currency>", ""),
)

# What may end soon, by part.
EXPECTED_ENDS: Final = Relation(
    "\nSELECT {columns}s.point"
    + "".join(
        f", sum(CASE WHEN {condition} THEN s.mrr_micros ELSE 0 END) AS {part}"
        for part, condition in CONDITIONS.items()
    )
    + "\nFROM present s GROUP BY {columns}s.point",
    is_additive=True,
    readable="expected_end",
    is_of_newest_day=True,
)

RELATIONS: Final = (
    BALANCES,
    PAID_BALANCES,
    GAPS,
    CUSTOMER_COUNTS,
    CUSTOMER_AMOUNTS,
    CUSTOMER_CHANGES,
    MOVEMENTS,
    CUSTOMER_MOVEMENTS,
    MOVES,
    STARTER_MOVEMENTS,
    EXPECTED_ENDS,
)


def limited(limits: Iterable[Group], first: int) -> str:
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
    return _COUNT.format(columns=", ".join(KEYS[group] for group in groups), limits=limited(limits, 7))


_GROUPS: Final = """
SELECT DISTINCT {selected} FROM metrics_read.segments s
JOIN unnest($1::uuid[], $2::text[], $3::date[], $4::date[]) AS t (instance_id, kind, opens_on, last_on)
    ON t.instance_id = s.instance_id AND t.kind = s.kind
WHERE s.lens = $5 AND s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > t.opens_on){limits}"""


def groups_statement(groups: Iterable[Group], limits: Iterable[Group] = ()) -> str:
    """Return the statement that reads the columns of the groups with a live subscription on any day. The values of limits begin with $6."""
    columns = dict.fromkeys(column for group in groups for column in COLUMNS[group])
    return _GROUPS.format(
        selected=", ".join(column.selected for column in columns), limits=limited(limits, 6)
    )


_STRANGE: Final = """
SELECT v.value FROM unnest($1::text[]) WITH ORDINALITY AS v (value, number)
WHERE NOT EXISTS (SELECT FROM metrics_read.segments s WHERE {key} = v.value)
ORDER BY v.number LIMIT 1"""


def strange_value_statement(group: Group) -> str:
    """Return the statement that finds the first of the values $1 that no subscription has or had."""
    return _STRANGE.format(key=KEYS[group])


NAMES: Final = """
SELECT DISTINCT ON (instance_id, product) instance_id, product, product_name
FROM (
    SELECT instance_id, product, product_name, max(coalesce(to_on, 'infinity')) AS ends_on, max(from_on) AS begins_on
    FROM metrics_read.segments
    WHERE lens = $1 AND product_name IS NOT NULL
    GROUP BY instance_id, product, product_name) named
ORDER BY instance_id, product, ends_on DESC, begins_on DESC"""

PROMOTIONS: Final = "SELECT instance_id, id, code FROM metrics_read.promotions"

COVERAGE: Final = """
SELECT instance_id, kind, first_on, last_on, closed_before, read_at, action, code, last_at, skipped_at, grace_days
FROM metrics_read.coverage"""

# The instances of which the lens `paid` is known.
PAID: Final = "SELECT instance_id FROM metrics_read.history WHERE has_paid"
ISSUES: Final = """
SELECT kind, reason, count(*) AS number FROM metrics_read.issues
WHERE instance_id = ANY($1::uuid[]) GROUP BY kind, reason ORDER BY kind, reason"""
