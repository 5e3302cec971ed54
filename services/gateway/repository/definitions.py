"""The definitions of an organization, and what its instances have instead."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.definitions import Definitions
from services.gateway.overrides import Overrides
from services.gateway.repository.instances import StoredInstance
from services.gateway.repository.rows import rows_of
from services.gateway.tables import instances, organizations


@dataclass(frozen=True, slots=True)
class InstanceOverrides:
    """What an instance has instead of the definitions of its organization. `is_redefined`: its figures follow former definitions."""

    instance_id: UUID
    name: str
    overrides: Overrides
    is_redefined: bool


_OF_INSTANCES: Final = """
SELECT n.instance_id, n.name, n.overrides, coalesce(f.is_redefined, false) AS is_redefined
FROM gateway.instances n LEFT JOIN metrics_read.freshness f USING (organization_id, instance_id)
WHERE n.state NOT IN ('draft', 'deleting', 'deleted')
ORDER BY n.created_at, n.instance_id"""


async def read(connection: AsyncConnection, organization_id: UUID) -> Definitions:
    """Return the definitions of an organization."""
    of_id = select(organizations.c.definitions).where(organizations.c.organization_id == organization_id)
    return Definitions.model_validate((await connection.execute(of_id)).scalar() or {})


async def lock(connection: AsyncConnection, organization_id: UUID) -> Definitions:
    """Return the definitions of an organization. Nobody else changes them until the transaction ends."""
    of_id = select(organizations.c.definitions).where(organizations.c.organization_id == organization_id)
    return Definitions.model_validate((await connection.execute(of_id.with_for_update())).scalar() or {})


async def store(connection: AsyncConnection, organization_id: UUID, definitions: Definitions) -> None:
    """Store the definitions of an organization."""
    of_id = update(organizations).where(organizations.c.organization_id == organization_id)
    await connection.execute(of_id.values(definitions=definitions.model_dump(mode="json")))


async def of_instances(connection: AsyncConnection) -> list[InstanceOverrides]:
    """Return what each connected instance has instead, in the order in which they were added."""
    return rows_of(InstanceOverrides, await connection.execute(text(_OF_INSTANCES)))


async def lock_instances(connection: AsyncConnection) -> list[StoredInstance]:
    """Return the instances that are not being deleted, drafts too, locked until the transaction ends."""
    kept = select(instances).where(instances.c.state.not_in(("deleting", "deleted")))
    rows = await connection.execute(kept.order_by(instances.c.instance_id).with_for_update())
    return rows_of(StoredInstance, rows)
