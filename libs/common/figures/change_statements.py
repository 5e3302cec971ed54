"""The statements that read relations: their rows `present`, and the summary over them. Pure."""

from collections.abc import Iterable
from typing import Final

from libs.common.figures.conversions import PARAMETERS, rates_text
from libs.common.figures.groups import COLUMNS, Group
from libs.common.figures.relations import Relation, limited

# `present` holds the segments that are live on the first day of each stretch, and the changes on its other days.
_STRETCHES: Final = """
WITH {rates}stretch AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::date[], $4::date[], $5::int[])
        AS t (instance_id, kind, opens_on, last_on, opening)
), present AS ("""
_OPENING: Final = """
    SELECT {selected}s.instance_id AS home, s.customer_id, s.currency AS paid_in, t.opening AS point, s.mrr_micros,
        (s.mrr_micros > 0)::int AS subscriptions,
        CASE WHEN t.opening > 0 THEN s.mrr_micros ELSE 0 END AS opened_micros
    FROM metrics_read.segments s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $6 AND s.from_on <= t.opens_on AND (s.to_on IS NULL OR s.to_on > t.opens_on){limits}"""
_CHANGES: Final = """
    UNION ALL
    SELECT {selected}s.instance_id, s.customer_id, s.currency, width_bucket(s."on" - 1, $7::date[]), s.mrr_micros,
        s.subscriptions, 0
    FROM metrics_read.ledger s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind
    WHERE s.lens = $6 AND s."on" > t.opens_on AND s."on" <= t.last_on{limits}"""
# What has no rate is left out of the counts beside converted amounts, too.
_WITH_RATE: Final = "\n      AND (s.instance_id, s.currency) IN (SELECT r.home, r.code FROM rate r)"

# Movements of the first known day of a source say nothing: the day before is not known.
_MOVEMENTS: Final = """
    SELECT {selected}s.instance_id AS home, s.customer_id, s.currency AS paid_in, s."on" AS on_day,
        width_bucket(s."on" - 1, $7::date[]) AS point, s.kind AS item_kind, s.id AS item_id, s.movement, s.reason, {amounts}
    FROM metrics_read.movements s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind{joined}
    WHERE s.lens = $6 AND s."on" > t.opens_on AND s."on" <= t.last_on{limits}"""
_CONVERTED_AMOUNTS: Final = """s.amount_micros AS native_micros, r.numerator, r.denominator,
        metrics_read.converted(s.amount_micros, r.numerator, r.denominator) AS amount_micros"""
_CONVERTED_MRR: Final = "metrics_read.converted(s.mrr_micros, r.numerator, r.denominator) AS mrr_micros"
_RATE_OF_POINT: Final = """
        JOIN rate r ON r.home = s.instance_id AND r.code = s.currency AND r.number = t.opening"""
_RATE_OF_DAY: Final = """
        JOIN rate r ON r.home = s.instance_id AND r.code = s.currency AND r.number = width_bucket(s."on", ${0}::date[])"""

# Each side of a gap is an amount of its own: MRR by contract counts for it, paid MRR against it.
_GAPS: Final = """
    SELECT {selected}s.instance_id AS home, s.currency AS paid_in, t.opening AS point, s.part, side.micros AS mrr_micros
    FROM metrics_read.gaps s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind
    CROSS JOIN LATERAL (VALUES (s.contract_micros), (-s.paid_micros)) AS side (micros)
    WHERE s.lens = $6 AND s.from_on <= t.opens_on AND (s.to_on IS NULL OR s.to_on > t.opens_on){limits}"""
_CHANGES_OF_GAPS: Final = """
    UNION ALL
    SELECT {selected}s.instance_id, s.currency, width_bucket(change.on_day - 1, $7::date[]), s.part, change.sign * side.micros
    FROM metrics_read.gaps s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind
    CROSS JOIN LATERAL (VALUES (s.contract_micros), (-s.paid_micros)) AS side (micros)
    CROSS JOIN LATERAL (VALUES (s.from_on, 1), (s.to_on, -1)) AS change (on_day, sign)
    WHERE s.lens = $6 AND change.on_day > t.opens_on AND change.on_day <= t.last_on{limits}"""

# Each stretch is the last known day of its source.
_ENDS: Final = """
    SELECT {selected}s.instance_id AS home, s.customer_id, t.opening AS point, {amounts}, s.status, s.due_on, s.last_on,
        s.is_requested
    FROM metrics_read.expected_ends s JOIN stretch t ON t.instance_id = s.instance_id AND t.kind = s.kind{joined}
    WHERE s.lens = $6 AND s.last_on = t.last_on{limits}"""


def changes_statement(
    relation: Relation,
    groups: Iterable[Group],
    limits: Iterable[Group] = (),
    *,
    has_changes: bool,
    is_converted: bool = False,
) -> str:
    """Return the statement of a relation.

    $1 to $5 are the columns of the stretches, $6 is the lens. With `has_changes`, $7 are the days of the points; otherwise every stretch
    is one day long and the ledger is not read; movements need them. If amounts are converted, the rates follow, and for movements the days
    on which these change. The values to which the groups `limits` are limited are last.
    """
    columns = dict.fromkeys(column for group in groups for column in COLUMNS[group])
    following = 8 if has_changes else 7
    amounts = "s.mrr_micros" if relation.is_of_newest_day else "s.amount_micros"
    rates, joined, with_rate = "", "", ""
    if is_converted:
        rates, following = rates_text(following), following + PARAMETERS
        if relation.is_of_movements:
            joined, amounts, following = _RATE_OF_DAY.format(following), _CONVERTED_AMOUNTS, following + 1
        elif relation.is_of_newest_day:
            joined, amounts = _RATE_OF_POINT, _CONVERTED_MRR
        else:
            with_rate = _WITH_RATE
    summary = (relation.converted or relation.summary) if is_converted else relation.summary
    return f"{_STRETCHES}{_present(relation, has_changes=has_changes)}){summary}".format(
        selected="".join(f"{column.selected}, " for column in columns),
        columns="".join(f"s.{column.name}, " for column in columns),
        limits=limited(limits, following) + with_rate,
        rates=rates,
        joined=joined,
        amounts=amounts,
    )


def _present(relation: Relation, *, has_changes: bool) -> str:
    """Return the rows that a relation is computed from."""
    if relation.is_of_newest_day:
        return _ENDS
    if relation.is_of_movements:
        return _MOVEMENTS
    opening, changes = (_GAPS, _CHANGES_OF_GAPS) if relation.is_of_gaps else (_OPENING, _CHANGES)
    return f"{opening}{changes if has_changes else ''}"
