"""When a run is applied, what it covers of each kind, and what stays of a deleted instance."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey, InstanceSettings
from libs.common.contracts.lenses import Lens
from libs.common.database import raw, transaction
from services.metrics.formulas.coverage import Run, Skipped
from services.metrics.formulas.evidence import Dated, Evidence, Observation
from services.metrics.formulas.timeline import timeline
from services.metrics.instances import delete_instance
from services.metrics.repository import positions
from services.metrics.repository.positions import Position
from services.metrics.runs import store_run
from tests.builders import INSTANCE, ORGANIZATION, book, fact, instance, invoice, subscription
from tests.integration.metrics.conftest import Tables

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
READ: dict[str, Any] = {"read_at": None}
SUBSCRIPTIONS = dict.fromkeys(("service", "addon", "domain"), READ)


async def ended(
    tables: Tables,
    started_at: datetime = NOON,
    *,
    minutes: int = 5,
    positions: dict[str, dict[int, int]] | None = None,
    kinds: dict[str, dict[str, Any]] = SUBSCRIPTIONS,
    epoch: int | None = None,
) -> UUID:
    """Store a run of so many minutes that ended well; returns its id."""
    run_id, ended_at = uuid4(), started_at + timedelta(minutes=minutes)
    skipped = {
        kind: Skipped(values["action"], values["code"], values["required"])
        for kind, values in kinds.items()
        if "code" in values
    }
    read = frozenset(kinds.keys() - skipped.keys())
    run = Run(
        run_id, started_at, ended_at, int(ended_at.timestamp()) if epoch is None else epoch, read, skipped
    )
    await store_run(tables.engine, InstanceKey(ORGANIZATION, INSTANCE), run, positions or {})
    return run_id


async def applied(tables: Tables) -> UUID | None:
    """Compute what is due and return the run that is applied then."""
    await tables.compute()
    rows = await tables.fetch("SELECT run_id FROM metrics.freshness WHERE instance_id = $1", INSTANCE)
    return rows[0][0] if rows else None


async def reach(tables: Tables, *reached: Position) -> None:
    async with transaction(tables.engine) as connection:
        await positions.store(await raw(connection), reached)


async def freshness(tables: Tables) -> tuple[Any, ...]:
    """Return what the gateway sees: run, as_of, first and last day."""
    [row] = await tables.ask_as_gateway("SELECT run_id, as_of, first_on, last_on FROM metrics_read.freshness")
    return row


async def shown(tables: Tables, column: str) -> dict[str, Any]:
    """Return a column of jsonb of the view `freshness`."""
    [(text,)] = await tables.ask_as_gateway(f"SELECT {column}::text FROM metrics_read.freshness")  # noqa: S608  fixed names
    values: dict[str, Any] = orjson.loads(text)
    return values


async def test_run_is_applied_once_all_its_positions_are_reached(tables: Tables) -> None:
    ends = {"billing.customers": {3: 10, 4: 0}, "billing.invoices": {0: 7}}
    run_id = await ended(tables, positions=ends)
    seen = []

    for place in (("billing.customers", 3, 9), ("billing.invoices", 0, 8), ("billing.customers", 3, 10)):
        await reach(tables, Position(*place))
        seen.append(await applied(tables))

    assert seen == [None, None, run_id]
    assert await freshness(tables) == (run_id, NOON, date(2026, 3, 1), date(2026, 3, 1))


async def test_position_never_moves_back(tables: Tables) -> None:
    run_id = await ended(tables, positions={"billing.customers": {3: 10}})

    await reach(tables, Position("billing.customers", 3, 10))
    await reach(tables, Position("billing.customers", 3, 9))

    assert await applied(tables) == run_id


async def test_run_waits_for_its_instance(tables: Tables) -> None:
    await tables.execute("DELETE FROM metrics.instances")
    run_id = await ended(tables)

    before = await applied(tables)
    await tables.add_instance()

    assert (before, await applied(tables)) == (None, run_id)


async def test_newer_run_covers_older_ones(tables: Tables) -> None:
    newer = await ended(tables, NOON)
    await ended(tables, NOON - timedelta(hours=1))

    assert await applied(tables) == newer
    assert (await freshness(tables))[:2] == (newer, NOON)
    await ended(tables, NOON)
    assert await applied(tables) == newer
    assert await tables.fetch("SELECT * FROM metrics.runs") == []


@pytest.mark.parametrize(
    "impossible",
    [
        {"billing.customers": {3: 2**70}},
        {"billing.customers": {99999999999: 1}},
        {"billing.nothing": {0: 1}},
    ],
    ids=["position", "partition", "topic"],
)
async def test_run_that_is_never_complete_blocks_nothing(tables: Tables, impossible: Any) -> None:
    other = UUID(int=2, version=4)
    await tables.add_instance(instance(instance_id=other))
    await ended(tables, NOON, positions=impossible)
    stuck = await applied(tables)

    newer = await ended(tables, NOON + timedelta(minutes=15))

    assert (stuck, await applied(tables)) == (None, newer)
    assert await tables.fetch("SELECT * FROM metrics.runs") == []


async def test_known_days_reach_from_first_to_last_end_of_a_run(
    tables: Tables,
) -> None:
    await tables.add_instance(instance(2, settings=InstanceSettings(time_zone="Pacific/Auckland")))
    await ended(tables, NOON - timedelta(hours=2), minutes=59)
    await applied(tables)
    first = await freshness(tables)

    await ended(tables, NOON - timedelta(minutes=90), minutes=31)
    await applied(tables)

    assert first[2:] == (date(2026, 3, 1), date(2026, 3, 1))
    assert (await freshness(tables))[2:] == (date(2026, 3, 1), date(2026, 3, 2))


async def test_known_days_follow_the_time_zone_of_the_instance(tables: Tables) -> None:
    for hours in (0, 24):
        await ended(tables, NOON + timedelta(hours=hours))
        await applied(tables)
    seen = [(await freshness(tables))[2:]]

    for version, zone in enumerate(("Pacific/Auckland", "Pacific/Midway"), 2):
        await tables.add_instance(instance(version, settings=InstanceSettings(time_zone=zone)))
        await tables.compute()
        seen.append((await freshness(tables))[2:])

    assert seen == [
        (date(2026, 3, 1), date(2026, 3, 2)),
        (date(2026, 3, 2), date(2026, 3, 3)),
        (date(2026, 3, 1), date(2026, 3, 2)),
    ]


async def test_first_reading_of_a_kind_is_kept(tables: Tables) -> None:
    refused = {"action": "GetClientsAddons", "code": "permission_missing", "required": True, "read_at": None}
    seen = []
    for hours, addon in enumerate((refused, READ, READ, refused)):
        await ended(tables, NOON + timedelta(hours=hours), kinds={"addon": addon, "service": READ})
        await applied(tables)
        seen.append(await shown(tables, "first_read_at"))

    services = {"service": "2026-03-01T12:05:00+00:00"}
    assert seen == [services, *[services | {"addon": "2026-03-01T13:05:00+00:00"}] * 3]


async def contract(tables: Tables) -> list[tuple[date, date]]:
    """Return the days on which each service counts by contract."""
    query = "SELECT id, from_on, to_on FROM metrics.segments WHERE lens = 'contract' ORDER BY id, from_on"
    return [row[1:] for row in await tables.fetch(query)]


@pytest.mark.parametrize("was_seen_unpaid", [False, True])
async def test_subscription_paid_between_syncs_never_ended(tables: Tables, was_seen_unpaid: bool) -> None:
    """The service is paid until 21 March, so it is in grace until 4 April. A sync sees the payment on 9 April."""
    await tables.take_all([fact(Kind.INVOICE, invoice(1, 7), seq=1)])
    await tables.take_all([fact(Kind.SERVICE, subscription(1, 7), seq=2)])
    days = (0, 20, 35, 39) if was_seen_unpaid else (0, 20, 39)

    for day in days:
        if day == 39:
            paid = subscription(1, 7, next_due_on="2026-04-21")
            await tables.take_all([fact(Kind.SERVICE, paid, seq=3, day=39)])
        await ended(tables, NOON + timedelta(days=day), kinds={"service": READ})
        await applied(tables)

    ends, starts = (date(2026, 4, 5), date(2026, 4, 9)) if was_seen_unpaid else (None, None)
    spans = [(date(2026, 3, 1), ends), (starts, date(2026, 5, 6))]
    assert await contract(tables) == (spans if was_seen_unpaid else [(spans[0][0], spans[1][1])])


@pytest.mark.parametrize("seed", range(4))
async def test_order_and_repetition_of_runs_change_nothing(tables: Tables, seed: int) -> None:
    """Compare with a search through all runs for the newest one that read all services before a service was seen again."""
    dice = random.Random(seed)
    runs, at = [], NOON
    while at < NOON + timedelta(days=60):
        kinds = dice.choice([["service"], ["service"], ["service", "addon"], ["addon"]])
        runs.append((at, kinds))
        at += timedelta(hours=dice.choice([0.25, 0.25, 0.25, 5, 11, 25, 40]))
    facts, expected = [fact(Kind.INVOICE, invoice(1, 7), seq=1, epoch=0)], []
    for number in range(1, 101):
        epoch = dice.randrange(len(runs))
        seen_at = runs[epoch][0] + timedelta(minutes=1)
        due_on = seen_at.date() - timedelta(days=dice.randint(15, 18))
        paid_until = due_on + timedelta(days=90)
        read = [
            start for start, kinds in runs if "service" in kinds and start + timedelta(minutes=5) < seen_at
        ]
        seen = Observation(
            NOON.date(), 7, "active", "monthly", 10_000_000, None, due_on, "service:1", "Hosting"
        )
        again = seen._replace(
            on=seen_at.date(), next_due_on=paid_until, last_read_on=read[-1].date() if read else None
        )
        evidence = Evidence(Kind.SERVICE, [seen, again], currencies={7: [Dated(NOON.date(), "EUR")]})
        expected += [
            (segment.from_on, segment.to_on)
            for segment in timeline(evidence).segments
            if segment.lens is Lens.CONTRACT
        ]
        bodies = [
            subscription(number, 7, registered_on=None, next_due_on=str(on)) for on in (due_on, paid_until)
        ]
        day = (seen_at - NOON) / timedelta(days=1)
        facts.append(fact(Kind.SERVICE, bodies[0], seq=1, epoch=0))
        facts.append(fact(Kind.SERVICE, bodies[1], seq=2, epoch=epoch, day=day))

    messages = [*range(len(runs)), *dice.sample(range(len(runs)), len(runs) // 3)]
    dice.shuffle(messages)
    if seed % 2:
        messages.sort()
    await tables.take(facts)
    for epoch in messages:
        start, kinds = runs[epoch]
        await ended(tables, start, kinds=dict.fromkeys(kinds, READ), epoch=epoch)
        if dice.random() < 0.3:
            await tables.compute()
    await tables.compute()

    assert await contract(tables) == expected
    [(kept,)] = await tables.fetch("SELECT count(*) FROM metrics.readings")
    assert kept < len(messages)


async def test_refused_kind_keeps_its_last_reading(
    tables: Tables,
) -> None:
    refused = {"action": "GetClientsAddons", "code": "permission_missing", "required": True, "read_at": None}

    async def after(hours: int, addon: dict[str, Any]) -> dict[str, Any]:
        await ended(tables, NOON + timedelta(hours=hours), kinds={"addon": addon, "service": READ})
        await applied(tables)
        return await shown(tables, "kinds")

    never = await after(0, refused)
    read = await after(1, READ)
    no_longer = await after(2, refused)
    again = await after(3, READ)

    at = [f"2026-03-01T{12 + hours}:00:00+00:00" for hours in range(4)]
    assert never == {"addon": refused, "service": {"read_at": at[0]}}
    assert read == {"addon": {"read_at": at[1]}, "service": {"read_at": at[1]}}
    assert no_longer == {"addon": refused | {"read_at": at[1]}, "service": {"read_at": at[2]}}
    assert again == {"addon": {"read_at": at[3]}, "service": {"read_at": at[3]}}


@pytest.mark.rule("E7")
async def test_deleted_instance_keeps_only_its_state(tables: Tables) -> None:
    other = UUID(int=2, version=4)
    await tables.add_instance(instance(instance_id=other))
    facts = book(8, customers=20, days=5)
    theirs = [fact(Kind.SERVICE, subscription(1, 7), seq=1, instance_id=other)]
    await tables.take_all([*facts, *theirs])
    await ended(tables)
    await applied(tables)
    await ended(tables, NOON + timedelta(hours=1), positions={"billing.customers": {0: 10**9}})
    await tables.take([fact(Kind.SERVICE, subscription(999, 1), seq=9, epoch=99)])

    await delete_instance(tables.engine, InstanceKey(ORGANIZATION, INSTANCE))
    await tables.take_all(facts)
    await tables.add_instance(instance(9))

    held = await tables.fetch(
        "SELECT relname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
        "WHERE attname = 'instance_id' AND c.relkind = 'r' AND c.relnamespace = 'metrics'::regnamespace"
    )
    left = {
        table
        for (table,) in held
        if await tables.fetch(f"SELECT FROM metrics.{table} WHERE instance_id = $1", INSTANCE)
    }
    # The last table is empty once consumers know that the movements are gone (test_sending.py).
    assert left <= {"instances", "movements_to_send"}
    assert await tables.fetch("SELECT state FROM metrics.instances WHERE instance_id = $1", INSTANCE) == [
        ("deleted",)
    ]
    assert await tables.fetch("SELECT DISTINCT instance_id FROM metrics.versions") == [(other,)]


async def test_instance_deleted_before_its_first_message_stays_deleted(tables: Tables) -> None:
    await tables.execute("DELETE FROM metrics.instances")

    await delete_instance(tables.engine, InstanceKey(ORGANIZATION, INSTANCE))
    await tables.add_instance(instance(5))
    await tables.take_all([fact(Kind.SERVICE, subscription(1, 7), seq=1)])

    assert await tables.fetch("SELECT state FROM metrics.instances") == [("deleted",)]
    assert await tables.fetch("SELECT * FROM metrics.versions") == []
