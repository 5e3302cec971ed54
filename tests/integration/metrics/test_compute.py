"""Figures move from one applied run to the next in one step, whatever is stored, fails or is killed meanwhile.

One file because every test applies facts and runs to the same tables and compares the figures.
"""

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceKey, InstanceSettings
from libs.common.database import raw, transaction
from services.metrics import batches
from services.metrics.compute import Computing
from services.metrics.repository import currencies, instances, marks
from tests.builders import (
    INSTANCE,
    ORGANIZATION,
    book,
    cancellation_request,
    customer_detail,
    fact,
    instance,
    invoice,
    subscription,
)
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_runs import NOON, READ, applied, ended, freshness

MAIN = InstanceKey(ORGANIZATION, INSTANCE)
OTHER = UUID(int=2, version=4)
FIGURES = ("segments", "issues", "freshness", "coverage")


def epoch_of(record: Record) -> int:
    return int(dict(record.headers)["ce_epoch"])


async def test_several_workers_lose_no_mark_while_facts_come_in(tables: Tables, others: Tables) -> None:
    facts, chance = book(7), random.Random(7)
    await tables.take_all(facts)
    intake_is_done = asyncio.Event()

    async def take() -> None:
        for number, start in enumerate(range(0, len(facts), 25)):
            await others.take(facts[start : start + 25])
            await ended(others, NOON + timedelta(minutes=number), epoch=number)
        await ended(others, NOON + timedelta(days=1), epoch=len(facts))
        intake_is_done.set()

    async def work() -> int:
        computing, computed = Computing(others.engine, chance.randint(1, 9)), 0
        while True:
            was_done = intake_is_done.is_set()
            worked = await computing.compute_next(asyncio.Event())
            computed += worked
            if was_done and not worked:
                return computed

    async with asyncio.timeout(60):
        taking = asyncio.create_task(take())
        computed = await asyncio.gather(*(work() for _ in range(3)))
        await taking
    await others.compute()

    # Nothing promises that each worker finds something to compute.
    assert sum(computed) > 0
    expected, content = await tables.content(), await others.content()
    assert content.pop("dirty") == expected.pop("dirty") == []
    # Only one of the databases has readings, and they show what was seen unpaid: segments may differ.
    assert content.keys() == expected.keys()
    assert {name: content[name] for name in ("versions", "records", "issues")} == {
        name: expected[name] for name in ("versions", "records", "issues")
    }
    await others.mark_all()
    await others.compute()
    assert (await others.content("segments"))["segments"] == content["segments"]


@pytest.mark.parametrize("seed", range(3))
async def test_facts_of_later_runs_change_no_figure(tables: Tables, others: Tables, seed: int) -> None:
    """One database stores all facts before the first run is applied, the other the facts of each run when it ends."""
    dice = random.Random(seed)
    facts: dict[int, list[Record]] = defaultdict(list)
    for record in book(seed):
        facts[epoch_of(record)].append(record)
    for of_epoch in facts.values():
        await tables.take(dice.sample(of_epoch, len(of_epoch)))

    for epoch, of_epoch in facts.items():
        started_at = NOON + timedelta(days=10 * epoch)
        await others.take(of_epoch)
        for database in (tables, others):
            await ended(database, started_at, epoch=epoch)
            # A customer that is computed again is computed with the same facts.
            await database.compute()
            await database.mark_all()
            await database.compute(limit=dice.randint(1, 40))

        assert await tables.content("segments", "issues") == await others.content("segments", "issues")
    assert (await tables.content("dirty"))["dirty"] == []


def first_run() -> list[Record]:
    """Return two paid services: one of a customer with invoices, one of a customer without."""
    return [
        fact(Kind.INVOICE, invoice(5, 7), seq=1),
        fact(Kind.CUSTOMER_DETAIL, customer_detail(8), seq=2),
        fact(Kind.SERVICE, subscription(1, 7), seq=3),
        fact(Kind.SERVICE, subscription(2, 8, recurring_micros=20_000_000), seq=4),
        fact(Kind.CANCELLATION_REQUEST, cancellation_request(4, 2), seq=5),
    ]


