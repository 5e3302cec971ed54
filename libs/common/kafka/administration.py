"""Create and align the topics of the cluster, and read their end offsets."""

from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from libs.common.contracts import topics
from libs.common.contracts.topics import Topic
from libs.common.errors import NeedsOperator, Transient
from libs.common.kafka.connection import client_options
from libs.common.settings import KafkaSettings

# Kafka's error codes: 36 means that another `migrate` has created the topic in the meantime.
_CREATED: Final = (0, 36)


async def align_topics(settings: KafkaSettings, *, replication: int = 1) -> list[str]:
    """Create missing topics, set the configuration of all others, and return the names of the created topics.

    Raise NeedsOperator when a topic has another number of partitions than contracts/topics.py says: keys would move to other
    partitions, and compaction would keep two states of one entity. Raise Transient when Kafka does not create a topic.
    """
    admin = AIOKafkaAdminClient(**client_options(settings), client_id="mrrlytics-migrate")
    await admin.start()
    try:
        names = set(await admin.list_topics())
        missing = [topic for topic in topics.TOPICS if topic.name not in names]
        present = [topic for topic in topics.TOPICS if topic.name in names]
        if missing:
            await _create(admin, missing, replication)
        if present:
            await _check_partitions(admin, present)
            await admin.alter_configs(
                [
                    ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=dict(topic.config))
                    for topic in present
                ]
            )
        return [topic.name for topic in missing]
    finally:
        await admin.close()


async def find_topic_faults(settings: KafkaSettings) -> list[str]:
    """Return what is wrong with the topics: those that are missing, and those with another number of partitions."""
    admin = AIOKafkaAdminClient(**client_options(settings), client_id="mrrlytics-doctor")
    await admin.start()
    try:
        names = set(await admin.list_topics())
        missing = [f"{topic.name} is missing" for topic in topics.TOPICS if topic.name not in names]
        try:
            await _check_partitions(admin, [topic for topic in topics.TOPICS if topic.name in names])
        except NeedsOperator as error:
            return [*missing, error.message]
        return missing
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, missing: Sequence[Topic], replication: int) -> None:
    response = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, replication, topic_configs=dict(topic.config))
            for topic in missing
        ]
    )
    for error in response.to_object()["topic_errors"]:
        if error["error_code"] not in _CREATED:
            raise Transient("topic_not_created", f"Kafka did not create {error['topic']}: {error}")


async def _check_partitions(admin: AIOKafkaAdminClient, present: Sequence[Topic]) -> None:
    for description in await admin.describe_topics([topic.name for topic in present]):
        name, partitions = description["topic"], len(description["partitions"])
        expected = topics.BY_NAME[name].partitions
        if partitions != expected:
            raise NeedsOperator(
                "partitions_differ",
                f"The topic {name} has {partitions} partitions and must have {expected}. "
                "Delete it and run `mrrlytics migrate` again; the next syncs fill it.",
            )


async def end_offsets(settings: KafkaSettings, of: Sequence[Topic]) -> dict[str, dict[int, int]]:
    """Return per topic and partition the offset that the next record will get; raise Transient when Kafka is unreachable."""
    partitions = [TopicPartition(topic.name, number) for topic in of for number in range(topic.partitions)]
    consumer = AIOKafkaConsumer(**client_options(settings))
    # aiokafka learns of assigned topics at once. Otherwise it asks for one topic after the other, with a pause of 0.1 s before each.
    consumer.assign(partitions)
    consumer.pause(*partitions)
    try:
        await consumer.start()
        ends = await consumer.end_offsets(partitions)
    except (KafkaError, OSError) as error:
        raise Transient(
            "kafka_unavailable", f"Could not read the end offsets from Kafka: {error!r}"
        ) from error
    finally:
        await consumer.stop()
    offsets: dict[str, dict[int, int]] = {topic.name: {} for topic in of}
    for partition, end in ends.items():
        offsets[partition.topic][partition.partition] = end
    return offsets
