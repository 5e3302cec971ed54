"""Checks the figures against each other: movements must add up to the MRR that segments give, on each day of each customer.

Each hour it looks at one part of the customers of each instance, and at night at all of them. Customers of a part that does not add up are
computed again.
"""

import asyncio
import logging
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts.instances import InstanceKey
from libs.common.database import raw, transaction
from libs.common.pause import pause
from libs.common.telemetry import selfcheck_mismatches
from services.metrics.repository import self_check

log = logging.getLogger(__name__)

_PARTS: Final = 24
# The full syncs begin at midnight UTC; by then most of them are applied.
_HOUR_OF_ALL: Final = 2
_IDLE_SECONDS: Final = 60.0


class SelfCheck:
    """Checks all instances once an hour. Replicas may check the same: that costs time and changes nothing."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self._engine, self._clock = engine, clock
        self._checked: datetime | None = None

    async def work(self, stop: asyncio.Event) -> None:
        """Check until `stop`. No figure waits for a check, so a failed one is only logged."""
        while not stop.is_set():
            try:
                await self.check_when_due(stop)
            except Exception:
                log.exception("Could not check the figures; will retry")
            await pause(stop, _IDLE_SECONDS)

    async def check_when_due(self, stop: asyncio.Event) -> bool:
        """Check the parts that are due in this hour, unless that is done; return whether it was due."""
        hour = self._clock().replace(minute=0, second=0, microsecond=0)
        if hour == self._checked:
            return False
        parts = range(_PARTS) if hour.hour == _HOUR_OF_ALL else (hour.hour,)
        async with transaction(self._engine) as connection:
            keys = await self_check.read_instances(await raw(connection))
        for key in keys:
            for part in parts:
                if stop.is_set():
                    return True
                await self._check(key, part)
        self._checked = hour
        return True

    async def _check(self, key: InstanceKey, part: int) -> None:
        """Compare one part of the customers of an instance, and let them be computed again where something differs."""
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            count = await self_check.read_last_customer(database, key) + 1
            first, behind = count * part // _PARTS, count * (part + 1) // _PARTS
            mismatches = await self_check.read_mismatches(database, key, first, behind)
            if mismatches:
                await self_check.mark(database, key, first, behind)
        for mismatch in mismatches:
            selfcheck_mismatches.add(mismatch.days, {"table": mismatch.table})
            log.error(
                "Movements do not add up to MRR; computing their customers again",
                extra={"instance_id": str(key.instance_id), **mismatch._asdict()},
            )
