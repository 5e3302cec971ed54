"""Published rows that a whole read did not contain.

The ids that a run has read are bits of `seen_blocks`, so PostgreSQL compares them with the fingerprints, and no process holds all ids.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import IDS_PER_BLOCK
from services.connector.deletion import Census
from services.connector.repository.runs import Run

# A million rows.
_BLOCKS_PER_STATEMENT: Final = 100
# The published rows of a kind ($1 to $3) in some blocks ($5), with whether the run $4 has read them. Bit n of block b is the id
# 10,000 b + n. OFFSET 0 makes the planner go through the blocks: one look at seen_blocks and one stretch of the index for each. Joined
# row by row, a million rows took over 30 seconds, because each looked for its block.
_ROWS: Final = f"""
    SELECT f.id, f.customer_id, b.block, coalesce(get_bit(s.ids, (f.id % {IDS_PER_BLOCK})::int) = 1, false) AS is_seen
    FROM unnest($5::bigint[]) AS b (block)
    LEFT JOIN connector.seen_blocks s ON s.organization_id = $1 AND s.instance_id = $2 AND s.run_id = $4
        AND s.kind = $3 AND s.block = b.block
    CROSS JOIN LATERAL (SELECT id, customer_id FROM connector.fingerprints
        WHERE organization_id = $1 AND instance_id = $2 AND kind = $3
          AND id >= b.block * {IDS_PER_BLOCK} AND id < (b.block + 1) * {IDS_PER_BLOCK} OFFSET 0) AS f"""  # noqa: S608  a constant
_CUSTOMER_IS_MISSING: Final = f"""
    SELECT FROM connector.fingerprints c LEFT JOIN connector.seen_blocks s ON s.organization_id = $1
        AND s.instance_id = $2 AND s.run_id = $4 AND s.kind = 'customer' AND s.block = c.id / {IDS_PER_BLOCK}
    WHERE c.organization_id = $1 AND c.instance_id = $2 AND c.kind = 'customer' AND c.id = rows.customer_id
      AND coalesce(get_bit(s.ids, (c.id % {IDS_PER_BLOCK})::int) = 0, true)"""


async def count(connection: Any, run: Run, kind: Kind, *, are_customers_whole: bool) -> Census:
    """Return how the published rows of a kind compare with what the run has read. `are_customers_whole`: it has read all customers."""
    blocks = await _blocks(connection, run, kind)
    counts = []
    for start in range(0, len(blocks), _BLOCKS_PER_STATEMENT):
        counts += await connection.fetch(
            f"""SELECT block, count(*) AS total, count(*) FILTER (WHERE NOT is_seen) AS missing,
                    max(id) AS greatest, max(id) FILTER (WHERE is_seen) AS greatest_seen
                FROM ({_ROWS}) AS rows GROUP BY block ORDER BY block""",  # noqa: S608  fixed names
            *_values(run, kind),
            blocks[start : start + _BLOCKS_PER_STATEMENT],
        )
    total, missing = sum(row["total"] for row in counts), sum(row["missing"] for row in counts)
    seen = [row["greatest_seen"] for row in counts if row["greatest_seen"] is not None]
    is_newest_missing = bool(seen) and seen[-1] != counts[-1]["greatest"]
    if is_newest_missing and are_customers_whole and kind is not Kind.CUSTOMER:
        is_newest_missing = await _is_newest_missing_alone(connection, run, kind, seen[-1], blocks)
    return Census(total, missing, is_newest_missing, [row["block"] for row in counts if row["missing"]])


async def _blocks(connection: Any, run: Run, kind: Kind) -> list[int]:
    rows = await connection.fetch(
        f"""SELECT DISTINCT id / {IDS_PER_BLOCK} AS block FROM connector.fingerprints
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 ORDER BY block""",  # noqa: S608  a constant
        *run.lease.instance,
        kind,
    )
    return [row["block"] for row in rows]


async def _is_newest_missing_alone(
    connection: Any, run: Run, kind: Kind, newest: int, blocks: Sequence[int]
) -> bool:
    """Return whether rows above `newest` are missing although their customers are not.

    Somebody who deletes the newest customer deletes its services and invoices as well, which are the newest ones too.
    """
    is_alone: bool = await connection.fetchval(
        f"""SELECT EXISTS (SELECT FROM ({_ROWS}) AS rows
                WHERE NOT is_seen AND id > $6 AND NOT EXISTS ({_CUSTOMER_IS_MISSING}))""",  # noqa: S608  fixed names
        *_values(run, kind),
        [block for block in blocks if block >= newest // IDS_PER_BLOCK],
        newest,
    )
    return is_alone


async def load(connection: Any, run: Run, kind: Kind, block: int) -> list[int]:
    """Return the ids of a block that the run has not read, in order."""
    rows = await connection.fetch(
        f"SELECT id FROM ({_ROWS}) AS rows WHERE NOT is_seen ORDER BY id",  # noqa: S608  fixed names
        *_values(run, kind),
        [block],
    )
    return [row["id"] for row in rows]


async def store(connection: Any, run: Run, kind: Kind, blocks: Sequence[int], at: datetime) -> None:
    """Store which rows the run has not read; all of them are in `blocks`.

    A row that it has read is no longer missing; a row that was missing before keeps its run.
    """
    await connection.execute(
        f"""WITH missing AS MATERIALIZED (SELECT id FROM ({_ROWS}) AS rows WHERE NOT is_seen),
            returned AS (DELETE FROM connector.missing m
                WHERE m.organization_id = $1 AND m.instance_id = $2 AND m.kind = $3
                  AND NOT EXISTS (SELECT FROM missing WHERE missing.id = m.id))
            INSERT INTO connector.missing (organization_id, instance_id, kind, id, run_id, at)
            SELECT $1, $2, $3, id, $4, $6 FROM missing
            ON CONFLICT (organization_id, instance_id, kind, id) DO NOTHING""",  # noqa: S608  fixed names
        *_values(run, kind),
        blocks,
        at,
    )


async def load_twice_missing(connection: Any, run: Run, kind: Kind, limit: int) -> list[int]:
    """Return up to `limit` ids of published rows that neither this run nor an earlier whole read contained."""
    rows = await connection.fetch(
        """SELECT id FROM connector.missing JOIN connector.fingerprints USING (organization_id, instance_id, kind, id)
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND run_id <> $4
           ORDER BY id LIMIT $5""",
        *_values(run, kind),
        limit,
    )
    return [row["id"] for row in rows]


async def load_kinds_missing_once(connection: Any, instance: InstanceKey) -> frozenset[Kind]:
    """Return the kinds with published rows that a whole read did not contain, and that a second one may remove."""
    rows = await connection.fetch(
        """SELECT DISTINCT kind FROM connector.missing
           JOIN connector.fingerprints USING (organization_id, instance_id, kind, id)
           LEFT JOIN connector.held_deletions held USING (organization_id, instance_id, kind)
           WHERE organization_id = $1 AND instance_id = $2 AND held.kind IS NULL""",
        *instance,
    )
    return frozenset(Kind(row["kind"]) for row in rows)


def _values(run: Run, kind: Kind) -> tuple[Any, ...]:
    return (*run.lease.instance, kind, run.run_id)
