"""Kinds with missing rows that wait until a person has reviewed them."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import HeldDeletions
from services.connector.repository.runs import Run


async def save(
    connection: Any, run: Run, judged: Collection[Kind], held: Mapping[Kind, HeldDeletions], at: datetime
) -> None:
    """Store the held ones of the kinds that a run has judged. The others are no longer held."""
    await connection.execute(
        """DELETE FROM connector.held_deletions
           WHERE organization_id = $1 AND instance_id = $2 AND kind = ANY($3::text[])""",
        *run.lease.instance,
        [kind for kind in judged if kind not in held],
    )
    await connection.execute(
        """INSERT INTO connector.held_deletions
               (organization_id, instance_id, kind, count, total, reason, ids, run_id, at)
           SELECT $1, $2, t.kind, t.count, t.total, t.reason,
               ARRAY(SELECT id::bigint FROM jsonb_array_elements_text(t.ids) id), $3, $4
           FROM unnest($5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::jsonb[]) AS t (kind, count, total, reason, ids)
           ON CONFLICT (organization_id, instance_id, kind) DO UPDATE SET count = excluded.count,
               total = excluded.total, reason = excluded.reason, ids = excluded.ids, run_id = excluded.run_id""",
        *run.lease.instance,
        run.run_id,
        at,
        list(held),
        [deletions.count for deletions in held.values()],
        [deletions.total for deletions in held.values()],
        [deletions.reason for deletions in held.values()],
        [json.dumps(deletions.ids) for deletions in held.values()],
    )


async def load(connection: Any, instance: InstanceKey) -> dict[str, HeldDeletions]:
    """Return the held kinds of an instance."""
    rows = await connection.fetch(
        """SELECT kind, count, total, reason, ids FROM connector.held_deletions
           WHERE organization_id = $1 AND instance_id = $2 ORDER BY kind""",
        *instance,
    )
    return {
        row["kind"]: HeldDeletions(
            count=row["count"], total=row["total"], reason=row["reason"], ids=tuple(row["ids"])
        )
        for row in rows
    }
