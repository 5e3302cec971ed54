"""Publish records to Kafka and wait until all are acknowledged."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from libs.common.contracts import topics
from libs.common.contracts.envelope import MAX_RECORD_BYTES, Record, partition_of, size_of
from libs.common.errors import Permanent, Transient
from libs.common.kafka.connection import client_options
from libs.common.settings import KafkaSettings
from libs.common.telemetry import batches_sent, timed

log = logging.getLogger(__name__)

_MAX_BATCH_BYTES: Final = 512 * 1024
# Longer than aiokafka itself tries to send a batch (request_timeout_ms).
_PUBLISH_SECONDS: Final = 30.0


class Publisher:
    """The only producer of a process. All services use its partition function, so a key has one partition everywhere."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._options = client_options(settings)
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self._sending = asyncio.Lock()

    async def _started(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._options,
                    enable_idempotence=True,
                    # Facts of one batch are much alike, so compression leaves about a tenth of the bytes.
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
        """Publish records and wait until the broker has acknowledged all of them. The order is kept within a key.

        Raise Permanent when a record is too large; then nothing is sent. Raise Transient when the broker did not
        acknowledge all records; some may have arrived, so the caller publishes all of them again.
        """
        _check_sizes(records)
        with timed(batches_sent, {"messaging.system": "kafka", "messaging.operation.name": "send"}):
            await self._publish(records)

    async def _publish(self, records: Sequence[Record]) -> None:
        producer: AIOKafkaProducer | None = None
        try:
            # The timeout is ours: when another caller discards the producer, aiokafka never answers batches in flight.
            async with asyncio.timeout(_PUBLISH_SECONDS):
                producer = await self._started()
                sent = await self._send(producer, records)
                results = await asyncio.gather(*sent, return_exceptions=True)
        except (KafkaError, OSError) as error:
            await self._discard(producer)
            raise _unavailable(error) from error
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            await self._discard(producer)
            raise _unavailable(failed[0]) from failed[0]

    async def _send(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> list[asyncio.Future[Any]]:
        """Give the records to aiokafka, one batch per partition, and return a future per batch.

        One caller at a time: aiokafka has room for one waiting batch per partition, and the timeout of a batch includes
        its wait for that room. Callers that wait for the same partition would time out although Kafka works.
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
        # After the broker refused a batch, an idempotent producer never works again on that partition. A new producer does.
        async with self._lock:
            if self._producer is not producer or producer is None:
                return
            self._producer = None
        try:
            async with asyncio.timeout(10):
                await producer.stop()
        except (TimeoutError, KafkaError) as error:
            log.warning("Could not stop a Kafka producer", extra={"error": repr(error)})

    async def ping(self) -> None:
        """Raise unless Kafka answers."""
        producer = await self._started()
        await producer.client.fetch_all_metadata()

    async def close(self) -> None:
        """Send what is waiting, then close the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()


def _check_sizes(records: Sequence[Record]) -> None:
    for record in records:
        # Headers are small, so most records need no exact sum.
        if len(record.value or b"") > MAX_RECORD_BYTES // 2 and size_of(record) > MAX_RECORD_BYTES:
            text = f"The record {record.key!r} is larger than {MAX_RECORD_BYTES} bytes."
            raise Permanent("record_too_large", text)


def _unavailable(error: BaseException) -> Transient:
    return Transient("kafka_unavailable", f"Kafka did not acknowledge the records: {error!r}")
