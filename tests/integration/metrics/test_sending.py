"""Consumers of `metrics.movements` have the newest movements of every known day, and nothing of a deleted instance."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.topics import MOVEMENTS
from libs.common.errors import Transient
from libs.common.kafka.publisher import Publisher
from services.metrics.instances import delete_instance
from services.metrics.sending import Sending
from tests.builders import INSTANCE, ORGANIZATION, book, fact, subscription
from tests.integration.metrics.conftest import Tables
from tests.integration.metrics.test_movements import two_services
from tests.integration.metrics.test_runs import NOON, ended
from tests.servers import REPOSITORY

MRR = """SELECT currency, sum(amount_micros)::bigint FROM metrics.movements
    WHERE lens = 'contract' AND "on" <= (SELECT min(last_on) FROM metrics.coverage)
    GROUP BY 1 HAVING sum(amount_micros) <> 0"""
# Greater than all epochs of a book.
BOOK = 10**6
# The last state of a day counts, so service 1 never counted when this is known.
FREE = fact(Kind.SERVICE, subscription(1, 7, recurring_micros=0), seq=9, epoch=9)
ADDED = [{"kind": "new_business", "amount_micros": 10_000_000, "reason": "added_item", "currency": "EUR"}]


async def run(tables: Tables, facts: Sequence[Record], *, day: int, epoch: int) -> None:
    """Store facts and apply a run of this day that read all of them."""
    await tables.take(facts)
    await ended(tables, NOON + timedelta(days=day), epoch=epoch)
    await tables.compute()


async def send(tables: Tables, publisher: Publisher) -> int:
    """Send all that waits and return how many days there were."""
    sending, count = Sending(tables.engine, publisher), 0
    while sent := await sending.send_next():
        count += sent
    return count


async def received(bootstrap: str) -> list[tuple[str, Any]]:
    """Return the key and the body of every record on the topic, sorted by key, equal ones in the order of the topic."""
    consumer = AIOKafkaConsumer(MOVEMENTS.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    records = []
    ends = await consumer.end_offsets(consumer.assignment())
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        for batch in (await consumer.getmany(timeout_ms=200)).values():
            records += batch
    await consumer.stop()
    bodies = [
        ((record.key or b"").decode(), orjson.loads(record.value) if record.value else None)
        for record in records
    ]
    return sorted(bodies, key=lambda record: record[0])


def present(records: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the newest body per key."""
    return {key: body for key, body in dict(records).items() if body is not None}


async def test_day_is_sent_once_and_again_when_it_changes(
    tables: Tables, publisher: Publisher, kafka: str
) -> None:
    await run(tables, two_services(), day=0, epoch=1)
    counts = [await send(tables, publisher), await send(tables, publisher)]
    dearer = fact(Kind.SERVICE, subscription(1, 7, recurring_micros=11_000_000), seq=9, epoch=9)
    await run(tables, [dearer], day=1, epoch=9)
    counts.append(await send(tables, publisher))

    records = await received(kafka)
    assert counts == [2, 0, 1]
    assert [key for key, _ in records] == [f"{INSTANCE}:{customer}:2026-03-01" for customer in (7, 7, 8)]
    assert records[0][1] == {
        "customer": f"{INSTANCE}:customer:7",
        "on": "2026-03-01",
        "movements": [{**ADDED[0], "subscriptions": [f"{INSTANCE}:service:1"]}],
    }
    assert records[1][1]["movements"][0]["amount_micros"] == 11_000_000


async def test_future_day_is_sent_when_it_is_known(tables: Tables, publisher: Publisher, kafka: str) -> None:
    """Both services end on 5 April if nothing is paid. The first is paid, so that nobody hears of its end."""
    await run(tables, two_services(), day=0, epoch=1)
    await send(tables, publisher)
    paid = subscription(1, 7, next_due_on="2026-06-21")
    await run(tables, [fact(Kind.SERVICE, paid, seq=9, epoch=9, day=20)], day=36, epoch=9)
    await send(tables, publisher)

    assert [key.rpartition(":")[0][-1] + key[-6:] for key, _ in (await received(kafka))] == [
        "7-03-01",
        "8-03-01",
        "8-04-05",
    ]


async def test_day_without_movements_is_sent_without_body(
    tables: Tables, publisher: Publisher, kafka: str
) -> None:
    await run(tables, two_services(), day=0, epoch=1)
    await send(tables, publisher)
    await run(tables, [FREE], day=1, epoch=9)
    await send(tables, publisher)

    assert (await received(kafka))[1] == (f"{INSTANCE}:7:2026-03-01", None)


async def test_deleted_instance_leaves_nothing_on_the_topic(
    tables: Tables, publisher: Publisher, kafka: str
) -> None:
    await run(tables, book(2), day=40, epoch=BOOK)
    await send(tables, publisher)
    before = present(await received(kafka))

    await delete_instance(tables.engine, InstanceKey(ORGANIZATION, INSTANCE))
    await delete_instance(tables.engine, InstanceKey(ORGANIZATION, INSTANCE))
    await send(tables, publisher)

    assert len(before) > 100
    assert present(await received(kafka)) == {}
    assert await tables.fetch("SELECT FROM metrics.movements_to_send") == []


async def test_days_wait_while_kafka_is_away(tables: Tables, publisher: Publisher, kafka: str) -> None:
    await run(tables, two_services(), day=0, epoch=1)

    class Away(Publisher):
        def __init__(self) -> None:
            pass

        async def publish(self, records: object) -> None:
            raise Transient("kafka_unavailable", "away")

    with pytest.raises(Transient):
        await Sending(tables.engine, Away()).send_next()

    assert await send(tables, publisher) == 2


async def test_change_while_a_day_is_sent_is_sent_again(
    tables: Tables, publisher: Publisher, kafka: str
) -> None:
    await run(tables, two_services(), day=0, epoch=1)

    class Slow(Publisher):
        def __init__(self) -> None:
            pass

        async def publish(self, records: Any) -> None:
            await run(tables, [FREE], day=1, epoch=9)
            await publisher.publish(records)

    await Sending(tables.engine, Slow()).send_next()
    await send(tables, publisher)

    assert present(await received(kafka)).keys() == {f"{INSTANCE}:8:2026-03-01"}


async def test_documented_consumer_prints_the_mrr(tables: Tables, publisher: Publisher, kafka: str) -> None:
    await run(tables, book(4), day=40, epoch=BOOK)
    await send(tables, publisher)
    for day in (45, 60):
        await run(
            tables, [fact(Kind.SERVICE, day, seq=day, epoch=BOOK + day, day=day)], day=day, epoch=BOOK + day
        )
        await send(tables, publisher)
    example = REPOSITORY / "docs" / "topics" / "movements_consumer.py"

    process = await asyncio.create_subprocess_exec(
        sys.executable, str(example), kafka, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()

    mrr = dict(await tables.fetch(MRR))
    assert process.returncode == 0
    assert len(mrr) > 1
    read = {currency: round(amount * 1_000_000) for currency, amount in orjson.loads(printed).items()}
    assert {currency: micros for currency, micros in read.items() if micros} == mrr
