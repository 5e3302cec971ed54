"""Read messages one by one: decode, handle, and park what can never be handled."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka import ConsumerRecord
from opentelemetry import trace

from libs.common.clock import Clock, utc_now
from libs.common.contracts.received import MessageReader, Received
from libs.common.contracts.topics import Topic
from libs.common.database import is_data_error
from libs.common.errors import Permanent
from libs.common.kafka.consumer import Consumer, Records
from libs.common.kafka.dead_letters import dead_letter, reason_of
from libs.common.kafka.publisher import Publisher
from libs.common.telemetry import parent_of, tracer

log = logging.getLogger(__name__)

Handle = Callable[[Received], Awaitable[None]]

_MAX_RECORDS: Final = 100


def subscribe_messages(
    consumer: Consumer,
    publisher: Publisher,
    topic: Topic,
    *,
    group: str,
    handle: Handle,
    clock: Clock = utc_now,
) -> None:
    """Pass each message of `topic` to `handle`, in order within a key. `handle` is idempotent and opens its own transaction.

    Messages of an unknown `ce_type` are skipped. A record is parked on `dead-letter` when it cannot be decoded, when
    `handle` raises Permanent, or when the database refuses its values: retrying would block the messages behind it.
    """
    reader = MessageReader(topic)

    async def apply(records: Records) -> None:
        for record in records:
            try:
                message = reader.read(record.key, record.value, record.headers, clock())
                if message is None:
                    log.info("Skipped a message of an unknown type", extra={"topic": topic.name})
                    continue
            except ValueError as error:
                await dead_letter(publisher, record, group=group, code="unreadable", reason=reason_of(error))
                continue
            await _handle_or_park(publisher, record, message, group, handle)

    consumer.subscribe([topic], group=group, apply=apply, max_records=_MAX_RECORDS)


async def _handle_or_park(
    publisher: Publisher, record: ConsumerRecord, message: Received, group: str, handle: Handle
) -> None:
    with tracer.start_as_current_span(
        "events.apply",
        context=parent_of(message.headers),
        kind=trace.SpanKind.CONSUMER,
        attributes={"message.type": message.type, "instance.id": str(message.instance.instance_id)},
    ):
        try:
            await handle(message)
        except Permanent as error:
            await dead_letter(publisher, record, group=group, code=error.code, reason=error.message)
        except Exception as error:
            if not is_data_error(error):
                raise
            await dead_letter(publisher, record, group=group, code="unreadable", reason=reason_of(error))
