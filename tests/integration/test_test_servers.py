"""The real servers of the integration tests."""

import asyncio

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from libs.common.contracts.topics import CUSTOMERS
from tests.servers import Postgres, recreate_topics


async def test_databases_of_one_server_are_separate(postgres: Postgres) -> None:
    with postgres.empty_database() as first, postgres.empty_database() as second:
        postgres.execute("CREATE TABLE only_here (id int)", first.name)

        connection = await asyncpg.connect(second.admin_url.replace("+asyncpg", ""))
        table = await connection.fetchval("SELECT to_regclass('only_here')")
        await connection.close()

    assert table is None


async def test_recreated_topic_is_empty_and_has_no_offsets(kafka: str) -> None:
    await _send(kafka, b"before")
    assert await _read(kafka, group="reader") == [b"before"]

    await recreate_topics(kafka)
    await _send(kafka, b"after")

    assert await _read(kafka, group="reader") == [b"after"]


async def test_topic_has_its_declared_configuration(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, CUSTOMERS.name)])
    finally:
        await admin.close()

    [(_, _, _, _, entries)] = answer.resources
    seen = {entry[0]: entry[1] for entry in entries}
    assert seen.items() >= CUSTOMERS.config.items()


async def _send(bootstrap: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(CUSTOMERS.name, value, key=b"key")
    finally:
        await producer.stop()


async def _read(bootstrap: str, *, group: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        CUSTOMERS.name, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        record = await asyncio.wait_for(consumer.getone(), 60)
        await consumer.commit()
    finally:
        await consumer.stop()
    return [record.value]
