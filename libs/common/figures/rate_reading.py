"""Reads the rates of an organization, and what has none."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from libs.common.calendar import day_of
from libs.common.contracts.lenses import Lens
from libs.common.figures.questions import Stretch
from libs.common.figures.rates import Conversion, Rates, SeenRate, Unconverted, rates_of

# In the order in which they were seen.
RATES: Final = """
SELECT instance_id, id, currency, rate, is_default, seen_at FROM metrics_read.rates ORDER BY epoch, seq, id"""

# $6 and $7 are the instances and currencies that have a rate.
WITHOUT_RATE: Final = """
SELECT s.instance_id, s.currency, count(DISTINCT (s.kind, s.id)) AS subscriptions FROM metrics_read.segments s
JOIN unnest($1::uuid[], $2::text[], $3::date[], $4::date[]) AS t (instance_id, kind, opens_on, last_on)
    ON t.instance_id = s.instance_id AND t.kind = s.kind
WHERE s.lens = ANY($5::text[]) AND s.from_on <= t.last_on AND (s.to_on IS NULL OR s.to_on > t.opens_on)
    AND (s.instance_id, s.currency) NOT IN (SELECT * FROM unnest($6::uuid[], $7::text[]))
GROUP BY s.instance_id, s.currency ORDER BY s.instance_id, s.currency"""


async def read_unconverted(
    connection: Any, conversion: Conversion, stretches: Sequence[Stretch], lenses: Sequence[Lens]
) -> list[Unconverted]:
    """Return how many subscriptions with a live day in the stretches by any of the lenses are left out, by instance and currency."""
    rows = await connection.fetch(
        WITHOUT_RATE,
        [stretch.instance_id for stretch in stretches],
        [stretch.kind for stretch in stretches],
        [stretch.opens_on for stretch in stretches],
        [stretch.last_on for stretch in stretches],
        list(lenses),
        [instance_id for instance_id, _ in conversion.pairs],
        [code for _, code in conversion.pairs],
    )
    return [Unconverted(row["instance_id"], row["currency"], row["subscriptions"]) for row in rows]


async def read_rates(connection: Any, zones: Mapping[UUID, str], reporting: str | None) -> Rates:
    """Return the rates of an organization, which chose the currency `reporting`. `zones` are those of its instances, the oldest first."""
    seen = [
        SeenRate(
            instance_id=row["instance_id"],
            id=row["id"],
            currency=row["currency"],
            on=day_of(row["seen_at"], zones[row["instance_id"]]),
            rate=Fraction(row["rate"]),
            is_default=row["is_default"],
        )
        for row in await connection.fetch(RATES)
        if row["instance_id"] in zones
    ]
    return rates_of(list(zones), seen, reporting)
