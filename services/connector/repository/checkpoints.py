"""Checkpoints: how far a run has read each kind, so that another worker can continue it."""

import json
from typing import Any
from uuid import UUID

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import UnreadableRows
from services.connector.plan import Checkpoint
from services.connector.repository.runs import Run


async def load(connection: Any, instance: InstanceKey, run_id: UUID) -> dict[Kind, Checkpoint]:
    """Return the checkpoints of a run by kind; kinds that it has not begun are missing."""
    rows = await connection.fetch(
        """SELECT kind, position, expected, rows, changed, done, code, is_whole, unreadable, warnings, last_id,
               is_joined
           FROM connector.checkpoints
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3""",
        *instance,
        run_id,
    )
    return {Kind(row["kind"]): _checkpoint(row) for row in rows}


def _checkpoint(row: Any) -> Checkpoint:
    values = dict(row)
    unreadable = UnreadableRows.model_validate(values["unreadable"] or {"count": 0})
    return Checkpoint(**{**values, "kind": Kind(values["kind"]), "unreadable": unreadable})


async def save(connection: Any, run: Run, point: Checkpoint) -> None:
    """Store a checkpoint, and count the attempts of the run from 0 again, because it made progress."""
    await connection.execute(
        """INSERT INTO connector.checkpoints
               (organization_id, instance_id, run_id, kind, position, expected, rows, changed, bad, done, code,
                is_whole, unreadable, warnings, last_id, is_joined)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
           ON CONFLICT (organization_id, instance_id, run_id, kind) DO UPDATE SET position = excluded.position,
               expected = excluded.expected, rows = excluded.rows, changed = excluded.changed,
               bad = excluded.bad, done = excluded.done, code = excluded.code, is_whole = excluded.is_whole,
               unreadable = excluded.unreadable, warnings = excluded.warnings, last_id = excluded.last_id,
               is_joined = excluded.is_joined""",
        *run.lease.instance,
        run.run_id,
        point.kind,
        point.position,
        point.expected,
        point.rows,
        point.changed,
        point.unreadable.count,
        point.done,
        point.code,
        point.is_whole,
        point.unreadable.model_dump_json(),
        json.dumps(point.warnings),
        point.last_id,
        point.is_joined,
    )
    await connection.execute(
        """UPDATE connector.runs SET attempts = 0
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3 AND attempts > 0""",
        *run.lease.instance,
        run.run_id,
    )
