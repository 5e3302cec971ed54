"""The scheduler on a real PostgreSQL and a real Kafka: several replicas that are killed, and a clock that tests shift.

One file because all tests share the shifted clock, the replicas and the commands that they must send once.
"""

import asyncio
import contextlib
import itertools
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.common.contracts import topics
from libs.common.contracts.cadence import Schedule, rhythm_of
from libs.common.contracts.commands import tick_id
from libs.common.contracts.instances import InstanceChanged, InstanceSettings
from libs.common.database import build_engine, transaction
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import relay_once
from libs.common.settings import KafkaSettings, PostgresSettings
from services.scheduler import ticker
from services.scheduler.handlers import follow_instance
from services.scheduler.tables import metadata, outbox, schedules
from services.scheduler.ticker import tick
from tests.builders import message_record
from tests.servers import REPOSITORY, Database
from tools.local_stack.process import free_port

SPREAD = 300
ORGANIZATION = UUID("0f4f24a4-9a37-4c0e-8a6a-1d3a1f0f6f01")
START = datetime(2026, 11, 22, 23, 50, tzinfo=UTC)
A_DAY = timedelta(days=1)
SEVERAL_BATCHES = 450


class ShiftedClock:
    """The clock of all replicas of a test; it stands still until a test moves it."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    async def __call__(self, _: AsyncConnection) -> datetime:
        return self.at


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock(START)


@pytest.fixture
async def engines(database: Database) -> AsyncIterator[list[AsyncEngine]]:
    """Return the engines of five replicas, with the role of the scheduler."""
    settings = PostgresSettings(database_url=database.url("scheduler"))
    engines = [build_engine(settings, service="scheduler") for _ in range(5)]
    yield engines
    for engine in engines:
        await engine.dispose()


def instance(number: int = 1, *, state: Any = "active", version: int = 1) -> InstanceChanged:
    return InstanceChanged(
        id=UUID(int=number, version=4),
        organization_id=ORGANIZATION,
        name=f"Instance {number}",
        credential_id=UUID(int=version, version=4),
        state=state,
        settings=InstanceSettings(time_zone="Europe/Berlin"),
        version=version,
    )


async def commands(engine: AsyncEngine) -> list[dict[str, Any]]:
    """Return the bodies of all commands issued so far."""
    async with transaction(engine) as connection:
        rows = await connection.execute(select(outbox.c.body).order_by(outbox.c.id))
        return [orjson.loads(body) for body in rows.scalars()]


async def due_schedules(engine: AsyncEngine, at: datetime) -> int:
    async with transaction(engine) as connection:
        count = select(func.count()).select_from(schedules).where(schedules.c.due_at <= at)
        return (await connection.execute(count)).scalar_one()


def ticks(issued: Sequence[dict[str, Any]]) -> list[tuple[str, str, datetime]]:
    return [
        (command["instance_id"], command["mode"], datetime.fromisoformat(command["scheduled_for"]))
        for command in issued
    ]


def expected_ticks(instances: Sequence[InstanceChanged], start: datetime, end: datetime) -> set[Any]:
    expected = set()
    for changed in instances:
        for schedule in (Schedule.FULL, Schedule.INCREMENTAL):
            rhythm = rhythm_of(schedule, changed.id, SPREAD)
            following = rhythm.after(rhythm.newest(start).scheduled_for)
            while following.due_at <= end:
                expected.add((str(changed.id), str(schedule), following.scheduled_for))
                following = rhythm.after(following.scheduled_for)
    return expected


@pytest.mark.rule("S2")
async def test_dying_replicas_issue_each_tick_exactly_once(
    engines: list[AsyncEngine], clock: ShiftedClock, kafka: str
) -> None:
    chance = random.Random(1)
    instances = [instance(number) for number in range(1, 13)]
    for changed in instances:
        await follow_instance(engines[0], changed, now=clock, full_spread_seconds=SPREAD)
    publishers = [Publisher(KafkaSettings(kafka_bootstrap=kafka)) for _ in engines]
    died = 0

    while clock.at < START + A_DAY:
        clock.at += timedelta(minutes=4)
        replicas = [asyncio.create_task(tick(engine, clock, SPREAD)) for engine in engines]
        for doomed in chance.sample(replicas, 3):
            await asyncio.sleep(chance.uniform(0, 0.004))
            doomed.cancel()
        ends = await asyncio.gather(*replicas, return_exceptions=True)
        died += sum(isinstance(end, asyncio.CancelledError) for end in ends)
        # One replica survives and does the work of the others a moment later.
        await tick(engines[0], clock, SPREAD)
    pairs = zip(engines, publishers, strict=True)
    while sum(await asyncio.gather(*(relay_once(engine, outbox, publisher) for engine, publisher in pairs))):
        pairs = zip(engines, publishers, strict=True)
    for publisher in publishers:
        await publisher.close()

    published = await read_commands(kafka, count=len(await commands(engines[0])))
    assert Counter(ticks(published)) == Counter(expected_ticks(instances, START, clock.at))
    assert len(published) == 12 * (1 + 96)
    assert died > 100


@pytest.mark.rule("S4")
async def test_after_26_hours_each_instance_gets_full_then_incremental(
    engines: list[AsyncEngine], clock: ShiftedClock
) -> None:
    instances = [instance(number) for number in range(1, 21)]
    for changed in instances:
        await follow_instance(engines[0], changed, now=clock, full_spread_seconds=SPREAD)
    back = clock.at = START + timedelta(hours=26)

    seen: dict[tuple[str, str], datetime] = {}
    for _ in range(60):
        clock.at += timedelta(seconds=10)
        before = len(await commands(engines[0]))
        await asyncio.gather(*(tick(engine, clock, SPREAD) for engine in engines))
        for issued_to, mode, _scheduled_for in ticks((await commands(engines[0]))[before:]):
            assert (issued_to, mode) not in seen
            seen[issued_to, mode] = clock.at

    assert set(seen) == {(str(changed.id), mode) for changed in instances for mode in ("full", "incremental")}
    assert all(seen[str(changed.id), "full"] < seen[str(changed.id), "incremental"] for changed in instances)
    assert max(seen.values()) <= back + timedelta(minutes=10)
    assert len(set(seen.values())) > 10


@pytest.mark.rule("S4")
@pytest.mark.parametrize("jump", [timedelta(hours=1), A_DAY])
async def test_clock_set_back_issues_nothing_twice(
    engines: list[AsyncEngine], clock: ShiftedClock, jump: timedelta
) -> None:
    await follow_instance(engines[0], instance(), now=clock, full_spread_seconds=SPREAD)
    while clock.at < START + jump + timedelta(hours=2):
        clock.at += timedelta(minutes=4)
        await tick(engines[0], clock, SPREAD)
    issued = ticks(await commands(engines[0]))
    before = clock.at

    clock.at -= jump
    while clock.at < before:
        clock.at += timedelta(minutes=4)
        await tick(engines[1], clock, SPREAD)

    assert ticks(await commands(engines[0])) == issued
    clock.at = before + timedelta(minutes=15)
    await tick(engines[0], clock, SPREAD)
    assert len(ticks(await commands(engines[0]))) <= len(issued) + 1


@pytest.mark.rule("S4")
@pytest.mark.parametrize("jump", [timedelta(hours=1), A_DAY])
async def test_clock_set_back_issues_no_skipped_tick(
    engines: list[AsyncEngine], clock: ShiftedClock, jump: timedelta
) -> None:
    """The ticks that a gap has skipped are those of the past. Those behind the latest time are issued at their times."""
    await follow_instance(engines[0], instance(), now=clock, full_spread_seconds=SPREAD)
    clock.at += timedelta(hours=26)
    for _ in range(5):
        clock.at += timedelta(minutes=4)
        await tick(engines[0], clock, SPREAD)
    latest, before = clock.at, len(await commands(engines[0]))

    clock.at -= jump
    while clock.at < latest:
        clock.at += timedelta(minutes=4)
        await tick(engines[1], clock, SPREAD)
    meanwhile = len(await commands(engines[0])) - before
    while clock.at < latest + timedelta(hours=2):
        clock.at += timedelta(minutes=4)
        await tick(engines[1], clock, SPREAD)

    issued = ticks((await commands(engines[0]))[before:])
    assert meanwhile == 0
    assert Counter(issued) == Counter(expected_ticks([instance()], latest, clock.at))


@pytest.mark.rule("L5")
async def test_clock_that_was_days_ahead_stops_nothing(
    engines: list[AsyncEngine], clock: ShiftedClock
) -> None:
    right = clock.at
    clock.at += 3 * A_DAY
    await follow_instance(engines[0], instance(), now=clock, full_spread_seconds=SPREAD)

    clock.at = right
    while clock.at < right + timedelta(hours=2):
        await tick(engines[1], clock, SPREAD)
        clock.at += timedelta(minutes=4)

    assert set(ticks(await commands(engines[0]))) == expected_ticks([instance()], right, clock.at)


@pytest.mark.rule("S2")
@pytest.mark.rule("S4")
async def test_five_loops_follow_a_jumping_clock(
    engines: list[AsyncEngine], clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock jumps by an hour and by a day, both ways. Then nothing runs for two days, in which one instance is paused."""
    monkeypatch.setattr(ticker, "_POLL_SECONDS", 0.002)
    instances = [instance(number) for number in range(1, 7)]
    for changed in instances:
        await follow_instance(engines[0], changed, now=clock, full_spread_seconds=SPREAD)
    stop = asyncio.Event()
    loops = [asyncio.create_task(ticker.tick_loop(engine, clock, SPREAD, stop)) for engine in engines]

    async def live(span: timedelta) -> None:
        for _ in range(span // timedelta(minutes=4)):
            clock.at += timedelta(minutes=4)
            while await due_schedules(engines[0], clock.at):  # noqa: ASYNC110 - the loops have no event for it
                await asyncio.sleep(0.005)

    async def new_ticks(span: timedelta) -> list[tuple[str, str, datetime]]:
        before = len(await commands(engines[0]))
        await live(span)
        return ticks((await commands(engines[0]))[before:])

    hour = timedelta(hours=1)
    await live(2 * hour)
    for jump in (hour, -hour, A_DAY, -A_DAY, -hour, -A_DAY, A_DAY + hour):
        clock.at += jump
        await live(hour / 3)
    once_right = await new_ticks(2 * hour)
    await follow_instance(
        engines[0], instance(6, state="paused", version=2), now=clock, full_spread_seconds=SPREAD
    )
    clock.at += 2 * A_DAY
    caught_up = await new_ticks(timedelta(minutes=12))
    stop.set()
    await asyncio.gather(*loops)

    issued = Counter(ticks(await commands(engines[0])))
    assert set(issued.values()) == {1}
    assert {(changed, mode) for changed, mode, _ in once_right} >= {
        (str(i.id), "incremental") for i in instances
    }
    full_syncs = Counter(changed for changed, mode, _ in caught_up if mode == "full")
    assert full_syncs == {str(changed.id): 1 for changed in instances[:5]}
    assert str(instances[5].id) not in {changed for changed, _, _ in caught_up}


@pytest.mark.rule("S6")
@pytest.mark.parametrize("state", ["paused", "deleting", "deleted"])
async def test_paused_or_deleted_instance_gets_no_ticks(
    engines: list[AsyncEngine], clock: ShiftedClock, state: str
) -> None:
    await follow_instance(engines[0], instance(), now=clock, full_spread_seconds=SPREAD)
    await follow_instance(engines[0], instance(state=state, version=2), now=clock, full_spread_seconds=SPREAD)

    for _ in range(24):
        clock.at += timedelta(hours=1)
        await tick(engines[0], clock, SPREAD)

    assert await commands(engines[0]) == []


@pytest.mark.rule("S6")
async def test_instance_needing_attention_is_checked_each_hour(
    engines: list[AsyncEngine], clock: ShiftedClock
) -> None:
    await follow_instance(engines[0], instance(), now=clock, full_spread_seconds=SPREAD)
    broken = instance(state="needs_attention", version=7)
    await follow_instance(engines[0], broken, now=clock, full_spread_seconds=SPREAD)

    for _ in range(5 * 20):
        clock.at += timedelta(minutes=3)
        await tick(engines[0], clock, SPREAD)

    issued = await commands(engines[0])
    assert len({command["check_id"] for command in issued}) == 5
    assert {command["credential_id"] for command in issued} == {str(broken.credential_id)}
    assert {command["settings"]["time_zone"] for command in issued} == {"Europe/Berlin"}


@pytest.mark.rule("S6")
async def test_resumed_instance_starts_with_a_full_sync(
    engines: list[AsyncEngine], clock: ShiftedClock
) -> None:
    engine = engines[0]
    await follow_instance(engine, instance(), now=clock, full_spread_seconds=SPREAD)
    for _ in range(8):
        clock.at += timedelta(minutes=2)
        await tick(engine, clock, SPREAD)
    await follow_instance(engine, instance(state="paused", version=2), now=clock, full_spread_seconds=SPREAD)
    clock.at += 2 * A_DAY
    await tick(engine, clock, SPREAD)
    before = len(await commands(engine))

    await follow_instance(engine, instance(version=3), now=clock, full_spread_seconds=SPREAD)
    await tick(engine, clock, SPREAD)

    [(_, mode, scheduled_for)] = ticks((await commands(engine))[before:])
    assert (mode, scheduled_for) == ("full", datetime(2026, 11, 25, tzinfo=UTC))
    assert before == 2


async def test_older_version_of_an_instance_changes_nothing(
    engines: list[AsyncEngine], clock: ShiftedClock
) -> None:
    await follow_instance(
        engines[0], instance(state="deleted", version=5), now=clock, full_spread_seconds=SPREAD
    )
    await follow_instance(
        engines[0], instance(state="active", version=4), now=clock, full_spread_seconds=SPREAD
    )
    clock.at += A_DAY

    assert await tick(engines[0], clock, SPREAD) == 0


async def test_tables_are_what_the_migrations_made(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "scheduler",
                "include_object": lambda _, name, kind, *rest: (
                    name not in {"alembic_version", "backfills", "outbox_unsent"}
                ),
            },
        )
        return compare_metadata(context, metadata)

    engine = create_async_engine(database.admin_url)
    async with engine.connect() as connection:
        result = await connection.run_sync(differences)
    await engine.dispose()

    assert result == []


