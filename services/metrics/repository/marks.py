"""Dirty marks: which customers must be computed again, and with the facts of which epoch."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.currency import CURRENCY_KINDS
from services.metrics.formulas.facts import Fact, Mark
from services.metrics.formulas.marked import Marked, Row, marked_rows
from services.metrics.formulas.owners import NAMED_KINDS
from services.metrics.repository.driver import Connection, column_types, columns, in_list, unnest
from services.metrics.repository.versions import StoredVersion

_MARK: Final = column_types(Mark)
_VERSION: Final = column_types(StoredVersion)
_NAMED: Final = in_list(NAMED_KINDS)

# The marks of a request depend on the service that it ends, those of lines on their invoice, and those of an invoice on the other invoices
# of its customer. Another replica may be storing those rows: each would miss the rows of the other. So batches with requests, invoices or
# details of an instance are stored one after another, and not beside a batch with services or lines. Batches with these only do not wait
# for each other. Versions before 0005 lock under the same name.
_READ_OTHERS: Final = (*CURRENCY_KINDS, Kind.CANCELLATION_REQUEST)
_READ_BY_OTHERS: Final = (Kind.SERVICE, Kind.INVOICE_LINES)
_LOCK: Final = """
SELECT CASE WHEN is_alone THEN pg_advisory_xact_lock(place) ELSE pg_advisory_xact_lock_shared(place) END
FROM (SELECT hashtextextended('requests:' || instance_id, 0) AS place, is_alone
    FROM unnest($1::uuid[], $2::boolean[]) AS t (instance_id, is_alone)) locks"""

_ADD: Final = f"""
INSERT INTO metrics.dirty ({", ".join(_MARK)}) SELECT * FROM {unnest(_MARK)}"""

# Follow the owners of each row until they are customers, and name the subscription or invoice on the way. All versions of a row count: a
# tombstone names no owner, and a row may have had several. OFFSET 0 keeps the look-ups by primary key. As a join, the statement reads the
# whole table for each batch while the planner has no statistics of it, as in the first sync.
_ADD_THROUGH_OWNERS: Final = f"""
WITH RECURSIVE path AS (
    SELECT t.*, named.* FROM {unnest(_VERSION)} CROSS JOIN LATERAL (
        SELECT CASE WHEN kind IN {_NAMED} THEN kind END AS row_kind, CASE WHEN kind IN {_NAMED} THEN id END AS row_id) named
    UNION
    SELECT p.organization_id, p.instance_id, owner.kind, owner.id, p.epoch,
        CASE WHEN p.row_kind IS NULL AND owner.kind IN {_NAMED} THEN owner.kind ELSE p.row_kind END,
        CASE WHEN p.row_kind IS NULL AND owner.kind IN {_NAMED} THEN owner.id ELSE p.row_id END
    FROM path p CROSS JOIN LATERAL (
        SELECT v.owner_kind AS kind, v.owner_id AS id FROM metrics.versions v
        WHERE v.organization_id = p.organization_id AND v.instance_id = p.instance_id
            AND v.kind = p.kind AND v.id = p.id AND v.owner_id IS NOT NULL OFFSET 0) owner
    WHERE p.kind <> 'customer')
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch, row_kind, row_id)
SELECT organization_id, instance_id, id, epoch, row_kind, row_id FROM path WHERE kind = 'customer'"""

# A reading matters to all that was observed after it. Epoch 0 is below every cut, so these customers are computed at once.
_ADD_SEEN_AFTER: Final = f"""
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
SELECT DISTINCT organization_id, instance_id, owner_id, 0 FROM metrics.versions
WHERE organization_id = $1 AND instance_id = $2 AND observed_at > $3 AND owner_kind = 'customer'
    AND kind IN {in_list(SUBSCRIPTION_KINDS)}"""

# Releases before migration 0003 add marks without an epoch. The fact of such a mark is stored, so its epoch is at most the greatest one.
_DATE: Final = """
UPDATE metrics.dirty SET epoch = (
    SELECT coalesce(max(r.epoch), 0) FROM metrics.records r WHERE r.organization_id = $1 AND r.instance_id = $2)
