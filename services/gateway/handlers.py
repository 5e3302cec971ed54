"""Topics that the gateway consumes, and what it calls for each message."""

from libs.common.contracts import topics
from libs.common.contracts.received import Received
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.messages import subscribe_messages
from libs.common.kafka.publisher import Publisher
from services.gateway import events
from services.gateway.context import Context


def build_handlers(consumer: Consumer, publisher: Publisher, context: Context) -> None:
    """Subscribe to the events of checks and runs; all replicas share the work."""

    async def on_event(message: Received) -> None:
        await events.follow(context, message)

    subscribe_messages(
        consumer, publisher, topics.SYNC_EVENTS, group="gateway", handle=on_event, clock=context.clock
    )
