"""The SQL that converts amounts, with the rates of a conversion as parameters.

Each amount is rounded once, by `metrics_read.converted`, and sums are sums of rounded amounts. So lists and parts add up to their totals.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from libs.common.figures.rates import Conversion

# What an amount is multiplied by at point or stretch of days `number`, and at the one before.
_RATES: Final = """rate AS (
    SELECT * FROM unnest(${0}::uuid[], ${1}::text[], ${2}::int[], ${3}::numeric[], ${4}::numeric[], ${5}::numeric[], ${6}::numeric[])
        AS t (home, code, number, numerator, denominator, former_numerator, former_denominator)
), """
PARAMETERS: Final = 7

_NOW: Final = "metrics_read.converted(s.amount, r.numerator, r.denominator)"
_FORMERLY: Final = "metrics_read.converted(s.amount, r.former_numerator, r.former_denominator)"
# The changes at each point of the converted MRR: where amounts begin or end, and of amounts that stay where the rate changes. Equal amounts
# are counted first and converted once, so the cost grows with the number of prices rather than of subscriptions.
CHANGES: Final = f""", lot AS (
    SELECT {{columns}}{{owner}}s.home, s.paid_in, abs(s.mrr_micros) AS amount, s.point, sum(sign(s.mrr_micros))::bigint AS number
    FROM present s WHERE s.mrr_micros <> 0 GROUP BY {{columns}}{{owner}}s.home, s.paid_in, abs(s.mrr_micros), s.point
), held AS (
    SELECT s.*, (sum(s.number) OVER lots)::bigint AS total, coalesce(lead(s.point) OVER lots, 2147483647) AS next_point
    FROM lot s WINDOW lots AS (PARTITION BY {{columns}}{{owner}}s.home, s.paid_in, s.amount ORDER BY s.point)
), step AS (
    SELECT {{columns}}{{owner}}s.home, s.point, s.total * {_NOW} - (s.total - s.number) * {_FORMERLY} AS change
    FROM held s JOIN rate r ON r.home = s.home AND r.code = s.paid_in AND r.number = s.point
    UNION ALL
    SELECT {{columns}}{{owner}}s.home, r.number, s.total * ({_NOW} - {_FORMERLY})
    FROM held s JOIN rate r ON r.home = s.home AND r.code = s.paid_in AND r.number > s.point AND r.number < s.next_point
    WHERE s.total <> 0 AND (r.numerator, r.denominator) <> (r.former_numerator, r.former_denominator)
)"""  # noqa: S608  constants


def rates_text(first: int) -> str:
    """Return the rates of a statement, whose PARAMETERS parameters begin with the number `first`."""
    return _RATES.format(*range(first, first + PARAMETERS))


@dataclass(frozen=True, slots=True)
class StatementRates:
    """The parameters of the rates of a statement. `change_days` begin a new stretch of days with rates of its own."""

    change_days: tuple[date, ...]
    values: Sequence[Sequence[Any]]


def rates_of_points(conversion: Conversion, points: Sequence[date]) -> StatementRates:
    """Return the rates of the days `points`, by their numbers."""
    return StatementRates((), _columns(conversion, points))


def rates_of_days(conversion: Conversion, first: date, last: date) -> StatementRates:
    """Return the rates of all days [first, last], by the number of the stretch of days in which they are the same."""
    days = conversion.change_days(first, last)
    return StatementRates(days, _columns(conversion, (first, *days)))


def _columns(conversion: Conversion, days: Sequence[date]) -> Sequence[Sequence[Any]]:
    rows = [
        (*key, number, *_parts(pair.factors.on(day)), *_parts(pair.factors.on(days[max(number - 1, 0)])))
        for key, pair in conversion.pairs.items()
        for number, day in enumerate(days)
    ]
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(PARAMETERS)]


def _parts(factor: Fraction) -> Iterable[Decimal]:
    return Decimal(factor.numerator), Decimal(factor.denominator)
