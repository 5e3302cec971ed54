"""Dirty customers computed by several workers at once, in days of their own time zone."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceSettings
from libs.common.database import raw, transaction
from services.metrics import compute, repository
from services.metrics.compute import compute_batch
from tests.builders import INSTANCE, ORGANIZATION, book, customer_detail, fact, instance, subscription
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_runs import ended


async def test_several_workers_lose_no_mark_while_facts_come_in(tables: Tables, others: Tables) -> None:
    facts, chance = book(7), random.Random(7)
    await tables.take_all(facts)
    intake_is_done = asyncio.Event()

    async def take() -> None:
        for start in range(0, len(facts), 25):
            await others.take(facts[start : start + 25])
        intake_is_done.set()

    async def work() -> int:
        computed = 0
        while True:
            was_done = intake_is_done.is_set()
            claimed = await compute_batch(others.engine, limit=chance.randint(1, 9))
            computed += claimed
            if was_done and not claimed:
                return computed

    async with asyncio.timeout(60):
        taking = asyncio.create_task(take())
        computed = await asyncio.gather(*(work() for _ in range(3)))
        await taking
    await others.compute()

    assert min(computed) > 0
    assert await others.content() == await tables.content()


@contextlib.asynccontextmanager
async def computing(tables: Tables) -> AsyncIterator[None]:
    stop = asyncio.Event()
    loop = asyncio.create_task(compute.compute_loop(tables.engine, stop))
    yield
    stop.set()
    await loop


async def computed(tables: Tables) -> None:
    """Wait until nothing is dirty."""
    async with asyncio.timeout(20):
        while await tables.fetch("SELECT FROM metrics.dirty"):  # noqa: ASYNC110 - the loop makes it false
            await asyncio.sleep(0.01)


async def test_a_few_are_computed_at_once(tables: Tables) -> None:
    await tables.take([fact(Kind.SERVICE, subscription(1, 7), seq=0)])

    async with computing(tables):
        await computed(tables)


@pytest.mark.parametrize("is_over", ["the run", "the longest wait"])
async def test_many_wait_until_the_run_that_brings_them_has_ended_or_half_a_minute_is_over(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, is_over: str
) -> None:
    many = range(1, 102)
    await tables.take([fact(Kind.SERVICE, subscription(number, number), seq=0) for number in many])

    async with computing(tables):
        await asyncio.sleep(1)
        waiting = len(await tables.fetch("SELECT FROM metrics.dirty"))
        if is_over == "the run":
            await ended(tables, positions={"billing.subscriptions": {"0": 1}})
        else:
            monkeypatch.setattr(compute, "_LONGEST_WAIT_SECONDS", 0)
        await computed(tables)

    assert waiting == len(many)


async def test_a_mark_made_while_its_customer_is_computed_is_computed_again(tables: Tables) -> None:
    await tables.take(
        [fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=0), fact(Kind.SERVICE, subscription(1, 7), seq=1)]
    )

    async with transaction(tables.engine) as connection:
        claimed, _ = await repository.claim_dirty(await raw(connection), 10)
        await tables.take([fact(Kind.SERVICE, subscription(2, 7), seq=2)])
        assert await compute_batch(tables.engine) == 0

    assert claimed == [(ORGANIZATION, INSTANCE, 7)]
    assert await tables.fetch("SELECT customer_id FROM metrics.dirty") == [(7,)]


async def test_who_has_had_the_same_subscription_is_computed_by_one_worker_at_a_time(tables: Tables) -> None:
    await tables.take_all(
        [fact(Kind.SERVICE, subscription(1, 7), seq=1), fact(Kind.SERVICE, subscription(1, 8), seq=2, day=1)]
    )
    await tables.execute(
        "INSERT INTO metrics.dirty SELECT 1, organization_id, instance_id, 7 FROM metrics.instances"
    )

    async with transaction(tables.engine) as connection:
        claimed, _ = await repository.claim_dirty(await raw(connection), 10)
        assert claimed == [(ORGANIZATION, INSTANCE, 7)]
        await tables.execute(
            "INSERT INTO metrics.dirty SELECT 2, organization_id, instance_id, 8 FROM metrics.instances"
        )
        assert await compute_batch(tables.engine) == 0

    assert await tables.fetch("SELECT customer_id FROM metrics.dirty ORDER BY 1") == [(8,)]


async def test_a_subscription_that_changes_hands_after_the_claim_waits_with_its_owners(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tables.take_all([fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=0)])
    await tables.take_all([fact(Kind.SERVICE, subscription(1, 8), seq=1)])
    await tables.take([fact(Kind.SERVICE, subscription(2, 7), seq=2)])
    read_evidence = repository.evidence

    async def evidence_after_a_move(connection: Any, customers: Any) -> AsyncIterator[Any]:
        await tables.take([fact(Kind.SERVICE, subscription(1, 7), seq=3, day=1)])
        async for row in read_evidence(connection, customers):
            yield row

    with monkeypatch.context() as while_computing:
        while_computing.setattr(repository, "evidence", evidence_after_a_move)
        assert await compute_batch(tables.engine) == 1
    computed = await tables.fetch("SELECT DISTINCT id FROM metrics.segments")
    waiting = await tables.fetch("SELECT DISTINCT customer_id FROM metrics.dirty ORDER BY 1")
    await tables.compute()

    assert computed == [(2,)]
    assert waiting == [(7,), (8,)]
    assert await tables.fetch("SELECT DISTINCT id, customer_id FROM metrics.segments ORDER BY 1") == [
        (1, 7),
        (2, 7),
    ]


async def test_another_time_zone_moves_days_and_another_name_computes_nobody(tables: Tables) -> None:
    await tables.take_all(
        [fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=0), fact(Kind.SERVICE, subscription(1, 7), seq=1)]
    )
    query = "SELECT DISTINCT from_on FROM metrics.segments"
    before = await tables.fetch(query)

    await tables.add_instance(instance(2, name="Renamed"))
    assert await tables.fetch("SELECT * FROM metrics.dirty") == []
    await tables.add_instance(instance(3, settings=InstanceSettings(time_zone="Pacific/Auckland")))
    await tables.add_instance(instance(2, settings=InstanceSettings(time_zone="UTC")))
    await tables.compute()

    assert before == [(date(2026, 3, 1),)]
    assert await tables.fetch(query) == [(date(2026, 3, 2),)]
