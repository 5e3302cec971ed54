"""Kafka: the one way to publish, and the one way to consume. At least once, from the earliest offset, group = service."""

import asyncio
import hashlib
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IllegalStateError, KafkaError
from faststream.kafka import KafkaBroker
from faststream.kafka import Topic as FastStreamTopic
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.subscriber.usecase import LogicSubscriber
from faststream.middlewares import AckPolicy, BaseMiddleware
from faststream.security import BaseSecurity, SASLScram512
from opentelemetry import trace
from pydantic import ValidationError

from libs.common.clock import Clock, utc_now
from libs.common.contracts import topics
from libs.common.contracts.envelope import (
    MAX_RECORD_BYTES,
    Headers,
    MessageReader,
    Received,
    Record,
    partition_of,
    size_of,
)
from libs.common.contracts.topics import DEAD_LETTER, Topic
from libs.common.database import is_data_error
from libs.common.errors import Permanent, Transient
from libs.common.settings import KafkaSettings
from libs.common.telemetry import consumer_paused, continued, dead_letters, tracer
from libs.common.tls import client_context, stays_on_machine

log = logging.getLogger(__name__)

Records = Sequence[ConsumerRecord]
Apply = Callable[[Records], Awaitable[None]]
Assigned = Callable[[AIOKafkaConsumer, set[TopicPartition]], Awaitable[None]]
Handle = Callable[[Received], Awaitable[None]]

_MAX_BATCH_BYTES: Final = 512 * 1024
# Longer than a batch is tried for.
_PUBLISH_SECONDS: Final = 30.0
# What a dead letter keeps of a key and of all headers; its value is cut to what is left of a record.
_MAX_PARKED_KEY_BYTES: Final = 16 * 1024
_MAX_PARKED_HEADER_BYTES: Final = 64 * 1024
_MAX_PARKED_VALUE_BYTES: Final = (
    MAX_RECORD_BYTES - _MAX_PARKED_KEY_BYTES - _MAX_PARKED_HEADER_BYTES - 8 * 1024
)


def _tls(settings: KafkaSettings) -> ssl.SSLContext | None:
    hosts = [address.rsplit(":", 1)[0] for address in settings.kafka_bootstrap.split(",")]
    if all(stays_on_machine(host) for host in hosts):
        return None
    return client_context(settings.kafka_ca_file)


