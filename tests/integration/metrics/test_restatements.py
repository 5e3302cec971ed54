"""Closed days change only with a row that says by how much, when and why."""

from datetime import UTC, date, datetime
from typing import Any

from libs.common.contracts.instances import InstanceKey
from libs.common.database import raw, transaction
from services.metrics.instances import delete_instance
from services.metrics.repository import coverage
from tests.builders import INSTANCE, INSTANCE_KEY, ORGANIZATION, invoice, subscription
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_applied_runs import run

RESTATEMENTS = """SELECT cause, lens, currency, from_on, to_on, change_micros, before_micros, after_micros
    FROM metrics_read.restatements ORDER BY number"""
CONTRACT = RESTATEMENTS.replace("ORDER", "WHERE lens = 'contract' ORDER")
FIRST_ON, TODAY = date(2026, 3, 1), date(2026, 3, 11)


async def two_customers_for_ten_days(tables: Tables) -> None:
    """Observe 10.00 and 20.00 EUR a month on 1 March and again on the 11th, so that ten days are closed."""
    dearer = subscription(2, 8, recurring_micros=20_000_000)
    await run(tables, 1, invoice(1, 7), invoice(2, 8), subscription(1, 7), dearer)
    await run(tables, 2, day=10)


async def test_daily_changes_are_no_restatements(tables: Tables) -> None:
    await two_customers_for_ten_days(tables)

    await run(tables, 3, subscription(1, 7, recurring_micros=15_000_000), subscription(3, 7), day=11)
    await run(tables, 4, subscription(1, 7, status="cancelled"), day=12)

    assert await tables.ask_as_gateway(RESTATEMENTS) == []


async def test_fraud_restates_all_closed_days(tables: Tables) -> None:
    await two_customers_for_ten_days(tables)

    await run(tables, 3, subscription(1, 7, status="fraud"), day=11)

    row = ("fraud", "contract", "EUR", FIRST_ON, TODAY, -10_000_000, 30_000_000, 20_000_000)
    assert await tables.ask_as_gateway(CONTRACT) == [row]


async def test_restatement_names_its_run_and_time(tables: Tables) -> None:
    before = datetime.now(UTC)
    await two_customers_for_ten_days(tables)
    await run(tables, 3, subscription(1, 7, status="fraud"), day=11)

    [(run_id, at)] = await tables.ask_as_gateway("SELECT DISTINCT run_id, at FROM metrics_read.restatements")

    [(applied,)] = await tables.ask_as_gateway("SELECT run_id FROM metrics_read.freshness")
    assert run_id == applied
    assert before < at < datetime.now(UTC)


async def test_recalculation_restates_nothing(tables: Tables) -> None:
    await two_customers_for_ten_days(tables)
    await run(tables, 3, subscription(1, 7, status="fraud"), day=11)
    before = await tables.places("restatements")

    await tables.mark_all()
    await tables.compute()

    assert await tables.places("restatements") == before


async def redefine(tables: Tables) -> None:
    async with transaction(tables.engine) as connection:
        await coverage.redefine(await raw(connection), INSTANCE_KEY)


async def state(tables: Tables) -> tuple[Any, ...]:
    [row] = await tables.fetch("SELECT definition, wanted_definition, epoch FROM metrics.freshness")
    return row


async def test_definition_change_computes_all_and_names_itself(tables: Tables) -> None:
    await two_customers_for_ten_days(tables)
    # A release with another definition finds half of the MRR stored.
    await tables.execute("UPDATE metrics.segments SET mrr_micros = mrr_micros / 2")

    await redefine(tables)
    await tables.compute()

    row = ("definition_change", "contract", "EUR", FIRST_ON, TODAY, 15_000_000, 15_000_000, 30_000_000)
    assert await tables.ask_as_gateway(CONTRACT) == [row]
    assert await state(tables) == (1, 1, 2)


async def test_definition_change_waits_for_no_run(tables: Tables) -> None:
    await two_customers_for_ten_days(tables)
    await redefine(tables)

    await run(tables, 3, subscription(1, 7, status="fraud"), day=11)

    assert {cause for cause, *_ in await tables.ask_as_gateway(RESTATEMENTS)} == {"fraud"}
    assert await state(tables) == (1, 1, 3)


async def test_deleted_instance_leaves_no_restatements(tables: Tables) -> None:
    await two_customers_for_ten_days(tables)
    await run(tables, 3, subscription(1, 7, status="fraud"), day=11)

    await delete_instance(tables.engine, InstanceKey(ORGANIZATION, INSTANCE))

    assert await tables.fetch("SELECT count(*) FROM metrics.restatements") == [(0,)]
