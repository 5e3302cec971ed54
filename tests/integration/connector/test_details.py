"""The detail queue reads every detail once, between the runs, and no row holds up the others."""

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from libs.common.clock import utc_now
from libs.common.contracts import topics
from libs.common.contracts.billing import Kind, fact_key
from libs.common.database import raw, transaction
from services.connector import details as detail_reading
from services.connector.caller import Caller
from services.connector.changes import DETAILS
from services.connector.jobs import Jobs
from services.connector.repository import details
from services.connector.whmcs.answers import WhmcsError
from services.connector.worker import Worker
from tests.integration.connector.conftest import INSTANCE, World, facts, kinds_of, run_command

KINDS = [kind.value for kind in DETAILS.values()]


class Queue:
    """A worker that reads details, and its state."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.jobs = Jobs(world.settings, world.engine, world.publisher, world.keyring, utc_now)
        self.worker = Worker(world.settings, world.engine, self.jobs, utc_now)

    async def work_once(self) -> bool:
        """Claim and read one slice; return whether there was one."""
        async with transaction(self.world.engine) as connection:
            database = await raw(connection)
            work = await details.claim(database, "details", 60, self.jobs.detail_pauses())
        if work is not None:
            await self.jobs.details(work)
        return work is not None

    async def due(self) -> dict[str, list[int]]:
        async with transaction(self.world.engine) as connection:
            rows = await (await raw(connection)).fetch(
                "SELECT kind, id FROM connector.fingerprints WHERE is_detail_due ORDER BY id DESC"
            )
        return {kind: [row["id"] for row in rows if row["kind"] == kind] for kind in DETAILS}


@pytest.fixture
async def queue(world: World) -> Queue:
    """Return the queue after a first sync."""
    await world.add_instance()
    await world.sync()
    return Queue(world)


def of_details(records: list[ConsumerRecord]) -> Counter[str]:
    return Counter({kind: n for kind, n in kinds_of(records).items() if kind in KINDS})


async def test_queue_reads_every_detail_once(world: World, kafka: str, queue: Queue) -> None:
    due = await queue.due()

    assert await queue.work_once()

    records = await facts(kafka)
    assert all(due.values())
    rows = kinds_of(records)
    assert {kind: rows[detail] for kind, detail in DETAILS.items()} == {kind: rows[kind] for kind in DETAILS}
    assert not any((await queue.due()).values())
    last = (await world.events("DetailsProgressed"))[-1]
    assert last["minutes_left"] == 0
    assert all(kind["rows"] == kind["expected"] for kind in last["kinds"].values())
    assert not await queue.work_once()
    assert len(await facts(kafka)) == len(records)


async def test_run_goes_before_details(world: World, queue: Queue) -> None:
    world.control("PUT", "/faults", json=[{"kind": "latency_ms", "value": 300}])
    reading = asyncio.create_task(queue.work_once())
    await asyncio.sleep(0.5)

    await world.command(run_command())
    async with asyncio.timeout(20):
        await reading
    world.control("DELETE", "/faults")

    assert any((await queue.due()).values())
    assert not await queue.work_once()
    assert (await world.until(("SyncSucceeded",)))["outcome"] == "complete"
    assert await queue.work_once()


async def test_failing_detail_holds_up_no_other(
    world: World, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = (await queue.due())["customer"][0]
    ask = Caller.ask

    async def fail(self: Caller, action: str, parameters: Any, **more: Any) -> Any:
        if parameters.get("clientid") == bad:
            raise WhmcsError("server_error", action, "500")
        return await ask(self, action, parameters, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Caller, "ask", fail)
        slices = [await queue.work_once() for _ in range(4)]

    assert slices == [True, True, True, False]
    last = (await world.events("DetailsProgressed"))[-1]
    assert last["waiting"] == {"invoice_lines": 0, "customer_detail": 0}
    assert last["kinds"]["customer_detail"]["rows"] == last["kinds"]["customer_detail"]["expected"] - 1
    assert await queue.due() == {kind: [bad] if kind == "customer" else [] for kind in DETAILS}
    await world.sync()
    assert await queue.work_once()
    assert not any((await queue.due()).values())


async def test_detail_of_a_deleted_row_is_no_longer_due(world: World, kafka: str, queue: Queue) -> None:
    before = {record.key.decode() for record in await facts(kafka, topics.CUSTOMERS)}
    key = partial(fact_key, INSTANCE.instance_id, Kind.CUSTOMER_DETAIL)
    deleted = next(id for id in (await queue.due())["customer"] if key(id) not in before)
    world.control("POST", "/change", json={"kind": "client", "id": deleted, "delete": True})

    await queue.work_once()

    assert not any((await queue.due()).values())
    assert key(deleted) not in {record.key.decode() for record in await facts(kafka, topics.CUSTOMERS)}


async def test_killed_queue_reads_again(
    world: World, kafka: str, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = await queue.due()

    async def die(*_: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(detail_reading.details, "save_read", die)
        with pytest.raises(ConnectionError):
            await queue.work_once()
    assert await queue.due() == due
    await world.execute("UPDATE connector.instances SET lease_until = NULL")

    await queue.work_once()

    assert not any((await queue.due()).values())
    assert of_details(await facts(kafka)).total() >= sum(map(len, due.values()))


async def test_changed_row_stays_due(world: World, queue: Queue) -> None:
    async with transaction(world.engine) as connection:
        database = await raw(connection)
        (first, second) = await details.load_due(database, INSTANCE, Kind.CUSTOMER, 2**63 - 1, 2)
        await details.save_read(
            database, INSTANCE, Kind.CUSTOMER, [first, second._replace(fingerprint=b"another")]
        )

    due = (await queue.due())["customer"]
    assert first.id not in due
    assert second.id in due


async def test_refused_details_are_not_asked_for_again(world: World, queue: Queue) -> None:
    world.control("PUT", "/faults", json=[{"kind": "permission", "action": "GetClientsDetails"}])
    customers = (await queue.due())["customer"]

    assert await queue.work_once()

    assert customers
    assert await queue.due() == {"invoice": [], "customer": customers}
    assert not await queue.work_once()
