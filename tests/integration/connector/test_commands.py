"""Commands queue, join and cancel runs, and a repeated command is answered with how its run stands."""

import asyncio
import signal
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from aiokafka import ConsumerRecord

from libs.common.clock import utc_now
from libs.common.contracts import topics
from libs.common.contracts.billing import Kind
from libs.common.contracts.commands import CancelSync, Republish, RunSync, SyncMode, SyncTrigger
from libs.common.contracts.envelope import read_headers
from libs.common.database import raw, transaction
from libs.common.outbox import relay_once
from services.connector.plan import Checkpoint
from services.connector.repository import checkpoints
from services.connector.tables import outbox
from tests.builders import message_record
from tests.integration.connector.conftest import (
    AT,
    INSTANCE,
    World,
    claim_run,
    facts,
    run_command,
    start,
)


def cancel_command(run_id: UUID) -> CancelSync:
    return CancelSync(command_id=uuid4(), instance_id=INSTANCE.instance_id, run_id=run_id)


async def sent(world: World, kafka: str) -> list[ConsumerRecord]:
    """Relay what waits, and return all events in their order."""
    await relay_once(world.engine, outbox, world.publisher)
    return await facts(kafka, topics.SYNC_EVENTS)


def types_of(records: list[ConsumerRecord]) -> list[str]:
    return [read_headers(record.headers)["ce_type"] for record in records]


async def test_commands_join_the_queued_run(world: World) -> None:
    first = run_command(mode=SyncMode.INCREMENTAL, trigger=SyncTrigger.SCHEDULE)
    second = run_command()

    for command in (first, second, first):
        await world.command(command)

    queued = await world.events("SyncQueued")
    asked = [first.command_id, second.command_id, first.command_id]
    assert [UUID(event["command_id"]) for event in queued] == asked
    assert len({event["run_id"] for event in queued}) == 1
    assert (queued[1]["mode"], queued[1]["trigger"]) == ("full", "manual")


async def test_joined_run_reads_the_kinds_of_both(world: World) -> None:
    await world.add_instance()
    await world.command(run_command(kinds=("addon",)))
    await world.command(run_command(kinds=("domain", "addon"), accept_deletions={"addon": 3}))
    await world.command(run_command(kinds=("domain",), accept_deletions={"domain": 40}))

    run = await claim_run(world)

    assert run is not None
    assert run.kinds == {"addon", "domain"}
    assert run.accept_deletions == {"addon": 3, "domain": 40}


async def test_joined_run_reads_all_if_a_command_does(world: World) -> None:
    await world.add_instance()
    await world.command(run_command(kinds=("addon",)))
    await world.command(run_command(mode=SyncMode.INCREMENTAL, trigger=SyncTrigger.SCHEDULE))

    run = await claim_run(world)

    assert run is not None
    assert run.kinds == frozenset()


async def test_run_of_some_kinds_covers_no_scheduled_run(world: World) -> None:
    await world.add_instance()
    await world.command(run_command(kinds=("addon",)))
    first = await claim_run(world)
    await world.command(run_command(mode=SyncMode.INCREMENTAL, trigger=SyncTrigger.SCHEDULE))

    queued = await world.events("SyncQueued")

    assert first is not None
    assert queued[1]["run_id"] != str(first.run_id)


async def test_command_waits_for_its_instance(world: World) -> None:
    await world.command(run_command())
    await world.add_instance()

    assert (await world.until(("SyncSucceeded",)))["outcome"] == "complete"


async def test_cancelled_or_paused_run_ends_at_once(world: World) -> None:
    await world.add_instance()
    await world.command(run_command())
    run_id = UUID((await world.events("SyncQueued"))[0]["run_id"])
    cancel = CancelSync(command_id=uuid4(), instance_id=INSTANCE.instance_id, run_id=run_id)

    await world.command(cancel)
    await world.command(run_command())
    await world.set_state("paused")

    assert len(await world.events("SyncCancelled")) == 2


async def test_events_reach_kafka_through_the_outbox(world: World, kafka: str) -> None:
    await world.command(run_command())

    assert await relay_once(world.engine, outbox, world.publisher) == 1

    (sent,) = await facts(kafka, topics.SYNC_EVENTS)
    assert read_headers(sent.headers)["ce_type"] == "SyncQueued"


