"""From facts to the API, days are those of the calendar, on the day on which clocks change and in zones that PostgreSQL reads otherwise."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceSettings
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings
from tests.builders import FIRST_SEEN, INSTANCE, ORGANIZATION, customer_detail, fact, instance, subscription
from tests.integration.gateway.books import ask, points_of
from tests.integration.gateway.conftest import Gateway
from tests.integration.metrics.conftest import Tables, open_tables
from tests.integration.metrics.test_runs import ended
from tests.servers import Database

DAY = timedelta(days=1)
# In the night of 29 March 2026 Europe set its clocks forward: CET was two hours ahead of UTC that evening, Lisbon one hour.
SEEN_AT = datetime(2026, 3, 29, 22, 30, tzinfo=UTC)


@pytest.fixture
async def tables(database: Database, gateway: Gateway) -> AsyncIterator[Tables]:
    """The tables of metrics in the database of the gateway."""
    publisher = Publisher(KafkaSettings(kafka_bootstrap="127.0.0.1:1"))
    tables = open_tables(database, publisher)
    yield tables
    await tables.engine.dispose()
    await publisher.close()


@pytest.mark.parametrize(
    ("time_zone", "seen_on"),
    [
        ("UTC", date(2026, 3, 29)),
        ("Europe/Lisbon", date(2026, 3, 29)),
        ("CET", date(2026, 3, 30)),
        ("EET", date(2026, 3, 30)),
        ("America/New_York", date(2026, 3, 29)),
    ],
)
async def test_day_is_the_same_from_facts_to_figures(
    gateway: Gateway, tables: Tables, time_zone: str, seen_on: date
) -> None:
    await add_everywhere(gateway, tables, time_zone)
    await tables.take(
        [
            fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=1),
            fact(Kind.SERVICE, subscription(1, 7), seq=2),
        ]
    )
    await ended(tables, FIRST_SEEN, epoch=1)
    dearer = subscription(1, 7, recurring_micros=30_000_000)
    await tables.take([fact(Kind.SERVICE, dearer, seq=1, epoch=2, day=(SEEN_AT - FIRST_SEEN) / DAY)])
    await ended(tables, SEEN_AT - timedelta(minutes=5), minutes=10, epoch=2)
    await tables.compute()
    gateway.clock.now = SEEN_AT + timedelta(minutes=10)

    answer = await ask(gateway, ORGANIZATION, "mrr", start=seen_on - DAY, end=seen_on + DAY)

    first_on = FIRST_SEEN.date()
    assert [(point.on, point.value, point.complete) for point in points_of(answer, currency="EUR")] == [
        (seen_on - DAY, "10.000000", True),
        (seen_on, "30.000000", False),
    ]
    assert await tables.ask_as_gateway("SELECT time_zone, first_on, last_on FROM metrics_read.freshness") == [
        (time_zone, first_on, seen_on)
    ]
    starts = "SELECT from_on FROM metrics_read.segments WHERE lens = 'contract' ORDER BY 1"
    assert await tables.ask_as_gateway(starts) == [(first_on,), (seen_on,)]


async def add_everywhere(gateway: Gateway, tables: Tables, time_zone: str) -> None:
    """One instance that gateway and metrics know."""
    settings = InstanceSettings(time_zone=time_zone)
    await tables.add_instance(instance(settings=settings))
    await gateway.execute(
        "INSERT INTO gateway.organizations (organization_id, name, slug) VALUES (:id, 'Nimbus', 'nimbus')",
        id=ORGANIZATION,
    )
    await gateway.execute(
        """INSERT INTO gateway.instances (organization_id, instance_id, name, address, state, settings, version, created_at)
        VALUES (:organization, :id, 'Main', 'https://example.com', 'active', CAST(:settings AS jsonb), 1, now())""",
        organization=ORGANIZATION,
        id=INSTANCE,
        settings=settings.model_dump_json(),
    )


async def test_no_view_turns_a_moment_into_a_day(gateway: Gateway) -> None:
    rows = await gateway.execute(
        "SELECT viewname, definition FROM pg_views WHERE schemaname = 'metrics_read'"
    )

    assert len(rows) > 5
    assert [name for name, text in rows if "timezone(" in text.lower() or "time zone" in text.lower()] == []