# Facts that a run under way may have published, each alone.
HALVES: dict[str, list[Record]] = {
    "an end": [fact(Kind.SERVICE, subscription(1, 7, status="terminated"), seq=1, epoch=2)],
    "a start": [fact(Kind.SERVICE, subscription(3, 7), seq=1, epoch=2)],
    "a price": [fact(Kind.SERVICE, subscription(1, 7, recurring_micros=1_000_000), seq=1, epoch=2)],
    "another owner": [fact(Kind.SERVICE, subscription(1, 8), seq=1, epoch=2)],
    "a row that is gone": [fact(Kind.SERVICE, 1, seq=1, epoch=2)],
    "a newer invoice": [fact(Kind.INVOICE, invoice(6, 7, "USD"), seq=1, epoch=2)],
    "another currency of the invoice": [fact(Kind.INVOICE, invoice(5, 7, "USD"), seq=1, epoch=2)],
    "another owner of the invoice": [fact(Kind.INVOICE, invoice(5, 8, "USD"), seq=1, epoch=2)],
    "an invoice that is gone": [fact(Kind.INVOICE, 5, seq=1, epoch=2)],
    "a first invoice": [fact(Kind.INVOICE, invoice(7, 8, "USD"), seq=1, epoch=2)],
    "other details": [fact(Kind.CUSTOMER_DETAIL, customer_detail(8, "USD"), seq=1, epoch=2)],
    "details that are gone": [fact(Kind.CUSTOMER_DETAIL, 8, seq=1, epoch=2)],
    "a request": [fact(Kind.CANCELLATION_REQUEST, cancellation_request(9, 1), seq=1, epoch=2)],
    "a request that is withdrawn": [fact(Kind.CANCELLATION_REQUEST, 4, seq=1, epoch=2)],
}


@pytest.mark.parametrize("half", HALVES)
async def test_run_under_way_or_failed_changes_no_figure(tables: Tables, half: str) -> None:
    await tables.take(first_run())
    await ended(tables, epoch=1)
    await tables.compute()
    before = await tables.content(*FIGURES)

    await tables.take(HALVES[half])
    await tables.compute()
    waiting = await tables.content(*FIGURES)
    await tables.mark_all()
    await tables.compute()
    computed_again = await tables.content(*FIGURES)
    await ended(tables, NOON + timedelta(hours=1), epoch=3)
    await tables.compute()

    assert waiting == computed_again == before
    assert await tables.content("segments", "issues") != {
        name: before[name] for name in ("segments", "issues")
    }
    assert (await tables.content("dirty"))["dirty"] == []


async def test_late_facts_of_an_applied_run_are_computed(tables: Tables) -> None:
    [*early, _] = first_run()
    await tables.take(early)
    run_id = await ended(tables, epoch=1)
    assert await applied(tables) == run_id

    await tables.take([fact(Kind.SERVICE, subscription(3, 7), seq=6)])
    await tables.compute()

    assert await tables.fetch("SELECT DISTINCT id FROM metrics.segments ORDER BY 1") == [(1,), (2,), (3,)]
    assert (await freshness(tables))[:2] == (run_id, NOON)


async def test_newer_run_is_applied_whatever_its_clock(tables: Tables) -> None:
    """The clock of the first run was ahead, so it seems to end after the second began."""
    await tables.take(first_run())
    await ended(tables, NOON + timedelta(hours=20), epoch=1)
    await tables.compute()
    dearer = subscription(1, 7, recurring_micros=30_000_000)
    await tables.take([fact(Kind.SERVICE, dearer, seq=1, epoch=2)])
    second = await ended(tables, NOON, epoch=2)
    await tables.compute()

    assert (await freshness(tables))[:2] == (second, NOON)
    assert (30_000_000,) in await tables.fetch("SELECT mrr_micros FROM metrics.segments WHERE id = 1")
    assert await tables.fetch("SELECT FROM metrics.runs") == []
    assert await tables.ask_as_gateway("SELECT epoch FROM metrics_read.freshness") == [(2,)]


async def test_older_run_is_late_whatever_its_clock(tables: Tables) -> None:
    second = await ended(tables, NOON, epoch=2)
    await tables.compute()
    await ended(tables, NOON + timedelta(hours=20), epoch=1)

    assert await applied(tables) == second
    assert await tables.fetch("SELECT FROM metrics.runs") == []


async def test_kind_that_was_read_in_part_counts_once_it_is_read_whole(tables: Tables) -> None:
    """Two services are swapped; a run sees the one that ends, and is refused before it sees the other."""
    refused = {
        "action": "GetClientsProducts",
        "code": "permission_missing",
        "required": True,
        "read_at": None,
    }
    addon = subscription(1, 7, Kind.ADDON)
    await tables.take([*first_run(), fact(Kind.ADDON, addon, seq=6)])
    await ended(tables, epoch=1)
    await tables.compute()
    query = "SELECT kind, id, mrr_micros FROM metrics_read.segments WHERE lens = 'active' AND to_on IS NULL ORDER BY 1, 2"
    before = await tables.ask_as_gateway(query)

    await tables.take(
        [
            fact(Kind.SERVICE, subscription(1, 7, status="terminated"), seq=1, epoch=2),
            fact(Kind.ADDON, addon | {"recurring_micros": 5_000_000}, seq=2, epoch=2),
        ]
    )
    await ended(tables, NOON + timedelta(hours=1), epoch=2, kinds={"service": refused, "addon": READ})
    await tables.compute()
    in_part = await tables.ask_as_gateway(query)
    # The facts of this run are about another customer than the first.
    await tables.take([fact(Kind.SERVICE, subscription(3, 8), seq=1, epoch=3)])
    await ended(tables, NOON + timedelta(hours=2), epoch=3)
    await tables.compute()

    assert before == [("addon", 1, 10_000_000), ("service", 1, 10_000_000), ("service", 2, 20_000_000)]
    assert in_part == [("addon", 1, 5_000_000), *before[1:]]
    assert await tables.ask_as_gateway(query) == [
        ("addon", 1, 5_000_000),
        ("service", 2, 20_000_000),
        ("service", 3, 10_000_000),
    ]


