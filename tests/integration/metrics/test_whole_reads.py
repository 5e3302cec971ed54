"""Runs between two full ones, rows that a run could not read, and details that arrive between the runs."""

from datetime import date, datetime, timedelta
from uuid import UUID

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.coverage import Run, Unread
from services.metrics.runs import store_run
from tests.builders import (
    INSTANCE,
    ORGANIZATION,
    customer_detail,
    fact,
    invoice,
    invoice_lines,
    subscription,
    transaction,
)
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_runs import NOON, contract

SERVICES = frozenset({"service"})
COVERAGE = "SELECT first_on, last_on, closed_before FROM metrics_read.coverage WHERE kind = 'service'"
ISSUES = "SELECT kind, id, customer_id FROM metrics_read.issues WHERE reason = 'unreadable' ORDER BY id"
UNREADABLE = "SELECT kind, id, reason, since FROM metrics_read.unreadable ORDER BY id"
MRR = "SELECT id, mrr_micros FROM metrics.segments WHERE lens = 'active' AND to_on IS NULL ORDER BY id"


def at(day: float) -> datetime:
    return NOON + timedelta(days=day)


async def end(tables: Tables, day: int, *, in_step: bool = False, unreadable: tuple[int, ...] = ()) -> None:
    """Store and apply the run of a day, whose epoch is the number of the day. It could not read the services `unreadable`."""
    rows = {"service": tuple(Unread(row_id, "no amount") for row_id in unreadable)}
    run = Run(
        run_id=UUID(int=day + 1, version=4),
        started_at=at(day),
        ended_at=at(day) + timedelta(minutes=5),
        epoch=day,
        read=frozenset() if in_step else SERVICES,
        skipped={},
        in_step=SERVICES if in_step else frozenset(),
        unreadable=rows if unreadable else {},
    )
    await store_run(tables.engine, InstanceKey(ORGANIZATION, INSTANCE), run, {})
    await tables.compute()


async def take_service(tables: Tables, day: int = 0, **values: object) -> None:
    await tables.take([fact(Kind.SERVICE, subscription(1, 7, **values), seq=2, epoch=day, day=day)])


@pytest.fixture
async def customer(tables: Tables) -> Tables:
    """Return the tables with one customer, who has one service."""
    await tables.take([fact(Kind.INVOICE, invoice(1, 7), seq=1, epoch=0)])
    await take_service(tables)
    await end(tables, 0)
    return tables


async def test_facts_of_a_run_in_step_count_at_once(customer: Tables) -> None:
    await take_service(customer, 2, recurring_micros=30_000_000)
    await end(customer, 2, in_step=True)

    assert await customer.fetch(MRR) == [(1, 30_000_000)]
    assert await customer.ask_as_gateway(COVERAGE) == [(date(2026, 3, 1), date(2026, 3, 3), date(2026, 3, 1))]
    assert await customer.fetch("SELECT count(*) FROM metrics.readings") == [(1,)]


@pytest.mark.parametrize("how", ["whole", "in step", "unreadable"])
async def test_only_a_whole_reading_shows_that_nothing_was_paid(customer: Tables, how: str) -> None:
    """The service is in grace until 4 April. A run looks at it on 5 April, and one sees on 9 April that it was paid."""
    await end(customer, 20)
    await end(customer, 35, in_step=how == "in step", unreadable=(1,) if how == "unreadable" else ())
    await take_service(customer, 39, next_due_on="2026-04-21")
    await end(customer, 39)

    whole = [(date(2026, 3, 1), date(2026, 4, 5)), (date(2026, 4, 9), date(2026, 5, 6))]
    assert await contract(customer) == (whole if how == "whole" else [(whole[0][0], whole[1][1])])


async def test_row_that_is_unreadable_for_a_month_is_listed(customer: Tables) -> None:
    await end(customer, 9)
    for day in (10, 20, 30):
        await end(customer, day, unreadable=(1, 2))
    listed = await customer.ask_as_gateway(UNREADABLE), await customer.ask_as_gateway(ISSUES)
    days = await customer.ask_as_gateway(COVERAGE)
    await take_service(customer, 39, next_due_on="2026-04-21")
    await end(customer, 39)

    assert listed[0] == [("service", 1, "no amount", at(10)), ("service", 2, "no amount", at(10))]
    assert listed[1] == [("service", 1, 7), ("service", 2, None)]
    assert days == [(date(2026, 3, 1), date(2026, 3, 31), date(2026, 3, 10))]
    assert await customer.ask_as_gateway(UNREADABLE) == []
    assert await customer.ask_as_gateway(ISSUES) == []
    assert (await customer.ask_as_gateway(COVERAGE))[0][2] == date(2026, 4, 9)


async def test_fact_solves_a_row_before_the_list_is_read_again(customer: Tables) -> None:
    await end(customer, 10, unreadable=(1,))
    await take_service(customer, 11, next_due_on="2026-04-21")
    stored = await customer.ask_as_gateway(UNREADABLE)
    await end(customer, 12, in_step=True)

    assert [row[1] for row in stored] == [1]
    assert await customer.ask_as_gateway(UNREADABLE) == []
    assert (await customer.ask_as_gateway(COVERAGE))[0][2] == date(2026, 3, 11)


async def test_details_between_runs_count_with_the_next_run(tables: Tables) -> None:
    await take_service(tables)
    await end(tables, 0)
    lines = [{"id": n, "type": "hosting", "related_id": 1, "description": "x" * 200} for n in range(200)]
    details = [
        fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=1, epoch=1),
        fact(Kind.INVOICE_LINES, invoice_lines(1, lines), seq=2, epoch=1),
        fact(Kind.TRANSACTION, transaction(5, 7), seq=3, epoch=1),
    ]
    await tables.take(details)
    await tables.compute()
    before = await tables.fetch(MRR)

    await end(tables, 2, in_step=True)
    await tables.take(details)

    assert (before, await tables.fetch(MRR)) == ([], [(1, 10_000_000)])
    assert await tables.fetch(
        "SELECT kind, owner_kind, owner_id, jsonb_array_length(body -> 'lines') FROM metrics.versions WHERE epoch = 1 ORDER BY 1"
    ) == [
        ("customer_detail", "customer", 7, None),
        ("invoice_lines", "invoice", 1, 200),
        ("transaction", "customer", 7, None),
    ]