@pytest.mark.rule("D3")
async def test_killed_processes_lose_and_repeat_no_command(database: Database, kafka: str) -> None:
    publisher = Publisher(KafkaSettings(kafka_bootstrap=kafka))
    numbered = (instance(number, state="needs_attention") for number in itertools.count(1))
    instances = list(itertools.islice(filter(has_no_check_soon, numbered), SEVERAL_BATCHES))
    await publisher.publish(
        [message_record(topics.INSTANCES, changed, instance=changed.key, at=START) for changed in instances]
    )
    replicas = [await start_replica(database, kafka) for _ in range(2)]
    owner = await asyncpg.connect(database.admin_url.replace("+asyncpg", ""))
    try:
        await until(owner, f"SELECT count(*) = {SEVERAL_BATCHES} FROM scheduler.schedules")  # noqa: S608  a number
        # Every check is due now; one process is killed while it issues them.
        made_due = await owner.fetch(
            "UPDATE scheduler.schedules SET due_at = now() RETURNING instance_id, scheduled_for"
        )
        await until(owner, "SELECT count(*) > 0 FROM scheduler.outbox")
        replicas[0].send_signal(signal.SIGKILL)
        published = await read_commands(kafka, count=SEVERAL_BATCHES)
        replicas[1].send_signal(signal.SIGTERM)
        ended = await asyncio.wait_for(replicas[1].wait(), 45)
    finally:
        await owner.close()
        await publisher.close()
        for replica in replicas:
            with contextlib.suppress(ProcessLookupError):
                replica.kill()
            await replica.wait()

    assert ended == 0
    expected = {str(tick_id(row["instance_id"], Schedule.CHECK, row["scheduled_for"])) for row in made_due}
    assert {command["check_id"] for command in published} == expected
    assert len(expected) == SEVERAL_BATCHES


