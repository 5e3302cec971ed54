"""Records: the newest version of each row, guarded by (epoch, seq)."""

from collections.abc import Collection, Sequence
from typing import Final

from services.metrics.formulas.currency import Before, Invoice
from services.metrics.formulas.facts import CustomerKey, Fact, RowKey
from services.metrics.repository.driver import Connection, column_types, columns, unnest

RECORD: Final = column_types(
    Fact, "organization_id", "instance_id", "kind", "id", "epoch", "seq", "customer_id", "currency"
) | {"is_removed": "boolean"}
_ROW: Final = column_types(RowKey)
_CUSTOMER: Final = column_types(CustomerKey)


_STORE: Final = f"""
INSERT INTO metrics.records AS r (organization_id, instance_id, kind, id, epoch, seq, customer_id, currency, gone)
SELECT * FROM {unnest(RECORD)} ORDER BY organization_id, instance_id, kind, id
ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE SET
    epoch = excluded.epoch, seq = excluded.seq, customer_id = excluded.customer_id, currency = excluded.currency,
    gone = excluded.gone
WHERE (r.epoch, r.seq) < (excluded.epoch, excluded.seq)"""

# OFFSET 0 and LIMIT 1 keep the look-ups by key. As a join, each statement reads the whole table for each batch while the planner has no
# statistics of it.
_READ_BEFORE: Final = f"""
SELECT t.*, r.epoch, r.seq, r.customer_id, r.currency FROM {unnest(_ROW)} CROSS JOIN LATERAL (
    SELECT epoch, seq, customer_id, currency FROM metrics.records
    WHERE organization_id = t.organization_id AND instance_id = t.instance_id AND kind = t.kind AND id = t.id
    OFFSET 0) r"""

_READ_NEWEST_INVOICES: Final = f"""
SELECT t.*, r.id, r.currency FROM {unnest(_CUSTOMER)} CROSS JOIN LATERAL (
    SELECT id, currency FROM metrics.records
    WHERE organization_id = t.organization_id AND instance_id = t.instance_id AND customer_id = t.customer_id
        AND kind = 'invoice' AND NOT gone
    ORDER BY id DESC LIMIT 1) r"""


async def read_before(connection: Connection, rows: Sequence[RowKey]) -> dict[RowKey, Before]:
    """Return what the stored records of rows say, before facts replace them."""
    if not rows:
        return {}
    stored = await connection.fetch(_READ_BEFORE, *columns(_ROW, rows))
    return {
        RowKey(record["organization_id"], record["instance_id"], record["kind"], record["id"]): Before(
            record["epoch"], record["seq"], record["customer_id"], record["currency"]
        )
        for record in stored
    }


async def read_newest_invoices(
    connection: Connection, customers: Collection[CustomerKey]
) -> dict[CustomerKey, Invoice]:
    """Return the invoice with the greatest id of each customer; customers without an invoice are missing."""
    if not customers:
        return {}
    stored = await connection.fetch(_READ_NEWEST_INVOICES, *columns(_CUSTOMER, list(customers)))
    return {
        CustomerKey(record["organization_id"], record["instance_id"], record["customer_id"]): Invoice(
            record["id"], record["currency"]
        )
        for record in stored
    }


async def store(connection: Connection, facts: Sequence[Fact]) -> int:
    """Store facts, at most one per row, as the records of their rows, unless a newer fact is stored; return how many changed."""
    status: str = await connection.execute(_STORE, *columns(RECORD, facts))
    return int(status.rpartition(" ")[2])
