"""No run, check or purge waits for a worker that was lost, and none is taken from one that works."""

import asyncio
from contextlib import suppress

import pytest

from libs.common.database import raw, transaction
from services.connector.leases import work_under_lease
from services.connector.repository import checks, leases, runs
from services.connector.repository.leases import FencedError, Lease
from tests.integration.connector.conftest import (
    AT,
    LOST_WORKERS_LEASE,
    World,
    check_command,
    claim_run,
    kill_after,
    run_command,
)


async def claim_purge(world: World, seconds: float = LOST_WORKERS_LEASE) -> Lease | None:
    """Claim a purge as a worker that then disappears."""
    async with transaction(world.engine) as connection:
        return await leases.take_for_purge(await raw(connection), "lost", seconds)


async def test_resumed_instance_does_not_wait_for_a_lost_worker(world: World) -> None:
    await world.add_instance()
    await world.command(run_command())
    lost = await claim_run(world)
    assert lost is not None

    await world.set_state("paused")
    await world.set_state("active")
    done = await world.sync(seconds=LOST_WORKERS_LEASE / 2)

    assert [event["run_id"] for event in await world.events("SyncCancelled")] == [str(lost.run_id)]
    assert done["type"] == "SyncSucceeded"
    assert done["run_id"] != str(lost.run_id)


@pytest.mark.parametrize(("name", "is_taken_back"), [("connector-1", True), ("connector-10", False)])
async def test_restarted_replica_takes_its_leases_back(world: World, name: str, is_taken_back: bool) -> None:
    await world.add_instance()
    await world.command(run_command())
    async with transaction(world.engine) as connection:
        lost = await runs.claim(await raw(connection), f"{name}.killed", LOST_WORKERS_LEASE, AT)
    assert lost is not None
    world.settings = world.settings.model_copy(update={"replica": "connector-1"})

    started: dict[str, object] = {}
    with suppress(TimeoutError):
        started = await world.until(("SyncStarted",), seconds=15 if is_taken_back else 3)

    assert (started.get("run_id") == str(lost.run_id)) is is_taken_back
    if is_taken_back:
        async with transaction(world.engine) as connection:
            with pytest.raises(FencedError):
                await leases.fence(await raw(connection), lost.lease)


async def test_work_ends_when_its_lease_is_taken(world: World) -> None:
    await world.add_instance()
    await world.command(run_command())
    run = await claim_run(world, 1.0)
    assert run is not None
    await world.set_state("paused")

    async with asyncio.timeout(5):
        with pytest.raises(FencedError):
            await work_under_lease(world.engine, run.lease, 1.0, asyncio.sleep(60))


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


async def test_lease_that_was_given_back_has_no_time(world: World) -> None:
    await world.add_instance()
    await world.command(run_command())
    run = await claim_run(world)
    assert run is not None
    async with transaction(world.engine) as connection:
        await runs.hand_back(await raw(connection), run)

    await world.execute("UPDATE connector.instances SET lease_until = lease_until + interval '1 day'")

    again = await claim_run(world)
    assert again is not None
    assert again.attempts == 1


async def test_clock_that_steps_back_locks_no_check(world: World) -> None:
    await world.command(check_command())
    async with transaction(world.engine) as connection:
        database = await raw(connection)
        assert await checks.claim(database, "lost") is not None
        assert await checks.claim(database, "lost") is None

        await database.execute("UPDATE connector.checks SET lease_until = lease_until + interval '1 hour'")

        assert await checks.claim(database, "lost") is not None


async def test_clock_that_steps_back_locks_no_purge(world: World) -> None:
    await world.add_instance("deleting")
    assert await claim_purge(world) is not None
    assert await claim_purge(world) is None

    await world.execute("UPDATE connector.instances SET lease_until = lease_until + interval '1 hour'")

    assert await claim_purge(world) is not None


async def test_worker_with_a_shorter_lease_takes_no_run(world: World) -> None:
    await world.add_instance()
    await world.command(run_command())
    run = await claim_run(world, 300)
    assert run is not None
    assert await claim_run(world, 5) is None

    async with transaction(world.engine) as connection:
        await leases.renew(await raw(connection), run.lease, 600)

    assert await claim_run(world, 5) is None


async def test_worker_with_a_shorter_lease_takes_no_purge(world: World) -> None:
    await world.add_instance("deleting")

    assert await claim_purge(world, 300) is not None
    assert await claim_purge(world, 5) is None


async def test_check_that_never_ends_fails(world: World) -> None:
    await world.add_instance()
    await world.command(check_command())
    for _ in range(3):
        async with transaction(world.engine) as connection:
            assert await checks.claim(await raw(connection), "lost") is not None
        await world.execute("UPDATE connector.checks SET lease_until = lease_until - interval '1 minute'")

    result = await world.until(("InstanceChecked",))

    assert result["complete"]
    (line,) = result["checks"]
    assert (line["state"], line["code"]) == ("failed", "run_timeout")
    assert "could not be finished" in line["message"]
    assert "Check the connection again" in line["message"]
    async with transaction(world.engine) as connection:
        assert await checks.claim(await raw(connection), "lost") is None


async def test_killed_check_is_done_by_another_worker(world: World) -> None:
    await world.add_instance()
    await world.command(check_command())
    world.control("PUT", "/faults", json=[{"kind": "hang", "action": "GetClients"}])
    await kill_after(world, "InstanceChecked")
    world.control("DELETE", "/faults")
    assert not any(event["complete"] for event in await world.events("InstanceChecked"))

    await world.execute("UPDATE connector.checks SET lease_until = lease_until - interval '1 minute'")
    await world.until(("InstanceChecked",))

    last = (await world.events("InstanceChecked"))[-1]
    assert last["complete"]
    assert {line["state"] for line in last["checks"]} == {"ok"}
