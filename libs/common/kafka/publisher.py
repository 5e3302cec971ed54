"""The one way to publish: one batch per partition, all acknowledged."""

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

log = logging.getLogger(__name__)

_MAX_BATCH_BYTES: Final = 512 * 1024
# Longer than a batch is tried for.
_PUBLISH_SECONDS: Final = 30.0


class Publisher:
    """The one publish function: all keyed records of all topics go through it, one batch per partition, all acknowledged."""

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