async def test_another_time_zone_changes_days_and_freshness_at_once(tables: Tables) -> None:
    await tables.take(first_run())
    await ended(tables, epoch=1)
    await tables.compute()
    query = """SELECT f.time_zone, f.first_on, min(s.from_on)
        FROM metrics_read.freshness f JOIN metrics_read.segments s USING (instance_id) GROUP BY 1, 2"""
    before = await tables.ask_as_gateway(query)

    await tables.add_instance(instance(2, name="Renamed"))
    is_due = await _due(tables)
    await tables.add_instance(instance(3, settings=InstanceSettings(time_zone="Pacific/Auckland")))
    waiting = await tables.ask_as_gateway(query)
    await tables.add_instance(instance(2, settings=InstanceSettings(time_zone="UTC")))
    await tables.compute()

    assert is_due == []
    assert before == waiting == [("UTC", date(2026, 3, 1), date(2026, 3, 1))]
    assert await tables.ask_as_gateway(query) == [("Pacific/Auckland", date(2026, 3, 2), date(2026, 3, 2))]


async def test_another_time_zone_adds_no_marks(tables: Tables) -> None:
    """All customers are computed in batches, those with marks once. No mark is left, also none of a customer without subscription."""
    services = [
        fact(Kind.SERVICE, subscription(number, number // 2), seq=number + 1, day=number / 24)
        for number in range(14)
    ]
    await tables.take([*first_run()[:2], *services, fact(Kind.INVOICE, invoice(9, 99), seq=100)])
    for number in range(9):
        await tables.take([fact(Kind.CUSTOMER_DETAIL, customer_detail(number), seq=200 + number)])
    await ended(tables, epoch=1)
    await tables.compute()
    await tables.take([fact(Kind.SERVICE, subscription(20, 3), seq=300), fact(Kind.INVOICE, 9, seq=301)])
    marks = await tables.fetch("SELECT last_value FROM metrics.dirty_id_seq")

    await tables.add_instance(instance(2, settings=InstanceSettings(time_zone="Pacific/Auckland")))
    await tables.compute(limit=2)
    in_stretches = await tables.content("segments", "issues", "dirty")
    after = await tables.fetch("SELECT last_value FROM metrics.dirty_id_seq")
    await tables.mark_all()
    await tables.compute()

    assert after == marks
    assert in_stretches["dirty"] == []
    assert in_stretches == await tables.content("segments", "issues", "dirty")
    assert len(await tables.fetch("SELECT DISTINCT id FROM metrics.segments")) == 15


async def _due(tables: Tables) -> list[InstanceKey]:
    async with transaction(tables.engine) as connection:
        return await instances.due(await raw(connection))


async def test_time_zone_changed_while_computing_is_computed_next(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tables.take(first_run())
    await ended(tables, epoch=1)

    async def change() -> None:
        await tables.add_instance(instance(2, settings=InstanceSettings(time_zone="Pacific/Auckland")))

    _meanwhile(monkeypatch, change)
    await Computing(tables.engine).compute_next(asyncio.Event())
    first = await tables.ask_as_gateway("SELECT time_zone, first_on FROM metrics_read.freshness")
    await tables.compute()

    assert first == [("UTC", date(2026, 3, 1))]
    assert await tables.fetch("SELECT DISTINCT from_on FROM metrics.segments") == [(date(2026, 3, 2),)]


def _meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[None]]) -> None:
    """Call `act` once, after the marks of the first batch were claimed and before its figures are stored."""
    read = currencies.read
    left = [act]

    async def read_after_act(*arguments: Any, **options: Any) -> Any:
        while left:
            await left.pop()()
        return await read(*arguments, **options)

    monkeypatch.setattr(currencies, "read", read_after_act)


async def test_mark_made_meanwhile_is_computed_next(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    await tables.take(first_run())
    await ended(tables, epoch=1)

    async def tell() -> None:
        await tables.take([fact(Kind.SERVICE, subscription(3, 7), seq=6)])

    _meanwhile(monkeypatch, tell)
    await Computing(tables.engine).compute_next(asyncio.Event())
    marked = await tables.fetch("SELECT customer_id FROM metrics.dirty")
    await tables.compute()

    assert marked == [(7,)]
    assert (3,) in await tables.fetch("SELECT DISTINCT id FROM metrics.segments")


async def test_instance_deleted_while_computing_gets_no_figures(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tables.take(first_run())
    await ended(tables, epoch=1)

    async def end() -> None:
        async with transaction(tables.engine) as connection:
            await instances.set_deleted(await raw(connection), MAIN)

    _meanwhile(monkeypatch, end)
    await tables.compute(limit=1)

    assert not any((await tables.content(*FIGURES)).values())


async def test_interrupted_computing_changes_nothing_and_is_repeated(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tables.take(first_run())
    await ended(tables, epoch=1)
    before = await tables.places("segments", "issues", "freshness", "coverage", "runs", "dirty")
    timeline, calls = batches.timeline, []

    def breaks_off(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 1:
            raise OSError("broken off")
        return timeline(*arguments)

    with monkeypatch.context() as breaking:
        breaking.setattr(batches, "timeline", breaks_off)
        assert not await Computing(tables.engine, 1).compute_next(asyncio.Event())
    after = await tables.places("segments", "issues", "freshness", "coverage", "runs", "dirty")
    await tables.compute()

    assert len(calls) == 2
    assert after == before
    assert len(await tables.fetch("SELECT DISTINCT id FROM metrics.segments")) == 2


async def test_failing_instance_blocks_no_other(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    await tables.add_instance(instance(instance_id=OTHER))
    await tables.take([*first_run(), fact(Kind.SERVICE, subscription(666, 7), seq=1, instance_id=OTHER)])
    timeline, asked = batches.timeline, []

    def fails_for_one(evidence: Any) -> Any:
        if not evidence.currencies:
            asked.append(evidence.kind)
            raise ValueError("a fault of ours")
        return timeline(evidence)

    monkeypatch.setattr(batches, "timeline", fails_for_one)
    await tables.apply()

    assert asked == [Kind.SERVICE]
    assert await tables.fetch("SELECT instance_id FROM metrics.freshness") == [(INSTANCE,)]
    assert [key.instance_id for key in await _due(tables)] == [OTHER]


async def test_instance_being_computed_blocks_no_other(tables: Tables) -> None:
    await tables.add_instance(instance(instance_id=OTHER))
    await tables.take([*first_run(), *(fact(Kind.SERVICE, subscription(1, 7), seq=1, instance_id=OTHER),)])

    async with transaction(tables.engine) as connection:
        database = await raw(connection)
        assert await instances.claim(database, MAIN)
        await marks.claim(database, MAIN, 1, -1, 500)
        await tables.apply()
        # Messages that arrive meanwhile are stored at once.
        await ended(tables, NOON, epoch=1)
        await tables.add_instance(instance(2, name="Renamed"))
        computed = await tables.fetch("SELECT instance_id FROM metrics.freshness")

    assert computed == [(OTHER,)]
    await tables.compute()
    assert len(await tables.fetch("SELECT instance_id FROM metrics.freshness")) == 2


async def test_worker_computes_due_instances_until_stopped(tables: Tables) -> None:
    await tables.take(first_run())
    stop = asyncio.Event()
    working = asyncio.create_task(Computing(tables.engine).work(stop))
    await ended(tables, epoch=1)

    async with asyncio.timeout(20):
        while not await tables.fetch("SELECT FROM metrics.freshness"):  # noqa: ASYNC110 - the worker makes it false
            await asyncio.sleep(0.01)
    stop.set()
    await working

    assert len(await tables.fetch("SELECT DISTINCT id FROM metrics.segments")) == 2


async def test_large_customers_are_computed_in_parts(
    tables: Tables, others: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = book(5, customers=12, days=12)
    await tables.take_all(records)
    monkeypatch.setattr(batches, "SUBSCRIPTIONS_AT_ONCE", 2)
    await others.take_all(records)

    assert await others.content("segments", "issues") == await tables.content("segments", "issues")


async def test_empty_table_misleads_no_look_up(tables: Tables) -> None:
    """All indexes cost about the same while the table is empty, and a wrong one would read all segments of the instance."""
    plans = {
        condition: await tables.fetch(
            f"""EXPLAIN SELECT product_name FROM metrics.segments WHERE organization_id = '{ORGANIZATION}'
            AND instance_id = '{OTHER}' AND {condition}"""  # noqa: S608  fixed conditions
        )
        for condition in ("kind = 'service' AND id = 1", "customer_id = 7", "lens = 'contract'")
    }

    used = [re.findall(r"segments_(pkey|of_customer|of_lens)", str(plan)) for plan in plans.values()]
    assert used == [["pkey"], ["of_customer"], ["of_lens"]]
