"""The tax that the newest invoice of each customer shows, as of the cut of an applied run."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from services.metrics.formulas.record_taxes import divisor_of
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut

# ORDER BY and LIMIT inside make the index end the search at the first invoice that existed at the cut, mostly the newest.
_NEWEST: Final = """
SELECT t.customer_id, invoice.body ->> 'tax_rate' AS rate, invoice.body ->> 'tax_rate2' AS rate2,
    (invoice.body ->> 'tax_micros')::bigint AS tax_micros, (invoice.body ->> 'tax2_micros')::bigint AS tax2_micros
FROM unnest($3::bigint[]) AS t (customer_id) CROSS JOIN LATERAL (
    SELECT as_of.body FROM metrics.records r CROSS JOIN LATERAL (
        SELECT v.body, v.owner_id FROM metrics.versions v
        WHERE v.organization_id = r.organization_id AND v.instance_id = r.instance_id AND v.kind = r.kind AND v.id = r.id
            AND v.epoch <= $4
        ORDER BY v.epoch DESC, v.seq DESC LIMIT 1) as_of
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.customer_id = t.customer_id AND r.kind = 'invoice' AND NOT r.gone
        AND as_of.owner_id = t.customer_id
    ORDER BY r.id DESC LIMIT 1) invoice"""


async def read(connection: Connection, cut: Cut, customers: Sequence[int]) -> dict[int, Fraction]:
    """Return by customer what prices with tax are divided by to take it out; customers without an invoice are missing."""
    return {
        row["customer_id"]: divisor_of(
            Fraction(row["rate"]), Fraction(row["rate2"]), row["tax_micros"], row["tax2_micros"]
        )
        for row in await connection.fetch(_NEWEST, *cut.instance, customers, cut.epoch)
    }