WHERE organization_id = $1 AND instance_id = $2 AND epoch IS NULL"""

# A batch is a range of the index by customer, and the next batch begins where it ends. "epoch + 0" keeps the planner off the index by
# epoch, where it would look at all marks for every batch. A mark that is added meanwhile is not deleted: it makes the instance due again.
_END_OF_BATCH: Final = """
SELECT max(customer_id) FROM (
    SELECT DISTINCT customer_id FROM metrics.dirty
    WHERE organization_id = $1 AND instance_id = $2 AND epoch + 0 <= $3 AND customer_id > $4
    ORDER BY customer_id LIMIT $5) batch"""

_DELETE_IN_RANGE: Final = """
DELETE FROM metrics.dirty
WHERE organization_id = $1 AND instance_id = $2 AND epoch + 0 <= $3 AND customer_id > $4 AND customer_id <= $5
RETURNING customer_id, row_kind, row_id"""

_DELETE_OF_CUSTOMERS: Final = """
DELETE FROM metrics.dirty
WHERE organization_id = $1 AND instance_id = $2 AND epoch + 0 <= $3 AND customer_id = ANY ($4)"""


async def lock(connection: Connection, facts: Iterable[Fact]) -> None:
    """Wait for transactions that store rows on which the marks of these facts depend, and keep others out until this transaction ends."""
    alone: dict[UUID, bool] = {}
    for fact in facts:
        reads_others = fact.kind in _READ_OTHERS
        if reads_others or fact.kind in _READ_BY_OTHERS:
            alone[fact.instance_id] = alone.get(fact.instance_id, False) or reads_others
    if alone:
        # All transactions lock in the order of the ids, so no two of them wait for each other.
        ids = sorted(alone)
        await connection.execute(_LOCK, ids, [alone[instance_id] for instance_id in ids])


async def add(connection: Connection, marks: Sequence[Mark]) -> None:
    """Store dirty marks."""
    if marks:
        await connection.execute(_ADD, *columns(_MARK, marks))


async def add_through_owners(connection: Connection, versions: Sequence[StoredVersion]) -> None:
    """Mark the customers of versions that name none: tombstones and cancellation requests."""
    if versions:
        await connection.execute(_ADD_THROUGH_OWNERS, *columns(_VERSION, versions))


async def add_seen_after(connection: Connection, key: InstanceKey, moment: datetime) -> None:
    """Mark the customers of all subscriptions that were observed after a moment."""
    await connection.execute(_ADD_SEEN_AFTER, *key, moment)


async def date(connection: Connection, key: InstanceKey) -> None:
    """Set the epoch of marks that have none."""
    await connection.execute(_DATE, *key)


async def claim(connection: Connection, key: InstanceKey, epoch: int, after: int, limit: int) -> list[Marked]:
    """Delete the marks up to an epoch on the next `limit` customers behind the customer `after`; return these customers in order."""
    last = await connection.fetchval(_END_OF_BATCH, *key, epoch, after, limit)
    rows: dict[int, set[Row | None]] = defaultdict(set)
    for mark in await connection.fetch(_DELETE_IN_RANGE, *key, epoch, after, last):
        row = None if mark["row_kind"] is None else Row(mark["row_kind"], mark["row_id"])
        rows[mark["customer_id"]].add(row)
    return [Marked(customer, marked_rows(rows[customer])) for customer in sorted(rows)]


async def delete(connection: Connection, key: InstanceKey, epoch: int, customers: Sequence[int]) -> None:
    """Delete the marks up to an epoch on these customers."""
    await connection.execute(_DELETE_OF_CUSTOMERS, *key, epoch, customers)
