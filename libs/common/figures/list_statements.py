"""The SQL of the lists behind figures: the same rows, not summed, page by page."""

from collections.abc import Iterable
from typing import Final

from libs.common.figures.conversions import PARAMETERS, rates_text
from libs.common.figures.groups import Group
from libs.common.figures.relations import limited

_LIVE: Final = """
WITH {rates}live AS (
    SELECT s.instance_id, s.kind, s.id, s.customer_id, s.product, s.product_name, s.cycle, s.status, {currency} AS currency,
        {amount} AS mrr_micros, s.from_on, s.to_on
    FROM metrics_read.segments s
    JOIN unnest($1::uuid[], $2::text[], $3::date[]) AS t (instance_id, kind, opens_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind{joined}
    WHERE s.lens = $4 AND s.from_on <= t.opens_on AND (s.to_on IS NULL OR s.to_on > t.opens_on){limits}
)"""

# Lists begin with the largest amount. $5 is the size of a page. The key of the row before it follows, then in the list of subscriptions
# whether discounts are listed, whose amounts are negative. The rates and the values of limits are last.
_LISTED_SUBSCRIPTIONS: Final = """
SELECT s.instance_id, s.kind, s.id, s.customer_id, s.product, s.product_name, s.cycle, s.status, s.currency,
    s.mrr_micros, s.from_on, s.to_on
FROM live s
WHERE ($10::bool OR s.mrr_micros > 0)
  AND ($6::bigint IS NULL OR (-s.mrr_micros, s.instance_id, s.kind, s.id) > (-$6, $7::uuid, $8::text, $9::bigint))
ORDER BY -s.mrr_micros, s.instance_id, s.kind, s.id LIMIT $5"""

_LISTED_CUSTOMERS: Final = """, customer AS (
    SELECT s.instance_id, s.customer_id, s.currency, sum(s.mrr_micros)::bigint AS mrr_micros,
        count(*) FILTER (WHERE s.mrr_micros > 0) AS subscriptions
    FROM live s GROUP BY s.instance_id, s.customer_id, s.currency HAVING sum(s.mrr_micros) > 0
)
SELECT s.instance_id, s.customer_id, s.currency, s.mrr_micros, s.subscriptions
FROM customer s
WHERE $6::bigint IS NULL OR (-s.mrr_micros, s.instance_id, s.customer_id, s.currency) > (-$6, $7::uuid, $8::bigint, $9::text)
ORDER BY -s.mrr_micros, s.instance_id, s.customer_id, s.currency LIMIT $5"""
_SUBSCRIPTIONS: Final = _LIVE + _LISTED_SUBSCRIPTIONS
_CUSTOMERS: Final = _LIVE + _LISTED_CUSTOMERS

