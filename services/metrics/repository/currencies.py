"""The currency of customers as of the cut of an applied run."""

from collections.abc import Sequence
from typing import Final

from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut

# A row's body as it was at the epoch $4: of those that a newer run has changed meanwhile.
_BODY_BEFORE: Final = """
    SELECT body FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = {kind} AND id = {id} AND epoch <= $4
    ORDER BY epoch DESC, seq DESC LIMIT 1"""

# The greatest invoice of a customer is looked for among those that it has and those that a newer run has taken from it.
_READ: Final = f"""
SELECT c AS customer_id,
    CASE WHEN former.id > coalesce(present.id, -1) THEN former.currency
        ELSE coalesce(present.currency, details.currency) END AS currency
FROM unnest($3::bigint[]) AS t (c)
LEFT JOIN LATERAL (
    SELECT r.id, told.currency FROM metrics.records r CROSS JOIN LATERAL (
        SELECT r.currency WHERE r.epoch <= $4
        UNION ALL
        SELECT before.body ->> 'currency' FROM ({_BODY_BEFORE.format(kind="r.kind", id="r.id")}) before
        WHERE r.epoch > $4 AND (before.body ->> 'customer_id')::bigint = c) told
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.customer_id = c AND r.kind = 'invoice' AND NOT r.gone
    ORDER BY r.id DESC LIMIT 1) present ON true
LEFT JOIN LATERAL (
    SELECT d.left_invoice_id AS id, before.body ->> 'currency' AS currency
    FROM metrics.dirty d CROSS JOIN LATERAL ({_BODY_BEFORE.format(kind="'invoice'", id="d.left_invoice_id")}) before
    WHERE d.organization_id = $1 AND d.instance_id = $2 AND d.customer_id = c AND d.epoch > $4
        AND d.left_invoice_id IS NOT NULL AND (before.body ->> 'customer_id')::bigint = c
    ORDER BY 1 DESC LIMIT 1) former ON true
LEFT JOIN LATERAL (
    SELECT told.currency FROM metrics.records r CROSS JOIN LATERAL (
        SELECT r.currency WHERE r.epoch <= $4 AND NOT r.gone
        UNION ALL
        SELECT before.body ->> 'currency' FROM ({_BODY_BEFORE.format(kind="r.kind", id="r.id")}) before
        WHERE r.epoch > $4) told
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.kind = 'customer_detail' AND r.id = c
    LIMIT 1) details ON true"""  # noqa: S608  fixed names


async def read(connection: Connection, cut: Cut, customers: Sequence[int]) -> dict[int, str]:
    """Return the currency of each customer that has one in a cut."""
    rows = await connection.fetch(_READ, *cut.instance, customers, cut.epoch)
    return {row["customer_id"]: row["currency"] for row in rows if row["currency"] is not None}
