"""Lines that WHMCS does not return hold up no history, and the last line brings it at once."""

from datetime import UTC, datetime
from typing import Any

import orjson

from libs.common.contracts.billing import Kind
from libs.common.contracts.sync import DetailsProgressed, KindProgress
from services.metrics.lines_read import note_lines
from tests.builders import INSTANCE_KEY
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_history import (
    FIRST_INVOICE,
    FIRST_SYNC,
    first_days,
    header_of,
    history,
    read_by_a_run,
)


async def report(tables: Tables, rows: int, expected: int, waiting: int) -> list[dict[str, Any]]:
    """Report how many lines the connector has read, and return the commands that metrics sends from then on."""
    progressed = DetailsProgressed(
        instance_id=INSTANCE_KEY.instance_id,
        kinds={Kind.INVOICE_LINES: KindProgress(rows=rows, expected=expected)},
        waiting={Kind.INVOICE_LINES: waiting},
    )
    await note_lines(tables.engine, INSTANCE_KEY, progressed, datetime(2026, 1, 1, tzinfo=UTC))
    rows_of = await tables.fetch("SELECT convert_from(body, 'UTF8') FROM metrics.outbox ORDER BY id")
    return [orjson.loads(body) for (body,) in rows_of]


async def test_missing_lines_do_not_hold_up_the_history(tables: Tables) -> None:
    await read_by_a_run(tables, [*history(), header_of(50)])
    waiting = await first_days(tables)

    await report(tables, rows=7, expected=8, waiting=0)
    await tables.apply(more=[Kind.INVOICE])

    assert waiting == {FIRST_SYNC}
    assert await first_days(tables) == {FIRST_INVOICE}
    shown = "SELECT is_published, invoices, invoices_read, set_aside FROM metrics_read.history"
    assert await tables.ask_as_gateway(shown) == [(True, 8, 7, 1)]


async def test_lines_that_wait_hold_up_the_history(tables: Tables) -> None:
    await read_by_a_run(tables, [*history(), header_of(50)])

    commands = await report(tables, rows=7, expected=8, waiting=1)
    await tables.apply(more=[Kind.INVOICE])

    assert commands == []
    assert await first_days(tables) == {FIRST_SYNC}


async def test_last_line_brings_the_history_at_once(tables: Tables) -> None:
    await read_by_a_run(tables, [*history(), header_of(50)])

    commands = [await report(tables, rows=8, expected=8, waiting=0) for _ in range(2)][-1]

    [command] = commands
    assert (command["mode"], command["instance_id"]) == ("incremental", str(INSTANCE_KEY.instance_id))


async def test_published_history_asks_for_no_run(tables: Tables) -> None:
    await read_by_a_run(tables, history())

    assert await report(tables, rows=7, expected=7, waiting=0) == []
