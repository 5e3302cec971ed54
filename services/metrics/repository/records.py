"""Records: the newest version of each row, guarded by (epoch, seq)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from services.metrics.formulas.currency import CURRENCY_KINDS, Before, Invoice
from services.metrics.formulas.facts import CustomerKey, Fact, RowKey
from services.metrics.repository.driver import Connection, column_types, columns, in_list, unnest


class Stored(NamedTuple):
    """How many records changed, and what the records of the kinds that decide a currency were before."""

    changed: int
    before: Mapping[RowKey, Before]


RECORD: Final = column_types(
    Fact, "organization_id", "instance_id", "kind", "id", "epoch", "seq", "customer_id", "currency", "digest"
) | {"is_removed": "boolean"}
_CUSTOMER: Final = column_types(CustomerKey)

# All parts of the statement see the records as they were before it. OFFSET 0 and, below, LIMIT 1 keep the look-ups by key. As a join,
# each statement reads the whole table for each batch while the planner has no statistics of it.
_STORE: Final = f"""
WITH fact AS (SELECT * FROM {unnest(RECORD)}
), before AS (
    SELECT fact.organization_id, fact.instance_id, fact.kind, fact.id, r.epoch, r.seq, r.customer_id, r.currency
    FROM fact CROSS JOIN LATERAL (
        SELECT epoch, seq, customer_id, currency FROM metrics.records
        WHERE organization_id = fact.organization_id AND instance_id = fact.instance_id AND kind = fact.kind AND id = fact.id
        OFFSET 0) r
    WHERE fact.kind IN {in_list(CURRENCY_KINDS)}
), stored AS (
    INSERT INTO metrics.records AS r
        (organization_id, instance_id, kind, id, epoch, seq, customer_id, currency, digest, gone)
    SELECT * FROM fact ORDER BY organization_id, instance_id, kind, id
    ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE SET
        epoch = excluded.epoch, seq = excluded.seq, customer_id = excluded.customer_id, currency = excluded.currency,
        digest = excluded.digest, gone = excluded.gone
    WHERE (r.epoch, r.seq) < (excluded.epoch, excluded.seq)
    RETURNING true
)
SELECT counted.changed, before.* FROM (SELECT count(*) AS changed FROM stored) counted LEFT JOIN before ON true"""

_READ_NEWEST_INVOICES: Final = f"""
SELECT t.*, r.id, r.currency FROM {unnest(_CUSTOMER)} CROSS JOIN LATERAL (
    SELECT id, currency FROM metrics.records
    WHERE organization_id = t.organization_id AND instance_id = t.instance_id AND customer_id = t.customer_id
        AND kind = 'invoice' AND NOT gone
    ORDER BY id DESC LIMIT 1) r"""


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


async def store(connection: Connection, facts: Sequence[Fact]) -> Stored:
    """Store facts, at most one per row, as the records of their rows, unless a newer fact is stored."""
    rows = await connection.fetch(_STORE, *columns(RECORD, facts))
    before = {
        RowKey(row["organization_id"], row["instance_id"], row["kind"], row["id"]): Before(
            row["epoch"], row["seq"], row["customer_id"], row["currency"]
        )
        for row in rows
        if row["id"] is not None
    }
    changed = next(row["changed"] for row in rows)
    return Stored(changed, before)
