"""Keeps the copy of the instances up to date with the messages about them."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.calendar import is_time_zone
from libs.common.contracts.instances import InstanceChanged, InstanceKey
from libs.common.database import check_owner, raw, transaction
from libs.common.errors import Permanent
from services.metrics.purging import purge
from services.metrics.repository import instances, movements_to_send

INSTANCES_TABLE: Final = "metrics.instances"


async def store_instance(engine: AsyncEngine, instance: InstanceChanged) -> None:
    """Store the newest state of an instance; raise Permanent if it belongs to another organization or its time zone does not exist."""
    if not is_time_zone(instance.settings.time_zone):
        raise Permanent("time_zone_unknown", f"There is no time zone {instance.settings.time_zone:.80}.")
    async with transaction(engine) as connection:
        await check_owner(connection, INSTANCES_TABLE, InstanceKey(instance.organization_id, instance.id))
        await instances.store(await raw(connection), instance)


async def delete_instance(engine: AsyncEngine, key: InstanceKey) -> None:
    """Store that an instance is deleted, so that no more of its facts are stored, then purge it.

    Consumers of its movements hear that none is left.
    """
    async with transaction(engine) as connection:
        database = await raw(connection)
        await instances.set_deleted(database, key)
        await movements_to_send.add_all(database, key)
    await purge(engine, key)
