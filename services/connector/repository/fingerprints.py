"""Fingerprints: the sha256 of the published body of each row; null when the row must be published again."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import IDS_PER_BLOCK
from services.connector.changes import DETAILS, Changes, Fact, Stored


class FactKey(NamedTuple):
    """Which row of an instance a fact is about."""

    kind: Kind
    id: int


async def load(connection: Any, instance: InstanceKey, kind: Kind, ids: Iterable[int]) -> dict[int, Stored]:
    """Return what is stored of rows, by id; ids that were never published are missing."""
    rows = await connection.fetch(
        """SELECT id, fingerprint, raw_hash FROM connector.fingerprints
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND id = ANY($4::bigint[])""",
        *instance,
        kind,
        list(ids),
    )
    return {row["id"]: Stored(row["fingerprint"], row["raw_hash"]) for row in rows}


async def announce(connection: Any, instance: InstanceKey, kind: Kind, facts: Sequence[Fact]) -> None:
    """Set the fingerprints of facts that are about to be published to null."""
    await connection.execute(
        """INSERT INTO connector.fingerprints (organization_id, instance_id, kind, id)
           SELECT $1, $2, $3, unnest($4::bigint[])
           ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE SET fingerprint = NULL""",
        *instance,
        kind,
        [fact.id for fact in facts],
    )


async def save(connection: Any, instance: InstanceKey, kind: Kind, changes: Changes) -> None:
    """Store published facts, and refresh what is stored beside the fingerprints of others.

    The statement never sets the fingerprint of an unpublished fact, because another transaction may have cleared it meanwhile. All rows
    exist, but ON CONFLICT finds them by the primary key. A join would scan the whole table if it was planned while the table was small.
    """
    facts = [*changes.published, *changes.refreshed]
    await connection.execute(
        """INSERT INTO connector.fingerprints AS f (organization_id, instance_id, kind, id,
               fingerprint, raw_hash, customer_id, is_open, is_detail_due)
           SELECT $1, $2, $3, * FROM unnest(
               $4::bigint[], $5::bytea[], $6::bytea[], $7::bigint[], $8::boolean[], $9::boolean[])
           ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE SET
               fingerprint = coalesce(excluded.fingerprint, f.fingerprint), raw_hash = excluded.raw_hash,
               customer_id = excluded.customer_id, is_open = excluded.is_open,
               is_detail_due = f.is_detail_due OR excluded.is_detail_due""",
        *instance,
        kind,
        [fact.id for fact in facts],
        [fact.fingerprint for fact in changes.published] + [None] * len(changes.refreshed),
        [fact.raw_hash for fact in facts],
        [fact.customer_id for fact in facts],
        [fact.is_open for fact in facts],
        [fact.id in changes.due for fact in facts],
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


async def clear_keys(connection: Any, instance: InstanceKey, keys: Sequence[FactKey]) -> list[FactKey]:
    """Set the fingerprints of these facts to null, and return the keys of those that are stored. Their details become due again."""
    rows = await connection.fetch(
        """UPDATE connector.fingerprints f
           SET fingerprint = NULL, is_detail_due = f.is_detail_due OR f.kind = ANY($5::text[])
           FROM unnest($3::text[], $4::bigint[]) AS cleared (kind, id)
           WHERE organization_id = $1 AND instance_id = $2 AND f.kind = cleared.kind AND f.id = cleared.id
           RETURNING f.kind, f.id""",
        *instance,
        [key.kind for key in keys],
        [key.id for key in keys],
        list(DETAILS),
    )
    return [FactKey(Kind(row["kind"]), row["id"]) for row in rows]


async def clear_blocks(connection: Any, instance: InstanceKey, kind: str, blocks: Sequence[int]) -> None:
    """Set the fingerprints of blocks of ids to null."""
    await connection.execute(
        f"""UPDATE connector.fingerprints SET fingerprint = NULL WHERE organization_id = $1 AND instance_id = $2 AND kind = $3
            AND id / {IDS_PER_BLOCK} = ANY($4::bigint[])""",  # noqa: S608  a constant
        *instance,
        kind,
        blocks,
    )


async def clear_some(connection: Any, instance: InstanceKey, limit: int) -> int:
    """Set up to `limit` fingerprints of an instance to null; return how many, 0 when all are null. Their details become due again."""
    status: str = await connection.execute(
        """UPDATE connector.fingerprints SET fingerprint = NULL, is_detail_due = kind = ANY($4::text[])
           WHERE ctid = ANY (ARRAY(SELECT ctid FROM connector.fingerprints
               WHERE organization_id = $1 AND instance_id = $2 AND fingerprint IS NOT NULL LIMIT $3))""",
        *instance,
        limit,
        list(DETAILS),
    )
    return int(status.removeprefix("UPDATE "))


async def count(connection: Any, instance: InstanceKey, kind: Kind, most: int) -> int:
    """Return how many rows of a kind are stored, counting up to `most`."""
    rows: int = await connection.fetchval(
        """SELECT count(*) FROM (SELECT FROM connector.fingerprints
               WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 LIMIT $4) AS counted""",
        *instance,
        kind,
        most,
    )
    return rows


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
