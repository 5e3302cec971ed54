"""Facts are published under the lease alone, and a deleted instance leaves tombstones."""

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.clock import utc_now
from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import read_headers
from libs.common.contracts.instances import InstanceSettings
from libs.common.database import raw, transaction
from libs.common.kafka.publisher import Publisher
from services.connector.changes import Stored
from services.connector.publishing import FactPublisher
from services.connector.repository import fingerprints
from services.connector.repository.leases import FencedError, Lease
from services.connector.translating import Translator, raw_row
from services.connector.whmcs.entities import ACTIONS
from tests.integration.connector.conftest import (
    INSTANCE,
    World,
    facts,
)

CURRENCIES = Translator(ACTIONS[Kind.CURRENCY], InstanceSettings())
EURO = raw_row(1, {"id": 1, "code": "EUR", "rate": "1"}, 1, datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.rule("R1")
async def test_worker_without_the_lease_publishes_nothing(world: World, kafka: str) -> None:
    await world.add_instance()
    stale = Lease(INSTANCE, 1)

    async def save(*_: Any) -> None:
        raise AssertionError("a fenced worker must not come here")

    with pytest.raises(FencedError):
        await FactPublisher(world.engine, world.publisher, utc_now).publish_rows(
            stale, CURRENCIES, [EURO], save
        )

    assert await facts(kafka) == []


async def test_lease_lost_while_publishing_clears_the_fingerprint(world: World, kafka: str) -> None:
    await world.add_instance()
    lease = Lease(INSTANCE, 0)

    class Thief(Publisher):
        async def publish(self, records: Any) -> None:
            await super().publish(records)
            async with transaction(world.engine) as connection:
                await (await raw(connection)).execute("UPDATE connector.instances SET epoch = epoch + 1")

    async def save(*_: Any) -> None:
        raise AssertionError("a fenced worker must not come here")

    thief = Thief(world.settings)
    with pytest.raises(FencedError):
        await FactPublisher(world.engine, thief, utc_now).publish_rows(lease, CURRENCIES, [EURO], save)
    await thief.close()

    async with transaction(world.engine) as connection:
        stored = await fingerprints.load(await raw(connection), INSTANCE, Kind.CURRENCY, [1])
    assert stored == {1: Stored(None, None)}
    assert len(await facts(kafka)) == 1


async def test_deleted_instance_leaves_tombstones_and_no_credential(world: World, kafka: str) -> None:
    await world.add_instance()
    await world.sync()

    await world.set_state("deleting")
    await world.until(("InstancePurged",))

    last: dict[bytes, Any] = {}
    for record in sorted(
        await facts(kafka), key=lambda record: int(read_headers(record.headers)["ce_epoch"])
    ):
        last[record.key] = record.value
    assert last
    assert set(last.values()) == {None}
    async with transaction(world.engine) as connection:
        database = await raw(connection)
        assert await database.fetchval("SELECT count(*) FROM connector.credentials") == 0
        assert await database.fetchval("SELECT count(*) FROM connector.fingerprints") == 0
