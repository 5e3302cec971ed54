"""Invoice lines as rows of their own, and how far the history of an instance is read."""

import asyncio
import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceSettings
from libs.common.database import build_engine
from libs.common.kafka.publisher import Publisher
from libs.common.migrations import prepare, upgrade_service
from libs.common.settings import PostgresSettings
from services.metrics import batches, steps
from services.metrics.compute import Computing
from services.metrics.instances import delete_instance
from tests.builders import (
    INSTANCE_KEY,
    customer,
    customer_detail,
    fact,
    instance,
    invoice,
    invoice_lines,
    subscription,
    with_header,
)
from tests.integration.metrics.conftest import Tables, open_tables
from tests.servers import Postgres

LINES = """SELECT invoice_id, epoch, number, id, type, related_id, amount_micros, is_taxed
    FROM metrics.invoice_lines ORDER BY invoice_id, epoch, seq, number"""
PROGRESS = "SELECT is_published, invoices, invoices_read FROM metrics_read.history"


def line(number: int, **values: Any) -> dict[str, Any]:
    """Return a line of 10.00 that bills the service with the same number."""
    return {
        "id": number,
        "type": "Hosting",
        "related_id": number,
        "description": f"Hosting {number}",
    } | values


def lines_of(invoice_id: int, *lines: dict[str, Any], epoch: int = 1, seq: int = 9) -> Record:
    return fact(Kind.INVOICE_LINES, invoice_lines(invoice_id, lines), seq=seq, epoch=epoch)


def header_of(invoice_id: int, customer_id: int = 7, epoch: int = 1) -> Record:
    return fact(Kind.INVOICE, invoice(invoice_id, customer_id), seq=1, epoch=epoch)


