"""Messages to the other services, published once the transaction that writes them has ended."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.message import Message
from libs.common.contracts.topics import Topic
from libs.common.outbox import enqueue, outgoing
from services.gateway.tables import outbox


async def publish(
    connection: AsyncConnection, topic: Topic, body: Message, message_id: str, key: InstanceKey, now: datetime
) -> None:
    """Publish a message about an instance. A second one with the same id is discarded."""
    message = outgoing(
        topic,
        body,
        message_id=message_id,
        source="gateway",
        instance=key,
        at=now,
    )
    await enqueue(connection, outbox, message)
