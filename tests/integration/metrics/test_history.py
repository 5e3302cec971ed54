"""Invoice lines as rows of their own, and how far the history of an instance is read."""

import random
from collections.abc import Sequence
from typing import Any

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.database import build_engine
from libs.common.kafka.publisher import Publisher
from libs.common.migrations import prepare, upgrade_service
from libs.common.settings import PostgresSettings
from services.metrics.instances import delete_instance
from tests.builders import INSTANCE_KEY, fact, invoice, invoice_lines, subscription
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


async def read_by_a_run(tables: Tables, records: Sequence[Record]) -> list[tuple[Any, ...]]:
    """Store facts and apply a run that covers them; return how far the history is read then."""
    await tables.take(records)
    await tables.apply()
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

    assert [first, second, third] == [[(False, 3, 1)], [(False, 4, 2)], [(False, 3, 3)]]


async def test_lines_of_a_run_under_way_are_not_counted(tables: Tables) -> None:
    service = fact(Kind.SERVICE, subscription(1, 7), seq=1)
    await tables.take([service, header_of(5)])
    await tables.end_run()
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