def bill(
    number: int, month: int, customer_id: int = 7, epoch: int = 1, related_id: int = 1, **values: Any
) -> list[Record]:
    """Return the header and the lines of a paid invoice for the days from the 21st of a month of 2025 on."""
    from_on, to_on = date(2025, month, 21), date(2025 + month // 12, month % 12 + 1, 20)
    header = invoice(
        number,
        customer_id,
        issued_on=str(from_on - timedelta(days=14)),
        due_on=str(from_on),
        paid_at=f"{from_on}T10:00:00",
        **values,
    )
    text = f"Hosting - site1.example ({from_on:%d/%m/%Y} - {to_on:%d/%m/%Y})"
    billed = {"id": number, "type": "Hosting", "related_id": related_id, "description": text}
    return [fact(Kind.INVOICE, header, seq=1, epoch=epoch), lines_of(number, billed, epoch=epoch)]


def history(customer_id: int = 7) -> list[Record]:
    """Return a service and the invoices of its first seven months. Half a year later syncs begin."""
    bills = [record for month in range(1, 8) for record in bill(month, month, customer_id)]
    service = subscription(1, customer_id, next_due_on="2025-08-21", recurring_micros=12_000_000)
    return [fact(Kind.SERVICE, service, seq=1), *bills]


async def first_days(tables: Tables) -> set[date]:
    """Return the first known days of all kinds of subscriptions."""
    return {on for (on,) in await tables.ask_as_gateway("SELECT first_on FROM metrics_read.coverage")}


SEGMENTS = """SELECT from_on, to_on, mrr_micros, basis, cause FROM metrics_read.segments
    WHERE lens = 'contract' ORDER BY id, from_on"""
FIRST_SYNC = date(2026, 1, 1)
FIRST_INVOICE = date(2025, 1, 7)


async def read_by_a_run(tables: Tables, records: Sequence[Record]) -> list[tuple[Any, ...]]:
    """Store facts and apply a run that covers them; return how far the history is read then."""
    await tables.take(records)
    await tables.apply(more=[Kind.INVOICE])
    return await tables.ask_as_gateway(PROGRESS)


async def test_each_version_of_lines_has_rows(tables: Tables) -> None:
    first = lines_of(5, line(1), line(2, type="", related_id=None, amount_micros=-1))
    later = lines_of(5, line(3, type="Domain", taxed=True), epoch=2)

    await tables.take([later, first])
    await tables.take([first])

    assert await tables.fetch(LINES) == [
        (5, 1, 1, 1, "Hosting", 1, 10_000_000, False),
        (5, 1, 2, 2, "", None, -1, False),
        (5, 2, 1, 3, "Domain", 3, 10_000_000, True),
    ]


async def test_lines_of_the_release_before_get_rows(
    postgres: Postgres, publisher: Publisher, tables: Tables
) -> None:
    """The backfill adds rows for all versions that it finds, and may be repeated."""
    await tables.take([lines_of(5, line(1), line(2)), lines_of(6), lines_of(5, line(3), epoch=2)])
    [(versions,)] = await tables.fetch("SELECT jsonb_agg(to_jsonb(t))::text FROM metrics.versions t")
    with postgres.empty_database() as database:
        engine = build_engine(PostgresSettings(database_url=database.admin_url), service="test")
        async with engine.connect() as connection:
            await connection.run_sync(prepare)
            await connection.commit()
            await connection.run_sync(upgrade_service, "metrics", "0009")
            await connection.exec_driver_sql(
                "INSERT INTO metrics.versions SELECT * FROM jsonb_populate_recordset(NULL::metrics.versions, $1::text::jsonb)",
                (versions,),
            )
            await connection.commit()
            await connection.run_sync(upgrade_service, "metrics")
            await connection.exec_driver_sql("UPDATE metrics.backfills SET done_at = NULL, position = NULL")
            await connection.commit()
            await connection.run_sync(upgrade_service, "metrics")
        await engine.dispose()
        upgraded = open_tables(database, publisher)

        assert await upgraded.fetch(LINES) == await tables.fetch(LINES)
        await upgraded.engine.dispose()


async def test_deleted_instance_leaves_no_lines(tables: Tables) -> None:
    await read_by_a_run(tables, [header_of(5), lines_of(5, line(1))])

    await delete_instance(tables.engine, INSTANCE_KEY)

    assert await tables.content("invoice_lines", "history") == {"invoice_lines": [], "history": []}


async def test_progress_counts_invoices_with_lines(tables: Tables) -> None:
    service = fact(Kind.SERVICE, subscription(1, 7), seq=1)
    headers = [header_of(number) for number in (5, 6, 7)]

    first = await read_by_a_run(tables, [service, *headers, lines_of(7, line(1))])
    second = await read_by_a_run(tables, [lines_of(6, line(1), epoch=2), header_of(8, epoch=2)])
    removed = fact(Kind.INVOICE, 5, seq=1, epoch=3)
    third = await read_by_a_run(tables, [removed, lines_of(8, epoch=3)])

    assert [first, second, third] == [[(False, 3, 1)], [(False, 4, 2)], [(True, 3, 3)]]


async def test_lines_of_a_run_under_way_are_not_counted(tables: Tables) -> None:
    service = fact(Kind.SERVICE, subscription(1, 7), seq=1)
    await tables.take([service, header_of(5)])
    await tables.end_run(Kind.INVOICE)
    await tables.take([header_of(6, epoch=9), lines_of(5, line(1), epoch=9)])

    await tables.compute()

    assert await tables.ask_as_gateway(PROGRESS) == [(False, 1, 0)]


async def test_shuffled_lines_have_the_same_rows(tables: Tables, others: Tables) -> None:
    records = [lines_of(number, line(number), epoch=epoch) for number in range(9) for epoch in (1, 2)]
    shuffled = random.Random(3).choices(records, k=60) + records
    await tables.take(records)
    for start in range(0, len(shuffled), 7):
        await others.take(shuffled[start : start + 7])

    assert await others.fetch(LINES) == await tables.fetch(LINES)


async def test_history_is_published_in_one_step_and_not_earlier(tables: Tables) -> None:
    *most, last = history()
    await read_by_a_run(tables, most)
    before = await tables.ask_as_gateway(SEGMENTS), await first_days(tables)
    await tables.take([with_header(last, "ce_epoch", b"2")])
    await tables.compute()
    waiting = await tables.ask_as_gateway(SEGMENTS), await first_days(tables)

    await tables.apply(more=[Kind.INVOICE])

    assert before == waiting == ([], {FIRST_SYNC})
    assert await tables.ask_as_gateway(SEGMENTS) == [
        (date(2025, 1, 21), date(2025, 9, 5), 10_000_000, "invoice", "non_payment")
    ]
    assert await first_days(tables) == {FIRST_INVOICE}


FIGURES = ("segments", "issues", "gaps", "movements", "customer_days")


async def published(tables: Tables, records: Sequence[Record], batch: int = 7) -> Tables:
    """Store facts in batches and publish the history."""
    for start in range(0, len(records), batch):
        await tables.take(records[start : start + batch])
    await tables.apply(more=[Kind.INVOICE])
    return tables


def two_customers() -> list[Record]:
    """Return the history of a customer, and that of another one to whom a service moved before the first sync."""
    moved = [
        fact(Kind.SERVICE, subscription(2, 8, next_due_on="2026-06-21"), seq=1),
        *bill(20, 10, 7, related_id=2),
        *bill(21, 11, 8, related_id=2),
    ]
    details = [
        fact(Kind.CUSTOMER, customer(7, group_id=3), seq=1),
        fact(Kind.CUSTOMER_DETAIL, customer_detail(7) | {"country": "DE"}, seq=1),
    ]
    return [*history(), *moved, *details]


async def test_shuffled_facts_give_the_same_history(tables: Tables, others: Tables) -> None:
    records = two_customers()
    shuffled = random.Random(4).choices(records, k=40) + random.Random(5).sample(records, len(records))
    await published(tables, records)
    await published(others, shuffled, batch=5)

    assert await others.content(*FIGURES) == await tables.content(*FIGURES)
    assert len(await tables.fetch("SELECT DISTINCT id, customer_id FROM metrics.segments")) == 3


@pytest.mark.parametrize("first", [0, 1])
async def test_header_and_lines_may_come_after_publication(
    tables: Tables, others: Tables, first: int
) -> None:
    late = bill(9, 8)
    await published(tables, history())
    for record in (late[first], late[1 - first]):
        await tables.take([record])
        await tables.compute()
    await published(others, [*history(), *late])

    assert await others.content(*FIGURES) == await tables.content(*FIGURES)


async def test_facts_of_the_next_run_wait_for_it(tables: Tables, others: Tables) -> None:
    """They are stored before the history is ready, so they have no mark. The next run computes them all the same."""
    await tables.take(history())
    await tables.end_run(Kind.INVOICE)
    await tables.take(bill(9, 8, epoch=2))
    await tables.compute()
    before = await tables.ask_as_gateway(SEGMENTS)
    await tables.apply(more=[Kind.INVOICE])
    await published(others, [*history(), *bill(9, 8)])

    assert [to_on for _, to_on, *_ in before] == [date(2025, 9, 5)]
    assert await others.content(*FIGURES) == await tables.content(*FIGURES)


async def test_second_recalculation_writes_nothing(tables: Tables) -> None:
    await published(tables, two_customers())
    before = await tables.places(*FIGURES)
    await tables.mark_all()
    await tables.execute("UPDATE metrics.history SET rules = 'other'")

    await tables.apply(more=[Kind.INVOICE])

    assert await tables.places(*FIGURES) == before


async def test_broken_off_publication_is_repeated(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    await tables.take(history())
    await tables.end_run(Kind.INVOICE)
    computing = Computing(tables.engine)
    assert await computing.compute_next(asyncio.Event())
    with monkeypatch.context() as breaking:
        breaking.setattr(steps.coverage, "store", fail)
        assert not await computing.compute_next(asyncio.Event())
    broken_off = await tables.ask_as_gateway(SEGMENTS), await first_days(tables)

    await tables.compute()

    assert broken_off == ([], {FIRST_SYNC})
    assert len(await tables.ask_as_gateway(SEGMENTS)) == 1
    assert await first_days(tables) == {FIRST_INVOICE}


async def fail(*_: object, **__: object) -> None:
    raise OSError("broken off")


async def test_setting_cuts_the_history_at_once(tables: Tables) -> None:
    await published(tables, history())
    days = []
    for version, start in enumerate([date(2025, 5, 1), None], start=2):
        await tables.add_instance(instance(version, settings=InstanceSettings(history_start=start)))
        await tables.compute()
        days.append(await first_days(tables))

    assert days == [{date(2025, 5, 1)}, {FIRST_INVOICE}]


async def test_history_waits_until_invoices_are_read_whole(tables: Tables) -> None:
    await tables.take(history())

    await tables.apply()

    assert await tables.fetch("SELECT FROM metrics.history") == []
    assert await first_days(tables) == {FIRST_SYNC}


async def test_new_invoices_do_not_hold_up_the_history(tables: Tables) -> None:
    await read_by_a_run(tables, [*history(), header_of(50)])

    waiting = await first_days(tables)
    await read_by_a_run(tables, [lines_of(50, epoch=2), header_of(51, epoch=2)])

    assert waiting == {FIRST_SYNC}
    assert await first_days(tables) == {FIRST_INVOICE}


async def test_large_customer_has_the_same_history(
    tables: Tables, others: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    await published(tables, two_customers())
    monkeypatch.setattr(batches, "SUBSCRIPTIONS_AT_ONCE", 1)
    await published(others, [*two_customers(), fact(Kind.SERVICE, subscription(3, 7, status="fraud"), seq=1)])

    assert await others.content(*FIGURES) == await tables.content(*FIGURES)


async def test_segments_have_the_group_and_country_of_their_customer(tables: Tables) -> None:
    await published(tables, two_customers())

    assert await tables.fetch(
        "SELECT DISTINCT id, customer_id, customer_group, country FROM metrics.segments ORDER BY 1, 2"
    ) == [(1, 7, "3", "DE"), (2, 7, "3", "DE"), (2, 8, None, None)]
