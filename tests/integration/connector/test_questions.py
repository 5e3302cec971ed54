"""No run, check or deletion depends on one message: it can be asked about, cancelled, and taken up by another worker."""

import asyncio
import signal
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from aiokafka import ConsumerRecord

from libs.common.contracts import topics
from libs.common.contracts.billing import Kind
from libs.common.contracts.commands import CancelSync, CheckInstance, RunSync
from libs.common.contracts.envelope import read_headers
from libs.common.contracts.instances import InstanceSettings
from libs.common.database import raw, transaction
from libs.common.outbox import relay_once
from services.connector.plan import Checkpoint
from services.connector.repository import checkpoints, checks, leases, runs
from services.connector.repository.leases import Lease
from services.connector.repository.runs import Run
from services.connector.tables import outbox
from tests.integration.connector.conftest import (
    CREDENTIAL,
    INSTANCE,
    World,
    facts,
    run_command,
    start,
)

DEAD_WORKERS_LEASE = 60.0
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def cancel_command(run_id: UUID) -> CancelSync:
    return CancelSync(command_id=uuid4(), instance_id=INSTANCE.instance_id, run_id=run_id)


def check_command() -> CheckInstance:
    return CheckInstance(
        check_id=uuid4(),
        instance_id=INSTANCE.instance_id,
        credential_id=CREDENTIAL,
        settings=InstanceSettings(),
    )


async def claim_run(world: World, seconds: float = DEAD_WORKERS_LEASE) -> Run | None:
    """Claim a run as a worker that is never heard of again."""
    async with transaction(world.engine) as connection:
        database = await raw(connection)
        return await runs.claim(database, "dead", seconds, AT, full_runs_too=True)


async def claim_purge(world: World, seconds: float = DEAD_WORKERS_LEASE) -> Lease | None:
    """Claim a deletion as a worker that is never heard of again."""
    async with transaction(world.engine) as connection:
        return await leases.take_for_purge(await raw(connection), "dead", seconds)


async def sent(world: World, kafka: str) -> list[ConsumerRecord]:
    """Relay what waits, and return all events in their order."""
    await relay_once(world.engine, outbox, world.publisher)
    return await facts(kafka, topics.SYNC_EVENTS)


def types_of(records: list[ConsumerRecord]) -> list[str]:
    return [read_headers(record.headers)["ce_type"] for record in records]


async def test_queued_run_is_told_to_who_asks(world: World, kafka: str) -> None:
    command = run_command()

    await world.command(command)
    await world.command(command)

    answers = await sent(world, kafka)
    first, second = (orjson.loads(answer.value) for answer in answers)
    assert types_of(answers) == ["SyncQueued", "SyncQueued"]
    assert first == second
    assert len({read_headers(answer.headers)["ce_id"] for answer in answers}) == 2


async def test_redelivered_command_is_answered_once(world: World) -> None:
    command = run_command()

    await world.command(command, "one message")
    await world.command(command, "one message")

    assert len(await world.events("SyncQueued")) == 1


async def test_message_id_of_any_length_is_answered(world: World) -> None:
    await world.command(run_command(), "x" * 100_000)

    assert len(await world.events("SyncQueued")) == 1


async def test_running_run_is_told_with_its_progress(world: World) -> None:
    await world.add_instance()
    command = run_command()
    await world.command(command)
    run = await claim_run(world)
    assert run is not None
    async with transaction(world.engine) as connection:
        point = Checkpoint(Kind.CUSTOMER, position=40, expected=60, rows=40)
        await checkpoints.save(await raw(connection), run, point)

    for _ in range(2):
        await world.command(command)

    started, progressed = await world.events("SyncStarted"), await world.events("SyncProgressed")
    assert [event["run_id"] for event in started + progressed] == [str(run.run_id)] * 4
    assert datetime.fromisoformat(started[0]["started_at"]) == AT
    assert progressed[0]["kinds"]["customer"] == {"rows": 40, "expected": 60}
    assert progressed[0]["kinds"]["service"] == {"rows": 0, "expected": None}
    assert await claim_run(world) is None


