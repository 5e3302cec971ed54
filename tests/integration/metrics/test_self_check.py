"""The self-check sees movements that do not add up, and lets their customers be computed again."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from libs.common.database import raw, transaction
from services.metrics.repository import instances
from services.metrics.self_check import SelfCheck
from tests.builders import INSTANCE_KEY, book
from tests.integration.metrics.conftest import Tables

AT_NIGHT = datetime(2026, 4, 2, 2, 30, tzinfo=UTC)
BREAK = {
    "amount": """UPDATE metrics.movements SET amount_micros = amount_micros + 1
        WHERE (customer_id, "on", lens, number) = (
            SELECT customer_id, "on", lens, number FROM metrics.movements WHERE lens = 'contract' LIMIT 1)""",
    "row": "DELETE FROM metrics.movements WHERE customer_id = 7",
    "day": "DELETE FROM metrics.customer_days WHERE customer_id = 7",
    "segment": "DELETE FROM metrics.segments WHERE customer_id = 7",
    "two that hide each other": """UPDATE metrics.movements SET amount_micros = amount_micros
        + CASE customer_id WHEN 7 THEN 1 ELSE -1 END
        WHERE customer_id IN (7, 8) AND number = 1 AND "on" = '2026-03-01' AND lens = 'active'""",
}


async def check(tables: Tables, at: datetime = AT_NIGHT) -> None:
    await SelfCheck(tables.engine, lambda: at).check_when_due(asyncio.Event())


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
async def computed(tables: Tables) -> Tables:
    """Yield figures of a random book."""
    await tables.take_all(book(3))
    return tables


async def test_check_of_everything_counts_days(computed: Tables) -> None:
    await computed.execute(BREAK["amount"])

    first = await SelfCheck(computed.engine).check_all()
    second = await SelfCheck(computed.engine).check_all()

    assert (first.days > 0, second.days, second.busy_parts) == (True, 0, 0)


async def test_check_of_sound_figures_is_silent(computed: Tables, caplog: pytest.LogCaptureFixture) -> None:
    await check(computed)

    assert errors(caplog) == []
    assert (await computed.content("dirty"))["dirty"] == []


@pytest.mark.parametrize("fault", BREAK)
async def test_check_at_night_finds_a_broken_row(
    computed: Tables, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    await computed.execute(BREAK[fault])

    await check(computed)

    assert errors(caplog)
    assert {record.getMessage() for record in errors(caplog)} == {
        "Movements do not add up to MRR; computing their customers again"
    }


async def test_broken_movements_are_computed_again(
    computed: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    content = await computed.content("movements", "customer_days")
    await computed.execute(BREAK["amount"])
    await computed.execute(BREAK["day"])

    await check(computed)
    await computed.compute()

    assert await computed.content("movements", "customer_days") == content
    caplog.clear()
    await check(computed)
    assert errors(caplog) == []


async def test_hourly_checks_of_a_day_look_at_all_customers(
    computed: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    await computed.execute("DELETE FROM metrics.movements")
    customers = await computed.fetch("SELECT DISTINCT customer_id FROM metrics.segments")

    for hour in range(24):
        if hour != AT_NIGHT.hour:
            await check(computed, AT_NIGHT.replace(hour=hour))
    await check(computed, AT_NIGHT.replace(hour=2))

    marked = await computed.fetch("SELECT DISTINCT customer_id FROM metrics.dirty")
    assert sorted(marked) == sorted(customers)
    assert len(errors(caplog)) > 24


async def test_an_hour_is_checked_once(computed: Tables) -> None:
    checking = SelfCheck(computed.engine, lambda: AT_NIGHT)
    assert await checking.check_when_due(asyncio.Event()) == 24
    assert await checking.check_when_due(asyncio.Event()) == 0


async def test_check_waits_for_a_worker_that_computes(computed: Tables) -> None:
    checking = SelfCheck(computed.engine, lambda: AT_NIGHT)
    async with transaction(computed.engine) as connection:
        assert await instances.claim(await raw(connection), INSTANCE_KEY)
        meanwhile = await checking.check_when_due(asyncio.Event())

    assert (meanwhile, await checking.check_when_due(asyncio.Event())) == (0, 24)
