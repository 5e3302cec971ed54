"""`python -m services.metrics` on real Kafka and PostgreSQL ends with the same tables when it is killed, doubled or restored."""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from libs.common.contracts import topics
from libs.common.contracts.commands import SyncMode
from libs.common.contracts.instances import InstanceSettings
from libs.common.contracts.message import Message
from libs.common.contracts.sync import InstancePurged, Outcome, SkippedKind, SyncSucceeded
from libs.common.contracts.topics import Topic
from libs.common.kafka.administration import end_offsets
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings
from services.metrics import handlers
from services.metrics.repository import positions
from tests.builders import FIRST_SEEN, INSTANCE, book, instance, message_record, with_header
from tests.integration.metrics.conftest import Tables, open_tables
from tests.integration.metrics.test_intake import dead_letters
from tests.integration.metrics.test_runs import shown
from tests.servers import Database, Postgres, recreate_topics
from tools.local_stack.process import Program, free_port, health_check, running, start

KILLS = 6


def program(database: Database, bootstrap: str, number: int = 1, *, keeps_its_place: bool = True) -> Program:
    """Return a replica. One that keeps its place keeps it in its Kafka groups for half a minute after its end."""
    port = free_port()
    return Program(
        name=f"metrics-{number}",
        command=[sys.executable, "-m", "services.metrics"],
        environment={
            "MRRLYTICS_DATABASE_URL": database.url("metrics"),
            "MRRLYTICS_KAFKA_BOOTSTRAP": bootstrap,
            "MRRLYTICS_HEALTH_PORT": str(port),
        }
        | ({"MRRLYTICS_REPLICA": "metrics-1"} if keeps_its_place else {}),
        ready=health_check(port),
    )


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.05)


async def progress(tables: Tables) -> int:
    [(total,)] = await tables.fetch("SELECT coalesce(sum(next_offset), 0)::bigint FROM metrics.positions")
    return int(total)


async def settled(tables: Tables, bootstrap: str) -> None:
    """Wait until all facts are stored, end a run, and wait until it is applied."""
    ends = await end_offsets(KafkaSettings(kafka_bootstrap=bootstrap), topics.BILLING)
    total = sum(sum(of_topic.values()) for of_topic in ends.values())

    async def is_stored() -> bool:
        return await progress(tables) == total

    async def is_computed() -> bool:
        return not await tables.fetch(
            "SELECT instance_id FROM metrics.dirty UNION SELECT instance_id FROM metrics.runs"
        )

    await eventually(is_stored)
    await tables.end_run()
    await eventually(is_computed)


async def say(publisher: Publisher, topic: Topic, body: Message, at: Any = FIRST_SEEN) -> None:
    """Publish a message about the instance."""
    await publisher.publish([message_record(topic, body, at=at)])


@pytest.mark.rule("E2")
async def test_killed_process_ends_with_the_same_tables(
    tables: Tables, others: Tables, publisher: Publisher, kafka: str, tmp_path: Path
) -> None:
    facts, dice = book(9), random.Random(9)
    await others.take_all(facts)
    metrics = program(tables.database, kafka)
    portion = len(facts) // KILLS

    for number in range(KILLS):
        await publisher.publish(facts[number * portion : (number + 1) * portion])
        await tables.end_run()
        process = start(metrics, tmp_path)
        try:
            before = await progress(tables)

            async def has_moved(before: int = before) -> bool:
                return await progress(tables) > before

            await eventually(has_moved)
            await asyncio.sleep(dice.uniform(0, 0.3))
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
    await publisher.publish(facts[KILLS * portion :])
    with running(metrics, tmp_path):
        await settled(tables, kafka)

    assert await tables.content() == await others.content()


async def test_second_replica_that_joins_and_leaves_changes_nothing(
    tables: Tables, others: Tables, publisher: Publisher, kafka: str, tmp_path: Path
) -> None:
    facts = book(10)
    await others.take_all(facts)
    third = len(facts) // 3

    with running(program(tables.database, kafka), tmp_path):
        await publisher.publish(facts[:third])
        with running(program(tables.database, kafka, 2, keeps_its_place=False), tmp_path):
            await publisher.publish(facts[third : 2 * third])
            await settled(tables, kafka)
        await publisher.publish(facts[2 * third :])
        await settled(tables, kafka)

    assert await tables.content() == await others.content()


