"""Published rows that a whole read did not contain.

The ids that a run has read are bits of `seen_blocks`, so PostgreSQL compares them with the fingerprints, and no process holds all ids.
"""

from datetime import datetime
from typing import Any, Final

from libs.common.contracts.billing import Kind
from services.connector.deletion import Census
from services.connector.repository.runs import Run

# All published rows of a kind ($1 to $3) with whether the run $4 has read them. Bit n of block b is the id 10,000 b + n.
_ROWS: Final = """
    SELECT f.id, f.customer_id, coalesce(get_bit(s.ids, (f.id % 10000)::int) = 1, false) AS is_seen
    FROM connector.fingerprints f
    LEFT JOIN connector.seen_blocks s ON s.organization_id = f.organization_id
        AND s.instance_id = f.instance_id AND s.run_id = $4 AND s.kind = f.kind AND s.block = f.id / 10000
    WHERE f.organization_id = $1 AND f.instance_id = $2 AND f.kind = $3"""
_CUSTOMERS: Final = _ROWS.replace("$3", f"'{Kind.CUSTOMER}'")


async def count(connection: Any, run: Run, kind: Kind, *, are_customers_whole: bool) -> Census:
    """Return how the published rows of a kind compare with what the run has read. `are_customers_whole`: it has read all customers."""
    row = await connection.fetchrow(
        f"""SELECT count(*) AS total, count(*) FILTER (WHERE NOT is_seen) AS missing,
                max(id) AS greatest, max(id) FILTER (WHERE is_seen) AS greatest_seen
            FROM ({_ROWS}) AS rows""",  # noqa: S608  fixed names
        *_values(run, kind),
    )
    total, missing, newest = row["total"], row["missing"], row["greatest_seen"]
    if not missing or newest is None or newest == row["greatest"]:
        return Census(total, missing)
    # Somebody who deletes the newest customer deletes its services and invoices as well, which are the newest ones too.
    is_newest_missing = await connection.fetchval(
        f"""SELECT EXISTS (SELECT FROM ({_ROWS}) AS rows WHERE NOT is_seen AND id > $5
                AND NOT ($6 AND EXISTS (SELECT FROM ({_CUSTOMERS}) AS customers
                    WHERE customers.id = rows.customer_id AND NOT customers.is_seen)))""",  # noqa: S608  fixed names
        *_values(run, kind),
        newest,
        are_customers_whole and kind is not Kind.CUSTOMER,
    )
    return Census(total, missing, is_newest_missing)


async def load(connection: Any, run: Run, kind: Kind, after: int, limit: int) -> list[int]:
    """Return up to `limit` ids above `after` that the run has not read, in order."""
    rows = await connection.fetch(
        f"""SELECT id FROM ({_ROWS}) AS rows WHERE NOT is_seen AND id > $5
            ORDER BY id LIMIT $6""",  # noqa: S608  fixed names
        *_values(run, kind),
        after,
        limit,
    )
    return [row["id"] for row in rows]


async def store(connection: Any, run: Run, kind: Kind, at: datetime) -> None:
    """Store which rows the run has not read. A row that it has read is no longer missing; a row that was missing before keeps its run."""
    await connection.execute(
        f"""WITH missing AS MATERIALIZED (SELECT id FROM ({_ROWS}) AS rows WHERE NOT is_seen),
            returned AS (DELETE FROM connector.missing m
                WHERE m.organization_id = $1 AND m.instance_id = $2 AND m.kind = $3
                  AND NOT EXISTS (SELECT FROM missing WHERE missing.id = m.id))
            INSERT INTO connector.missing (organization_id, instance_id, kind, id, run_id, at)
            SELECT $1, $2, $3, id, $4, $5 FROM missing
            ON CONFLICT (organization_id, instance_id, kind, id) DO NOTHING""",  # noqa: S608  fixed names
        *_values(run, kind),
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


def _values(run: Run, kind: Kind) -> tuple[Any, ...]:
    return (*run.lease.instance, kind, run.run_id)
