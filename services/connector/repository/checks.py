"""Connection tests that wait for a worker or have ended within a day."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.common.contracts.instances import InstanceKey, InstanceSettings
from services.connector.repository.leases import is_free


@dataclass(frozen=True, slots=True)
class ClaimedCheck:
    """A check that this worker has claimed for 30 seconds."""

    instance: InstanceKey
    check_id: UUID
    credential_id: UUID
    attempts: int


async def queue(
    connection: Any, instance: InstanceKey, check_id: UUID, credential_id: UUID, settings: InstanceSettings
) -> None:
    """Store a check; a repeat changes nothing."""
    await connection.execute(
        """INSERT INTO connector.checks (organization_id, instance_id, check_id, credential_id, settings)
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING""",
        *instance,
        check_id,
        credential_id,
        settings.model_dump_json(),
    )


async def claim(connection: Any) -> ClaimedCheck | None:
    """Claim the oldest waiting check for 30 seconds and return it; None when no check waits."""
    row = await connection.fetchrow(
        f"""WITH due AS (SELECT organization_id, instance_id, check_id FROM connector.checks
               WHERE ended_at IS NULL AND {is_free("lease_until", "30")}
               ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
           UPDATE connector.checks c SET lease_until = clock_timestamp() + interval '30 s', attempts = attempts + 1 FROM due
           WHERE (c.organization_id, c.instance_id, c.check_id)
               = (due.organization_id, due.instance_id, due.check_id) RETURNING c.*""",  # noqa: S608  fixed names
    )
    if row is None:
        return None
    instance = InstanceKey(row["organization_id"], row["instance_id"])
    return ClaimedCheck(instance, row["check_id"], row["credential_id"], row["attempts"])


async def end(connection: Any, instance: InstanceKey, check_id: UUID) -> None:
    """Store that the check has its result, and delete those that ended more than a day ago."""
    await connection.execute(
        """UPDATE connector.checks SET ended_at = now()
           WHERE organization_id = $1 AND instance_id = $2 AND check_id = $3""",
        *instance,
        check_id,
    )
    await connection.execute("DELETE FROM connector.checks WHERE ended_at < now() - interval '1 day'")
