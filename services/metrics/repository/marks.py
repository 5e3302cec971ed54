"""Dirty marks: the customers that have to be computed again, and from which epoch on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.contracts.instances import InstanceKey
from services.metrics.repository.driver import SUBSCRIPTIONS, Connection, column_types, columns, unnest


class StoredVersion(NamedTuple):
    """A version that has just been stored."""

    organization_id: UUID
    instance_id: UUID
    kind: str
    id: int
    epoch: int


_VERSION: Final = column_types(StoredVersion)

# OFFSET 0 keeps the look-ups by key: a join would read the whole table for each batch while the planner knows nothing of it yet,
# as when it is being filled for the first time. So does LIMIT 1 below. A kind that the planner can read would have it look through
# the index by customer instead.
_ADD_THROUGH_OWNERS: Final = f"""
WITH input AS (SELECT * FROM {unnest(_VERSION)})
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
SELECT organization_id, instance_id, owner.customer_id, epoch FROM input CROSS JOIN LATERAL (
    SELECT (v.body ->> 'customer_id')::bigint AS customer_id FROM metrics.versions v
    WHERE v.organization_id = input.organization_id AND v.instance_id = input.instance_id AND v.kind = input.kind
        AND v.id = input.id AND v.body IS NOT NULL OFFSET 0) owner
WHERE kind <> 'cancellation_request'
UNION
SELECT organization_id, instance_id, owner.customer_id, epoch FROM input CROSS JOIN LATERAL (
    SELECT 'service' AS kind, (v.body ->> 'service_id')::bigint AS id FROM metrics.versions v
    WHERE v.organization_id = input.organization_id AND v.instance_id = input.instance_id AND v.kind = input.kind
        AND v.id = input.id AND v.body IS NOT NULL OFFSET 0) asked
CROSS JOIN LATERAL (
    SELECT (v.body ->> 'customer_id')::bigint AS customer_id FROM metrics.versions v
    WHERE v.organization_id = input.organization_id AND v.instance_id = input.instance_id AND v.kind = asked.kind
        AND v.id = asked.id AND v.body IS NOT NULL OFFSET 0) owner
WHERE input.kind = 'cancellation_request'"""  # noqa: S608  fixed names

# A reading counts for everything that was seen after it. Epoch 0: the next run that is applied computes these customers.
_ADD_SEEN_AFTER: Final = f"""
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
SELECT DISTINCT organization_id, instance_id, (body ->> 'customer_id')::bigint, 0 FROM metrics.versions
WHERE organization_id = $1 AND instance_id = $2 AND observed_at > $3 AND kind IN {SUBSCRIPTIONS}
    AND body IS NOT NULL"""  # noqa: S608  fixed names

# Versions before 0003 add marks without the epoch of their fact. The fact is stored, so its epoch is at most the greatest one.
_DATE: Final = """
UPDATE metrics.dirty SET epoch = (
    SELECT coalesce(max(r.epoch), 0) FROM metrics.records r WHERE r.organization_id = $1 AND r.instance_id = $2)
WHERE organization_id = $1 AND instance_id = $2 AND epoch IS NULL"""

# The customers of a batch are a stretch of the index by customer, and the next batch begins where this one ended. "+ 0" keeps the planner
# off the index of epochs, where it would look at all marks for every batch.
_END_OF_BATCH: Final = """
SELECT max(customer_id) FROM (
    SELECT DISTINCT customer_id FROM metrics.dirty
    WHERE organization_id = $1 AND instance_id = $2 AND epoch + 0 <= $3 AND customer_id > $4
    ORDER BY customer_id LIMIT $5) batch"""

_DELETE_OF_STRETCH: Final = """
DELETE FROM metrics.dirty
WHERE organization_id = $1 AND instance_id = $2 AND epoch + 0 <= $3 AND customer_id > $4 AND customer_id <= $5
RETURNING customer_id"""

_DELETE_OF_CUSTOMERS: Final = """
DELETE FROM metrics.dirty
WHERE organization_id = $1 AND instance_id = $2 AND epoch + 0 <= $3 AND customer_id = ANY ($4)"""


async def add_through_owners(connection: Connection, versions: Sequence[StoredVersion]) -> None:
    """Mark the customers of versions that do not name them: tombstones and cancellation requests."""
    await connection.execute(_ADD_THROUGH_OWNERS, *columns(_VERSION, versions))


async def add_seen_after(connection: Connection, key: InstanceKey, moment: datetime) -> None:
    """Mark the customers of all subscriptions that were observed after a moment."""
    await connection.execute(_ADD_SEEN_AFTER, *key, moment)


async def date(connection: Connection, key: InstanceKey) -> None:
    """Give an epoch to the marks that have none."""
    await connection.execute(_DATE, *key)


async def claim(connection: Connection, key: InstanceKey, epoch: int, after: int, limit: int) -> list[int]:
    """Delete the marks up to an epoch on the next `limit` customers behind the customer `after`; return these customers in order."""
    last = await connection.fetchval(_END_OF_BATCH, *key, epoch, after, limit)
    rows = await connection.fetch(_DELETE_OF_STRETCH, *key, epoch, after, last)
    return sorted({row["customer_id"] for row in rows})


async def delete(connection: Connection, key: InstanceKey, epoch: int, customers: Sequence[int]) -> None:
    """Delete the marks up to an epoch on these customers."""
    await connection.execute(_DELETE_OF_CUSTOMERS, *key, epoch, customers)
