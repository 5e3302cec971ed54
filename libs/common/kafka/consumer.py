"""Read batches of records from Kafka: at least once, from the earliest offset. Only this module uses FastStream.

FastStream's own acknowledgement either commits a batch before it is stored or skips a batch that failed. So this module
acknowledges by itself: it commits the offsets of a batch after the batch is stored, and after an error it seeks back to
the start of the batch and tries again with backoff, for ever.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream.kafka import KafkaBroker
from faststream.kafka import Topic as FastStreamTopic
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.subscriber.usecase import LogicSubscriber
from faststream.middlewares import AckPolicy, BaseMiddleware
from faststream.security import BaseSecurity, SASLScram512

from libs.common.contracts.topics import Topic
from libs.common.errors import Transient
from libs.common.kafka.connection import tls_context
from libs.common.pause import pause
from libs.common.settings import KafkaSettings
from libs.common.telemetry import batches_processed, consumer_lag, consumer_paused, timed

log = logging.getLogger(__name__)

Records = Sequence[ConsumerRecord]
Apply = Callable[[Records], Awaitable[None]]
OnAssigned = Callable[[AIOKafkaConsumer, set[TopicPartition]], Awaitable[None]]

# A batch fails after this time when the database hangs. It must be less than max_poll_interval_ms (5 minutes), after which
# the group removes the consumer.
_APPLY_SECONDS: Final = 120
# A rebalance of the whole group waits this long for a batch of ours; the group allows 60 s (rebalance_timeout_ms).
_REVOCATION_SECONDS: Final = 10
_LAG_SECONDS: Final = 5.0


class Consumer:
    """All subscriptions of one process."""

    def __init__(self, settings: KafkaSettings, *, replica: str | None) -> None:
        self._broker = _build_broker(settings)
        self._replica = replica
        self._subscriptions: list[_Subscription] = []

    def subscribe(
        self,
        topics: Sequence[Topic],
        *,
        group: str,
        apply: Apply,
        on_assigned: OnAssigned | None = None,
        max_records: int = 2000,
    ) -> None:
        """Pass batches of records to `apply`, which stores a whole batch in one transaction or raises.

        A batch mixes partitions and is in order within each. The same batch may come twice, so `apply` must be idempotent.
        `on_assigned` may seek to other offsets than the committed ones.
        """
        static_member = self._replica and f"{group}.{topics[0].name}.{self._replica}"
        self._subscriptions.append(
            _Subscription(self._broker, topics, group, static_member, apply, on_assigned, max_records)
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`. Raise when Kafka cannot be reached; the caller may call again."""
        try:
            await self._broker.start()
            while not stop.is_set():
                for subscription in self._subscriptions:
                    subscription.measure_lag()
                await pause(stop, _LAG_SECONDS)
        finally:
            await self._broker.stop()


class _SeekBackAfterError(BaseMiddleware):
    """Read a batch again when FastStream fails before or after our handler; its own loop would skip the batch."""

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: Any = None,
    ) -> bool:
        consumer = getattr(self.context.get_local("handler_"), "consumer", None)
        if exc_type and issubclass(exc_type, Exception) and consumer and isinstance(self.msg, tuple):
            log.error("A batch failed outside its handler; will retry", extra={"error": repr(exc_val)})
            await asyncio.sleep(1)
            _seek_back(consumer, self.msg)
        return False


def _build_broker(settings: KafkaSettings) -> KafkaBroker:
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
        # After a cluster lost its data and the topics were created again, consumers see them within this time.
        metadata_max_age_ms=10_000,
        middlewares=(_SeekBackAfterError,),
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,
        apply_types=False,
    )