# The customers at the start or at the end of a period. $3 are the days before it, NULL where a source is not known yet, $4 its last days.
_CUSTOMER_CHANGES: Final = """
WITH {rates}live AS (
    SELECT s.instance_id, s.customer_id, {currency} AS currency, {amount_at_start} AS start_micros, {amount} AS end_micros,
        coalesce(s.from_on <= t.before_on AND (s.to_on IS NULL OR s.to_on > t.before_on), false) AS at_start,
        s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > t.last_on) AS at_end
    FROM metrics_read.segments s
    JOIN unnest($1::uuid[], $2::text[], $3::date[], $4::date[]) AS t (instance_id, kind, before_on, last_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind{joined}
    WHERE s.lens = $5 AND s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > coalesce(t.before_on, t.last_on)){limits}
), customer AS (
    SELECT s.instance_id, s.customer_id, s.currency,
        coalesce(sum(s.start_micros) FILTER (WHERE s.at_start), 0)::bigint AS mrr_at_start,
        coalesce(sum(s.end_micros) FILTER (WHERE s.at_end), 0)::bigint AS mrr_at_end,
        count(*) FILTER (WHERE s.at_start AND s.start_micros > 0) AS subscriptions_at_start,
        count(*) FILTER (WHERE s.at_end AND s.end_micros > 0) AS subscriptions_at_end,
        max(coalesce(sum(s.end_micros) FILTER (WHERE s.at_end), 0)) OVER (PARTITION BY s.instance_id, s.customer_id) AS most_at_end
    FROM live s GROUP BY s.instance_id, s.customer_id, s.currency
)
SELECT s.instance_id, s.customer_id, s.currency, s.mrr_at_start, s.mrr_at_end, s.subscriptions_at_start,
    s.subscriptions_at_end, abs(s.mrr_at_end - s.mrr_at_start) AS change_micros
FROM customer s
WHERE CASE $6::text
    WHEN 'left' THEN s.mrr_at_start > 0 AND s.most_at_end <= 0
    WHEN 'lost' THEN s.mrr_at_start > 0 AND s.mrr_at_end < s.mrr_at_start
    WHEN 'gained' THEN s.mrr_at_start > 0 AND s.mrr_at_end > s.mrr_at_start
    ELSE s.mrr_at_end <> s.mrr_at_start OR s.subscriptions_at_start <> s.subscriptions_at_end END
  AND ($8::bigint IS NULL OR (-abs(s.mrr_at_end - s.mrr_at_start), s.instance_id, s.customer_id, s.currency)
      > (-$8, $9::uuid, $10::bigint, $11::text))
ORDER BY -abs(s.mrr_at_end - s.mrr_at_start), s.instance_id, s.customer_id, s.currency LIMIT $7"""


_CONVERTED: Final = "metrics_read.converted(s.{amount}, {rate}.numerator, {rate}.denominator)::bigint"
_RATE: Final = """
        JOIN rate {rate} ON {rate}.home = s.instance_id AND {rate}.code = s.currency AND {rate}.number = {number}"""


def subscriptions_statement(limits: Iterable[Group], *, is_converted: bool = False) -> str:
    """Return the statement of the list of subscriptions; the rates of the day and the values of limits begin with $11."""
    return _of_live(_SUBSCRIPTIONS, limits, 11, is_converted=is_converted)


def customers_statement(limits: Iterable[Group], *, is_converted: bool = False) -> str:
    """Return the statement of the list of customers; the rates of the day and the values of limits begin with $10."""
    return _of_live(_CUSTOMERS, limits, 10, is_converted=is_converted)


def _of_live(text: str, limits: Iterable[Group], first: int, *, is_converted: bool) -> str:
    if not is_converted:
        native = {"rates": "", "joined": "", "currency": "s.currency", "amount": "s.mrr_micros"}
        return text.format(limits=limited(limits, first), **native)
    return text.format(
        limits=limited(limits, first + PARAMETERS + 1),
        rates=rates_text(first),
        joined=_RATE.format(rate="r", number=0),
        currency=f"${first + PARAMETERS}::text",
        amount=_CONVERTED.format(amount="mrr_micros", rate="r"),
    )


def customer_changes_statement(limits: Iterable[Group], *, is_converted: bool = False) -> str:
    """Return the statement of the list of customers that changed.

    The rates of the days before the period and of its last one, and the values of limits, begin with $12.
    """
    if not is_converted:
        native = {"rates": "", "joined": "", "currency": "s.currency"}
        amounts = {"amount_at_start": "s.mrr_micros", "amount": "s.mrr_micros"}
        return _CUSTOMER_CHANGES.format(limits=limited(limits, 12), **native, **amounts)
    return _CUSTOMER_CHANGES.format(
        limits=limited(limits, 13 + PARAMETERS),
        rates=rates_text(12),
        joined=_RATE.format(rate="before", number=0) + _RATE.format(rate="after", number=1),
        currency=f"${12 + PARAMETERS}::text",
        amount_at_start=_CONVERTED.format(amount="mrr_micros", rate="before"),
        amount=_CONVERTED.format(amount="mrr_micros", rate="after"),
    )


