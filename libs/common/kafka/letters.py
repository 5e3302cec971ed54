"""Read the topic `dead-letter`, hide letters that an operator has discarded, and ask for facts again that could not be applied.

Kafka deletes whole stretches of a topic, never single records. So a discarded letter stays until its 30 days are over, and a note
behind it in the same partition (a record with the header `dl_discards`) hides it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from libs.common.contracts.billing import parse_fact_key
from libs.common.contracts.commands import Republish
from libs.common.contracts.envelope import Record, headers, read_headers
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import IDS_PER_BLOCK
from libs.common.contracts.topics import BILLING, DEAD_LETTER, SYNC_COMMANDS
from libs.common.kafka.connection import client_options
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings

_DISCARDS: Final = "dl_discards"
_POLL_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Letter:
    """A parked record: its place on `dead-letter`, its original key and value, and all its headers."""

    partition: int
    offset: int
    at: datetime
    key: bytes
    value: bytes | None
    headers: dict[str, str]

    @property
    def place(self) -> str:
        """Return the name by which the commands know this letter."""
        return f"{self.partition}-{self.offset}"

    def header(self, name: str) -> str:
        """Return a header as one line without control characters; "" when it is missing."""
        return printable(self.headers.get(name, ""))


def printable(text: str) -> str:
    """Return text from outside as a short line."""
    return "".join(character if character.isprintable() else " " for character in text)[:500]


async def read_letters(settings: KafkaSettings) -> list[Letter]:
    """Return all letters that are not discarded, the oldest first, without their values."""
    letters: dict[str, Letter] = {}
    async with _consumer(settings) as consumer:
        async for record in _records(consumer):
            letter = _letter(record, value=None)
            if _DISCARDS in letter.headers:
                letters.pop(f"{letter.partition}-{letter.headers[_DISCARDS]}", None)
            else:
                letters[letter.place] = letter
    return sorted(letters.values(), key=lambda letter: letter.at)


async def read_letter(settings: KafkaSettings, place: str) -> Letter | None:
    """Return the letter at a place such as "2-17", with its value; None when there is none."""
    partition, _, offset = place.partition("-")
    if not (partition.isdecimal() and offset.isdecimal()):
        return None
    async with _consumer(settings) as consumer:
        topic = TopicPartition(DEAD_LETTER.name, int(partition))
        if topic not in consumer.assignment():
            return None
        begin, end = await consumer.beginning_offsets([topic]), await consumer.end_offsets([topic])
        if not begin[topic] <= int(offset) < end[topic]:
            return None
        consumer.assign([topic])
        consumer.seek(topic, int(offset))
        record = await consumer.getone()
        letter = _letter(record, value=record.value)
    return None if letter.offset != int(offset) or _DISCARDS in letter.headers else letter


async def discard(publisher: Publisher, letter: Letter) -> None:
    """Hide a letter from the list. A note with the key of the letter gets into its partition."""
    note = Record(DEAD_LETTER.name, letter.key, None, [(_DISCARDS, b"%d" % letter.offset)])
    await publisher.publish([note])


def republish(letter: Letter, at: datetime) -> Record:
    """Return the command that publishes the fact of a letter again; raise ValueError when the letter is no billing fact.

    The record itself is never sent again, because its state may be outdated by now. The connector publishes the block of 10,000 ids with
    the row again in the next syncs.
    """
    if letter.headers.get("dl_topic") not in {topic.name for topic in BILLING}:
        raise ValueError("it is not a billing fact")
    instance_id, kind, fact_id = parse_fact_key(letter.key.decode())
    instance = InstanceKey(UUID(letter.headers.get("ce_organization", "")), instance_id)
    command = Republish(
        command_id=uuid4(), instance_id=instance_id, kind=kind, blocks=(fact_id // IDS_PER_BLOCK,)
    )
    subject = str(instance_id)
    of_message = headers(
        message_id=str(command.command_id),
        message_type=Republish.__name__,
        source="operator",
        at=at,
        subject=subject,
        instance=instance,
    )
    return Record(SYNC_COMMANDS.name, subject.encode(), command.model_dump_json().encode(), of_message)


@asynccontextmanager
async def _consumer(settings: KafkaSettings) -> AsyncGenerator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(**client_options(settings), auto_offset_reset="earliest")
    try:
        await consumer.start()
        consumer.assign(
            [TopicPartition(DEAD_LETTER.name, number) for number in range(DEAD_LETTER.partitions)]
        )
        yield consumer
    finally:
        await consumer.stop()


async def _records(consumer: AIOKafkaConsumer) -> AsyncGenerator[ConsumerRecord]:
    """Yield all records up to the present ends of the partitions."""
    partitions = list(consumer.assignment())
    ends = await consumer.end_offsets(partitions)
    while True:
        positions = [(await consumer.position(place), ends[place]) for place in partitions]
        if all(position >= end for position, end in positions):
            return
        for batch in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in batch:
                yield record


def _letter(record: Any, value: bytes | None) -> Letter:
    at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return Letter(record.partition, record.offset, at, record.key or b"", value, read_headers(record.headers))