async def end_well(world: World, command: RunSync) -> None:
    await world.add_instance()
    await world.command(command)
    await world.until(("SyncSucceeded",))


async def end_badly(world: World, command: RunSync) -> None:
    await world.add_instance(secret="wrong")
    await world.command(command)
    await world.until(("SyncFailed",))


async def end_cancelled(world: World, command: RunSync) -> None:
    await world.command(command)
    (queued,) = await world.events("SyncQueued")
    await world.command(cancel_command(UUID(queued["run_id"])))


@pytest.mark.parametrize(
    ("end", "final_type"),
    [(end_well, "SyncSucceeded"), (end_badly, "SyncFailed"), (end_cancelled, "SyncCancelled")],
)
async def test_end_is_told_again_word_for_word(world: World, kafka: str, end: Any, final_type: str) -> None:
    command = run_command()
    await end(world, command)
    before = await sent(world, kafka)
    final = before[-1]
    assert types_of([final]) == [final_type]

    await world.command(command)
    first_answer = (await sent(world, kafka))[len(before) :]
    await world.execute("DELETE FROM connector.outbox")
    await world.command(command)
    second_answer = (await sent(world, kafka))[len(before) + len(first_answer) :]

    for answer in (first_answer, second_answer):
        assert types_of(answer) == ["SyncQueued", final_type]
        assert (answer[-1].value, answer[-1].headers) == (final.value, final.headers)


async def test_cancelling_an_ended_run_tells_its_end(world: World, kafka: str) -> None:
    await end_badly(world, run_command())
    final = (await sent(world, kafka))[-1]

    await world.command(cancel_command(UUID(orjson.loads(final.value)["run_id"])))

    answer = (await sent(world, kafka))[-1]
    assert types_of([answer]) == ["SyncFailed"]
    assert answer.offset > final.offset
    assert (answer.value, answer.headers) == (final.value, final.headers)


async def test_cancelling_an_unknown_run_is_answered(world: World, kafka: str) -> None:
    unknown = uuid4()

    for count in (1, 2):
        await world.command(cancel_command(unknown))
        answers = await sent(world, kafka)
        assert types_of(answers) == ["SyncCancelled"] * count
        assert orjson.loads(answers[-1].value) == {"run_id": str(unknown)}


async def forget_events(world: World) -> None:
    """Leave of ended runs what a version left that kept no events."""
    await world.execute("UPDATE connector.runs SET final_id = NULL, final_headers = NULL, final_body = NULL")
    await world.execute("DELETE FROM connector.outbox")


@pytest.mark.parametrize(("end", "final_type"), [(end_badly, "SyncFailed"), (end_cancelled, "SyncCancelled")])
async def test_end_without_its_event_is_told_by_its_state(
    world: World, kafka: str, end: Any, final_type: str
) -> None:
    command = run_command()
    await end(world, command)
    first = (await sent(world, kafka))[-1]
    await forget_events(world)

    await world.command(command)
    await world.command(cancel_command(UUID(orjson.loads(first.value)["run_id"])))

    again = (await sent(world, kafka))[-1]
    assert types_of([again]) == [final_type]
    assert again.offset > first.offset
    assert read_headers(again.headers)["ce_id"] == read_headers(first.headers)["ce_id"]
    told, whole = orjson.loads(again.value), orjson.loads(first.value)
    assert (told["run_id"], told.get("code")) == (whole["run_id"], whole.get("code"))


async def test_success_without_its_event_is_not_invented(world: World) -> None:
    command = run_command()
    await end_well(world, command)
    (succeeded,) = await world.events("SyncSucceeded")
    await forget_events(world)

    await world.command(command)
    await world.command(cancel_command(UUID(succeeded["run_id"])))

    async with transaction(world.engine) as connection:
        assert await (await raw(connection)).fetchval("SELECT count(*) FROM connector.outbox") == 0


async def test_resumed_instance_waits_for_no_lost_worker(world: World) -> None:
    await world.add_instance()
    await world.command(run_command())
    lost = await claim_run(world)
    assert lost is not None

    await world.set_state("paused")
    await world.set_state("active")
    done = await world.sync(seconds=DEAD_WORKERS_LEASE / 2)

    assert [event["run_id"] for event in await world.events("SyncCancelled")] == [str(lost.run_id)]
    assert done["type"] == "SyncSucceeded"
    assert done["run_id"] != str(lost.run_id)


