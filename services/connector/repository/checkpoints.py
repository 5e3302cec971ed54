"""Checkpoints: how far a run has read each kind, so that another worker can continue it."""

from typing import Any
from uuid import UUID

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from services.connector.plan import Checkpoint
from services.connector.repository.runs import Run


async def load(connection: Any, instance: InstanceKey, run_id: UUID) -> dict[Kind, Checkpoint]:
    """Return the checkpoints of a run by kind; kinds that it has not begun are missing."""
    rows = await connection.fetch(
        """SELECT kind, position, expected, rows, changed, bad, done, code FROM connector.checkpoints
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3""",
        *instance,
        run_id,
    )
    points = [Checkpoint(**{**row, "kind": Kind(row["kind"])}) for row in rows]
    return {point.kind: point for point in points}


async def save(connection: Any, run: Run, point: Checkpoint) -> None:
    """Store a checkpoint, and count the attempts of the run from 0 again, because it made progress."""
    await connection.execute(
        """INSERT INTO connector.checkpoints
               (organization_id, instance_id, run_id, kind, position, expected, rows, changed, bad, done, code)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
           ON CONFLICT (organization_id, instance_id, run_id, kind) DO UPDATE SET position = excluded.position,
               expected = excluded.expected, rows = excluded.rows, changed = excluded.changed,
               bad = excluded.bad, done = excluded.done, code = excluded.code""",
        *run.lease.instance,
        run.run_id,
        point.kind,
        point.position,
        point.expected,
        point.rows,
        point.changed,
        point.bad,
        point.done,
        point.code,
    )
    await connection.execute(
        """UPDATE connector.runs SET attempts = 0
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3 AND attempts > 0""",
        *run.lease.instance,
        run.run_id,
    )
