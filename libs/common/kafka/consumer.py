"""The one way to consume: at least once, from the earliest offset, group = service. FastStream is used here alone."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream.kafka import KafkaBroker
from faststream.kafka import Topic as FastStreamTopic
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.subscriber.usecase import LogicSubscriber
from faststream.middlewares import AckPolicy, BaseMiddleware
from faststream.security import BaseSecurity, SASLScram512
from opentelemetry import trace

from libs.common.clock import Clock, utc_now
from libs.common.contracts.received import MessageReader, Received
from libs.common.contracts.topics import Topic
from libs.common.database import is_data_error
from libs.common.errors import Permanent, Transient
from libs.common.kafka.connection import tls_context
from libs.common.kafka.dead_letters import dead_letter, reason_of
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings
from libs.common.telemetry import consumer_paused, continued, tracer

log = logging.getLogger(__name__)

Records = Sequence[ConsumerRecord]
Apply = Callable[[Records], Awaitable[None]]
Assigned = Callable[[AIOKafkaConsumer, set[TopicPartition]], Awaitable[None]]
Handle = Callable[[Received], Awaitable[None]]


class _NeverSkip(BaseMiddleware):
    """An error outside the handler (parser, another middleware) must not skip a batch."""

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: Any = None,
    ) -> bool:
        consumer = getattr(self.context.get_local("handler_"), "consumer", None)
        if exc_type and issubclass(exc_type, Exception) and consumer and isinstance(self.msg, tuple):
            log.error("a batch failed outside its handler", extra={"error": repr(exc_val)})
            await asyncio.sleep(1)
            _rewind(consumer, self.msg)
        return False


def build_broker(settings: KafkaSettings) -> KafkaBroker:
    """The FastStream broker that all subscribers of a process share; it only consumes."""
    context = tls_context(settings)
    security: BaseSecurity | None = None
    if settings.kafka_username is not None and settings.kafka_password is not None:
        security = SASLScram512(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            use_ssl=context is not None,
            ssl_context=context,
        )
    elif context is not None:
        security = BaseSecurity(ssl_context=context, use_ssl=True)
    return KafkaBroker(
        settings.kafka_bootstrap.split(","),
        security=security,
        consumer_only=True,
        graceful_timeout=30,
        # A broker that lost all comes back without topics: how long it takes until those that were made again are read.
        metadata_max_age_ms=10_000,
        middlewares=(_NeverSkip,),
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,
        apply_types=False,
    )


async def consume(broker: KafkaBroker, stop: asyncio.Event) -> None:
    """Run the broker's subscribers until `stop`; raises when Kafka cannot be reached, and may then be called again."""
    try:
        await broker.start()
        await stop.wait()
    finally:
        await broker.stop()


def subscribe(
    broker: KafkaBroker,
    subscribed: Sequence[Topic],
    *,
    group: str,
    replica: str | None,
    apply: Apply,
    on_assigned: Assigned | None = None,
    max_records: int = 2000,
) -> None:
    """Hand raw batches of `subscribed` to `apply`, which stores a whole batch in one transaction or raises.

    A batch mixes partitions and is ordered within each. After an error it waits with backoff and is handed over again, for ever; offsets
    are committed after `apply`. `on_assigned` may seek; a batch may come twice.
    """
    _Batches(broker, subscribed, group, replica, apply, on_assigned, max_records)