class _Subscription(ConsumerRebalanceListener):  # type: ignore[misc]
    """One FastStream subscriber with our own acknowledgement."""

    def __init__(
        self,
        broker: KafkaBroker,
        topics: Sequence[Topic],
        group: str,
        static_member: str | None,
        apply: Apply,
        on_assigned: OnAssigned | None,
        max_records: int,
    ) -> None:
        self._group, self._apply, self._on_assigned = group, apply, on_assigned
        self._topics = [topic.name for topic in topics]
        self._next_offsets: dict[TopicPartition, int] = {}
        self._idle, self._revoking, self._failures = asyncio.Event(), asyncio.Event(), 0
        self._idle.set()
        self._subscriber: LogicSubscriber[Any] = broker.subscriber(
            # `mrrlytics migrate` creates the topics: FastStream would create them with one partition.
            *(FastStreamTopic(topic.name, declare=False) for topic in topics),
            batch=True,
            max_records=max_records,
            batch_timeout_ms=50,
            fetch_max_wait_ms=100,
            group_id=group,
            group_instance_id=static_member,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            # Without it a record with a `reply_to` header makes FastStream publish to any topic the header names.
            no_reply=True,
            listener=self,
            # Own parser and decoder: those of FastStream skip a whole batch when one header is not UTF-8.
            parser=self.parse,
            decoder=self.decode,
            session_timeout_ms=30_000,
            rebalance_timeout_ms=60_000,
            max_poll_interval_ms=300_000,
        )
        self._subscriber(self.handle)

    async def parse(self, records: Any) -> KafkaAckableMessage:
        """Wrap raw records. Exactly one parameter: FastStream passes its default parser to functions with two."""
        return KafkaAckableMessage(
            raw_message=records,
            body=[record.value or b"" for record in records],
            headers={},
            batch_headers=[],
            reply_to="",
            content_type=None,
            correlation_id="",
            path={},
            consumer=self._subscriber.consumer,
            message_id=f"{records[0].offset}-{records[-1].offset}",
        )

    async def decode(self, message: Any) -> Any:
        """Return the raw records. FastStream stores the result on the message, so returning the message makes a cycle."""
        return message.raw_message

    async def handle(self, records: Records) -> None:
        """Apply and commit a batch, or seek back to its start. Never raises, because FastStream skips a batch that raised."""
        consumer: Any = self._subscriber.consumer
        self._idle.clear()
        try:
            with timed(batches_processed, {"messaging.system": "kafka", "group": self._group}):
                async with asyncio.timeout(_APPLY_SECONDS):
                    await self._apply(records)
            self._failures = 0
            self._next_offsets |= _ends(records)
            await _commit(consumer, records)
        except Exception as error:
            self._failures += 1
            self._report(error, records)
            # A revocation ends the wait at once: another replica may already be able to store the batch.
            await pause(self._revoking, self._backoff_seconds())
            _seek_back(consumer, records)
        finally:
            self._idle.set()

    def measure_lag(self) -> None:
        """Record how many records of each topic wait in the partitions of this process, as far as it has read batches of them."""
        consumer: Any = self._subscriber.consumer
        lags = dict.fromkeys(self._topics, 0)
        for partition in consumer.assignment() & self._next_offsets.keys() if consumer is not None else ():
            lags[partition.topic] += max(0, consumer.highwater(partition) - self._next_offsets[partition])
        for topic, lag in lags.items():
            consumer_lag.set(lag, {"topic": topic, "group": self._group})

    def _report(self, error: Exception, records: Records) -> None:
        consumer_paused.add(1, {"group": self._group, "reason": type(error).__name__})
        log.error(
            "Could not apply a batch; will retry",
            extra={
                "group": self._group,
                "records": len(records),
                "failures": self._failures,
                "error": repr(error),
            },
            exc_info=not isinstance(error, (Transient, OSError, TimeoutError)),
        )

    def _backoff_seconds(self) -> float:
        longest = min(15.0, 0.25 * 2.0 ** min(self._failures, 9))
        return longest * random.uniform(0.5, 1)  # noqa: S311

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Delay the rebalance until the batch in flight is stored and committed, but not for long.

        If the batch takes longer, the next owner of the partition applies it a second time, which changes nothing.
        """
        self._revoking.set()
        try:
            await asyncio.wait_for(self._idle.wait(), _REVOCATION_SECONDS)
        except TimeoutError:
            log.warning("A batch is still in flight; it will be applied twice", extra={"group": self._group})

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Let `on_assigned` seek. Fetching is paused meanwhile: it has already begun when aiokafka calls this method."""
        self._revoking.clear()
        self._next_offsets.clear()
        if self._on_assigned is None or not assigned:
            return
        consumer: Any = self._subscriber.consumer
        consumer.pause(*assigned)
        # aiokafka only logs what this method raises and then reads from the committed offsets, which may be ahead of what
        # is stored (a restored backup). So retry here until the stored positions are known.
        while True:
            try:
                await self._on_assigned(consumer, assigned)
                break
            except Exception as error:
                extra = {"group": self._group, "error": repr(error)}
                log.warning("Could not load the stored positions; will retry", extra=extra)
                await asyncio.sleep(1)
        consumer.resume(*(assigned & consumer.assignment()))


def _seek_back(consumer: AIOKafkaConsumer, records: Records) -> None:
    first: dict[TopicPartition, int] = {}
    for record in records:
        first.setdefault(TopicPartition(record.topic, record.partition), record.offset)
    for partition, offset in first.items():
        try:
            consumer.seek(partition, offset)
        except IllegalStateError:  # revoked meanwhile: the next owner starts at the committed offset
            log.info("A partition was revoked during a batch", extra={"partition": str(partition)})


def _ends(records: Records) -> dict[TopicPartition, int]:
    """Return the offset behind the last record of each partition."""
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}


async def _commit(consumer: AIOKafkaConsumer, records: Records) -> None:
    assigned = consumer.assignment()
    offsets = _ends(records)
    try:  # one offset of a partition that is not assigned makes aiokafka refuse all of them
        await consumer.commit({place: offset for place, offset in offsets.items() if place in assigned})
    except KafkaError as error:  # a rebalance came first: the batch is applied again, which changes nothing
        log.warning("Stored a batch but could not commit its offsets", extra={"error": repr(error)})
