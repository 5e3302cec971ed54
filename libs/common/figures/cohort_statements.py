"""The SQL of cohorts: constant texts over `metrics_read.customer_days`."""

from typing import Final

# The states of customers with MRR, by number of month. `first_month` is the month of a customer's first MRR in a currency, and
# `start_micros` the MRR at its end. $1 to $3 are instances with the first known day of each, before which nothing counts, and the day from
# which all of it is known. $4 is the lens, $5 are the currencies, NULL for all. One pass over the days of change suffices: a state counts
# from the month in which it begins up to the month before the one in which it is over, so no row per customer and month is needed.
_STATES: Final = """
WITH state AS (
    SELECT d.instance_id, d.customer_id, d.currency, d.after_micros, d.next_on, t.known_from,
        greatest(d."on", t.first_on) AS from_on
    FROM metrics_read.customer_days d JOIN unnest($1::uuid[], $2::date[], $3::date[]) AS t (instance_id, first_on, known_from)
        ON t.instance_id = d.instance_id
    WHERE d.lens = $4 AND d.after_micros > 0 AND (d.next_on IS NULL OR d.next_on > t.first_on)
      AND ($5::text[] IS NULL OR d.currency = ANY($5))
), dated AS (
    SELECT s.*, min(s.from_on) OVER (PARTITION BY s.instance_id, s.customer_id, s.currency) AS first_on FROM state s
), numbered AS (
    SELECT s.*, s.first_on <= s.known_from AS is_earlier,
        (extract(year FROM s.from_on) * 12 + extract(month FROM s.from_on))::int - 1 AS from_month,
        (extract(year FROM s.next_on) * 12 + extract(month FROM s.next_on))::int - 1 AS to_month,
        (extract(year FROM s.first_on) * 12 + extract(month FROM s.first_on))::int - 1 AS first_month
    FROM dated s
), member AS (
    SELECT s.*, coalesce(max(s.after_micros) FILTER (
        WHERE s.from_month = s.first_month AND (s.to_month IS NULL OR s.to_month > s.first_month)) OVER customer, 0) AS start_micros
    FROM numbered s
    WINDOW customer AS (PARTITION BY s.instance_id, s.customer_id, s.currency)
)"""

# What each cohort gains and loses from one month's end to the next. $6 and $7 are the first and the last month of cohorts.
COHORT_CHANGES: Final = f"""{_STATES}
SELECT s.currency, s.first_month, s.is_earlier, step.month - s.first_month AS months_after,
    sum((step.sign = 1 AND s.from_on = s.first_on)::int) AS joined, sum(step.sign) AS customers,
    sum(step.sign * least(s.after_micros, s.start_micros))::bigint AS gross_micros,
    sum(step.sign * s.after_micros)::bigint AS net_micros
FROM member s CROSS JOIN LATERAL (VALUES (s.from_month, 1), (s.to_month, -1)) AS step (month, sign)
WHERE step.month IS NOT NULL AND s.first_month BETWEEN $6 AND $7
GROUP BY s.currency, s.first_month, s.is_earlier, step.month - s.first_month"""  # noqa: S608  constants

# The customers of the cohort $6, of those known from the first day on if $7, with their MRR at the end of the month $8. Those who pay most
# come first. $9 is the size of a page. The key of the row before it follows.
COHORT_CUSTOMERS: Final = f"""{_STATES}, customer AS (
    SELECT s.instance_id, s.customer_id, s.currency, s.first_on, s.start_micros,
        coalesce(sum(s.after_micros) FILTER (WHERE s.from_month <= $8 AND (s.to_month IS NULL OR s.to_month > $8)), 0)::bigint AS mrr_micros
    FROM member s WHERE s.first_month = $6 AND s.is_earlier = $7
    GROUP BY s.instance_id, s.customer_id, s.currency, s.first_on, s.start_micros
)
SELECT c.instance_id, c.customer_id, c.currency, c.first_on, c.start_micros, c.mrr_micros FROM customer c
WHERE $10::bigint IS NULL OR (-c.mrr_micros, -c.start_micros, c.instance_id, c.customer_id, c.currency)
    > (-$10, -$11::bigint, $12::uuid, $13::bigint, $14::text)
ORDER BY -c.mrr_micros, -c.start_micros, c.instance_id, c.customer_id, c.currency LIMIT $9"""  # noqa: S608  constants
