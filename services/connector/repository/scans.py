"""Scans: what earlier runs know about each list, so that incremental runs need not read it to its end."""

import json
from collections.abc import Iterable
from typing import Any

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from services.connector.repository.runs import Run
from services.connector.scans import LeftInvoice, Scan


async def load(connection: Any, instance: InstanceKey) -> dict[str, Scan]:
    """Return the scans of an instance by kind; a kind that was never read whole has none."""
    rows = await connection.fetch(
        """SELECT kind, position, newest_id, totals, scanned_at FROM connector.scans
           WHERE organization_id = $1 AND instance_id = $2""",
        *instance,
    )
    return {
        row["kind"]: Scan(row["position"], row["newest_id"], row["totals"], row["scanned_at"]) for row in rows
    }


async def save(connection: Any, instance: InstanceKey, kind: str, scan: Scan) -> None:
    """Store what a run knows about a list."""
    await connection.execute(
        """INSERT INTO connector.scans
               (organization_id, instance_id, kind, position, newest_id, totals, scanned_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (organization_id, instance_id, kind) DO UPDATE SET position = excluded.position,
               newest_id = excluded.newest_id, totals = excluded.totals, scanned_at = excluded.scanned_at""",
        *instance,
        kind,
        scan.position,
        scan.newest_id,
        json.dumps(dict(scan.totals)),
        scan.scanned_at,
    )


async def save_whole(connection: Any, run: Run) -> None:
    """Store size and greatest id of each list that the run read whole, as of its start: later rows count as new."""
    await connection.execute(
        """INSERT INTO connector.scans (organization_id, instance_id, kind, newest_id, totals, scanned_at)
           SELECT c.organization_id, c.instance_id, c.kind, seen.newest_id,
                  jsonb_build_object('', coalesce(c.expected, c.rows)), $4
           FROM connector.checkpoints c LEFT JOIN LATERAL (
               -- Bit n is the character n of the bit string, so the last 1 is the greatest id of the block.
               SELECT block * 10000 + length(rtrim(ids::text, '0')) - 1 AS newest_id FROM connector.seen_blocks s
               WHERE (s.organization_id, s.instance_id, s.run_id, s.kind)
                   = (c.organization_id, c.instance_id, c.run_id, c.kind) AND ids::text LIKE '%1%'
               ORDER BY block DESC LIMIT 1) seen ON true
           WHERE c.organization_id = $1 AND c.instance_id = $2 AND c.run_id = $3 AND c.is_whole
           ON CONFLICT (organization_id, instance_id, kind) DO UPDATE SET newest_id = excluded.newest_id,
               totals = scans.totals || excluded.totals, scanned_at = excluded.scanned_at""",
        *run.lease.instance,
        run.run_id,
        run.started_at,
    )


async def load_open_invoices(connection: Any, instance: InstanceKey) -> list[int]:
    """Return the ids of the invoices that were not settled when they were last read."""
    rows = await connection.fetch(
        """SELECT id FROM connector.fingerprints
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND is_open""",
        *instance,
        Kind.INVOICE,
    )
    return [row["id"] for row in rows]


async def locate_invoices(connection: Any, instance: InstanceKey, ids: Iterable[int]) -> list[LeftInvoice]:
    """Return the customers of these invoices, and their places in the list of all invoices in the order of ids."""
    rows = await connection.fetch(
        """SELECT id, customer_id, place - 1 AS place FROM (
               SELECT id, customer_id, row_number() OVER (ORDER BY id) AS place FROM connector.fingerprints
               WHERE organization_id = $1 AND instance_id = $2 AND kind = $3) invoices
           WHERE id = ANY($4::bigint[]) ORDER BY id""",
        *instance,
        Kind.INVOICE,
        list(ids),
    )
    return [LeftInvoice(row["id"], row["customer_id"], row["place"]) for row in rows]
