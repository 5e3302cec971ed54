"""Data of an older version: its figures stay readable, and this version computes them anew from the same facts."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.kafka.publisher import Publisher
from libs.common.migrations import upgrade_service
from tests.builders import (
    INSTANCE,
    ORGANIZATION,
    book,
    cancellation_request,
    customer_detail,
    fact,
    subscription,
)
from tests.integration.metrics.conftest import Tables, open_tables
from tests.integration.metrics.test_runs import NOON, ended
from tests.servers import Database, Postgres, at_revision

# Midnight in Lisbon was at 23:00 UTC: the run ended on 2 April there.
LEFT = [
    """INSERT INTO metrics.instances VALUES ($1, $2, 'Main', 'active', '{"time_zone": "Europe/Lisbon"}', 1)""",
    """INSERT INTO metrics.freshness
        (organization_id, instance_id, run_id, as_of, first_at, last_at, kinds, first_read_at)
    VALUES ($1, $2, gen_random_uuid(), '2026-04-01T22:50:00Z', '2026-03-01T12:05:00Z', '2026-04-01T23:10:00Z',
        '{"service": {"read_at": "2026-04-01T22:50:00+00:00"}, "addon": {"read_at": "2026-03-20T10:00:00+00:00",
            "code": "permission_missing", "action": "GetClientsAddons", "required": true},
        "domain": {"read_at": null, "code": "permission_missing", "action": "GetClientsDomains", "required": true}}',
        '{"service": "2026-03-01T12:05:00+00:00", "addon": "2026-03-02T12:05:00+00:00"}')""",
    """INSERT INTO metrics.segments (organization_id, instance_id, kind, id, lens, from_on, to_on, customer_id, currency,
        mrr_micros, product, cycle, status, basis)
    VALUES ($1, $2, 'service', 1, 'active', '2026-02-28', NULL, 7, 'EUR', 5, 'service:1', 'monthly', 'active', 'observed'),
        ($1, $2, 'addon', 1, 'active', '2026-03-02', '2026-03-25', 7, 'EUR', 7, 'addon:1', 'monthly', 'active', 'observed')""",
]
# The epoch that the run of the older version covers: its end, in seconds.
APPLIED = int(datetime(2026, 4, 1, 23, 10, tzinfo=UTC).timestamp())
LEDGER = """SELECT kind, sum(mrr_micros)::bigint FROM metrics_read.ledger WHERE lens = 'active' GROUP BY 1 ORDER BY 1"""
COVERAGE = """SELECT kind, first_on, last_on, closed_before, code FROM metrics_read.coverage ORDER BY kind"""


async def leave_behind(database: Database) -> None:
    """Bring an empty database to version 0002, fill it, and migrate it to the newest version."""
    async with at_revision(database, "metrics", "0002") as connection:
        for statement in LEFT:
            await connection.exec_driver_sql(statement, (ORGANIZATION, INSTANCE))
        await connection.commit()
        await connection.run_sync(upgrade_service, "metrics")


async def test_figures_of_an_older_version_stay_until_computed_anew(
    postgres: Postgres, publisher: Publisher
) -> None:
    with postgres.empty_database() as database:
        await leave_behind(database)
        tables = open_tables(database, publisher)
        left = await tables.ask_as_gateway(LEDGER)
        days = await tables.ask_as_gateway(COVERAGE)

        await tables.take(
            [
                fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=1, epoch=APPLIED - 1200),
                fact(Kind.SERVICE, subscription(1, 7), seq=2, epoch=APPLIED - 1200),
            ]
        )
        await tables.compute()
        anew = await tables.ask_as_gateway(LEDGER)
        zones = await tables.fetch("SELECT time_zone, epoch FROM metrics.freshness")
        await tables.engine.dispose()

    assert left == [("addon", 7), ("service", 5)]
    assert days == [
        ("addon", date(2026, 3, 2), date(2026, 3, 20), date(2026, 3, 20), "permission_missing"),
        ("domain", None, None, None, "permission_missing"),
        ("service", date(2026, 3, 1), date(2026, 4, 2), date(2026, 4, 1), None),
    ]
    assert anew == [("addon", 7), ("service", 10_000_000)]
    assert zones == [("Europe/Lisbon", APPLIED)]


MRR = "SELECT id, mrr_micros FROM metrics.segments WHERE lens = 'active' AND to_on IS NULL ORDER BY 1"
EPOCH = int(NOON.timestamp())


async def applied_by_the_version_before(tables: Tables) -> None:
    """Store one service, and a freshness with neither epoch nor time zone."""
    await tables.take(
        [
            fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=1, epoch=EPOCH),
            fact(Kind.SERVICE, subscription(1, 7), seq=2, epoch=EPOCH),
        ]
    )
    await ended(tables, epoch=EPOCH)
    await tables.compute()
    await tables.execute("UPDATE metrics.freshness SET epoch = NULL, time_zone = NULL")
    await tables.execute("UPDATE metrics.coverage SET epoch = NULL")


async def test_half_a_run_after_an_upgrade_changes_no_figure(tables: Tables) -> None:
    await applied_by_the_version_before(tables)
    later = EPOCH + 900

    await tables.take(
        [fact(Kind.SERVICE, subscription(1, 7, status="cancelled"), seq=1, epoch=later, day=0.01)]
    )
    await tables.compute()
    half = await tables.fetch(MRR)
    await tables.take([fact(Kind.SERVICE, subscription(2, 7), seq=2, epoch=later, day=0.01)])
    await ended(tables, NOON + timedelta(minutes=15), epoch=later)
    await tables.compute()

    assert half == [(1, 10_000_000)]
    assert await tables.fetch(MRR) == [(2, 10_000_000)]


async def test_mark_without_an_epoch_waits_for_its_run(tables: Tables) -> None:
    """A replica of the older version stores a fact of a run under way while a new replica computes."""
    await applied_by_the_version_before(tables)
    await tables.compute()
    dearer = subscription(1, 7, recurring_micros=30_000_000)
    await tables.take([fact(Kind.SERVICE, dearer, seq=1, epoch=EPOCH + 900)])
    await tables.execute("UPDATE metrics.dirty SET epoch = DEFAULT")

    await tables.compute()
    waiting = await tables.fetch(MRR)
    # The run that ends is an older one. The mark gets the epoch of the newest fact, and waits.
    await ended(tables, NOON + timedelta(minutes=10), epoch=EPOCH + 600)
    await tables.compute()
    dated = await tables.fetch("SELECT customer_id, epoch FROM metrics.dirty")
    await ended(tables, NOON + timedelta(minutes=15), epoch=EPOCH + 900)
    await tables.compute()

    assert waiting == [(1, 10_000_000)]
    assert dated == [(7, EPOCH + 900)]
    assert await tables.fetch(MRR) == [(1, 30_000_000)]
    assert await tables.fetch("SELECT FROM metrics.dirty") == []


async def test_run_without_an_epoch_counts_facts_until_its_end(tables: Tables) -> None:
    await tables.take(
        [
            fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=1, epoch=EPOCH),
            fact(Kind.SERVICE, subscription(1, 7), seq=2, epoch=EPOCH),
            fact(Kind.SERVICE, subscription(2, 7), seq=1, epoch=EPOCH + 900),
        ]
    )
    seen = []
    for minutes in (0, 15):
        await ended(tables, NOON + timedelta(minutes=minutes))
        await tables.execute("UPDATE metrics.runs SET epoch = NULL")
        await tables.compute()
        seen.append(await tables.fetch("SELECT DISTINCT id FROM metrics.segments ORDER BY 1"))

    assert seen == [[(1,)], [(1,), (2,)]]


MONEY = {"in_micros": 1, "out_micros": 0, "fee_micros": 0}
PAID: dict[str, Any] = {"currency": None, "on": None, "gateway": None, "rate": "1", "refund_id": None} | MONEY


def facts_of_all_kinds() -> list[Record]:
    """Return facts of all kinds, among them tombstones."""
    rare: list[tuple[Kind, dict[str, Any]]] = [
        (Kind.TRANSACTION, {"id": 1, "customer_id": 7, "invoice_id": 5} | PAID),
        (Kind.TRANSACTION, {"id": 2, "customer_id": None, "invoice_id": 5} | PAID),
        (Kind.TRANSACTION, {"id": 3, "customer_id": None, "invoice_id": None} | PAID),
        (Kind.INVOICE_LINES, {"id": 5, "lines": [], "payments": []}),
        (Kind.CURRENCY, {"id": 1, "code": "EUR", "rate": "1", "is_default": True}),
        (
            Kind.PRODUCT,
            {
                "id": 1,
                "name": "",
                "group_id": None,
                "kind": "",
                "pay_type": "",
                "prices": {},
                "retired": False,
            },
        ),
        (
            Kind.PROMOTION,
            {"id": 1, "code": "", "type": "", "recurring": True, "value": "1", "recurs_for": 0},
        ),
    ]
    return [
        *book(3, customers=30, days=8),
        *(fact(kind, body, seq=1000 + number) for number, (kind, body) in enumerate(rare)),
    ]


async def copy_without_owners(source: Tables, execute: Callable[..., Awaitable[None]]) -> None:
    """Write the stored facts of one database into another as versions before 0005 write them."""
    for table in ("versions", "records"):
        [(rows,)] = await source.fetch(
            f"SELECT jsonb_agg(to_jsonb(t) - 'owner_kind' - 'owner_id')::text FROM metrics.{table} t"  # noqa: S608  fixed names
        )
        [(names,)] = await source.fetch(
            """SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0
            AND attname NOT IN ('owner_kind', 'owner_id', 'digest')""",
            f"metrics.{table}",
        )
        await execute(
            f"""INSERT INTO metrics.{table} ({names})
            SELECT {names} FROM jsonb_populate_recordset(NULL::metrics.{table}, $1::text::jsonb)""",  # noqa: S608  fixed names
            rows,
        )


async def check_same_figures(ours: Tables, theirs: Tables) -> None:
    assert await ours.content("versions") == await theirs.content("versions")
    for database in (ours, theirs):
        await database.mark_all()
        await database.apply()
    assert await ours.content("segments", "issues") == await theirs.content("segments", "issues")
    assert (await ours.content("segments"))["segments"] != []


async def test_versions_without_owner_get_one(
    postgres: Postgres, publisher: Publisher, tables: Tables
) -> None:
    await tables.take(facts_of_all_kinds())
    with postgres.empty_database() as database:
        async with at_revision(database, "metrics", "0004") as connection:

            async def execute(statement: str, *values: Any) -> None:
                await connection.exec_driver_sql(statement, values)

            await copy_without_owners(tables, execute)
            await connection.commit()
            await connection.run_sync(upgrade_service, "metrics")
        upgraded = open_tables(database, publisher)
        await upgraded.add_instance()
        await check_same_figures(upgraded, tables)
        await upgraded.engine.dispose()


async def test_version_before_still_writes_owners(tables: Tables, others: Tables) -> None:
    """A replica of the older version stores facts while a new one runs. A request then finds its customer through them."""
    await tables.take(facts_of_all_kinds())

    await copy_without_owners(tables, others.execute)

    await check_same_figures(others, tables)
    [(service_id,)] = await tables.fetch(
        "SELECT max(id) FROM metrics.segments WHERE kind = 'service' AND lens = 'contract'"
    )
    asked = fact(Kind.CANCELLATION_REQUEST, cancellation_request(9000, service_id), seq=9, epoch=99)
    for database in (tables, others):
        await database.take([asked])
        assert await database.fetch("SELECT count(*) FROM metrics.dirty") != [(0,)]
    await check_same_figures(others, tables)
