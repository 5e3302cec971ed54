"""Digests of full runs that wait to be compared, the digests of the records, and the blocks that the connector was asked for."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from libs.common.contracts.instances import InstanceKey, InstanceState
from libs.common.contracts.sync import IDS_PER_BLOCK
from services.metrics.formulas.reconciliation import Asked, Digest, Digests, Stored
from services.metrics.repository.driver import Connection

_SUMS: Final = 2**64


class Waiting(NamedTuple):
    """The digests of an instance that wait to be compared."""

    instance: InstanceKey
    digests: Digests


# The newest full run says all that an older one could.
_STORE: Final = """
INSERT INTO metrics.digests AS d (organization_id, instance_id, epoch, started_at, kinds, read_fully)
VALUES ($1, $2, $3, $4, $5::jsonb, $6)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET
    epoch = excluded.epoch, started_at = excluded.started_at, kinds = excluded.kinds, read_fully = excluded.read_fully
WHERE d.epoch < excluded.epoch"""

# Digests are due once their run or a newer one is applied, because all facts of the run are stored then. The lock on the instance keeps it
# from being deleted before the transaction ends.
_CLAIM: Final = f"""
SELECT d.organization_id, d.instance_id, d.epoch, d.started_at, d.kinds::text AS kinds, d.read_fully
FROM metrics.digests d
JOIN metrics.freshness f USING (organization_id, instance_id) JOIN metrics.instances n USING (organization_id, instance_id)
WHERE f.epoch >= d.epoch AND n.state NOT IN ('{InstanceState.DELETING}', '{InstanceState.DELETED}')
LIMIT 1 FOR UPDATE OF d SKIP LOCKED FOR SHARE OF n SKIP LOCKED"""

_DELETE: Final = """
DELETE FROM metrics.digests WHERE organization_id = $1 AND instance_id = $2 AND epoch = $3"""

_READ_STORED: Final = f"""
SELECT id / {IDS_PER_BLOCK} AS block, count(*) FILTER (WHERE NOT gone) AS rows,
    coalesce(sum(digest) FILTER (WHERE NOT gone), 0)::text AS total,
    count(*) FILTER (WHERE NOT gone AND digest IS NULL) AS undigested, max(epoch) AS newest_epoch
FROM metrics.records WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 GROUP BY 1"""

_READ_ASKED: Final = """
SELECT block, asked_at, epoch FROM metrics.mismatches WHERE organization_id = $1 AND instance_id = $2 AND kind = $3"""

# The conditions on the id keep the look-ups inside the block.
_IN_BLOCK: Final = f"""
    r.organization_id = $1 AND r.instance_id = $2 AND r.kind = $3 AND NOT r.gone
    AND r.id >= m.block * {IDS_PER_BLOCK} AND r.id < (m.block + 1) * {IDS_PER_BLOCK}"""

_READ_PUBLISHED: Final = f"""
SELECT m.block, count(*) AS rows, coalesce(sum(r.digest), 0)::text AS total
FROM metrics.mismatches m JOIN metrics.records r ON {_IN_BLOCK} AND r.epoch > m.epoch
WHERE m.organization_id = $1 AND m.instance_id = $2 AND m.kind = $3 GROUP BY 1"""

_READ_UNPUBLISHED: Final = f"""
SELECT r.id FROM metrics.mismatches m JOIN metrics.records r ON {_IN_BLOCK} AND r.epoch <= m.epoch
WHERE m.organization_id = $1 AND m.instance_id = $2 AND m.kind = $3 AND m.block = ANY ($4::bigint[]) ORDER BY 1"""

_STORE_ASKED: Final = """
INSERT INTO metrics.mismatches (organization_id, instance_id, kind, block, asked_at, epoch)
SELECT $1, $2, $3, block, $5, $6 FROM unnest($4::bigint[]) AS t (block)
ON CONFLICT (organization_id, instance_id, kind, block) DO UPDATE SET asked_at = excluded.asked_at, epoch = excluded.epoch"""

_DELETE_ASKED: Final = """
DELETE FROM metrics.mismatches
WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND block = ANY ($4::bigint[])"""


async def store(connection: Connection, key: InstanceKey, digests: Digests) -> None:
    """Store the digests of a run, unless those of a newer one are stored."""
    kinds = {
        kind: {str(block): tuple(digest) for block, digest in blocks.items()}
        for kind, blocks in digests.kinds.items()
    }
    await connection.execute(
        _STORE,
        *key,
        digests.epoch,
        digests.started_at,
        orjson.dumps(kinds).decode(),
        sorted(digests.read_fully),
    )


async def claim(connection: Connection) -> Waiting | None:
    """Claim digests that are due until the transaction ends; None when there are none."""
    row = await connection.fetchrow(_CLAIM)
    if row is None:
        return None
    kinds = {
        kind: {int(block): Digest(*digest) for block, digest in blocks.items()}
        for kind, blocks in orjson.loads(row["kinds"]).items()
    }
    return Waiting(
        InstanceKey(row["organization_id"], row["instance_id"]),
        Digests(row["epoch"], row["started_at"], kinds, row["read_fully"]),
    )


async def delete(connection: Connection, waiting: Waiting) -> None:
    """Delete digests that were compared."""
    await connection.execute(_DELETE, *waiting.instance, waiting.digests.epoch)


async def read_stored(connection: Connection, key: InstanceKey, kind: str) -> dict[int, Stored]:
    """Return the digests of the records of a kind, by block."""
    return {
        row["block"]: Stored(_digest(row["rows"], row["total"]), row["undigested"], row["newest_epoch"])
        for row in await connection.fetch(_READ_STORED, *key, kind)
    }


async def read_asked(connection: Connection, key: InstanceKey, kind: str) -> dict[int, Asked]:
    """Return the blocks of a kind that the connector was asked for."""
    rows = await connection.fetch(_READ_ASKED, *key, kind)
    return {row["block"]: Asked(row["asked_at"], row["epoch"]) for row in rows}


async def read_published(connection: Connection, key: InstanceKey, kind: str) -> dict[int, Digest]:
    """Return the digests of the rows that were published since their block was asked for."""
    rows = await connection.fetch(_READ_PUBLISHED, *key, kind)
    return {row["block"]: _digest(row["rows"], row["total"]) for row in rows}


async def read_unpublished(
    connection: Connection, key: InstanceKey, kind: str, blocks: Sequence[int]
) -> list[int]:
    """Return the ids of the rows that were not published since their block was asked for."""
    return [row["id"] for row in await connection.fetch(_READ_UNPUBLISHED, *key, kind, blocks)]


async def store_asked(
    connection: Connection, key: InstanceKey, kind: str, blocks: Sequence[int], asked: Asked
) -> None:
    """Store that the connector was asked for blocks."""
    await connection.execute(_STORE_ASKED, *key, kind, blocks, asked.at, asked.epoch)


async def delete_asked(connection: Connection, key: InstanceKey, kind: str, blocks: Sequence[int]) -> None:
    """Delete blocks that no longer differ."""
    await connection.execute(_DELETE_ASKED, *key, kind, blocks)


def _digest(rows: int, total: str) -> Digest:
    """Return a digest. Records have digests as signed numbers, so their sum is brought to the range of the connector's."""
    return Digest(rows, int(total) % _SUMS)
