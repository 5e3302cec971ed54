"""Compares what is stored twice: segments with movements, and movements with the days of customers."""

from datetime import date
from typing import Final, NamedTuple

from libs.common.contracts.instances import InstanceKey
from services.metrics.repository.driver import Connection


class Mismatch(NamedTuple):
    """Movements that do not add up to the changes of MRR of `table`, on so many days of customers from `first_on` on.

    `kind` is None where the table has all kinds together. `micros` is the sum of the differences, each without its sign.
    """

    table: str
    lens: str
    currency: str
    kind: str | None
    days: int
    first_on: date
    micros: int


_INSTANCES: Final = """
SELECT organization_id, instance_id FROM metrics.freshness JOIN metrics.instances n USING (organization_id, instance_id)
WHERE has_movements AND n.state NOT IN ('deleting', 'deleted') ORDER BY organization_id, instance_id"""

# A customer with movements and no segments is an error, too, so both tables have a say.
_LAST_CUSTOMER: Final = """
SELECT coalesce(greatest(
    (SELECT max(customer_id) FROM metrics.segments WHERE organization_id = $1 AND instance_id = $2),
    (SELECT max(customer_id) FROM metrics.movements WHERE organization_id = $1 AND instance_id = $2)), -1)"""

_WITHIN: Final = "organization_id = $1 AND instance_id = $2 AND customer_id >= $3 AND customer_id < $4"
# One statement sees one moment, so a transaction that replaces both tables is seen in both or in none. Sums are per customer, because the
# errors of two customers could hide each other.
_MISMATCHES: Final = f"""
WITH differences AS (
    SELECT 'segments' AS "table", lens, currency, kind, customer_id, "on", sum(micros) AS micros FROM (
        SELECT lens, currency, kind, customer_id, from_on AS "on", mrr_micros AS micros FROM metrics.segments WHERE {_WITHIN}
        UNION ALL
        SELECT lens, currency, kind, customer_id, to_on, -mrr_micros FROM metrics.segments WHERE {_WITHIN} AND to_on IS NOT NULL
        UNION ALL
        SELECT lens, currency, kind, customer_id, "on", -amount_micros FROM metrics.movements WHERE {_WITHIN}) changes
    GROUP BY lens, currency, kind, customer_id, "on" HAVING sum(micros) <> 0
    UNION ALL
    SELECT 'customer_days', lens, currency, NULL, customer_id, "on", sum(micros) FROM (
        SELECT lens, currency, customer_id, "on", after_micros - before_micros AS micros FROM metrics.customer_days WHERE {_WITHIN}
        UNION ALL
        SELECT lens, currency, customer_id, "on", -amount_micros FROM metrics.movements WHERE {_WITHIN}) changes
    GROUP BY lens, currency, customer_id, "on" HAVING sum(micros) <> 0)
SELECT "table", lens, currency, kind, count(*) AS days, min("on") AS first_on, sum(abs(micros))::bigint AS micros
FROM differences GROUP BY "table", lens, currency, kind ORDER BY "table", lens, currency, kind"""

# Epoch 0 is below every cut, so these customers are computed at once.
_MARK: Final = f"""
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
SELECT $1, $2, customer_id, 0 FROM (
    SELECT customer_id FROM metrics.segments WHERE {_WITHIN}
    UNION SELECT customer_id FROM metrics.movements WHERE {_WITHIN}
    UNION SELECT customer_id FROM metrics.customer_days WHERE {_WITHIN}) customers
RETURNING customer_id"""


async def read_instances(connection: Connection) -> list[InstanceKey]:
    """Return the instances whose customers all have their movements."""
    return [InstanceKey(**row) for row in await connection.fetch(_INSTANCES)]


async def read_last_customer(connection: Connection, key: InstanceKey) -> int:
    """Return the greatest id of a customer of an instance, -1 when it has none."""
    last: int = await connection.fetchval(_LAST_CUSTOMER, *key)
    return last


async def read_mismatches(
    connection: Connection, key: InstanceKey, first: int, behind: int
) -> list[Mismatch]:
    """Return where the movements of the customers [first, behind) do not add up."""
    return [Mismatch(**row) for row in await connection.fetch(_MISMATCHES, *key, first, behind)]


async def mark(connection: Connection, key: InstanceKey, first: int, behind: int) -> list[int]:
    """Mark the customers [first, behind), so that their segments are computed again, and return them."""
    return [row["customer_id"] for row in await connection.fetch(_MARK, *key, first, behind)]
