"""Checks the figures against each other: movements must add up to the MRR that segments give, on each day of each customer.

Each hour it looks at one part of the customers of each instance, and at night at all of them. Customers of a part that does not add up are
computed again.
"""

import asyncio
import logging
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts.instances import InstanceKey
from libs.common.database import raw, transaction
from libs.common.pause import pause
from libs.common.telemetry import selfcheck_mismatches
from services.metrics.movements import update_movements
from services.metrics.repository import instances, self_check

log = logging.getLogger(__name__)

_PARTS: Final = 24
# The full syncs begin at midnight UTC; by then most of them are applied.
_HOUR_OF_ALL: Final = 2
_IDLE_SECONDS: Final = 60.0


class _Part(NamedTuple):
    """A part of the customers of an instance."""

    key: InstanceKey
    number: int


class Outcome(NamedTuple):
    """What a check of everything has seen: days that did not add up, and parts that could not be checked."""

    days: int
    busy_parts: int


class SelfCheck:
    """Checks all instances once an hour. Replicas may check the same: that costs time and changes nothing."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self._engine, self._clock = engine, clock
        # The hour that is checked, and its parts that are left.
        self._hour: datetime | None = None
        self._left: list[_Part] = []

    async def work(self, stop: asyncio.Event) -> None:
        """Check until `stop`. No figure waits for a check, so a failed one is only logged."""
        while not stop.is_set():
            try:
                await self.check_when_due(stop)
            except Exception:
                log.exception("Could not check the figures; will retry")
            await pause(stop, _IDLE_SECONDS)

    async def check_when_due(self, stop: asyncio.Event) -> int:
        """Check the parts that are left of this hour, but for instances that are being computed; return how many there were."""
        hour = self._clock().replace(minute=0, second=0, microsecond=0)
        if hour != self._hour:
            self._left, self._hour = await self._parts(hour.hour), hour
        checked = 0
        for part in tuple(self._left):
            if stop.is_set():
                break
            if await self._check(part) is not None:
                self._left.remove(part)
                checked += 1
        return checked

    async def check_all(self) -> Outcome:
        """Check all customers of all instances now, but for those of instances that are being computed."""
        days = busy = 0
        for part in await self._parts(_HOUR_OF_ALL):
            differing = await self._check(part)
            busy += differing is None
            days += differing or 0
        return Outcome(days, busy)

    async def _parts(self, hour: int) -> list[_Part]:
        numbers = range(_PARTS) if hour == _HOUR_OF_ALL else (hour,)
        async with transaction(self._engine) as connection:
            keys = await self_check.read_instances(await raw(connection))
        return [_Part(key, number) for key in keys for number in numbers]

    async def _check(self, part: _Part) -> int | None:
        """Compare a part, and compute its customers again where something differs.

        Return how many days differed; None if a worker computes the instance.
        """
        key = part.key
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            if not await instances.claim(database, key):
                return None
            count = await self_check.read_last_customer(database, key) + 1
            first, behind = count * part.number // _PARTS, count * (part.number + 1) // _PARTS
            mismatches = await self_check.read_mismatches(database, key, first, behind)
            if mismatches:
                # Either side can be wrong: the movements follow from the segments now, and again if a worker corrects the segments.
                await update_movements(database, key, await self_check.mark(database, key, first, behind))
        for mismatch in mismatches:
            selfcheck_mismatches.add(mismatch.days, {"table": mismatch.table})
            log.error(
                "Movements do not add up to MRR; computing their customers again",
                extra={"instance_id": str(key.instance_id), **mismatch._asdict()},
            )
        return sum(mismatch.days for mismatch in mismatches)
