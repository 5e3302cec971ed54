"""No organization and no WHMCS takes all slots of the connector."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.addresses import origin
from libs.common.clock import utc_now
from libs.common.contracts.commands import CheckInstance, RunSync, SyncMode, SyncTrigger
from libs.common.contracts.instances import InstanceKey, InstanceSettings
from libs.common.contracts.received import Received
from libs.common.crypto import seal
from libs.common.database import raw, transaction
from services.connector import caller, silence, worker
from services.connector.commands import store_command, store_instance
from services.connector.jobs import Jobs
from services.connector.repository import checks, leases, runs
from services.connector.repository.checks import ClaimedCheck
from services.connector.repository.runs import Run
from services.connector.whmcs import client
from services.connector.worker import Worker
from tests.builders import instance
from tests.integration.connector.conftest import AT, World, check_command, run_command


async def add_instance(
    world: World, organization: int, number: int, address: str = "", **secrets: str
) -> InstanceKey:
    """Add an instance of an organization, with an address of its own unless one is given."""
    key = InstanceKey(UUID(int=organization, version=4), UUID(int=1_000 * organization + number, version=4))
    credential, address = uuid4(), address or f"https://{organization}-{number}.example.com/whmcs"
    sealed = seal(
        world.keyring,
        {"identifier": "i", "secret": "s", **secrets},
        organization_id=key.organization_id,
        instance_id=key.instance_id,
        origin=origin(address),
    )
    await world.execute(
        "INSERT INTO connector.credentials VALUES ($1, $2, $3, $4, $5)", *key, credential, address, sealed
    )
    added = instance(
        instance_id=key.instance_id, organization_id=key.organization_id, credential_id=credential
    )
    await store_instance(world.engine, added, utc_now)
    return key


async def order(world: World, key: InstanceKey, body: Any) -> None:
    received = Received(body, type(body).__name__, str(uuid4()), key, {}, utc_now())
    await store_command(world.engine, received, utc_now)


async def order_run(world: World, key: InstanceKey, mode: SyncMode = SyncMode.FULL) -> None:
    command = RunSync(command_id=uuid4(), instance_id=key.instance_id, mode=mode, trigger=SyncTrigger.MANUAL)
    await order(world, key, command)


async def order_check(world: World, key: InstanceKey) -> None:
    async with transaction(world.engine) as connection:
        credential = await (await raw(connection)).fetchval(
            "SELECT credential_id FROM connector.credentials WHERE organization_id = $1 AND instance_id = $2",
            *key,
        )
    command = CheckInstance(
        check_id=uuid4(), instance_id=key.instance_id, credential_id=credential, settings=InstanceSettings()
    )
    await order(world, key, command)


async def claim_run(world: World, name: str = "first") -> Run | None:
    async with transaction(world.engine) as connection:
        return await runs.claim(await raw(connection), name, 60, AT)


async def claim_check(world: World, name: str = "first") -> ClaimedCheck | None:
    async with transaction(world.engine) as connection:
        return await checks.claim(await raw(connection), name)


async def claim_all(claim: Any, *arguments: Any) -> list[Any]:
    claimed = []
    while (work := await claim(*arguments)) is not None:
        claimed.append(work)
    return claimed


@pytest.mark.rule("L4")
@pytest.mark.parametrize(("mode", "at_once"), [(SyncMode.FULL, 5), (SyncMode.INCREMENTAL, 10)])
async def test_organization_leaves_half_of_the_run_slots(world: World, mode: SyncMode, at_once: int) -> None:
    for number in range(12):
        await order_run(world, await add_instance(world, 1, number), mode)

    claimed = await claim_all(claim_run, world)
    other = await add_instance(world, 2, 1)
    await order_run(world, other, mode)

    assert len(claimed) == at_once
    next_run = await claim_run(world)
    assert next_run is not None
    assert next_run.lease.instance == other
    assert await claim_run(world) is None


async def test_each_process_has_slots_of_its_own(world: World) -> None:
    for number in range(12):
        await order_run(world, await add_instance(world, 1, number))

    assert len(await claim_all(claim_run, world, "first")) == 5
    assert len(await claim_all(claim_run, world, "second")) == 5


async def test_whmcs_is_worked_on_by_two_runs(world: World) -> None:
    keys = [await add_instance(world, n, 1, f"https://example.com/shop{n}") for n in range(1, 4)]
    for key in keys:
        await order_run(world, key)

    first, second = await claim_run(world, "first"), await claim_run(world, "second")
    assert await claim_run(world, "third") is None
    assert first is not None
    assert second is not None
    async with transaction(world.engine) as connection:
        await leases.release(await raw(connection), first.lease)
        await (await raw(connection)).execute("UPDATE connector.runs SET attempts = 0")

    assert await claim_run(world, "third") is not None


async def test_run_without_progress_goes_last(world: World) -> None:
    silent, other = await add_instance(world, 1, 1), await add_instance(world, 2, 1)
    await order_run(world, silent)
    first = await claim_run(world)
    assert first is not None
    async with transaction(world.engine) as connection:
        await leases.release(await raw(connection), first.lease)
    await order_run(world, other)

    claimed = await claim_all(claim_run, world)

    assert [run.lease.instance for run in claimed] == [other, silent]
    assert [run.attempts for run in claimed] == [1, 2]


@pytest.mark.rule("L4")
async def test_organization_leaves_half_of_the_check_slots(world: World) -> None:
    for number in range(checks.SLOTS):
        await order_check(world, await add_instance(world, 1, number))

    claimed = await claim_all(claim_check, world)
    other = await add_instance(world, 2, 1)
    await order_check(world, other)

    assert len(claimed) == checks.SLOTS // 2
    check = await claim_check(world)
    assert check is not None
    assert check.instance == other


@asynccontextmanager
async def hanging_servers(count: int) -> AsyncIterator[list[int]]:
    """Listen on ports where connections are accepted and nothing is ever answered."""

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    servers = [await asyncio.start_server(never_answer, "127.0.0.1", 0) for _ in range(count)]
    try:
        yield [server.sockets[0].getsockname()[1] for server in servers]
    finally:
        for server in servers:
            server.close()


@pytest.mark.rule("L4")
async def test_hanging_whmcs_delay_no_other_organization(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CHECK_SECONDS", 0.1)
    async with hanging_servers(10) as ports:
        settings = world.settings.model_copy(
            update={"whmcs_allowed_ports": (*world.settings.whmcs_allowed_ports, *ports)}
        )
        for number, port in enumerate(ports):
            key = await add_instance(world, 9, number, f"https://127.0.0.1:{port}")
            await order_run(world, key)
            await order_check(world, key)
        await world.add_instance()
        jobs = Jobs(settings, world.engine, world.publisher, world.keyring, utc_now)
        process, stop = Worker(settings, world.engine, jobs, utc_now), asyncio.Event()
        tasks = [asyncio.create_task(work(stop)) for work in (process.runs, process.checks)]
        try:
            await wait_for(world, "SyncStarted", 5)
            await world.command(run_command())
            check = check_command()
            await world.command(check)
            ordered_at = time.monotonic()
            await wait_for(world, "SyncSucceeded", 1)
            await wait_for_check(world, str(check.check_id))
            seconds = time.monotonic() - ordered_at
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    # Alone, the sync takes about 2 seconds and the check about 1.
    assert seconds < 10


@pytest.mark.rule("L4")
async def test_check_gets_its_turn_beside_hanging_ones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of twelve organizations checks a WHMCS that accepts connections and never answers."""
    monkeypatch.setattr(worker, "CHECK_SECONDS", 0.1)
    async with hanging_servers(12) as ports:
        settings = world.settings.model_copy(
            update={"whmcs_allowed_ports": (*world.settings.whmcs_allowed_ports, *ports)}
        )
        for number, port in enumerate(ports):
            await order_check(world, await add_instance(world, 10 + number, 1, f"https://127.0.0.1:{port}"))
        await world.add_instance()
        jobs = Jobs(settings, world.engine, world.publisher, world.keyring, utc_now)
        stop = asyncio.Event()
        working = asyncio.create_task(Worker(settings, world.engine, jobs, utc_now).checks(stop))
        try:
            await wait_for_attempts(world, 8)
            check = check_command()
            await world.command(check)
            ordered_at = time.monotonic()
            while not await attempts(world, str(check.check_id)):  # noqa: ASYNC110 - another task writes it
                await asyncio.sleep(0.02)
            seconds = time.monotonic() - ordered_at
        finally:
            stop.set()
            await working

    assert seconds < 2