async def test_clock_that_steps_back_locks_no_instance(world: World) -> None:
    await world.add_instance()
    await world.command(run_command())
    first = await claim_run(world)
    assert first is not None
    assert await claim_run(world) is None

    await world.execute("UPDATE connector.instances SET lease_until = lease_until + interval '1 hour'")

    second = await claim_run(world)
    assert second is not None
    assert (second.run_id, second.lease.epoch > first.lease.epoch) == (first.run_id, True)


async def test_clock_that_steps_back_locks_no_check(world: World) -> None:
    await world.command(check_command())
    async with transaction(world.engine) as connection:
        database = await raw(connection)
        assert await checks.claim(database) is not None
        assert await checks.claim(database) is None

        await database.execute("UPDATE connector.checks SET lease_until = lease_until + interval '1 hour'")

        assert await checks.claim(database) is not None


async def test_clock_that_steps_back_locks_no_deletion(world: World) -> None:
    await world.add_instance("deleting")
    assert await claim_purge(world) is not None
    assert await claim_purge(world) is None

    await world.execute("UPDATE connector.instances SET lease_until = lease_until + interval '1 hour'")

    assert await claim_purge(world) is not None


async def test_shorter_setting_of_another_worker_takes_no_run(world: World) -> None:
    await world.add_instance()
    await world.command(run_command())
    run = await claim_run(world, 300)
    assert run is not None
    assert await claim_run(world, 5) is None

    async with transaction(world.engine) as connection:
        await leases.renew(await raw(connection), run.lease, 600)

    assert await claim_run(world, 5) is None


async def test_shorter_setting_of_another_worker_takes_no_deletion(world: World) -> None:
    await world.add_instance("deleting")

    assert await claim_purge(world, 300) is not None
    assert await claim_purge(world, 5) is None


async def test_check_that_never_ends_is_given_up(world: World) -> None:
    await world.add_instance()
    await world.command(check_command())
    for _ in range(3):
        async with transaction(world.engine) as connection:
            assert await checks.claim(await raw(connection)) is not None
        await world.execute("UPDATE connector.checks SET lease_until = lease_until - interval '1 minute'")

    result = await world.until(("InstanceChecked",))

    assert result["complete"]
    (line,) = result["checks"]
    assert (line["state"], line["code"]) == ("failed", "run_timeout")
    assert "could not be finished" in line["message"]
    assert "Check the connection again" in line["message"]
    async with transaction(world.engine) as connection:
        assert await checks.claim(await raw(connection)) is None


async def test_killed_check_is_taken_up_by_another(world: World) -> None:
    await world.add_instance()
    await world.command(check_command())
    world.control("PUT", "/faults", json=[{"kind": "hang", "action": "GetClients"}])
    process = await start(world)
    try:
        async with asyncio.timeout(30):
            while not await world.events("InstanceChecked"):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    world.control("DELETE", "/faults")
    assert not any(event["complete"] for event in await world.events("InstanceChecked"))

    await world.execute("UPDATE connector.checks SET lease_until = lease_until - interval '1 minute'")
    await world.until(("InstanceChecked",))

    last = (await world.events("InstanceChecked"))[-1]
    assert last["complete"]
    assert {line["state"] for line in last["checks"]} == {"ok"}


async def test_purged_instance_gets_no_run(world: World) -> None:
    await world.add_instance("deleting")
    await world.until(("InstancePurged",))

    await world.command(run_command())

    assert await world.events("SyncQueued") == []
    async with transaction(world.engine) as connection:
        assert await (await raw(connection)).fetchval("SELECT count(*) FROM connector.runs") == 0


async def test_purge_is_told_to_who_missed_it(world: World) -> None:
    await world.add_instance()
    await world.set_state("deleting")
    await world.until(("InstancePurged",))

    await world.publish_state("deleting")
    await world.publish_state("deleted")

    assert len(await world.events("InstancePurged")) == 2