async def test_restored_database_resumes_at_its_own_positions(
    tables: Tables, postgres: Postgres, publisher: Publisher, kafka_broker: str, tmp_path: Path
) -> None:
    await recreate_topics(kafka_broker)
    facts = book(11)
    half = len(facts) // 2
    await publisher.publish(facts[:half])
    with running(program(tables.database, kafka_broker), tmp_path):
        await settled(tables, kafka_broker)
    await tables.engine.dispose()
    backup = Database(f"{tables.database.name}_backup", tables.database.socket_directory)
    postgres.execute(f"CREATE DATABASE {backup.name} TEMPLATE {tables.database.name}")
    try:
        await publisher.publish(facts[half:])
        with running(program(tables.database, kafka_broker), tmp_path):
            await settled(tables, kafka_broker)

        restored = open_tables(backup, publisher)
        read = await progress(restored)
        with running(program(backup, kafka_broker), tmp_path):
            await settled(restored, kafka_broker)
        assert (read, await progress(restored)) == (half, len(facts))
        assert await restored.content() == await tables.content()
        await restored.engine.dispose()
    finally:
        postgres.execute(f"DROP DATABASE {backup.name} WITH (FORCE)")

    await publisher.close()
    await recreate_topics(kafka_broker)
    await publisher.publish(facts[:half])
    places = await tables.places()
    with running(program(tables.database, kafka_broker), tmp_path):
        await settled(tables, kafka_broker)
        assert await tables.places() == places
        again = [with_header(record, "ce_epoch", b"99") for record in facts[half:]]
        await publisher.publish(again)
        await settled(tables, kafka_broker)
    assert await progress(tables) == len(facts)
    [(read_anew,)] = await tables.fetch("SELECT count(*) FROM metrics.versions WHERE epoch = 99")
    assert read_anew == len(again)


async def test_instance_messages_are_followed_and_wrong_ones_parked(
    tables: Tables, publisher: Publisher, kafka: str, tmp_path: Path
) -> None:
    facts = book(12, customers=20, days=3)
    ends = SyncSucceeded(
        run_id=uuid4(),
        mode=SyncMode.FULL,
        started_at=FIRST_SEEN,
        outcome=Outcome.PARTIAL,
        counts={"service": 30, "customer": 20},
        changes={},
        skipped=(
            SkippedKind(kind="addon", action="GetClientsAddons", code="permission_missing", required=True),
        ),
        positions={},
    )
    with running(program(tables.database, kafka), tmp_path):
        await publisher.publish(facts)
        nowhere = instance(2, name="Nowhere", settings=InstanceSettings(time_zone="Mars/Olympus"))
        await say(publisher, topics.INSTANCES, nowhere)
        await say(publisher, topics.INSTANCES, instance(3, name="Renamed"))
        await settled(tables, kafka)
        offsets = await end_offsets(KafkaSettings(kafka_bootstrap=kafka), topics.BILLING)
        run = ends.model_copy(update={"positions": offsets})
        await say(publisher, topics.SYNC_EVENTS, run, FIRST_SEEN + timedelta(minutes=3))

        async def is_applied() -> bool:
            return bool(await tables.fetch("SELECT FROM metrics.freshness WHERE run_id = $1", run.run_id))

        await eventually(is_applied)
        kinds = await shown(tables, "kinds")
        assert await tables.fetch("SELECT name FROM metrics.instances") == [("Renamed",)]
        assert (
            kinds["addon"].items()
            >= {
                "action": "GetClientsAddons",
                "code": "permission_missing",
                "required": True,
            }.items()
        )

        await say(publisher, topics.SYNC_EVENTS, InstancePurged(instance_id=INSTANCE))

        async def is_purged() -> bool:
            return await tables.fetch("SELECT state FROM metrics.instances") == [
                ("deleted",)
            ] and not await tables.fetch("SELECT FROM metrics.versions LIMIT 1")

        await eventually(is_purged)
        await publisher.publish(facts)
        await settled(tables, kafka)

    assert not any((await tables.content("versions", "records", "segments", "freshness", "runs")).values())
    [parked] = [record async for record in dead_letters(kafka, 1)]
    assert orjson.loads(parked.value)["name"] == "Nowhere"


async def test_intake_waits_until_positions_can_be_read(
    tables: Tables, publisher: Publisher, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = book(11)
    settings = KafkaSettings(kafka_bootstrap=kafka)
    read_positions, failures = positions.read, [ConnectionError("away"), ConnectionError("away")]

    async def away_at_first(connection: Any) -> Any:
        if failures:
            raise failures.pop()
        return await read_positions(connection)

    async def stored() -> bool:
        return await progress(tables) == len(facts)

    async def serve() -> None:
        # The name of the programs of other tests: Kafka would keep the places of a killed one for half a minute.
        consumer, stop = Consumer(settings, replica="metrics-1"), asyncio.Event()
        handlers.build_handlers(consumer, publisher, tables.engine)
        serving = asyncio.create_task(consumer.run(stop))
        await eventually(stored)
        stop.set()
        await serving

    await publisher.publish(facts)
    await serve()
    for table in ("versions", "records", "positions", "dirty"):
        await tables.execute(f"DELETE FROM metrics.{table}")  # noqa: S608  fixed names

    monkeypatch.setattr(positions, "read", away_at_first)
    await serve()

    assert not failures
