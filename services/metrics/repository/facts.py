"""Facts as they are stored: every version for good, and of each row the newest one as its record."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from libs.common.contracts.billing import Kind
from services.metrics.formulas.facts import Fact
from services.metrics.repository import marks
from services.metrics.repository.driver import SUBSCRIPTIONS, Connection, column_types, columns, unnest

VERSION: Final = column_types(
    Fact, "organization_id", "instance_id", "kind", "id", "epoch", "seq", "observed_at", "body"
)
RECORD: Final = column_types(
    Fact, "organization_id", "instance_id", "kind", "id", "epoch", "seq", "customer_id", "currency"
) | {"is_removed": "boolean"}

# A request finds its customer through the service, which another transaction may be storing: one waits for the other.
_ORDER_REQUESTS: Final = """
SELECT CASE WHEN has_requests THEN pg_advisory_xact_lock(place) ELSE pg_advisory_xact_lock_shared(place) END
FROM (SELECT hashtextextended('requests:' || i, 0) AS place, r AS has_requests
    FROM unnest($1::uuid[], $2::boolean[]) AS t (i, r)) instances"""

# The versions first: primary evidence, kept whatever the guard of the present row says, so every new one makes its customer dirty.
# Returned are those whose customers only other versions tell: tombstones and cancellation requests.
_STORE_VERSIONS: Final = f"""
WITH stored AS (
    INSERT INTO metrics.versions (organization_id, instance_id, kind, id, epoch, seq, observed_at, body)
    SELECT organization_id, instance_id, kind, id, epoch, seq, observed_at, body::jsonb FROM {unnest(VERSION)}
    ORDER BY organization_id, instance_id, kind, id, epoch, seq
    ON CONFLICT DO NOTHING
    RETURNING organization_id, instance_id, kind, id, epoch,
        CASE WHEN kind IN {SUBSCRIPTIONS} THEN (body ->> 'customer_id')::bigint END AS customer_id
), marked AS (
    INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
    SELECT DISTINCT organization_id, instance_id, customer_id, epoch FROM stored WHERE customer_id IS NOT NULL
)
SELECT organization_id, instance_id, kind, id, epoch FROM stored
WHERE kind = 'cancellation_request' OR (kind IN {SUBSCRIPTIONS} AND customer_id IS NULL)"""  # noqa: S608  fixed names


# All parts see the rows as they were before. The currency of a customer is that of its invoice with the greatest id, else that of
# its details: an invoice matters only when it changes that. A customer that an invoice leaves is marked with the invoice: until that
# mark is taken away, the invoice still tells the customer's currency.
_STORE_RECORDS: Final = f"""
WITH changed AS (
    INSERT INTO metrics.records AS r
        (organization_id, instance_id, kind, id, epoch, seq, customer_id, currency, gone)
    SELECT * FROM {unnest(RECORD)} ORDER BY organization_id, instance_id, kind, id
    ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE SET
        epoch = excluded.epoch, seq = excluded.seq, gone = excluded.gone,
        customer_id = excluded.customer_id, currency = excluded.currency
    WHERE (r.epoch, r.seq) < (excluded.epoch, excluded.seq)
    RETURNING r.organization_id, r.instance_id, r.kind, r.id, r.epoch, r.gone, r.customer_id, r.currency
), touched AS (
    SELECT c.organization_id, c.instance_id, c.id AS customer_id, c.epoch, NULL::bigint AS left_invoice_id
    FROM changed c
    LEFT JOIN LATERAL (
        SELECT r.currency FROM metrics.records r
        WHERE r.organization_id = c.organization_id AND r.instance_id = c.instance_id AND r.kind = c.kind AND r.id = c.id
        LIMIT 1) before ON true
    WHERE c.kind = 'customer_detail' AND c.currency IS DISTINCT FROM before.currency
    UNION ALL
    SELECT c.organization_id, c.instance_id, before.customer_id, c.epoch, c.id FROM changed c
    CROSS JOIN LATERAL (
        SELECT r.customer_id FROM metrics.records r
        WHERE r.organization_id = c.organization_id AND r.instance_id = c.instance_id AND r.kind = c.kind AND r.id = c.id
        LIMIT 1) before
    WHERE c.kind = 'invoice' AND before.customer_id IS DISTINCT FROM c.customer_id
    UNION ALL
    SELECT c.organization_id, c.instance_id, c.customer_id, c.epoch, NULL FROM changed c
    LEFT JOIN LATERAL (
        SELECT r.id, r.currency FROM metrics.records r
        WHERE r.organization_id = c.organization_id AND r.instance_id = c.instance_id
            AND r.customer_id = c.customer_id AND r.kind = 'invoice' AND NOT r.gone
        ORDER BY r.id DESC LIMIT 1) newest ON true
    WHERE c.kind = 'invoice' AND (newest.id IS NULL
        OR (c.id >= newest.id AND c.currency IS DISTINCT FROM newest.currency))
), marked AS (
    INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch, left_invoice_id)
    SELECT DISTINCT organization_id, instance_id, customer_id, epoch, left_invoice_id
    FROM touched WHERE customer_id IS NOT NULL
)
SELECT count(*) FROM changed"""  # noqa: S608  fixed names


async def store(connection: Connection, facts: Sequence[Fact]) -> int:
    """Store facts, of which a row may have several, and mark the customers whose figures they change; returns how many records changed."""
    if not facts:
        return 0
    await _order_requests(connection, facts)
    indirect = await connection.fetch(_STORE_VERSIONS, *columns(VERSION, facts))
    changed: int = await connection.fetchval(_STORE_RECORDS, *columns(RECORD, _newest(facts)))
    if indirect:
        await marks.add_through_owners(connection, [marks.StoredVersion(**row) for row in indirect])
    return changed


async def _order_requests(connection: Connection, facts: Sequence[Fact]) -> None:
    has_requests: dict[UUID, bool] = {}
    for fact in facts:
        if fact.kind in (Kind.SERVICE, Kind.CANCELLATION_REQUEST):
            is_request = fact.kind is Kind.CANCELLATION_REQUEST
            has_requests[fact.instance_id] = has_requests.get(fact.instance_id, False) or is_request
    if has_requests:
        ordered = sorted(has_requests)
        await connection.execute(_ORDER_REQUESTS, ordered, [has_requests[key] for key in ordered])


def _newest(facts: Sequence[Fact]) -> list[Fact]:
    """Return of each row the fact of the greatest epoch and seq."""
    newest: dict[tuple[UUID, Kind, int], Fact] = {}
    for fact in facts:
        key = (fact.instance_id, fact.kind, fact.id)
        other = newest.get(key)
        if other is None or (other.epoch, other.seq) < (fact.epoch, fact.seq):
            newest[key] = fact
    return list(newest.values())
