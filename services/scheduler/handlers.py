"""Apply the messages of the topic `instances`: plan, suspend or delete the schedules of an instance."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts import topics
from libs.common.contracts.cadence import Schedule, rhythm_of
from libs.common.contracts.instances import InstanceChanged, InstanceState
from libs.common.contracts.received import Received
from libs.common.database import check_owner, transaction
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.messages import subscribe_messages
from libs.common.kafka.publisher import Publisher
from services.scheduler import repository
from services.scheduler.repository import Now, Plan, StoredSchedule
from services.scheduler.schedule import first_tick, schedules_of


def build_handlers(
    consumer: Consumer, publisher: Publisher, engine: AsyncEngine, *, now: Now, full_spread_seconds: int
) -> None:
    """Subscribe to the topics of this service."""

    async def on_instance(message: Received) -> None:
        await follow_instance(engine, message.body, now=now, full_spread_seconds=full_spread_seconds)

    subscribe_messages(consumer, publisher, topics.INSTANCES, group="scheduler", handle=on_instance)


async def follow_instance(
    engine: AsyncEngine, instance: InstanceChanged, *, now: Now, full_spread_seconds: int
) -> None:
    """Store an instance and bring its schedules in line with its state. A repeated or older version changes nothing."""
    async with transaction(engine) as connection:
        await check_owner(connection, "scheduler.instances", instance.key)
        is_newer, previous_state = await repository.store_instance(connection, instance)
        if not is_newer:
            return
        if instance.state in (InstanceState.DELETING, InstanceState.DELETED):
            await repository.delete_schedules(connection, instance.key)
            return
        stored = await repository.load_schedules(connection, instance.key)
        await repository.suspend_schedules(connection, instance.key, keep=schedules_of(instance.state))
        is_resumed = previous_state not in (None, InstanceState.ACTIVE)
        plans = _missing_plans(instance, stored, await now(connection), full_spread_seconds, is_resumed)
        await repository.store_plans(connection, plans)


def _missing_plans(
    instance: InstanceChanged,
    stored: Mapping[Schedule, StoredSchedule],
    now: datetime,
    full_spread_seconds: int,
    is_resumed: bool,
) -> list[Plan]:
    """Return the first tick of each schedule that has none. A planned tick stays: a new plan would postpone it."""
    plans = []
    for schedule in schedules_of(instance.state):
        present = stored.get(schedule)
        if present is None or present.tick is None:
            tick = first_tick(
                schedule,
                rhythm_of(schedule, instance.id, full_spread_seconds),
                now=now,
                is_resumed=is_resumed,
                last_issued_at=None if present is None else present.issued_at,
            )
            plans.append(Plan(instance.key, schedule, tick))
    return plans
