"""The history of applied runs: what each of them changed in MRR."""

from datetime import timedelta
from typing import Any

import orjson

from libs.common.contracts.billing import Kind
from tests.builders import fact, invoice, subscription
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_runs import NOON, SUBSCRIPTIONS, ended

Mrr = dict[str, int]


async def run(tables: Tables, epoch: int, *bodies: dict[str, Any], day: float = 0) -> None:
    """Store what a run read and its end, and compute."""
    await take(tables, epoch, *bodies, day=day)
    await ended(tables, NOON + timedelta(days=day, minutes=epoch % 60), kinds=SUBSCRIPTIONS, epoch=epoch)
    await tables.compute()


async def take(tables: Tables, epoch: int, *bodies: dict[str, Any], day: float = 0) -> None:
    records = [
        fact(Kind(body.get("kind", Kind.INVOICE)), body, seq=seq, epoch=epoch, day=day)
        for seq, body in enumerate(bodies)
    ]
    if records:
        await tables.take(records)


async def history(tables: Tables) -> list[tuple[int, Mrr | None, Mrr]]:
    """Return epoch, MRR before and MRR after of each applied run, as the gateway sees them."""
    rows = await tables.ask_as_gateway(
        "SELECT epoch, mrr_before::text, mrr_after::text FROM metrics_read.applied_runs ORDER BY epoch"
    )
    return [(epoch, orjson.loads(before or "null"), orjson.loads(after)) for epoch, before, after in rows]


async def ledger(tables: Tables) -> Mrr:
    """Return the present MRR by currency, as figures have it."""
    rows = await tables.ask_as_gateway(
        """SELECT currency, sum(mrr_micros)::bigint FROM metrics_read.ledger WHERE lens = 'contract'
        GROUP BY currency HAVING sum(mrr_micros) <> 0"""
    )
    return dict(rows)


def first_facts() -> list[dict[str, Any]]:
    """Return 10.00 EUR and 20.00 USD a month of two customers, both paid until 21 March."""
    dollars = subscription(2, 8, recurring_micros=20_000_000)
    return [invoice(1, 7), invoice(2, 8, "USD"), subscription(1, 7), dollars]


async def test_history_counts_what_each_run_changed(tables: Tables) -> None:
    dearer, third = (
        subscription(1, 7, recurring_micros=15_000_001),
        subscription(3, 8, recurring_micros=5_000_000),
    )
    paid = subscription(2, 8, recurring_micros=20_000_000, next_due_on="2026-06-21")

    await run(tables, 1, *first_facts())
    await run(tables, 2, dearer, third)
    await run(tables, 3)
    await run(tables, 4, paid, day=36)

    first, second, last = (
        {"EUR": 10_000_000, "USD": 20_000_000},
        {"EUR": 15_000_001, "USD": 25_000_000},
        {"USD": 20_000_000},
    )
    # On 6 April the grace of what was paid until 21 March is over.
    assert await history(tables) == [
        (1, None, first),
        (2, first, second),
        (3, second, second),
        (4, second, last),
    ]
    assert await ledger(tables) == last


async def test_runs_applied_together_have_one_effect(tables: Tables) -> None:
    await run(tables, 1, *first_facts())
    await take(tables, 2, subscription(3, 7))
    await ended(tables, NOON + timedelta(hours=1), epoch=2)

    await run(tables, 3, subscription(4, 7))

    before, after = {"EUR": 10_000_000, "USD": 20_000_000}, {"EUR": 30_000_000, "USD": 20_000_000}
    assert await history(tables) == [(1, None, before), (3, before, after)]


async def test_late_facts_belong_to_the_applied_run(tables: Tables) -> None:
    await run(tables, 1, *first_facts())
    await run(tables, 3)

    await take(tables, 2, subscription(3, 7))
    await tables.compute()
    await run(tables, 4)

    before, after = {"EUR": 10_000_000, "USD": 20_000_000}, {"EUR": 20_000_000, "USD": 20_000_000}
    assert await history(tables) == [(1, None, before), (3, before, after), (4, after, after)]


async def test_recalculation_has_no_effect(tables: Tables) -> None:
    await run(tables, 1, *first_facts())
    await run(tables, 2, subscription(3, 7))
    before = await tables.places("applied_runs")

    await tables.mark_all()
    await tables.compute()

    assert await tables.places("applied_runs") == before


async def test_history_is_kept_for_400_days(tables: Tables) -> None:
    day = 86_400
    for epoch in (day, 2 * day, 401 * day, 402 * day):
        await run(tables, epoch)

    assert [row[0] for row in await history(tables)] == [2 * day, 401 * day, 402 * day]
