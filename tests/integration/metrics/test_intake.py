"""Facts on a real PostgreSQL make the same tables when they come twice, late, shuffled or beside unreadable ones.

One file because every test sends facts in another way and expects the same tables.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer

from libs.common.clock import utc_now
from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.topics import DEAD_LETTER
from libs.common.database import raw, transaction
from services.metrics.purging import Tidier
from tests.builders import (
    FIRST_SEEN,
    INSTANCE,
    ORGANIZATION,
    book,
    cancellation_request,
    consumed,
    customer,
    customer_detail,
    fact,
    instance,
    invoice,
    subscription,
    with_header,
)
from tests.integration.metrics.conftest import Tables

STRANGER = UUID(int=9, version=4)


async def segments(tables: Tables, lens: str = "contract") -> list[tuple[Any, ...]]:
    return await tables.fetch(
        "SELECT id, customer_id, currency, mrr_micros, from_on, to_on FROM metrics.segments WHERE lens = $1 ORDER BY id, from_on",
        lens,
    )


@pytest.mark.rule("E2")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_repeated_late_and_shuffled_facts_make_the_same_tables(
    tables: Tables, others: Tables, seed: int
) -> None:
    facts, chance = book(seed), random.Random(seed)
    disturbed = [record for record in facts for _ in range(chance.choice([1, 1, 2, 5]))]
    chance.shuffle(disturbed)

    await tables.take_all(facts)
    while disturbed:
        count = chance.randint(1, 400)
        batch, disturbed = disturbed[:count], disturbed[count:]
        await others.take(batch)
        if chance.random() < 0.5:
            await others.apply(limit=chance.randint(1, 40))

    await others.apply()
    content = await tables.content()
    assert await others.content() == content
    assert len(facts) > 1000
    assert len(content["segments"]) > 300


async def test_repeated_facts_and_full_recalculation_write_nothing(
    tables: Tables,
) -> None:
    facts = book(4)
    await tables.take_all(facts)
    before = await tables.places()

    await tables.take_all(facts)
    random.Random(4).shuffle(facts)
    await tables.take_all(facts, batch=77)
    await tables.mark_all()
    [(marked,)] = await tables.fetch("SELECT count(*) FROM metrics.dirty")
    await tables.compute()

    assert marked > 50
    assert await tables.places() == before


@pytest.mark.parametrize("batch", [1, 10])
async def test_tombstone_keeps_the_past_and_stays_when_repeated(tables: Tables, batch: int) -> None:
    facts = [
        fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=0),
        fact(Kind.SERVICE, subscription(1, 7), seq=1),
        fact(Kind.SERVICE, 1, seq=2, day=4),
    ]
    await tables.take_all(facts, batch)
    await tables.take_all([facts[1]])

    assert await tables.fetch("SELECT kind, gone FROM metrics.records ORDER BY kind") == [
        ("customer_detail", False),
        ("service", True),
    ]
    assert await segments(tables) == [(1, 7, "EUR", 10_000_000, date(2026, 3, 1), date(2026, 3, 5))]


async def test_late_version_changes_the_past(tables: Tables) -> None:
    await tables.take_all(
        [
            fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=0),
            fact(Kind.SERVICE, subscription(1, 7, recurring_micros=20_000_000), seq=9, day=5),
        ]
    )

    await tables.take_all([fact(Kind.SERVICE, subscription(1, 7), seq=1)])

    assert [(row[3], row[4]) for row in await segments(tables, "active")] == [
        (10_000_000, date(2026, 3, 1)),
        (20_000_000, date(2026, 3, 6)),
    ]


async def test_addon_named_like_a_number_is_a_product_of_its_own(tables: Tables) -> None:
    names = {None: ["7", "name:7", "service:7", "unnamed:5", "", ""], 7: ["Backups"]}
    addons = [
        subscription(number, 7, Kind.ADDON, product_id=product_id, product_name=name or None)
        for number, (product_id, name) in enumerate(
            [(product_id, name) for product_id, values in names.items() for name in values], start=1
        )
    ]

    await tables.take_all(
        [
            fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=0),
            *(fact(Kind.ADDON, addon, seq=number) for number, addon in enumerate(addons, start=1)),
        ]
    )

    products = await tables.fetch('SELECT DISTINCT product COLLATE "C" FROM metrics.segments ORDER BY 1')
    assert [row[0] for row in products] == [
        "addon:7",
        "addon:name:7",
        "addon:name:name:7",
        "addon:name:service:7",
        "addon:name:unnamed:5",
        "addon:unnamed:5",
        "addon:unnamed:6",
    ]


async def test_changed_label_proves_that_it_was_overdue(tables: Tables) -> None:
    await tables.take_all(
        [
            fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=0),
            fact(Kind.SERVICE, subscription(1, 7, next_due_on="2026-03-01"), seq=1),
            fact(
                Kind.SERVICE, subscription(1, 7, next_due_on="2026-03-01", label="a.example"), seq=2, day=20
            ),
            fact(Kind.SERVICE, subscription(1, 7, next_due_on="2026-05-15"), seq=3, day=40),
        ]
    )

    assert [row[4:] for row in await segments(tables)] == [
        (date(2026, 3, 1), date(2026, 3, 16)),
        (date(2026, 4, 10), date(2026, 5, 30)),
    ]


async def test_currency_of_a_former_customer_completes_the_past(tables: Tables) -> None:
    await tables.take_all(
        [
            fact(Kind.CUSTOMER_DETAIL, customer_detail(8, "USD"), seq=0),
            fact(Kind.SERVICE, subscription(1, 7), seq=1),
            fact(Kind.SERVICE, subscription(1, 8), seq=2, day=3),
        ]
    )
    before = await segments(tables, "active")

    await tables.take_all([fact(Kind.INVOICE, invoice(1, 7), seq=3, day=4)])

    assert [row[1:3] for row in before] == [(8, "USD")]
    assert [row[1:3] for row in await segments(tables, "active")] == [(7, "EUR"), (8, "USD")]


async def test_currency_is_that_of_the_newest_invoice_else_of_details(
    tables: Tables,
) -> None:
    async def currency_after(record: Record) -> set[str]:
        await tables.take_all([record])
        return {row[2] for row in await segments(tables)}

    await tables.take_all([fact(Kind.SERVICE, subscription(1, 7), seq=1)])

    assert await currency_after(fact(Kind.CUSTOMER_DETAIL, customer_detail(7, "GBP"), seq=2)) == {"GBP"}
    assert await currency_after(fact(Kind.INVOICE, invoice(5, 7, "EUR"), seq=3)) == {"EUR"}
    assert await currency_after(fact(Kind.INVOICE, invoice(4, 7, "USD"), seq=4)) == {"EUR"}
    assert await currency_after(fact(Kind.INVOICE, invoice(6, 7, "USD"), seq=5)) == {"USD"}
    assert await currency_after(fact(Kind.INVOICE, 6, seq=6)) == {"EUR"}
    assert await currency_after(fact(Kind.INVOICE, invoice(5, 8, "EUR"), seq=7)) == {"USD"}
    assert await currency_after(fact(Kind.INVOICE, 4, seq=8)) == {"GBP"}
    assert await currency_after(fact(Kind.CUSTOMER_DETAIL, customer_detail(7, None), seq=9)) == set()


async def test_invoices_in_the_same_currency_mark_nothing(tables: Tables) -> None:
    await tables.take_all(
        [fact(Kind.SERVICE, subscription(1, 7), seq=1), fact(Kind.INVOICE, invoice(5, 7), seq=2)]
    )

    await tables.take([fact(Kind.INVOICE, invoice(number, 7), seq=number) for number in range(3, 30)])

    assert await tables.fetch("SELECT customer_id FROM metrics.dirty") == []


async def test_request_and_withdrawal_reach_the_services_customer(tables: Tables) -> None:
    await tables.take_all(
        [
            fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=0),
            fact(Kind.CANCELLATION_REQUEST, cancellation_request(3, 1), seq=1),
            fact(Kind.SERVICE, subscription(1, 7), seq=2),
        ]
    )
    asked = await segments(tables)

    await tables.take_all([fact(Kind.CANCELLATION_REQUEST, 3, seq=3, day=2)])

    assert [row[5] for row in asked] == [date(2026, 3, 22)]
    assert [row[5] for row in await segments(tables)] == [date(2026, 4, 5)]


async def test_request_waits_for_a_replica_that_stores_its_service(tables: Tables) -> None:
    await tables.take_all([fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=0)])
    service = consumed([fact(Kind.SERVICE, subscription(1, 7), seq=1)])
    asked = fact(Kind.CANCELLATION_REQUEST, cancellation_request(3, 1), seq=2)

    async with _stuck_before_commit(tables):
        storing = asyncio.create_task(tables.intake.apply(service))
        await _until_waiting(tables, 1)
        asking = asyncio.create_task(tables.take([asked]))
        await _until_waiting(tables, 2)
    await storing
    await tables.apply()
    await asking
    await tables.apply()

    assert [row[5] for row in await segments(tables)] == [date(2026, 3, 22)]


async def test_invoices_of_a_customer_are_stored_one_after_another(tables: Tables) -> None:
    """The newest invoice is removed by one replica while another stores the one before it in another currency."""
    await tables.take_all([fact(Kind.INVOICE, invoice(number, 7), seq=number) for number in (5, 6)])
    removal = consumed([fact(Kind.INVOICE, 6, seq=7)])

    async with _stuck_before_commit(tables):
        removing = asyncio.create_task(tables.intake.apply(removal))
        await _until_waiting(tables, 1)
        storing = asyncio.create_task(tables.take([fact(Kind.INVOICE, invoice(5, 7, "USD"), seq=8)]))
        await _until_waiting(tables, 2)
    await asyncio.gather(removing, storing)

    marks = await tables.fetch("SELECT customer_id, left_invoice_id FROM metrics.dirty ORDER BY id")
    assert marks == [(7, 6), (7, None)]


@asynccontextmanager
async def _stuck_before_commit(tables: Tables) -> AsyncIterator[None]:
    """Let intake store facts and marks, and then wait before it stores its positions."""
    async with transaction(tables.engine) as connection:
        await (await raw(connection)).execute("LOCK TABLE metrics.positions IN SHARE MODE")
        yield


async def _until_waiting(tables: Tables, count: int) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(10):
        while True:
            if await tables.fetch(query) == [(count,)]:
                return
            await asyncio.sleep(0.01)


def poisons() -> dict[str, Record]:
    """Return records that can never be stored, under what is wrong with them."""

    def good(number: int) -> Record:
        return fact(Kind.SERVICE, subscription(number, 7), seq=number)

    def with_body(number: int, value: bytes) -> Record:
        record = good(number)
        return Record(record.topic, record.key, value, record.headers)

    def with_key(number: int, key: bytes) -> Record:
        record = good(number)
        return Record(record.topic, key, record.value, record.headers)

    strange = b'{"id": 120, "name": "x", "group_id": null, "kind": "", "pay_type": "", "prices": {"\\u0000": 1}, "retired": false}'
    product = fact(Kind.PRODUCT, 120, seq=120)
    return {
        "bad JSON": with_body(101, b"{"),
        "not UTF-8": with_body(102, b"\xff\xfe"),
        "another shape": with_body(103, b'{"id": 103}'),
        "another id": with_body(104, good(1).value or b""),
        "a text that PostgreSQL does not store": fact(
            Kind.SERVICE, subscription(105, 7, label="a\0b"), seq=105
        ),
        "a fault whose description PostgreSQL does not store": Record(
            product.topic, product.key, strange, product.headers
        ),
        "a header that is not UTF-8": with_header(good(106), "ce_source", b"\xff\xff"),
        "no epoch": with_header(good(107), "ce_epoch", None),
        "an epoch that is no number": with_header(good(108), "ce_epoch", b"new"),
        "an epoch out of range": with_header(good(109), "ce_epoch", b"9" * 30),
        "a time without offset": with_header(good(110), "ce_observedat", b"2026-03-01T12:00:00"),
        "a time long before WHMCS": with_header(good(111), "ce_observedat", b"0001-01-01T00:00:00+14:00"),
        "no organization": with_header(good(112), "ce_organization", b"me"),
        "an unknown kind": with_key(113, f"{INSTANCE}:server:1".encode()),
        "no instance": with_key(114, b"main:service:1"),
        "an id out of range": with_key(115, f"{INSTANCE}:service:{2**63}".encode()),
        "an empty key": with_key(116, b""),
    }


@pytest.mark.rule("E3")
@pytest.mark.rule("E4")
async def test_unreadable_facts_are_parked_and_the_rest_is_stored(
    tables: Tables, others: Tables, kafka: str
) -> None:
    bad = poisons()
    good = book(5, days=5)
    mixed = [*good, *bad.values()]
    random.Random(5).shuffle(mixed)

    await tables.take_all(good)
    await others.take_all(mixed, batch=len(mixed))

    assert await others.content() == await tables.content()
    parked = [(record.key, record.value) async for record in dead_letters(kafka, len(bad))]
    assert sorted(parked) == sorted((record.key, record.value) for record in bad.values())
    [(listed,)] = await others.fetch(
        'SELECT count(DISTINCT (topic, partition, "offset")) FROM metrics.unreadable'
    )
    # A later fact of the same row takes a bad one off the list. The one without an organization is listed nowhere.
    last = {(record.topic, record.key): mixed.index(record) for record in mixed if record in good}
    replaced = [
        record for record in bad.values() if mixed.index(record) < last.get((record.topic, record.key), 0)
    ]
    assert listed == len(bad) - len(replaced) - 1


async def test_fact_is_listed_as_unreadable_until_it_is_read(tables: Tables, kafka: str) -> None:
    """The first fact of 1 and of 2 can be read only when it is sent again, and of 3 the newest fact cannot be read."""
    spoiled = [
        with_header(fact(Kind.SERVICE, subscription(number, 7), seq=number), "ce_epoch", None)
        for number in (1, 2, 3)
    ]
    again = [fact(Kind.SERVICE, subscription(number, 7), seq=number) for number in (1, 2, 3)]

    await tables.take([spoiled[0], spoiled[1], again[1], again[2], spoiled[2]])
    listed = await tables.ask_as_gateway("SELECT key FROM metrics_read.unreadable")
    await tables.take(consumed([again[0]], offset=100))

    keys = [record.key.decode() for record in again]
    assert sorted(key for (key,) in listed) == [keys[0], keys[2]]
    assert await tables.ask_as_gateway("SELECT key FROM metrics_read.unreadable") == [(keys[2],)]


async def dead_letters(bootstrap: str, count: int) -> AsyncIterator[Any]:
    """Yield the parked records, until there are `count` and no more come."""
    consumer = AIOKafkaConsumer(DEAD_LETTER.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        count_read = 0
        async with asyncio.timeout(20):
            while True:
                answer = await consumer.getmany(timeout_ms=500)
                for records in answer.values():
                    for record in records:
                        count_read += 1
                        yield record
                if not answer and count_read >= count:
                    return
    finally:
        await consumer.stop()


async def test_record_without_key_or_with_empty_header_is_parked(tables: Tables, kafka: str) -> None:
    [keyless, headless] = consumed([fact(Kind.SERVICE, subscription(n, 7), seq=n) for n in (1, 2)])
    keyless.key = None
    headless.headers = (*headless.headers, ("ce_organization", None))

    await tables.take([keyless, headless])

    assert len([record async for record in dead_letters(kafka, 2)]) == 2
    assert await tables.fetch("SELECT * FROM metrics.records") == []


@pytest.mark.parametrize("state", ["deleting", "deleted"])
async def test_facts_of_a_deleted_instance_are_discarded(tables: Tables, kafka: str, state: str) -> None:
    other = UUID(int=2, version=4)
    await tables.add_instance(instance(instance_id=other))
    await tables.add_instance(instance(2, state=state))
    spoiled = with_header(fact(Kind.SERVICE, subscription(3, 7), seq=3), "ce_epoch", None)

    await tables.take_all(
        [
            fact(Kind.CUSTOMER, customer(7), seq=1),
            spoiled,
            fact(Kind.CUSTOMER, customer(7), seq=1, instance_id=other),
        ]
    )

    assert await tables.fetch("SELECT DISTINCT instance_id FROM metrics.versions") == [(other,)]
    assert await tables.fetch("SELECT * FROM metrics.unreadable") == []


async def test_facts_wait_for_their_instance_and_block_no_other(tables: Tables) -> None:
    stranger = UUID(int=3, version=4)
    many = [
        fact(Kind.SERVICE, subscription(number, number), seq=number, instance_id=stranger)
        for number in range(1, 60)
    ]
    await tables.take(many)
    await tables.take(
        [fact(Kind.CUSTOMER_DETAIL, customer_detail(7), seq=1), fact(Kind.SERVICE, subscription(1, 7), seq=2)]
    )

    await tables.apply(limit=2)
    before = await tables.fetch("SELECT DISTINCT instance_id FROM metrics.segments")
    await tables.add_instance(instance(instance_id=stranger))
    await tables.apply()

    assert before == [(INSTANCE,)]
    assert await tables.fetch("SELECT count(*) FROM metrics.issues") == [(59,)]
    assert (await tables.content("dirty"))["dirty"] == []


async def test_facts_under_a_wrong_organization_are_parked(tables: Tables, kafka: str) -> None:
    wrong = [
        fact(Kind.SERVICE, subscription(1, 7), seq=1, organization_id=STRANGER),
        with_header(
            fact(Kind.SERVICE, subscription(2, 7), seq=2, organization_id=STRANGER), "ce_epoch", None
        ),
    ]

    await tables.take([*wrong, fact(Kind.CUSTOMER, customer(7), seq=3)])

    assert len([record async for record in dead_letters(kafka, 2)]) == 2
    assert await tables.fetch("SELECT organization_id, kind FROM metrics.versions") == [
        (ORGANIZATION, "customer")
    ]
    for table in ("records", "dirty", "unreadable"):
        rows = f"SELECT FROM metrics.{table} WHERE organization_id = $1"
        assert await tables.fetch(rows, STRANGER) == []


async def test_facts_of_an_unknown_instance_are_purged(tables: Tables, kafka: str) -> None:
    unknown = UUID(int=3, version=4)
    now = [FIRST_SEEN]
    tidier = Tidier(tables.engine, lambda: now[0])
    await tables.take(
        [
            fact(Kind.SERVICE, subscription(1, 7), seq=1),
            fact(Kind.SERVICE, subscription(1, 7), seq=1, instance_id=unknown),
            fact(Kind.SERVICE, subscription(1, 7), seq=1, instance_id=unknown, organization_id=STRANGER),
        ]
    )

    async def owners_left() -> set[tuple[UUID, UUID]]:
        rows = await tables.fetch("SELECT organization_id, instance_id FROM metrics.versions")
        return {(row[0], row[1]) for row in rows}

    await tidier.tidy()
    assert len(await owners_left()) == 3

    now[0] += timedelta(days=3)
    await tables.add_instance(instance(instance_id=unknown))
    await tidier.tidy()
    assert await owners_left() == {(ORGANIZATION, INSTANCE), (ORGANIZATION, unknown)}

    other = UUID(int=4, version=4)
    await tables.take([fact(Kind.SERVICE, subscription(1, 7), seq=1, instance_id=other)])
    await tidier.tidy()
    assert (ORGANIZATION, other) in await owners_left()
    now[0] += timedelta(days=3)
    await tidier.tidy()
    assert (ORGANIZATION, other) not in await owners_left()
    assert await tables.fetch("SELECT FROM metrics.dirty WHERE instance_id = $1", other) == []


async def test_epoch_far_ahead_is_refused(tables: Tables, kafka: str) -> None:
    ahead = int(utc_now().timestamp()) + 2 * 86_400

    await tables.take([fact(Kind.CUSTOMER, customer(7), seq=1, epoch=ahead)])
    await tables.take([fact(Kind.CUSTOMER, customer(7), seq=1, epoch=2)])

    assert len([record async for record in dead_letters(kafka, 1)]) == 1
    assert await tables.fetch("SELECT epoch FROM metrics.records") == [(2,)]
