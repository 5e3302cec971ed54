"""The definitions of an organization, and what its instances have instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import null, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.definitions import Definitions, Preview
from libs.common.contracts.message import Message
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


class StoredPreview(Message):
    """The definitions whose effect somebody wants to see. Instances that `overrides` does not name keep what they have."""

    id: UUID
    definitions: Definitions
    overrides: Mapping[UUID, Overrides]

    def of(self, instance_id: UUID, present: Overrides) -> Preview:
        """Return the preview of an instance that has these overrides at present."""
        overrides = self.overrides.get(instance_id, present)
        return Preview(id=self.id, definitions=overrides.over(self.definitions))


@dataclass(frozen=True, slots=True)
class MonthOfInstance:
    """The effect of a preview on a month of an instance in a currency; without a month, the instance has no known month-end."""

    instance_id: UUID
    on: date | None
    currency: str | None
    mrr_before_micros: int | None
    mrr_after_micros: int | None
    customers_before: int | None
    customers_after: int | None
    churn_before_micros: int | None
    churn_after_micros: int | None


_MONTHS: Final = """
SELECT instance_id, "on", currency, mrr_before_micros, mrr_after_micros, customers_before, customers_after,
    churn_before_micros, churn_after_micros
FROM metrics_read.previews WHERE preview_id = :preview_id ORDER BY "on", currency, instance_id"""

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


async def read_preview(connection: AsyncConnection, organization_id: UUID) -> StoredPreview | None:
    """Return the preview that is wanted; None without one."""
    of_id = select(organizations.c.preview).where(organizations.c.organization_id == organization_id)
    stored = (await connection.execute(of_id)).scalar()
    return None if stored is None else StoredPreview.model_validate(stored)


async def store_preview(
    connection: AsyncConnection, organization_id: UUID, preview: StoredPreview | None
) -> None:
    """Store the preview that is wanted in the place of the one before; None for none."""
    of_id = update(organizations).where(organizations.c.organization_id == organization_id)
    value = null() if preview is None else preview.model_dump(mode="json")
    await connection.execute(of_id.values(preview=value))


async def read_months(connection: AsyncConnection, preview_id: UUID) -> list[MonthOfInstance]:
    """Return the effect of a preview on each instance of which it is computed."""
    return rows_of(MonthOfInstance, await connection.execute(text(_MONTHS), {"preview_id": preview_id}))


async def of_instances(connection: AsyncConnection) -> list[InstanceOverrides]:
    """Return what each connected instance has instead, in the order in which they were added."""
    return rows_of(InstanceOverrides, await connection.execute(text(_OF_INSTANCES)))


async def lock_instances(connection: AsyncConnection) -> list[StoredInstance]:
    """Return the instances that are not being deleted, drafts too, locked until the transaction ends."""
    kept = select(instances).where(instances.c.state.not_in(("deleting", "deleted")))
    rows = await connection.execute(kept.order_by(instances.c.instance_id).with_for_update())
    return rows_of(StoredInstance, rows)