async def test_process_takes_commands_from_kafka_and_answers_there(world: World, kafka: str) -> None:
    await world.add_instance()
    command = run_command()
    record = message_record(topics.SYNC_COMMANDS, command, instance=INSTANCE, at=utc_now())
    await world.publisher.publish([record])
    process = await start(world)
    try:
        async with asyncio.timeout(40):
            while not await world.events("SyncSucceeded") or await world.unsent():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

    types = types_of(await facts(kafka, topics.SYNC_EVENTS))
    assert types[:2] == ["SyncQueued", "SyncStarted"]
    assert types[-1] == "SyncSucceeded"


async def test_repeated_command_gets_a_new_answer(world: World, kafka: str) -> None:
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


async def test_repeated_command_reports_a_running_run(world: World) -> None:
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
async def test_repeated_command_reports_the_end_word_for_word(
    world: World, kafka: str, end: Any, final_type: str
) -> None:
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


async def test_cancelling_an_ended_run_reports_its_end(world: World, kafka: str) -> None:
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


async def delete_events(world: World) -> None:
    """Leave of ended runs what a version left that kept no events."""
    await world.execute("UPDATE connector.runs SET final_id = NULL, final_headers = NULL, final_body = NULL")
    await world.execute("DELETE FROM connector.outbox")


@pytest.mark.parametrize(("end", "final_type"), [(end_badly, "SyncFailed"), (end_cancelled, "SyncCancelled")])
async def test_end_without_its_event_is_reported_by_its_state(
    world: World, kafka: str, end: Any, final_type: str
) -> None:
    command = run_command()
    await end(world, command)
    first = (await sent(world, kafka))[-1]
    await delete_events(world)

    await world.command(command)
    await world.command(cancel_command(UUID(orjson.loads(first.value)["run_id"])))

    again = (await sent(world, kafka))[-1]
    assert types_of([again]) == [final_type]
    assert again.offset > first.offset
    assert read_headers(again.headers)["ce_id"] == read_headers(first.headers)["ce_id"]
    repeat, whole = orjson.loads(again.value), orjson.loads(first.value)
    assert (repeat["run_id"], repeat.get("code")) == (whole["run_id"], whole.get("code"))


async def test_success_without_its_event_is_not_reported(world: World) -> None:
    command = run_command()
    await end_well(world, command)
    (succeeded,) = await world.events("SyncSucceeded")
    await delete_events(world)

    await world.command(command)
    await world.command(cancel_command(UUID(succeeded["run_id"])))

    async with transaction(world.engine) as connection:
        assert await (await raw(connection)).fetchval("SELECT count(*) FROM connector.outbox") == 0


async def test_purged_instance_gets_no_run(world: World) -> None:
    await world.add_instance("deleting")
    await world.until(("InstancePurged",))

    await world.command(run_command())

    assert await world.events("SyncQueued") == []
    async with transaction(world.engine) as connection:
        assert await (await raw(connection)).fetchval("SELECT count(*) FROM connector.runs") == 0


async def test_purge_is_reported_again_when_it_was_missed(world: World) -> None:
    await world.add_instance()
    await world.set_state("deleting")
    await world.until(("InstancePurged",))

    await world.publish_state("deleting")
    await world.publish_state("deleted")

    assert len(await world.events("InstancePurged")) == 2


async def test_republished_details_are_due_again(world: World) -> None:
    await world.add_instance()
    await world.execute(
        """INSERT INTO connector.fingerprints (organization_id, instance_id, kind, id, fingerprint)
           VALUES ($1, $2, 'customer', 7, 'x'), ($1, $2, 'customer', 10007, 'x'), ($1, $2, 'customer_detail', 7, 'x')""",
        *INSTANCE,
    )

    await world.command(
        Republish(command_id=uuid4(), instance_id=INSTANCE.instance_id, kind="customer_detail", blocks=(0,))
    )

    async with transaction(world.engine) as connection:
        rows = await (await raw(connection)).fetch(
            "SELECT kind, id, is_detail_due, fingerprint IS NULL AS is_cleared FROM connector.fingerprints ORDER BY 1, 2"
        )
    assert [tuple(row) for row in rows] == [
        ("customer", 7, True, False),
        ("customer", 10_007, False, False),
        ("customer_detail", 7, False, True),
    ]