def has_no_check_soon(changed: InstanceChanged) -> bool:
    """Return whether the instance has no regular check while a test with real processes runs."""
    rhythm, now = rhythm_of(Schedule.CHECK, changed.id, SPREAD), datetime.now(UTC)
    return rhythm.after(rhythm.newest(now).scheduled_for).due_at - now > timedelta(minutes=10)


async def until(connection: asyncpg.Connection, claim: str, *, seconds: float = 60.0) -> None:
    """Ask the database until the claim is true."""
    deadline = time.monotonic() + seconds
    while not await connection.fetchval(claim):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {claim}"
        await asyncio.sleep(0.005)


async def start_replica(database: Database, kafka: str) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "MRRLYTICS_DATABASE_URL": database.url("scheduler"),
        "MRRLYTICS_KAFKA_BOOTSTRAP": kafka,
        "MRRLYTICS_HEALTH_PORT": str(free_port()),
        "MRRLYTICS_LOG_LEVEL": "WARNING",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.scheduler", cwd=REPOSITORY, env=environment
    )


async def read_commands(bootstrap: str, *, count: int, seconds: float = 60.0) -> list[dict[str, Any]]:
    """Return all commands on the topic, half a second after `count` different ones have arrived."""
    consumer = AIOKafkaConsumer(
        topics.SYNC_COMMANDS.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    bodies: list[bytes] = []
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            answer = await consumer.getmany(timeout_ms=500)
            bodies += [record.value for records in answer.values() for record in records]
            if not answer and len(set(bodies)) >= count:
                return [orjson.loads(body) for body in bodies]
    finally:
        await consumer.stop()
    raise AssertionError(f"got {len(bodies)} commands instead of {count}")
