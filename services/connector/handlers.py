"""Subscribes to the topics that the connector consumes."""

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts import topics
from libs.common.contracts.received import Received
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.messages import subscribe_messages
from libs.common.kafka.publisher import Publisher
from services.connector.commands import store_command, store_instance


def build_handlers(consumer: Consumer, publisher: Publisher, engine: AsyncEngine, clock: Clock) -> None:
    """Subscribe to instances and commands."""

    async def on_instance(message: Received) -> None:
        await store_instance(engine, message.body, clock)

    async def on_command(message: Received) -> None:
        await store_command(engine, message, clock)

    for topic, group, handle in (
        (topics.INSTANCES, "connector.instances", on_instance),
        (topics.SYNC_COMMANDS, "connector", on_command),
    ):
        subscribe_messages(consumer, publisher, topic, group=group, handle=handle, clock=clock)
