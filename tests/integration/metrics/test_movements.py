"""Movements are stored with the segments they follow from, whatever the order of facts, and shown as far as days are known."""

import random
from datetime import timedelta

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceKey
from services.metrics.instances import delete_instance
from tests.builders import INSTANCE, ORGANIZATION, book, fact, invoice, subscription
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_runs import NOON, ended

MOVEMENTS = ("movements", "customer_days")

# Each day on which the segments and the movements of a customer, lens, kind, currency and product differ.
DIFFERENCES = """
SELECT * FROM (
    SELECT lens, "on", kind, id, customer_id, currency, product, sum(mrr_micros) AS micros FROM (
        SELECT lens, from_on AS "on", kind, id, customer_id, currency, product, mrr_micros FROM metrics.segments
        UNION ALL
        SELECT lens, to_on, kind, id, customer_id, currency, product, -mrr_micros FROM metrics.segments
        WHERE to_on IS NOT NULL) ledger
    GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(mrr_micros) <> 0) s
FULL JOIN (
    SELECT lens, "on", kind, id, customer_id, currency, product, sum(amount_micros) AS micros FROM metrics.movements
    GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(amount_micros) <> 0) m
    USING (lens, "on", kind, id, customer_id, currency, product, micros)
WHERE s.lens IS NULL OR m.lens IS NULL"""


SHOWN = """SELECT customer_id, "on"::text, movement, reason, amount_micros FROM metrics_read.movements
    WHERE lens = 'active' ORDER BY "on", customer_id, number"""


def two_services() -> list[Record]:
    """Return the facts of services of two customers, 10.00 and 20.00 a month."""
    return [
        fact(Kind.INVOICE, invoice(5, 7), seq=1),
        fact(Kind.INVOICE, invoice(6, 8), seq=2),
        fact(Kind.SERVICE, subscription(1, 7), seq=3),
        fact(Kind.SERVICE, subscription(2, 8, recurring_micros=20_000_000), seq=4),
    ]


async def test_movements_follow_the_first_and_the_next_run(tables: Tables) -> None:
    await tables.take_all(two_services())
    await tables.take([fact(Kind.SERVICE, 1, seq=9, epoch=9, day=5)])
    await ended(tables, NOON + timedelta(days=5), epoch=9)
    await tables.compute()

    assert await tables.ask_as_gateway(SHOWN) == [
        (7, "2026-03-01", "new_business", "added_item", 10_000_000),
        (8, "2026-03-01", "new_business", "added_item", 20_000_000),
        (7, "2026-03-06", "churn", "disappeared", -10_000_000),
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_incremental_movements_equal_those_of_a_full_run(tables: Tables, seed: int) -> None:
    dice, facts = random.Random(seed), book(seed)
    epochs = sorted({int(dict(record.headers)["ce_epoch"]) for record in facts})
    for epoch in epochs:
        of_epoch = [record for record in facts if int(dict(record.headers)["ce_epoch"]) == epoch]
        await tables.take(dice.sample(of_epoch, len(of_epoch)))
        if dice.random() < 0.2 or epoch == epochs[-1]:
            await ended(tables, NOON + timedelta(days=10 * epoch), epoch=epoch)
            await tables.compute(limit=dice.randint(1, 40))
    incremental = await tables.content(*MOVEMENTS)
    differences = await tables.fetch(DIFFERENCES)

    for table in MOVEMENTS:
        await tables.execute(f"DELETE FROM metrics.{table}")  # noqa: S608  fixed names
    await tables.execute("UPDATE metrics.freshness SET has_movements = false")
    await tables.compute()

    assert len(incremental["movements"]) > 500
    assert differences == []
    assert await tables.content(*MOVEMENTS) == incremental


async def test_computing_all_again_writes_no_movement(tables: Tables) -> None:
    await tables.take_all(book(5))
    places = await tables.places(*MOVEMENTS)

    await tables.mark_all()
    await tables.execute("UPDATE metrics.freshness SET has_movements = false")
    await tables.compute()

    assert places["movements"]
    assert await tables.places(*MOVEMENTS) == places


async def test_both_customers_have_a_moved_subscription(tables: Tables) -> None:
    await tables.take_all(two_services())
    await tables.take([fact(Kind.SERVICE, subscription(1, 8), seq=9, epoch=9, day=5)])
    await tables.execute("DELETE FROM metrics.dirty WHERE customer_id = 7")
    await ended(tables, NOON + timedelta(days=5), epoch=9)
    await tables.compute()

    assert (await tables.ask_as_gateway(SHOWN))[2:] == [
        (7, "2026-03-06", "moved", None, -10_000_000),
        (8, "2026-03-06", "moved", None, 10_000_000),
    ]


async def test_movement_after_the_last_known_day_is_not_shown(tables: Tables) -> None:
    """Both services are paid until 21 March, so they end on 5 April if nothing is paid."""
    await tables.take_all(two_services())
    query = "SELECT count(*) FROM {} WHERE lens = 'contract' AND \"on\" = '2026-04-05'"
    [stored] = await tables.fetch(query.format("metrics.movements"))
    before = [await tables.ask_as_gateway(query.format(f"metrics_read.{name}")) for name in MOVEMENTS]
    next_on = "SELECT count(next_on) FROM metrics_read.customer_days WHERE lens = 'contract'"
    ahead = await tables.ask_as_gateway(next_on)

    await ended(tables, NOON + timedelta(days=36), epoch=9)
    await tables.compute()

    assert stored == (2,)
    assert before == [[(0,)], [(0,)]]
    assert ahead == [(0,)]
    after = [await tables.ask_as_gateway(query.format(f"metrics_read.{name}")) for name in MOVEMENTS]
    assert after == [[(2,)], [(2,)]]
    assert await tables.ask_as_gateway(next_on) == [(2,)]


async def test_instance_of_the_release_before_gets_its_movements(tables: Tables) -> None:
    await tables.take_all(two_services())
    content = await tables.content(*MOVEMENTS)
    for table in MOVEMENTS:
        await tables.execute(f"DELETE FROM metrics.{table}")  # noqa: S608  fixed names
    await tables.execute("UPDATE metrics.freshness SET has_movements = false")

    await tables.compute()

    assert content["movements"]
    assert await tables.content(*MOVEMENTS) == content


async def test_deleted_instance_keeps_no_movement(tables: Tables) -> None:
    await tables.take_all(two_services())
    assert await tables.fetch("SELECT FROM metrics.customer_days")

    await delete_instance(tables.engine, InstanceKey(ORGANIZATION, INSTANCE))

    assert await tables.content(*MOVEMENTS) == {"movements": [], "customer_days": []}