class _Batches(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(
        self,
        broker: KafkaBroker,
        subscribed: Sequence[Topic],
        group: str,
        replica: str | None,
        apply: Apply,
        on_assigned: Assigned | None,
        max_records: int,
    ) -> None:
        self.apply, self.on_assigned, self.group = apply, on_assigned, group
        self.idle, self.revoking, self.failures = asyncio.Event(), asyncio.Event(), 0
        self.idle.set()
        self.subscriber: LogicSubscriber[Any] = broker.subscriber(
            *(FastStreamTopic(topic.name, declare=False) for topic in subscribed),
            batch=True,
            max_records=max_records,
            batch_timeout_ms=50,
            fetch_max_wait_ms=100,
            group_id=group,
            group_instance_id=replica and f"{group}.{subscribed[0].name}.{replica}",
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            listener=self,
            parser=self.parse,
            decoder=self.decode,
            session_timeout_ms=30_000,
            rebalance_timeout_ms=60_000,
            max_poll_interval_ms=300_000,
        )
        self.subscriber(self.handle)

    async def decode(self, message: Any) -> Any:
        """The handler gets the records. FastStream keeps this on the message, which would keep itself alive if it were the message."""
        return message.raw_message

    async def parse(self, records: Any) -> KafkaAckableMessage:
        """Exactly one parameter: with two FastStream passes its default parser."""
        return KafkaAckableMessage(
            raw_message=records,
            body=[record.value or b"" for record in records],
            headers={},
            batch_headers=[],
            reply_to="",
            content_type=None,
            correlation_id="",
            path={},
            consumer=self.subscriber.consumer,
            message_id=f"{records[0].offset}-{records[-1].offset}",
        )

    async def handle(self, records: Records) -> None:
        """Never raises: FastStream would drop the error and go on."""
        consumer: Any = self.subscriber.consumer
        self.idle.clear()
        try:
            async with asyncio.timeout(120):  # a hanging database must not hold the partitions
                await self.apply(records)
            self.failures = 0
            await _commit(consumer, records)
        except Exception as error:
            self.failures += 1
            consumer_paused.add(1, {"group": self.group, "reason": type(error).__name__})
            log.error(
                "batch failed and will be tried again",
                extra={
                    "group": self.group,
                    "records": len(records),
                    "failures": self.failures,
                    "error": repr(error),
                },
                exc_info=not isinstance(error, (Transient, OSError, TimeoutError)),
            )
            pause = min(15.0, 0.25 * 2 ** min(self.failures, 9)) * random.uniform(0.5, 1)  # noqa: S311
            with suppress(TimeoutError):
                await asyncio.wait_for(self.revoking.wait(), pause)
            _rewind(consumer, records)
        finally:
            self.idle.set()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Holds the rebalance until the batch in flight is settled, for a while."""
        self.revoking.set()
        try:
            await asyncio.wait_for(self.idle.wait(), 10)
        except TimeoutError:
            log.warning("a batch is still in flight and will be handled twice", extra={"group": self.group})

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Lets `on_assigned` seek while nothing is fetched."""
        self.revoking.clear()
        if self.on_assigned is None or not assigned:
            return
        consumer: Any = self.subscriber.consumer
        consumer.pause(*assigned)
        # aiokafka logs what is raised here and reads on from the committed offsets, which may be beyond our own.
        while True:
            try:
                await self.on_assigned(consumer, assigned)
                break
            except Exception as error:
                extra = {"group": self.group, "error": repr(error)}
                log.warning("where to read on from is not known yet", extra=extra)
                await asyncio.sleep(1)
        consumer.resume(*(assigned & consumer.assignment()))


def subscribe_messages(
    broker: KafkaBroker,
    topic: Topic,
    *,
    group: str,
    replica: str | None,
    publisher: Publisher,
    handle: Handle,
    clock: Clock = utc_now,
) -> None:
    """Hand each decoded message of `topic` to `handle`, in order within a key; `handle` is idempotent and owns its transaction.

    Messages of an unknown `ce_type` are passed over. What cannot be decoded, raises Permanent, or is refused by the database
    for its data is parked on `dead-letter`: it would be refused again, and hold up the messages behind it.
    """
    reader = MessageReader(topic)

    async def apply(records: Records) -> None:
        for record in records:
            try:
                message = reader.read(record.key, record.value, record.headers, clock())
            except ValueError as error:
                await dead_letter(publisher, record, group=group, code="unreadable", reason=reason_of(error))
                continue
            if message is None:
                log.info("message of an unknown type passed over", extra={"topic": topic.name})
                continue
            with tracer.start_as_current_span(
                f"handle {message.type}", context=continued(message.headers), kind=trace.SpanKind.CONSUMER
            ):
                try:
                    await handle(message)
                except Permanent as error:
                    await dead_letter(publisher, record, group=group, code=error.code, reason=error.message)
                except Exception as error:
                    if not is_data_error(error):
                        raise
                    await dead_letter(
                        publisher, record, group=group, code="unreadable", reason=reason_of(error)
                    )

    subscribe(broker, [topic], group=group, replica=replica, apply=apply, max_records=100)


def _rewind(consumer: AIOKafkaConsumer, records: Records) -> None:
    first: dict[TopicPartition, int] = {}
    for record in records:
        first.setdefault(TopicPartition(record.topic, record.partition), record.offset)
    for partition, offset in first.items():
        try:
            consumer.seek(partition, offset)
        except IllegalStateError:  # no longer ours: its new owner starts at the committed offset
            log.info("a partition was taken away", extra={"partition": str(partition)})


async def _commit(consumer: AIOKafkaConsumer, records: Records) -> None:
    ours = consumer.assignment()
    offsets = {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}
    try:  # with offsets of a partition that is not ours, aiokafka would commit none
        await consumer.commit({place: offset for place, offset in offsets.items() if place in ours})
    except KafkaError as error:  # a rebalance came first: the batch will be handled again, harmlessly
        log.warning("stored but not committed", extra={"error": repr(error)})