def _client_options(settings: KafkaSettings) -> dict[str, Any]:
    context = _tls(settings)
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "security_protocol": "PLAINTEXT" if context is None else "SSL",
        "ssl_context": context,
    }
    if settings.kafka_username is not None and settings.kafka_password is not None:
        options |= {
            "security_protocol": "SASL_PLAINTEXT" if context is None else "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return options


class Publisher:
    """The one publish function: all keyed records of all topics go through it, one batch per partition, all acknowledged."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._options = _client_options(settings)
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self._sending = asyncio.Lock()

    async def _started(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._options,
                    enable_idempotence=True,
                    # Facts of one batch differ little: a tenth of the bytes for every broker, disk and reader.
                    compression_type="zstd",
                    max_batch_size=_MAX_BATCH_BYTES,
                    max_request_size=1024 * 1024,
                    request_timeout_ms=10_000,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def publish(self, records: Sequence[Record]) -> None:
        """Publish and wait until the broker has acknowledged every record; order is kept within a key.

        Raises Permanent when a record is too large (nothing is sent) and Transient when the broker did not take all of them: some
        may have arrived, so publish them again.
        """
        for record in records:
            if size_of(record) > MAX_RECORD_BYTES:
                raise Permanent(
                    "record_too_large", f"the record {record.key!r} is larger than {MAX_RECORD_BYTES} bytes"
                )
        producer: AIOKafkaProducer | None = None
        try:
            # aiokafka leaves batches that were in flight unanswered when the producer is stopped because of another one.
            async with asyncio.timeout(_PUBLISH_SECONDS):
                producer = await self._started()
                sent = await self._send(producer, records)
                results = await asyncio.gather(*sent, return_exceptions=True)
        except (KafkaError, OSError) as error:
            await self._discard(producer)
            raise Transient("kafka_unavailable", f"Kafka did not take the records: {error!r}") from error
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            await self._discard(producer)
            raise Transient(
                "kafka_unavailable", f"Kafka did not take the records: {failed[0]!r}"
            ) from failed[0]

    async def _send(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> list[asyncio.Future[Any]]:
        """Hand records over in batches, one caller at a time.

        aiokafka lets one batch wait for each partition. Several callers that wait for the same place count the time of each other, and
        run out of it within a second.
        """
        sent: list[asyncio.Future[Any]] = []
        batches: dict[tuple[str, int], Any] = {}
        async with self._sending:
            for record in records:
                place = (record.topic, partition_of(record.key, topics.BY_NAME[record.topic].partitions))
                batch = batches.get(place)
                while batch is None or (
                    batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
                    is None
                ):
                    if batch is not None:
                        batch.close()
                        sent.append(await producer.send_batch(batch, place[0], partition=place[1]))
                    batch = batches[place] = producer.create_batch()
            for (topic, partition), batch in batches.items():
                batch.close()
                sent.append(await producer.send_batch(batch, topic, partition=partition))
        return sent

    async def _discard(self, producer: AIOKafkaProducer | None) -> None:
        # An idempotent producer whose batch was refused stays dead on that partition; a new one works at once.
        async with self._lock:
            if self._producer is not producer or producer is None:
                return
            self._producer = None
        try:
            async with asyncio.timeout(10):
                await producer.stop()
        except (TimeoutError, KafkaError) as error:
            log.warning("a producer did not stop", extra={"error": repr(error)})

    async def ping(self) -> None:
        """Raises unless Kafka answers."""
        producer = await self._started()
        await producer.client.fetch_all_metadata()

    async def close(self) -> None:
        """Flush and stop."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()


async def dead_letter(
    publisher: Publisher, record: ConsumerRecord, *, group: str, code: str, reason: str
) -> None:
    """Park one record on `dead-letter` with the reason and where it came from; its key, bytes and headers are kept.

    Every record that came in can be parked: what is too large is cut, and headers tell the size and hash of the whole value.
    """
    origin = {
        "dl_topic": record.topic,
        "dl_partition": str(record.partition),
        "dl_offset": str(record.offset),
        "dl_group": group,
        "dl_code": code,
        "dl_reason": reason[:500],
    }
    dead_letters.add(1, {"topic": record.topic, "code": code})
    log.error("record parked on dead-letter", extra=origin)
    key, value = record.key or b"", record.value
    headers = _kept_headers(record.headers)
    is_cut = len(key) > _MAX_PARKED_KEY_BYTES or len(headers) < len(record.headers)
    if value is not None and len(value) > _MAX_PARKED_VALUE_BYTES:
        is_cut, value = True, value[:_MAX_PARKED_VALUE_BYTES]
    if is_cut:
        whole = record.value or b""
        origin |= {
            "dl_truncated": "true",
            "dl_size": str(len(whole)),
            "dl_sha256": hashlib.sha256(whole).hexdigest(),
        }
    headers += [(name, text.encode("utf-8", "replace")) for name, text in origin.items()]
    await publisher.publish([Record(DEAD_LETTER.name, key[:_MAX_PARKED_KEY_BYTES], value, headers)])


def _kept_headers(original: Sequence[tuple[str, bytes | None]]) -> Headers:
    """Return the first headers, as many as a dead letter has room for; those of an earlier dead letter are replaced by its own."""
    kept: Headers = []
    room = _MAX_PARKED_HEADER_BYTES
    for name, value in original:
        # A header takes some bytes more than its text.
        room -= len(name.encode("utf-8", "replace")) + len(value or b"") + 16
        if room < 0:
            break
        if not name.startswith("dl_"):
            kept.append((name, value or b""))
    return kept


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
    context = _tls(settings)
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


def reason_of(error: Exception) -> str:
    """Return one line that says why a record was refused, without its content."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return (str(error).splitlines() or [repr(error)])[0]


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


async def align_topics(settings: KafkaSettings, *, replication: int = 1) -> list[str]:
    """Create the topics that are missing and set the configuration of those that are there; returns the created ones.

    Raises Transient when a topic has other partitions than keys are spread over: adding some would leave two states of an entity.
    """
    admin = AIOKafkaAdminClient(**_client_options(settings), client_id="mrrlytics-migrate")
    await admin.start()
    try:
        present = set(await admin.list_topics())
        missing = [topic for topic in topics.TOPICS if topic.name not in present]
        if missing:
            response = await admin.create_topics(
                [
                    NewTopic(topic.name, topic.partitions, replication, topic_configs=dict(topic.config))
                    for topic in missing
                ]
            )
            for error in response.to_object()["topic_errors"]:
                if error["error_code"] not in (0, 36):  # 36: another migrate was faster
                    raise Transient("topic_not_created", f"Kafka did not create {error['topic']}: {error}")
        there = [topic for topic in topics.TOPICS if topic.name in present]
        if there:
            described = await admin.describe_topics([topic.name for topic in there])
            for found in described:
                wanted, partitions = topics.BY_NAME[found["topic"]].partitions, len(found["partitions"])
                if partitions != wanted:
                    raise Transient(
                        "partitions_differ",
                        f"topic {found['topic']} has {partitions} partitions, but keys are spread over {wanted}",
                    )
            await admin.alter_configs(
                [
                    ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=dict(topic.config))
                    for topic in there
                ]
            )
        return [topic.name for topic in missing]
    finally:
        await admin.close()


async def end_offsets(settings: KafkaSettings, wanted: Sequence[Topic]) -> dict[str, dict[int, int]]:
    """Per topic and partition the offset that the next record will get; raises Transient when Kafka is away."""
    consumer = AIOKafkaConsumer(**_client_options(settings))
    try:
        await consumer.start()
        places = [
            TopicPartition(topic.name, number) for topic in wanted for number in range(topic.partitions)
        ]
        ends = await consumer.end_offsets(places)
    except (KafkaError, OSError) as error:
        raise Transient("kafka_unavailable", f"Kafka does not tell its offsets: {error!r}") from error
    finally:
        await consumer.stop()
    found: dict[str, dict[int, int]] = {topic.name: {} for topic in wanted}
    for place, end in ends.items():
        found[place.topic][place.partition] = end
    return found
