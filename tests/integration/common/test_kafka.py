"""Publish to a real Kafka."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from typer.testing import CliRunner

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import MAX_RECORD_BYTES, Record
from libs.common.contracts.topics import DEAD_LETTER, INSTANCES, SYNC_COMMANDS
from libs.common.kafka import letter_commands
from libs.common.kafka.administration import end_offsets
from libs.common.kafka.dead_letters import dead_letter
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings
from tests.builders import consumed, fact, subscription


@pytest.fixture
async def publisher(kafka: str) -> AsyncIterator[Publisher]:
    publisher = Publisher(KafkaSettings(kafka_bootstrap=kafka))
    yield publisher
    await publisher.close()


async def test_many_who_publish_at_once_all_succeed(publisher: Publisher, kafka: str) -> None:
    # Each fills a batch, and all wait for the same partition.
    large = Record(INSTANCES.name, b"one key", b"x" * (MAX_RECORD_BYTES - 1000), [])

    await asyncio.gather(*(publisher.publish([large]) for _ in range(60)))

    ends = await end_offsets(KafkaSettings(kafka_bootstrap=kafka), [INSTANCES])
    assert sum(ends[INSTANCES.name].values()) == 60


@pytest.mark.rule("L7")
@pytest.mark.parametrize("value", [b"x" * 4_000_000, b"short", None])
async def test_dead_letter_takes_whatever_came_in(
    publisher: Publisher, kafka: str, value: bytes | None
) -> None:
    headers = [("dl_topic", b"earlier"), ("first", b"1"), *((f"h{n}", b"x" * 100) for n in range(20_000))]
    record = ConsumerRecord("instances", 3, 7, 0, 0, b"k" * 900_000, value, None, 900_000, 0, tuple(headers))

    await dead_letter(publisher, record, group="g", code="unreadable", reason="r" * 10_000)

    consumer = AIOKafkaConsumer(DEAD_LETTER.name, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    async with asyncio.timeout(30):
        parked = await consumer.getone()
    await consumer.stop()
    headers = dict(parked.headers)
    assert (headers["dl_topic"], headers["dl_offset"], headers["first"]) == (b"instances", b"7", b"1")
    assert headers["dl_truncated"] == b"true"
    assert int(headers["dl_size"]) == len(value or b"")
    assert parked.key == b"k" * len(parked.key)
    assert parked.value == (value and value[: len(parked.value)])


@pytest.mark.rule("E4")
async def test_operator_replays_and_discards_dead_letters(
    publisher: Publisher, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRRLYTICS_KAFKA_BOOTSTRAP", kafka)
    bodies = [subscription(number, 1, label="Jane Roe") for number in range(3)]
    for record in consumed([fact(Kind.SERVICE, body, seq=1) for body in bodies]):
        await dead_letter(publisher, record, group="metrics", code="unreadable", reason="a\x1b[31mb")
    await publisher.publish([Record(DEAD_LETTER.name, b"note", None, [("dl_discards", b"99")])])

    first, second, third = (line.split("\t")[0] for line in (await command("list")).splitlines())
    shown = await command("show", first)
    await command("discard", first)
    await command("replay", second)
    listed = await command("list")

    assert "Jane" not in shown
    assert "Jane Roe" in await command("show", "--raw", first)
    assert [line.split("\t")[0] for line in listed.splitlines()] == [third]
    assert "\x1b" not in listed
    ends = await end_offsets(KafkaSettings(kafka_bootstrap=kafka), [SYNC_COMMANDS])
    assert sum(ends[SYNC_COMMANDS.name].values()) == 1


async def command(*arguments: str) -> str:
    """Run a command of an operator, and return what it prints."""
    # In a thread of its own, because the command runs an event loop.
    result = await asyncio.to_thread(CliRunner().invoke, letter_commands.app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout
