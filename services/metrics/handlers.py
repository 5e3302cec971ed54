"""Subscribes to the topics that metrics consumes."""

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts import topics
from libs.common.contracts.received import Received
from libs.common.contracts.sync import DetailsProgressed, InstancePurged, SyncSucceeded
from libs.common.database import check_owner, transaction
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.messages import subscribe_messages
from libs.common.kafka.publisher import Publisher
from services.metrics.instances import INSTANCES_TABLE, delete_instance, store_instance
from services.metrics.intake import GROUP, Intake
from services.metrics.lines_read import note_lines
from services.metrics.runs import digests_of, ended_run, store_run


def build_handlers(
    consumer: Consumer, publisher: Publisher, engine: AsyncEngine, clock: Clock = utc_now
) -> None:
    """Subscribe to the billing facts, the instances and the events of syncs."""
    intake = Intake(engine, publisher, clock)
    consumer.subscribe(topics.BILLING, group=GROUP, apply=intake.apply, on_assigned=intake.resume)

    async def on_instance(message: Received) -> None:
        await store_instance(engine, message.body)

    async def on_event(message: Received) -> None:
        key = message.instance
        async with transaction(engine) as connection:
            await check_owner(connection, INSTANCES_TABLE, key)
        match message.body:
            case SyncSucceeded() as succeeded:
                run = ended_run(message, succeeded, clock())
                await store_run(engine, key, run, succeeded.positions, digests_of(succeeded, run))
            case DetailsProgressed() as progressed:
                await note_lines(engine, key, progressed, clock())
            case InstancePurged():
                await delete_instance(engine, key)

    for topic, group, handle in (
        (topics.INSTANCES, f"{GROUP}.instances", on_instance),
        (topics.SYNC_EVENTS, f"{GROUP}.events", on_event),
    ):
        subscribe_messages(consumer, publisher, topic, group=group, handle=handle, clock=clock)