async def attempts(world: World, check_id: str | None = None) -> int:
    """Return how often a check was begun, or all of them."""
    async with transaction(world.engine) as connection:
        count: int = await (await raw(connection)).fetchval(
            "SELECT coalesce(sum(attempts), 0) FROM connector.checks WHERE check_id = coalesce($1, check_id)",
            check_id,
        )
    return count


async def wait_for_attempts(world: World, count: int) -> None:
    async with asyncio.timeout(20):
        while await attempts(world) < count:  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0.05)


async def wait_for(world: World, kind: str, count: int) -> None:
    async with asyncio.timeout(20):
        while len(await world.events(kind)) < count:  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0.05)


async def wait_for_check(world: World, check_id: str) -> None:
    async with asyncio.timeout(20):
        while not any(  # noqa: ASYNC110 - another task writes it
            event["complete"] and event["check_id"] == check_id
            for event in await world.events("InstanceChecked")
        ):
            await asyncio.sleep(0.05)


async def test_silent_run_gives_its_slot_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "_SILENT_SECONDS", 0.3)
    monkeypatch.setattr(silence, "_LOOK_SECONDS", 0.1)
    world.control("PUT", "/faults", json=[{"kind": "hang"}])
    await world.add_instance()

    failed = await world.sync()

    assert (failed["type"], failed["code"]) == ("SyncFailed", "run_timeout")
    assert len(await world.events("SyncStarted")) == 3


async def test_silent_list_does_not_end_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "_SILENT_SECONDS", 0.5)
    monkeypatch.setattr(silence, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(client, "_READ_SECONDS", 0.3)
    monkeypatch.setattr(caller, "_BACKOFF_SECONDS", 0.01)
    world.control("PUT", "/faults", json=[{"kind": "hang", "action": "GetClientsDomains"}])
    await world.add_instance()

    done = await world.sync()

    assert (done["type"], done["outcome"]) == ("SyncSucceeded", "partial")
    assert [(kind["kind"], kind["code"]) for kind in done["skipped"]] == [("domain", "read_timeout")]
    assert done["counts"]["service"] > 0
