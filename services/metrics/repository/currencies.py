"""The currency of customers as of the cut of an applied run."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from services.metrics.formulas.currency import Invoice, currency_of
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut

# The version of a row at the epoch $4. It is needed when the record is newer: a run that is not applied yet has changed the row.
_VERSION_AT: Final = """
    SELECT body ->> 'currency' AS currency, owner_id FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = {kind} AND id = {id} AND epoch <= $4
    ORDER BY epoch DESC, seq DESC LIMIT 1"""

# The invoice with the greatest id that each customer has now and had at the cut. ORDER BY and LIMIT inside make the index end the search at
# the first invoice that fits, mostly the newest.
_PRESENT: Final = f"""
SELECT t.customer_id, invoice.id, invoice.currency FROM unnest($3::bigint[]) AS t (customer_id) CROSS JOIN LATERAL (
    SELECT r.id, as_of.currency FROM metrics.records r CROSS JOIN LATERAL (
        SELECT r.currency WHERE r.epoch <= $4
        UNION ALL
        SELECT v.currency FROM ({_VERSION_AT.format(kind="r.kind", id="r.id")}) v
        WHERE r.epoch > $4 AND v.owner_id = t.customer_id) as_of
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.customer_id = t.customer_id
        AND r.kind = 'invoice' AND NOT r.gone
    ORDER BY r.id DESC LIMIT 1) invoice"""

# Invoices that belonged to each customer at the cut but belong to another one now. Only dirty marks lead to them.
_FORMER: Final = f"""
SELECT d.customer_id, d.left_invoice_id AS id, v.currency
FROM metrics.dirty d CROSS JOIN LATERAL ({_VERSION_AT.format(kind="'invoice'", id="d.left_invoice_id")}) v
WHERE d.organization_id = $1 AND d.instance_id = $2 AND d.customer_id = ANY ($3::bigint[]) AND d.epoch > $4
    AND d.left_invoice_id IS NOT NULL AND v.owner_id = d.customer_id"""

_DETAILS: Final = f"""
SELECT r.id AS customer_id, as_of.currency FROM metrics.records r CROSS JOIN LATERAL (
    SELECT r.currency WHERE r.epoch <= $4 AND NOT r.gone
    UNION ALL
    SELECT v.currency FROM ({_VERSION_AT.format(kind="r.kind", id="r.id")}) v WHERE r.epoch > $4) as_of
WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.kind = 'customer_detail'
    AND r.id = ANY ($3::bigint[])"""


async def read(connection: Connection, cut: Cut, customers: Sequence[int]) -> dict[int, str]:
    """Return the currencies of customers at a cut; customers without a currency are missing."""
    invoices: dict[int, list[Invoice]] = defaultdict(list)
    for statement in (_PRESENT, _FORMER):
        for row in await connection.fetch(statement, *cut.instance, customers, cut.epoch):
            invoices[row["customer_id"]].append(Invoice(row["id"], row["currency"]))
    rows = await connection.fetch(_DETAILS, *cut.instance, customers, cut.epoch)
    details = {row["customer_id"]: row["currency"] for row in rows}
    codes = {customer: currency_of(invoices[customer], details.get(customer)) for customer in customers}
    return {customer: code for customer, code in codes.items() if code is not None}
