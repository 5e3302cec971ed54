"""Connection tests that wait for a worker or have ended within a day."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from libs.common.contracts.instances import InstanceKey, InstanceSettings
from libs.common.telemetry import current_traceparent
from services.connector.repository import leases, shares

# Checks of one process at once. A check mostly waits for its WHMCS, and people wait for it.
SLOTS: Final = 32


@dataclass(frozen=True, slots=True)
class ClaimedCheck:
    """A check that this worker has claimed for 30 seconds. `traceparent` is the trace of the command that queued it."""

    instance: InstanceKey
    check_id: UUID
    credential_id: UUID
    attempts: int
    traceparent: str | None = None


async def queue(
    connection: Any, instance: InstanceKey, check_id: UUID, credential_id: UUID, settings: InstanceSettings
) -> None:
    """Store a check; a repeat changes nothing."""
    await connection.execute(
        """INSERT INTO connector.checks (organization_id, instance_id, check_id, credential_id, settings, traceparent)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING""",
        *instance,
        check_id,
        credential_id,
        settings.model_dump_json(),
        current_traceparent(),
    )


async def claim(connection: Any, worker: str) -> ClaimedCheck | None:
    """Claim the next waiting check for 30 seconds and return it; None when no check waits.

    Checks of the organization with the fewest checks at work come first, then the oldest.
    """
    await shares.lock(connection, "checks")
    is_free = leases.is_free("k.lease_until", "30")
    tables = """connector.checks k
        LEFT JOIN connector.credentials c USING (organization_id, instance_id, credential_id)"""
    row = await connection.fetchrow(
        f"""WITH busy AS (SELECT organization_id, {shares.origin("c.address")} AS origin, k.worker = $1 AS is_mine
               FROM {tables} WHERE k.ended_at IS NULL AND NOT {is_free}),
           due AS (SELECT organization_id, instance_id, k.check_id FROM {tables}
               WHERE k.ended_at IS NULL AND {is_free}
                 AND {shares.has_share(SLOTS, "k.organization_id")} AND {shares.has_calm_origin("c.address")}
               ORDER BY (SELECT count(*) FROM busy WHERE busy.organization_id = k.organization_id), k.created_at
               LIMIT 1 FOR UPDATE OF k SKIP LOCKED)
           UPDATE connector.checks c SET worker = $1, attempts = attempts + 1,
               lease_until = clock_timestamp() + interval '30 s' FROM due
           WHERE (c.organization_id, c.instance_id, c.check_id)
               = (due.organization_id, due.instance_id, due.check_id) RETURNING c.*""",  # noqa: S608  fixed names
        worker,
    )
    if row is None:
        return None
    instance = InstanceKey(row["organization_id"], row["instance_id"])
    return ClaimedCheck(instance, row["check_id"], row["credential_id"], row["attempts"], row["traceparent"])


async def end(connection: Any, instance: InstanceKey, check_id: UUID) -> None:
    """Store that the check has its result, and delete those that ended more than a day ago."""
    await connection.execute(
        """UPDATE connector.checks SET ended_at = now()
           WHERE organization_id = $1 AND instance_id = $2 AND check_id = $3""",
        *instance,
        check_id,
    )
    await connection.execute("DELETE FROM connector.checks WHERE ended_at < now() - interval '1 day'")
