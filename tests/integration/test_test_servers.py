"""The servers that all integration tests stand on."""

import asyncio

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from libs.common.contracts.topics import CUSTOMERS
from tests.servers import Postgres, recreate_topics


async def test_two_databases_of_one_server_know_nothing_of_each_other(postgres: Postgres) -> None:
    with postgres.empty_database() as first, postgres.empty_database() as second:
        postgres.execute("CREATE TABLE only_here (id int)", first.name)

        connection = await asyncpg.connect(second.admin_url.replace("+asyncpg", ""))
        found = await connection.fetchval("SELECT to_regclass('only_here')")
        await connection.close()

    assert found is None


async def test_made_again_a_topic_is_empty_and_knows_no_offsets(kafka: str) -> None:
    await _send(kafka, b"before")
    assert await _read(kafka, group="reader") == [b"before"]

    await recreate_topics(kafka)
    await _send(kafka, b"after")

    assert await _read(kafka, group="reader") == [b"after"]


async def test_every_topic_has_the_configuration_of_the_catalogue(kafka: str) -> None:
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
