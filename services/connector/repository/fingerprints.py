"""Fingerprints: the sha256 of the published body of each row; null when the row must be published again."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from services.connector.changes import Fact


class FactKey(NamedTuple):
    """Which row of an instance a fact is about."""

    kind: Kind
    id: int


async def load(
    connection: Any, instance: InstanceKey, kind: Kind, ids: Iterable[int]
) -> dict[int, bytes | None]:
    """Return fingerprints by id; ids that were never published are missing."""
    rows = await connection.fetch(
        """SELECT id, fingerprint FROM connector.fingerprints
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND id = ANY($4::bigint[])""",
        *instance,
        kind,
        list(ids),
    )
    return {row["id"]: row["fingerprint"] for row in rows}


async def save(
    connection: Any, instance: InstanceKey, kind: Kind, facts: Sequence[Fact], *, published: bool
) -> None:
    """Store the fingerprints of published facts, or null for those that are about to be published."""
    await connection.execute(
        """INSERT INTO connector.fingerprints
               (organization_id, instance_id, kind, id, fingerprint, customer_id)
           SELECT $1, $2, $3, * FROM unnest($4::bigint[], $5::bytea[], $6::bigint[])
           ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE
           SET fingerprint = excluded.fingerprint, customer_id = excluded.customer_id""",
        *instance,
        kind,
        [fact.id for fact in facts],
        [fact.fingerprint if published else None for fact in facts],
        [fact.customer_id for fact in facts],
    )


async def clear(connection: Any, instance: InstanceKey, kind: Kind, ids: Sequence[int]) -> None:
    """Set fingerprints to null. This needs no lease: the next run publishes those rows again."""
    await connection.execute(
        """UPDATE connector.fingerprints SET fingerprint = NULL
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND id = ANY($4::bigint[])""",
        *instance,
        kind,
        ids,
    )


async def clear_blocks(connection: Any, instance: InstanceKey, kind: str, blocks: Sequence[int]) -> None:
    """Set the fingerprints of blocks of 10,000 ids to null."""
    await connection.execute(
        """UPDATE connector.fingerprints SET fingerprint = NULL
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND id / 10000 = ANY($4::bigint[])""",
        *instance,
        kind,
        blocks,
    )


async def clear_some(connection: Any, instance: InstanceKey, limit: int) -> int:
    """Set up to `limit` fingerprints of an instance to null; return how many, 0 when all are null."""
    status: str = await connection.execute(
        """UPDATE connector.fingerprints SET fingerprint = NULL WHERE ctid = ANY (ARRAY(
               SELECT ctid FROM connector.fingerprints
               WHERE organization_id = $1 AND instance_id = $2 AND fingerprint IS NOT NULL LIMIT $3))""",
        *instance,
        limit,
    )
    return int(status.removeprefix("UPDATE "))


async def customers_without_currency(connection: Any, instance: InstanceKey, after: int) -> list[int]:
    """Return the ids above `after` of customers with a priced subscription and no invoice, in order."""
    rows = await connection.fetch(
        """SELECT customer_id FROM connector.fingerprints
           WHERE organization_id = $1 AND instance_id = $2 AND customer_id > $3
             AND kind IN ('service', 'addon', 'domain', 'invoice')
           GROUP BY customer_id HAVING NOT bool_or(kind = 'invoice') ORDER BY customer_id""",
        *instance,
        after,
    )
    return [row["customer_id"] for row in rows]


async def load_keys(connection: Any, instance: InstanceKey, limit: int) -> list[FactKey]:
    """Return up to `limit` keys of published facts."""
    rows = await connection.fetch(
        """SELECT kind, id FROM connector.fingerprints
           WHERE organization_id = $1 AND instance_id = $2 LIMIT $3""",
        *instance,
        limit,
    )
    return [FactKey(Kind(row["kind"]), row["id"]) for row in rows]


async def delete(connection: Any, instance: InstanceKey, keys: Sequence[FactKey]) -> None:
    """Delete the fingerprints of removed facts."""
    await connection.execute(
        """DELETE FROM connector.fingerprints f USING unnest($3::text[], $4::bigint[]) AS removed (kind, id)
           WHERE organization_id = $1 AND instance_id = $2 AND f.kind = removed.kind AND f.id = removed.id""",
        *instance,
        [key.kind for key in keys],
        [key.id for key in keys],
    )
