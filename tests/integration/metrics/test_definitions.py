"""Definitions of the organization: a changed one computes all figures again, and restates closed days under its own name."""

import random
from datetime import date, timedelta

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.definitions import Definitions
from libs.common.contracts.envelope import Record
from tests.builders import book, instance, invoice, subscription
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_applied_runs import run
from tests.integration.metrics.test_restatements import CONTRACT, FIRST_ON, TODAY
from tests.integration.metrics.test_runs import NOON, ended

FIGURES = ("segments", "issues", "gaps", "movements", "customer_days")
OVERDUE = date(2026, 2, 20)
ENDS = "SELECT kind, due_on, ends_on, is_requested FROM metrics_read.expected_ends WHERE lens = 'contract' ORDER BY kind"


async def overdue_customers(tables: Tables) -> None:
    """Observe a service and a domain that are due since 20 February, on 1 March and again on the 11th."""
    domain = subscription(2, 7, Kind.DOMAIN, recurring_micros=24_000_000, next_due_on=str(OVERDUE))
    await run(tables, 1, invoice(1, 7), subscription(1, 7, next_due_on=str(OVERDUE)), domain)
    await run(tables, 2, day=10)


async def define(tables: Tables, version: int, **definitions: int | bool) -> None:
    await tables.add_instance(instance(version, definitions=Definitions.model_validate(definitions)))
    await tables.compute()


async def test_longer_grace_restates_closed_days(tables: Tables) -> None:
    await overdue_customers(tables)

    await define(tables, 2, service_grace_days=30)

    row = ("definition_change", "contract", "EUR", date(2026, 3, 7), TODAY, 10_000_000, 0, 10_000_000)
    assert await tables.ask_as_gateway(CONTRACT) == [row]


async def test_each_kind_has_its_own_grace(tables: Tables) -> None:
    await overdue_customers(tables)

    await define(tables, 2, service_grace_days=30, domain_grace_days=60)

    assert await tables.ask_as_gateway(ENDS) == [
        ("domain", OVERDUE, date(2026, 4, 22), False),
        ("service", OVERDUE, date(2026, 3, 23), False),
    ]


async def test_domains_that_do_not_count_are_in_no_figure(tables: Tables) -> None:
    await overdue_customers(tables)

    await define(tables, 2, domains_count=False)

    assert await tables.fetch("SELECT DISTINCT kind FROM metrics.segments") == [("service",)]
    row = (
        "definition_change",
        "contract",
        "EUR",
        FIRST_ON,
        date(2026, 3, 7),
        -2_000_000,
        2_000_000,
        0,
    )
    assert row in await tables.ask_as_gateway(CONTRACT)


async def test_former_definitions_restore_every_figure(tables: Tables) -> None:
    await overdue_customers(tables)
    before = await tables.content("segments", "movements", "customer_days", "gaps", "issues", "coverage")

    await define(tables, 2, service_grace_days=0, domain_grace_days=90, domains_count=False)
    await define(tables, 3)

    assert (
        await tables.content("segments", "movements", "customer_days", "gaps", "issues", "coverage") == before
    )


async def test_equal_definitions_compute_nothing(tables: Tables) -> None:
    await overdue_customers(tables)
    before = await tables.places("segments", "freshness")

    await define(tables, 2, service_grace_days=14)

    assert await tables.places("segments", "freshness") == before


def any_definitions(dice: random.Random) -> dict[str, int | bool]:
    graces = {f"{kind}_grace_days": dice.randint(0, 90) for kind in ("service", "addon", "domain")}
    return graces | {"domains_count": dice.random() < 0.7}


@pytest.mark.parametrize("seed", range(2))
async def test_incremental_equals_full_under_any_definitions(tables: Tables, seed: int) -> None:
    dice, facts = random.Random(seed), book(seed)
    for version, epoch in enumerate(range(1, 1 + len({fact_epoch(record) for record in facts})), 2):
        await tables.take([record for record in facts if fact_epoch(record) == epoch])
        if dice.random() < 0.3:
            await ended(tables, NOON + timedelta(days=10 * epoch), epoch=epoch)
            await define(tables, version, **any_definitions(dice))
    await ended(tables, NOON + timedelta(days=10 * epoch), epoch=epoch)
    await tables.compute()
    incremental = await tables.content(*FIGURES)

    for table in FIGURES:
        await tables.execute(f"DELETE FROM metrics.{table}")  # noqa: S608  fixed names
    await tables.execute("UPDATE metrics.freshness SET has_movements = false")
    await tables.compute()

    assert len(incremental["movements"]) > 500
    assert await tables.content(*FIGURES) == incremental


def fact_epoch(record: Record) -> int:
    return int(dict(record.headers)["ce_epoch"])
