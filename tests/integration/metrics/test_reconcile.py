"""A fact that was lost between connector and metrics is noticed by the digests of a full run, asked for, and comes back."""

from collections.abc import Sequence
from datetime import date, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.topics import SYNC_COMMANDS
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import relay_once
from services.metrics.formulas.coverage import Run
from services.metrics.formulas.reconciliation import Digest, Digests
from services.metrics.reconcile import Reconciling
from services.metrics.runs import store_run
from services.metrics.tables import outbox
from tests.builders import INSTANCE, ORGANIZATION, customer_detail, fact, subscription, with_header
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_runs import NOON, contract

SERVICES = frozenset({"service"})
ASKED = "SELECT kind, block FROM metrics.mismatches ORDER BY 1, 2"


def services(ids: Sequence[int], day: int) -> list[Record]:
    """Return the facts of services, with fingerprints, as a run of this day publishes them."""
    facts = [fact(Kind.SERVICE, subscription(number, 7), seq=1, epoch=day, day=day) for number in ids]
    return [with_header(record, "ce_fingerprint", fingerprint(record).encode()) for record in facts]


def fingerprint(record: Record) -> str:
    return sha256(record.value or b"").hexdigest()


async def end(tables: Tables, day: int, ids: Sequence[int]) -> None:
    """Store and apply the full run of a day that found these services, and compare its digests on that day."""
    blocks: dict[int, Digest] = {}
    for row_id, record in zip(ids, services(ids, day), strict=True):
        rows, total = blocks.get(row_id // 10_000, Digest(0, 0))
        number = int(fingerprint(record)[:16], 16)
        blocks[row_id // 10_000] = Digest(rows + 1, (total + number) % 2**64)
    started_at = NOON + timedelta(days=day)
    ended_at = started_at + timedelta(minutes=5)
    run = Run(UUID(int=day + 1, version=4), started_at, ended_at, day, SERVICES, {})
    sent = Digests(day, started_at, {"service": blocks}, SERVICES)
    await store_run(tables.engine, InstanceKey(ORGANIZATION, INSTANCE), run, {}, sent)
    await tables.compute()
    reconciling = Reconciling(tables.engine, lambda: ended_at)
    assert await reconciling.compare_next()
    assert not await reconciling.compare_next()
    await tables.compute()


async def asked_for(tables: Tables) -> list[Any]:
    """Return the blocks of all commands that wait in the outbox or were sent."""
    rows = await tables.fetch("SELECT body FROM metrics.outbox ORDER BY id")
    return [orjson.loads(body)["blocks"] for (body,) in rows]


@pytest.fixture
async def company(tables: Tables) -> Tables:
    """Return the tables with services in two blocks, as the run of the first day found them."""
    await tables.take([fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=1, epoch=0)])
    await tables.take(services([1, 2, 3, 10_001], 0))
    await end(tables, 0, [1, 2, 3, 10_001])
    return tables


@pytest.mark.rule("E6")
async def test_lost_fact_is_asked_for_and_comes_back(
    company: Tables, publisher: Publisher, kafka: str
) -> None:
    equal = await asked_for(company)
    for table in ("records", "versions"):
        await company.execute(f"DELETE FROM metrics.{table} WHERE kind = 'service' AND id = 2")  # noqa: S608  fixed names
    await end(company, 1, [1, 2, 3, 10_001])
    differs = await company.fetch(ASKED)
    await relay_once(company.engine, outbox, publisher)
    command = await first_command(kafka)

    await company.take(services([1, 2, 3], 2))
    await end(company, 2, [1, 2, 3, 10_001])

    assert equal == []
    assert differs == [("service", 0)]
    assert command["ce_type"] == "Republish"
    assert command["body"].items() >= {"kind": "service", "blocks": [0], "instance_id": str(INSTANCE)}.items()
    assert await company.fetch(ASKED) == []
    assert await asked_for(company) == [[0]]
    assert await company.fetch("SELECT id FROM metrics.records WHERE kind = 'service' ORDER BY 1") == [
        (1,),
        (2,),
        (3,),
        (10_001,),
    ]


async def first_command(bootstrap: str) -> dict[str, Any]:
    """Return the type and the body of the first command on Kafka."""
    consumer = AIOKafkaConsumer(SYNC_COMMANDS.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        record = await consumer.getone()
    finally:
        await consumer.stop()
    return {"ce_type": dict(record.headers)["ce_type"].decode(), "body": orjson.loads(record.value)}


async def test_row_whose_tombstone_was_lost_ends(company: Tables) -> None:
    await end(company, 1, [1, 3, 10_001])
    asked = await company.fetch(ASKED)
    before = await contract(company)
    await company.take(services([1, 3], 2))
    await end(company, 2, [1, 3, 10_001])

    assert asked == [("service", 0)]
    assert before == [(date(2026, 3, 1), date(2026, 4, 5))] * 4
    assert await contract(company) == [
        (date(2026, 3, 1), date(2026, 3, 3) if number == 2 else date(2026, 4, 5)) for number in range(1, 5)
    ]
    await end(company, 3, [1, 3, 10_001])
    assert await company.fetch(ASKED) == []
    assert await asked_for(company) == [[0]]


async def test_many_rows_are_not_removed_at_once(tables: Tables) -> None:
    ids = list(range(1, 101))
    await tables.take(services(ids, 0))
    await end(tables, 1, [1])
    await tables.take(services([1], 2))
    await end(tables, 2, [1])

    assert await tables.fetch("SELECT count(*) FROM metrics.records WHERE NOT gone") == [(100,)]
    assert await tables.fetch(ASKED) == [("service", 0)]


async def test_block_that_stays_different_is_asked_for_each_day(
    company: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    await company.execute("UPDATE metrics.records SET digest = 0 WHERE id = 2")
    for day in (1, 2, 3):
        await end(company, day, [1, 2, 3, 10_001])

    assert await asked_for(company) == [[0]] * 3
    still = [record for record in caplog.records if "still differ" in record.message]
    assert [record.levelname for record in still] == ["ERROR"] * 2


async def test_records_without_a_digest_are_counted(company: Tables) -> None:
    await company.execute("UPDATE metrics.records SET digest = NULL WHERE id = 2")

    await end(company, 1, [1, 2, 3, 10_001])

    assert await asked_for(company) == []
