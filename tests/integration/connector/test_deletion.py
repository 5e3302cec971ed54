"""Rows that WHMCS no longer has lose their facts, and no other row does, wherever a worker is killed."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import utc_now
from libs.common.contracts.billing import Kind, parse_fact_key
from libs.common.contracts.commands import SyncMode
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceKey, InstanceSettings
from libs.common.contracts.sync import HeldDeletions
from libs.common.database import build_engine, raw, transaction
from libs.common.settings import PostgresSettings
from services.connector.caller import Answer
from services.connector.changes import Fact
from services.connector.deletion import DETAILS, LOOK_UPS
from services.connector.plan import Checkpoint
from services.connector.publishing import FactPublisher
from services.connector.removing import Removal
from services.connector.repository import fingerprints, held, seen
from services.connector.repository.leases import Lease
from services.connector.repository.runs import Run
from services.connector.whmcs.answers import WhmcsError
from tests.integration.connector.conftest import World, ask, facts
from tests.servers import Database

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
KINDS = (Kind.CUSTOMER, Kind.SERVICE, Kind.INVOICE, Kind.ADDON, Kind.CURRENCY)


class Killed(Exception):
    """The worker was killed."""


@dataclass
class Site:
    """A WHMCS, the topics, and what the connector has stored about them. `lives` counts down to the death of the worker."""

    engine: AsyncEngine
    instance: InstanceKey = field(default_factory=lambda: InstanceKey(uuid4(), uuid4()))
    rows: dict[Kind, set[int]] = field(default_factory=dict)
    hidden: dict[Kind, set[int]] = field(default_factory=dict)
    topics: dict[tuple[Kind, int], bool] = field(default_factory=dict)
    tombstones: int = 0
    epoch: int = 0
    numbers: int = 0
    lives: int = -1
    broken: str = ""

    def step(self) -> None:
        self.lives -= 1
        if self.lives == 0:
            raise Killed

    def next_seq(self) -> int:
        self.numbers += 1
        return self.numbers

    async def ask(self, action: str, parameters: dict[str, int]) -> Answer:
        """Answer a look-up, as the caller does."""
        self.step()
        [(kind, look_up)] = [item for item in LOOK_UPS.items() if item[1].action == action]
        if self.broken == "error":
            raise WhmcsError("server_error", action)
        exists = parameters[look_up.id_parameter] in self.rows[kind]
        if look_up.rows is None:
            if not exists:
                raise WhmcsError("not_found", action)
            return self._answer({})
        chosen = [parameters[look_up.id_parameter]] if exists else []
        if self.broken == "filter":
            chosen = sorted(self.rows[kind])[:25]
        rows = [{"id": str(id)} for id in chosen]
        return self._answer({"totalresults": len(rows), look_up.rows.plural: {look_up.rows.singular: rows}})

    def _answer(self, body: dict[str, Any]) -> Answer:
        return Answer(body, self.next_seq(), AT)

    async def publish(self, records: Sequence[Record]) -> None:
        """Take records as Kafka does."""
        self.step()
        for record in records:
            _, kind, id = parse_fact_key(record.key.decode())
            self.topics[kind, id] = record.value is not None
            self.tombstones += record.value is None
        self.step()

    async def store(self) -> None:
        """Store the instance, and that all its rows were published."""
        async with transaction(self.engine) as connection:
            database = await raw(connection)
            await database.execute(
                """INSERT INTO connector.instances
                       (organization_id, instance_id, credential_id, state, settings, version, epoch)
                   VALUES ($1, $2, $3, 'active', '{}', 1, 0)""",
                *self.instance,
                uuid4(),
            )
            for kind, ids in self.rows.items():
                await self._store_facts(database, kind, ids)
                if kind in DETAILS:
                    await self._store_facts(database, DETAILS[kind].kind, ids)

    async def _store_facts(self, database: Any, kind: Kind, ids: set[int]) -> None:
        self.topics |= {(kind, id): True for id in ids}
        await database.execute(
            """INSERT INTO connector.fingerprints (organization_id, instance_id, kind, id, fingerprint)
               SELECT $1, $2, $3, unnest($4::bigint[]), '\\x01'""",
            *self.instance,
            kind,
            sorted(ids),
        )

    async def run(self, whole: Sequence[Kind] = KINDS, **accepted: int) -> dict[str, HeldDeletions]:
        """Do the last step of a run that has read these kinds whole, and return what is held."""
        self.epoch += 1
        lease = Lease(self.instance, self.epoch)
        run = Run(
            lease,
            uuid4(),
            SyncMode.FULL,
            1,
            AT,
            uuid4(),
            InstanceSettings(),
            accept_deletions=accepted,
        )
        async with transaction(self.engine) as connection:
            database = await raw(connection)
            await database.execute(
                "UPDATE connector.instances SET epoch = $3 WHERE organization_id = $1 AND instance_id = $2",
                *self.instance,
                self.epoch,
            )
            for kind in whole:
                await seen.add(database, run, kind, self.rows[kind] - self.hidden.get(kind, set()))
        publisher = FactPublisher(self.engine, self, utc_now)  # type: ignore[arg-type]

        async def save(*_: Any) -> None:
            self.step()

        async def remove(kind: Kind, tombstones: Iterable[Fact]) -> None:
            await publisher.remove(lease, tombstones, save)

        points = {kind: Checkpoint(kind, done=True, is_whole=True) for kind in whole}
        await Removal(self.engine, self, utc_now, run, remove).remove_missing(points)  # type: ignore[arg-type]
        async with transaction(self.engine) as connection:
            return await held.load(await raw(connection), self.instance)

    async def published(self) -> set[tuple[Kind, int]]:
        """Return the rows whose facts are stored as published."""
        async with transaction(self.engine) as connection:
            keys = await fingerprints.load_keys(await raw(connection), self.instance, 100_000)
        return {(key.kind, key.id) for key in keys}

    def present(self) -> set[tuple[Kind, int]]:
        """Return the rows of which the topics have a state."""
        return {key for key, is_present in self.topics.items() if is_present}

    def true_rows(self) -> set[tuple[Kind, int]]:
        """Return the rows that WHMCS has, and their details."""
        rows = {(kind, id) for kind, ids in self.rows.items() for id in ids}
        return rows | {(DETAILS[kind].kind, id) for kind, id in rows if kind in DETAILS}


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


async def test_many_missing_rows_wait_for_a_person(engine: AsyncEngine) -> None:
    whmcs = await site(engine, 200)
    whmcs.rows[Kind.SERVICE] -= set(range(1, 61))

    first = await whmcs.run()
    await whmcs.run(service=59)
    assert whmcs.tombstones == 0
    accepted = await whmcs.run(service=60)

    assert first == {"service": HeldDeletions(count=60, total=200, reason="too_many")}
    assert accepted == {}
    assert whmcs.tombstones == 60
    assert whmcs.present() == whmcs.true_rows()


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
