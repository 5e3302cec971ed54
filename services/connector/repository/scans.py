"""Scans: what earlier runs know about each list, so that incremental runs need not read it to its end."""

import json
from collections.abc import Iterable
from typing import Any

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import IDS_PER_BLOCK
from services.connector.repository.runs import Run
from services.connector.scans import LeftInvoice, Scan


async def load(connection: Any, instance: InstanceKey) -> dict[str, Scan]:
    """Return the scans of an instance by kind; a kind that was never read whole has none."""
    rows = await connection.fetch(
        """SELECT kind, quarter, newest_id, totals, scanned_at FROM connector.scans
           WHERE organization_id = $1 AND instance_id = $2""",
        *instance,
    )
    return {
        row["kind"]: Scan(row["quarter"], row["newest_id"], row["totals"], row["scanned_at"]) for row in rows
    }


async def save(connection: Any, instance: InstanceKey, kind: str, scan: Scan) -> None:
    """Store what a run knows about a list."""
    await connection.execute(
        """INSERT INTO connector.scans
               (organization_id, instance_id, kind, quarter, newest_id, totals, scanned_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (organization_id, instance_id, kind) DO UPDATE SET quarter = excluded.quarter,
               newest_id = excluded.newest_id, totals = excluded.totals, scanned_at = excluded.scanned_at""",
        *instance,
        kind,
        scan.quarter,
        scan.newest_id,
        json.dumps(dict(scan.totals)),
        scan.scanned_at,
    )


async def save_end(connection: Any, run: Run) -> None:
    """Store size and greatest id of each list that the run read whole, as of its start: later rows count as new.

    Of a list that failed or did not come whole, only the time is stored, so that it is not read to its end again at once. A list that
    the role may not read is unknown from then on.
    """
    await connection.execute(
        f"""WITH lists AS (
               SELECT organization_id, instance_id, run_id, kind, is_whole AND code IS NULL AS is_whole,
                      coalesce(code IN ('permission_missing', 'action_unsupported'), false) AS is_refused,
                      coalesce(expected, rows) AS total
               FROM connector.checkpoints WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3
                 AND (is_whole IS NOT NULL OR code IS NOT NULL))
           INSERT INTO connector.scans AS stored (organization_id, instance_id, kind, newest_id, totals, scanned_at)
           SELECT organization_id, instance_id, kind, newest.id,
                  CASE WHEN is_whole THEN jsonb_build_object('', total) ELSE '{{}}' END, $4
           FROM lists LEFT JOIN LATERAL (
               -- Bit n is the character n of the bit string, so the last 1 is the greatest id of the block.
               SELECT block * {IDS_PER_BLOCK} + length(rtrim(ids::text, '0')) - 1 AS id FROM connector.seen_blocks s
               WHERE (s.organization_id, s.instance_id, s.run_id, s.kind)
                   = (lists.organization_id, lists.instance_id, lists.run_id, lists.kind)
               ORDER BY block DESC LIMIT 1) newest ON is_whole
           ON CONFLICT (organization_id, instance_id, kind) DO UPDATE
           SET newest_id = coalesce(excluded.newest_id, stored.newest_id), scanned_at = excluded.scanned_at,
               totals = CASE WHEN (SELECT is_refused FROM lists WHERE lists.kind = stored.kind) THEN '{{}}'
                             ELSE stored.totals || excluded.totals END""",  # noqa: S608  a constant
        *run.lease.instance,
        run.run_id,
        run.started_at,
    )


async def delete(connection: Any, instance: InstanceKey, kind: str | None = None) -> None:
    """Let the next incremental run read a list to its end, or all lists, because facts must be published again."""
    await connection.execute(
        """DELETE FROM connector.scans
           WHERE organization_id = $1 AND instance_id = $2 AND kind = coalesce($3, kind)""",
        *instance,
        kind,
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