# Movements between two days, the largest first. $5 are the kinds of movements, $6 are reasons, NULL for all. $7 limits the list to
# customers who paid on the day $8. $9 is the size of a page. The key of the row before it and the lens follow.
_MOVEMENTS: Final = """
WITH {rates}movement AS (
    SELECT s.instance_id, s.customer_id, s."on", s.number, s.kind, s.id, s.movement, s.reason, {amount} AS amount_micros,
        {currency} AS currency, s.product, s.from_product, s.to_product, s.cycle, s.days_away, s.basis
    FROM metrics_read.movements s
    JOIN unnest($1::uuid[], $2::text[], $3::date[], $4::date[]) AS t (instance_id, kind, opens_on, last_on)
        ON t.instance_id = s.instance_id AND t.kind = s.kind{joined}
    WHERE s.lens = $15 AND s."on" > t.opens_on AND s."on" <= t.last_on
      AND ($5::text[] IS NULL OR s.movement = ANY($5)) AND ($6::text[] IS NULL OR s.reason = ANY($6))
      AND (NOT $7::bool OR EXISTS (
        SELECT FROM metrics_read.customer_days d
        WHERE d.instance_id = s.instance_id AND d.customer_id = s.customer_id AND d.lens = $15 AND d.after_micros > 0{in_currency}
          AND d."on" <= $8::date AND (d.next_on IS NULL OR d.next_on > $8))){limits}
)
SELECT s.* FROM movement s
WHERE $10::bigint IS NULL OR (-abs(s.amount_micros), s."on", s.instance_id, s.customer_id, s.number)
    > (-$10, $11::date, $12::uuid, $13::bigint, $14::bigint)
ORDER BY -abs(s.amount_micros), s."on", s.instance_id, s.customer_id, s.number LIMIT $9"""


def movements_statement(limits: Iterable[Group], *, is_converted: bool = False) -> str:
    """Return the statement of the list of movements.

    The rates, the days on which they change, and the values of limits begin with $16.
    """
    if not is_converted:
        native = {"rates": "", "joined": "", "currency": "s.currency", "amount": "s.amount_micros"}
        in_currency = " AND d.currency = s.currency"
        return _MOVEMENTS.format(limits=limited(limits, 16), in_currency=in_currency, **native)
    return _MOVEMENTS.format(
        limits=limited(limits, 18 + PARAMETERS),
        rates=rates_text(16),
        joined=_RATE.format(rate="r", number=f'width_bucket(s."on", ${17 + PARAMETERS}::date[])'),
        currency=f"${16 + PARAMETERS}::text",
        amount=_CONVERTED.format(amount="amount_micros", rate="r"),
        in_currency="",
    )


# Gaps of a day, the largest first. $4 is their part, NULL for all, $5 the size of a page. The key of the row before it follows.
_GAPS: Final = """
SELECT s.instance_id, s.kind, s.id, s.number, s.customer_id, s.part, s.product, s.product_name, s.cycle, s.currency,
    s.contract_micros, s.paid_micros, s.gap_micros, s.from_on, s.to_on
FROM metrics_read.gaps s
JOIN unnest($1::uuid[], $2::text[], $3::date[]) AS t (instance_id, kind, opens_on)
    ON t.instance_id = s.instance_id AND t.kind = s.kind
WHERE s.from_on <= t.opens_on AND (s.to_on IS NULL OR s.to_on > t.opens_on) AND ($4::text IS NULL OR s.part = $4)
  AND ($6::bigint IS NULL OR (-abs(s.gap_micros), s.instance_id, s.kind, s.id, s.number)
      > (-$6, $7::uuid, $8::text, $9::bigint, $10::bigint)){limits}
ORDER BY -abs(s.gap_micros), s.instance_id, s.kind, s.id, s.number LIMIT $5"""


def gaps_statement(limits: Iterable[Group]) -> str:
    """Return the statement of the list of gaps; the values of limits begin with $11."""
    return _GAPS.format(limits=limited(limits, 11))
