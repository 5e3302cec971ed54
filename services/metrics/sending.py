"""Publishes the movements of customers on the topic `metrics.movements`: each day of a customer that is known and changed."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts.envelope import Record, headers
from libs.common.contracts.movements import MovementsChanged
from libs.common.contracts.topics import MOVEMENTS
from libs.common.database import raw, transaction
from libs.common.kafka.publisher import Publisher
from libs.common.pause import pause
from services.metrics.formulas.movement_messages import key_of, message_of
from services.metrics.formulas.movements import Movement
from services.metrics.repository import movements_to_send
from services.metrics.repository.movements_to_send import Waiting

_BATCH: Final = 500
_IDLE_SECONDS: Final = 1.0


class Sending:
    """Sends what waits. Any number of replicas may do this; one of them works at a time."""

    def __init__(self, engine: AsyncEngine, publisher: Publisher, clock: Clock = utc_now) -> None:
        self._engine, self._publisher, self._clock = engine, publisher, clock

    async def work(self, stop: asyncio.Event) -> None:
        """Send until `stop`."""
        while not stop.is_set():
            if await self.send_next() < _BATCH:
                await pause(stop, _IDLE_SECONDS)

    async def send_next(self) -> int:
        """Send one batch and return its size. A process that is killed sends it again, which changes nothing for consumers."""
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            if not await movements_to_send.claim(database):
                return 0
            waiting = await movements_to_send.read(database, _BATCH)
            if not waiting:
                return 0
            movements = await movements_to_send.read_movements(database, waiting)
            now = self._clock()
            await self._publisher.publish(
                [_record(day, movements.get(day.number, ()), now) for day in waiting]
            )
            await movements_to_send.delete(database, waiting)
        return len(waiting)


def _record(day: Waiting, movements: Sequence[Movement], at: datetime) -> Record:
    """Return the message about a day; one without a body when nothing moved."""
    key = key_of(day.instance_id, day.customer_id, day.on)
    message = message_of(day.instance_id, day.customer_id, day.on, movements)
    values = headers(
        message_id=f"{key}@{day.number}",
        message_type=MovementsChanged.__name__,
        source="metrics",
        at=at,
        subject=key,
        instance=day.instance,
    )
    body = None if message is None else message.model_dump_json().encode()
    return Record(MOVEMENTS.name, key.encode(), body, values)
