"""Rows that WHMCS no longer has lose their facts, and no other row does, wherever a worker is killed."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.billing import Kind, parse_fact_key
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import HeldDeletions
from libs.common.database import build_engine, raw, transaction
from libs.common.settings import PostgresSettings
from services.connector.repository import digests
from tests.integration.connector.conftest import World, ask, facts
from tests.integration.connector.sites import KINDS, Killed, Site
from tests.servers import Database


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    settings = PostgresSettings(database_url=SecretStr(database.url("connector")))
    engine = build_engine(settings, service="connector")
    yield engine
    await engine.dispose()


async def site(engine: AsyncEngine, count: int = 100) -> Site:
    made = Site(engine, rows={kind: set(range(1, count + 1)) for kind in KINDS})
    await made.store()
    return made


async def test_only_deleted_rows_are_removed_wherever_killed(engine: AsyncEngine) -> None:
    for seed in range(25):
        chance = random.Random(seed)
        whmcs = await site(engine)
        for kind in KINDS:
            for id in chance.sample(range(1, 99), chance.randint(0, 12)):
                whmcs.rows[kind].discard(id)
        # The reading of these lists missed rows that WHMCS has.
        whmcs.hidden = {Kind.INVOICE: {1, 2, 3}, Kind.CUSTOMER: {4}}

        for _ in range(4):
            whmcs.lives = chance.randint(1, 60)
            with suppress(Killed):
                await whmcs.run()
            assert whmcs.true_rows() <= whmcs.present()
        whmcs.lives = -1
        await whmcs.run()
        await whmcs.run()

        assert whmcs.present() == whmcs.true_rows() == await whmcs.published(), seed


async def test_row_that_returns_after_a_kill_is_published(engine: AsyncEngine) -> None:
    whmcs = await site(engine)
    whmcs.rows[Kind.INVOICE].discard(5)
    # The worker asks, publishes, and is killed before it stores that.
    whmcs.lives = 3

    with pytest.raises(Killed):
        await whmcs.run()

    async with transaction(engine) as connection:
        rows = await (await raw(connection)).fetch(
            """SELECT kind, fingerprint, is_detail_due FROM connector.fingerprints
               WHERE instance_id = $1 AND kind IN ('invoice', 'invoice_lines') AND id = 5 ORDER BY kind""",
            whmcs.instance.instance_id,
        )
    assert whmcs.tombstones == 2
    assert [tuple(row) for row in rows] == [("invoice", None, True), ("invoice_lines", None, False)]


async def test_many_missing_rows_wait_for_a_person(engine: AsyncEngine) -> None:
    whmcs = await site(engine, 200)
    whmcs.rows[Kind.SERVICE] -= set(range(1, 61))

    first = await whmcs.run()
    await whmcs.run(service=59)
    assert whmcs.tombstones == 0
    accepted = await whmcs.run(service=60)

    assert first == {
        "service": HeldDeletions(count=60, total=200, reason="too_many", ids=tuple(range(1, 61)))
    }
    assert accepted == {}
    assert whmcs.tombstones == 60
    assert whmcs.present() == whmcs.true_rows()


async def test_other_rows_than_the_reviewed_ones_are_held_again(engine: AsyncEngine) -> None:
    whmcs = await site(engine, 200)
    everything = set(whmcs.rows[Kind.SERVICE])
    whmcs.rows[Kind.SERVICE] = everything - set(range(1, 61))
    await whmcs.run()
    whmcs.rows[Kind.SERVICE] = everything - set(range(101, 161))

    held = await whmcs.run(service=60)
    tombstones = whmcs.tombstones
    accepted = await whmcs.run(service=60)

    assert held["service"].ids == tuple(range(101, 161))
    assert tombstones == 0
    assert (accepted, whmcs.tombstones) == ({}, 60)


async def test_rows_that_come_back_are_released(engine: AsyncEngine) -> None:
    whmcs = await site(engine)
    services = whmcs.rows[Kind.SERVICE]
    whmcs.rows[Kind.SERVICE] = set()

    empty = await whmcs.run()
    others = await whmcs.run([Kind.INVOICE])
    whmcs.rows[Kind.SERVICE] = services
    whole = await whmcs.run()

    assert {kind: deletions.reason for kind, deletions in empty.items()} == {"service": "list_empty"}
    assert others == empty
    assert (whole, whmcs.tombstones) == ({}, 0)


async def test_ids_that_went_down_are_held(engine: AsyncEngine) -> None:
    whmcs = await site(engine)
    for kind in (Kind.SERVICE, Kind.INVOICE):
        whmcs.rows[kind] -= {99, 100}

    reasons = {kind: deletions.reason for kind, deletions in (await whmcs.run()).items()}

    assert reasons == {"service": "ids_went_down", "invoice": "ids_went_down"}
    assert whmcs.tombstones == 0


async def test_accepted_empty_list_is_removed(engine: AsyncEngine) -> None:
    whmcs = await site(engine)
    whmcs.rows[Kind.ADDON] = set()

    await whmcs.run()
    assert whmcs.tombstones == 0
    await whmcs.run([Kind.ADDON], addon=100)

    assert whmcs.present() == whmcs.true_rows()


async def test_newest_customer_is_removed_with_its_rows(engine: AsyncEngine) -> None:
    whmcs = await site(engine)
    async with transaction(engine) as connection:
        await (await raw(connection)).execute(
            """UPDATE connector.fingerprints SET customer_id = id
               WHERE instance_id = $1 AND kind IN ('service', 'invoice')""",
            whmcs.instance.instance_id,
        )
    for kind in (Kind.CUSTOMER, Kind.SERVICE, Kind.INVOICE):
        whmcs.rows[kind].discard(100)

    assert await whmcs.run() == {}
    assert whmcs.present() == whmcs.true_rows()


@pytest.mark.parametrize("broken", ["error", "filter"])
async def test_look_up_that_proves_nothing_keeps_the_row(engine: AsyncEngine, broken: str) -> None:
    whmcs = await site(engine)
    whmcs.rows[Kind.SERVICE].discard(5)
    whmcs.broken = broken

    await whmcs.run()
    assert whmcs.tombstones == 0
    whmcs.broken = ""
    await whmcs.run()

    assert whmcs.present() == whmcs.true_rows()


async def test_row_of_a_small_list_is_missing_twice(engine: AsyncEngine) -> None:
    whmcs = await site(engine)
    whmcs.rows[Kind.CURRENCY].discard(5)
    whmcs.hidden = {Kind.ADDON: {7}}

    await whmcs.run()
    whmcs.hidden = {}
    assert whmcs.tombstones == 0
    await whmcs.run([Kind.SERVICE])
    assert whmcs.tombstones == 0
    await whmcs.run()
    whmcs.hidden = {Kind.ADDON: {7}}
    await whmcs.run()

    assert whmcs.present() == whmcs.true_rows()
    assert whmcs.tombstones == 1


async def test_instances_that_read_the_same_whmcs_are_named(engine: AsyncEngine) -> None:
    organization = uuid4()
    first, twin, stranger = (
        Site(engine, InstanceKey(owner, uuid4()), {Kind.INVOICE: set(range(1, 51))})
        for owner in (organization, organization, uuid4())
    )
    other = Site(engine, InstanceKey(organization, uuid4()), {Kind.INVOICE: set(range(1, 51))}, mark=b"y")
    for instance in (first, twin, stranger, other):
        await instance.store()

    async with transaction(engine) as connection:
        names = await digests.load_same(await raw(connection), first.instance)

    assert names == (twin.instance.instance_id,)


async def test_rows_deleted_in_whmcs_leave_tombstones(world: World, kafka: str) -> None:
    await world.add_instance()
    await world.sync()
    number_of = {
        kind: world.control("GET", f"/pick?kind={kind}")["ids"][0] for kind in ("service", "addon", "domain")
    }
    number_of |= {"invoice": 20, "client": 9}
    for kind in number_of:
        id = number_of[kind]
        world.control("POST", "/change", json={"kind": kind, "id": id, "delete": True})

    second = await world.sync()
    # Addons cannot be asked for by id, so two whole readings must miss them.
    third = await world.sync()

    newest: dict[bytes, bytes | None] = {}
    for record in sorted(await facts(kafka), key=lambda record: record.timestamp):
        newest[record.key] = record.value
    present = {key: value for key, value in newest.items() if value is not None}
    counts = Counter(parse_fact_key(key.decode())[1] for key in present)
    for kind, action in (
        (Kind.CUSTOMER, "GetClients"),
        (Kind.SERVICE, "GetClientsProducts"),
        (Kind.ADDON, "GetClientsAddons"),
        (Kind.DOMAIN, "GetClientsDomains"),
        (Kind.INVOICE, "GetInvoices"),
    ):
        assert counts[kind] == int(ask(world.simulator, action)["totalresults"]), kind
    assert (second["held"], third["same_as"]) == ({}, [])
    assert second["changes"]["invoice"] > 0
    assert third["digests"] == digests_of(present)


def digests_of(bodies: dict[bytes, bytes]) -> dict[str, dict[str, list[Any]]]:
    """Return the digests of published facts, by kind and block."""
    digests: dict[str, dict[str, list[Any]]] = {}
    for key, body in bodies.items():
        _, kind, id = parse_fact_key(key.decode())
        count, total = digests.setdefault(kind, {}).get(str(id // 10_000), (0, "0"))
        number = int.from_bytes(sha256(body).digest()[:8], "big")
        digests[kind][str(id // 10_000)] = [count + 1, str((int(total) + number) % 2**64)]
    return digests
