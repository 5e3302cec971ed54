"""Messages in: instances come, change and go."""

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts import topics
from libs.common.contracts.cadence import rhythm
from libs.common.contracts.instances import InstanceChanged, InstanceKey, InstanceState
from libs.common.contracts.received import Received
from libs.common.database import check_owner, transaction
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.messages import subscribe_messages
from libs.common.kafka.publisher import Publisher
from services.scheduler import repository
from services.scheduler.repository import Now
from services.scheduler.schedule import first_tick, kinds_of


def build_handlers(
    consumer: Consumer, publisher: Publisher, engine: AsyncEngine, *, now: Now, full_spread_seconds: int
) -> None:
    """Instances in, their schedules planned or stopped."""

    async def on_instance(message: Received) -> None:
        await follow(engine, message.body, now=now, full_spread_seconds=full_spread_seconds)

    subscribe_messages(consumer, publisher, topics.INSTANCES, group="scheduler", handle=on_instance)


async def follow(
    engine: AsyncEngine, instance: InstanceChanged, *, now: Now, full_spread_seconds: int
) -> None:
    """Bring the schedules of an instance in line with its state; an older version than the one that is known changes nothing."""
    async with transaction(engine) as connection:
        await check_owner(
            connection, "scheduler.instances", InstanceKey(instance.organization_id, instance.id)
        )
        is_new_version, before = await repository.save_instance(connection, instance)
        if not is_new_version:
            return
        owner = (instance.organization_id, instance.id)
        if instance.state in (InstanceState.DELETING, InstanceState.DELETED):
            await repository.drop(connection, *owner)
            return
        wanted = kinds_of(instance.state)
        known = await repository.planned(connection, *owner)
        await repository.stop(connection, *owner, keep=wanted)
        moment = await now(connection)
        plans = []
        for kind in wanted:
            if (schedule := known.get(kind)) is not None and schedule.tick is not None:
                continue
            tick = first_tick(
                kind,
                rhythm(kind, instance.id, full_spread_seconds),
                now=moment,
                resumed=before not in (None, InstanceState.ACTIVE),
                last_issued_at=None if schedule is None else schedule.issued_at,
            )
            plans.append((*owner, kind, tick, None))
        await repository.plan(connection, plans)
