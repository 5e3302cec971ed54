"""The connector's copy of the instances."""

from typing import Any, Final

from libs.common.contracts.instances import InstanceChanged, InstanceKey

# All tables but `instances` and `outbox`. Fingerprints are deleted with their tombstones.
_PURGED: Final = (
    "credentials",
    "addresses",
    "checks",
    "runs",
    "checkpoints",
    "seen_blocks",
    "missing",
    "held_deletions",
    "scans",
)


async def save(connection: Any, instance: InstanceChanged) -> bool:
    """Store the instance unless the copy has the same or a newer version; return whether it was stored."""
    is_new: bool | None = await connection.fetchval(
        """INSERT INTO connector.instances AS stored
               (organization_id, instance_id, credential_id, state, settings, version)
           VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (organization_id, instance_id) DO UPDATE SET credential_id = excluded.credential_id,
               state = excluded.state, settings = excluded.settings, version = excluded.version
           WHERE stored.version < excluded.version RETURNING true""",
        instance.organization_id,
        instance.id,
        instance.credential_id,
        instance.state,
        instance.settings.model_dump_json(),
        instance.version,
    )
    return bool(is_new)


async def is_purged(connection: Any, instance: InstanceKey) -> bool:
    """Return whether everything of the instance has been purged."""
    state = await connection.fetchval(
        "SELECT state FROM connector.instances WHERE organization_id = $1 AND instance_id = $2", *instance
    )
    return bool(state == "deleted")


async def purge(connection: Any, instance: InstanceKey) -> None:
    """Delete all rows about an instance. Only the instance itself stays, as deleted, so that late messages about it are recognised."""
    for table in _PURGED:
        await connection.execute(
            f"DELETE FROM connector.{table} WHERE organization_id = $1 AND instance_id = $2",  # noqa: S608
            *instance,
        )
    await connection.execute(
        """UPDATE connector.instances SET state = 'deleted', lease_until = NULL, worker = NULL
           WHERE organization_id = $1 AND instance_id = $2""",
        *instance,
    )
