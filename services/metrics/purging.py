"""Purge rows of deleted instances, and rows that wait for an instance whose message never comes."""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts.instances import InstanceKey
from libs.common.database import raw, transaction
from libs.common.pause import pause
from services.metrics.repository import instances

log = logging.getLogger(__name__)

# The gateway publishes all instances each day, so a real instance is known by then.
_LONGEST_WAIT: Final = timedelta(days=2)
_TIDY_SECONDS: Final = 600.0
_PURGE_ROWS: Final = 20_000


async def purge(engine: AsyncEngine, key: InstanceKey) -> None:
    """Delete all rows of an instance, a batch at a time."""
    count = 1
    while count:
        async with transaction(engine) as connection:
            count = await instances.purge(await raw(connection), key, _PURGE_ROWS)


class Tidier:
    """Purges rows that wait too long for their instance, or that name an organization to which the instance does not belong."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._clock = clock
        self._first_seen: dict[InstanceKey, datetime] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Tidy every ten minutes, until `stop`."""
        while not stop.is_set():
            await self.tidy()
            await pause(stop, _TIDY_SECONDS)

    async def tidy(self) -> None:
        """Purge the rows that are due. The wait for an instance begins when this process first sees its rows."""
        async with transaction(self._engine) as connection:
            unknown = await instances.read_unknown(await raw(connection))
        now = self._clock()
        self._first_seen = {instance.key: self._first_seen.get(instance.key, now) for instance in unknown}
        for key, is_of_another in unknown:
            if is_of_another or now - self._first_seen[key] > _LONGEST_WAIT:
                reason = "other_organization" if is_of_another else "instance_unknown"
                ids = {"organization_id": str(key.organization_id), "instance_id": str(key.instance_id)}
                log.error("Purging rows of an unknown instance", extra={**ids, "reason": reason})
                await purge(self._engine, key)
