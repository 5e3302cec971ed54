"""The product's history of a company: facts go in through its door, and rows of `metrics_read` come out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings
from services.metrics.formulas.coverage import Run
from services.metrics.runs import store_run
from tests.builders import INSTANCE, ORGANIZATION
from tests.history.facts import Bodies, bodies_of, facts_of, noon
from tests.integration.metrics.conftest import Tables, open_tables
from tests.servers import Database
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.history import Account, Moved, Span, joined

# No broker is needed: metrics publishes only what it cannot read.
_NO_BROKER = "127.0.0.1:1"
_SEGMENTS = """
SELECT kind, id, customer_id, currency, mrr_micros, from_on, to_on FROM metrics_read.segments
WHERE lens = 'contract' ORDER BY kind, id, from_on"""

_MOVED = """
SELECT customer_id, currency, "on", movement, sum(amount_micros)::bigint FROM metrics_read.movements
WHERE lens = 'contract' AND movement <> 'transfer' GROUP BY 1, 2, 3, 4 ORDER BY 3, 1, 2, 4"""


@asynccontextmanager
async def empty_product(database: Database) -> AsyncIterator[Tables]:
    """Yield the tables of metrics with one instance and nothing else."""
    publisher = Publisher(KafkaSettings(kafka_bootstrap=_NO_BROKER))
    tables = open_tables(database, publisher)
    try:
        await tables.add_instance()
        yield tables
    finally:
        await tables.engine.dispose()
        await publisher.close()


async def product_spans(database: Database, company: Company) -> list[Span]:
    """Return what the product shows of a company after a first sync into an empty database."""
    async with empty_product(database) as tables:
        await sync(tables, company, {}, epoch=1)
        return await shown_spans(tables, company)


async def sync(tables: Tables, company: Company, before: Bodies, *, epoch: int, batch: int = 1000) -> Bodies:
    """Store what a sync finds that `before` has not, end it, and compute. Return all that it found."""
    after = bodies_of(company)
    facts = facts_of(company, before, after, epoch=epoch)
    for start in range(0, len(facts), batch):
        await tables.take(facts[start : start + batch])
    await end_sync(tables, noon(company), epoch=epoch)
    return after


async def end_sync(tables: Tables, at: datetime, *, epoch: int = 1) -> None:
    """End a run that read all that is stored, and compute."""
    run = Run(uuid4(), at, at + timedelta(minutes=5), epoch, frozenset(kind.value for kind in Kind), {})
    await store_run(tables.engine, InstanceKey(ORGANIZATION, INSTANCE), run, {})
    await tables.compute()


async def shown_spans(tables: Tables, company: Company) -> list[Span]:
    """Return the segments that the product shows, neighbours of equal MRR as one; one that still counts ends tomorrow."""
    rows = await tables.ask_as_gateway(_SEGMENTS)
    return joined(_span(row, company.today + 1) for row in rows)


async def shown_movements(tables: Tables) -> list[Moved]:
    """Return the movements that the product shows, by day and account."""
    rows = await tables.ask_as_gateway(_MOVED)
    return [
        Moved(Account(customer_id, currency), _ordinal(on), movement, amount)
        for customer_id, currency, on, movement, amount in rows
    ]


def _span(row: tuple[Any, ...], tomorrow: int) -> Span:
    kind, id_, customer_id, currency, mrr, from_on, to_on = row
    return Span(
        kind, id_, customer_id, currency, mrr, _ordinal(from_on), _ordinal(to_on) if to_on else tomorrow
    )


def _ordinal(day: date) -> int:
    return day.toordinal()
