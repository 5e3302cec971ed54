"""What the topics of the cluster are: create and align them, and read their ends."""

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from libs.common.contracts import topics
from libs.common.contracts.topics import Topic
from libs.common.errors import Transient
from libs.common.kafka.connection import client_options
from libs.common.settings import KafkaSettings


async def align_topics(settings: KafkaSettings, *, replication: int = 1) -> list[str]:
    """Create the topics that are missing and set the configuration of those that are there; returns the created ones.

    Raises Transient when a topic has other partitions than keys are spread over: adding some would leave two states of an entity.
    """
    admin = AIOKafkaAdminClient(**client_options(settings), client_id="mrrlytics-migrate")
    await admin.start()
    try:
        present = set(await admin.list_topics())
        missing = [topic for topic in topics.TOPICS if topic.name not in present]
        if missing:
            response = await admin.create_topics(
                [
                    NewTopic(topic.name, topic.partitions, replication, topic_configs=dict(topic.config))
                    for topic in missing
                ]
            )
            for error in response.to_object()["topic_errors"]:
                if error["error_code"] not in (0, 36):  # 36: another migrate was faster
                    raise Transient("topic_not_created", f"Kafka did not create {error['topic']}: {error}")
        there = [topic for topic in topics.TOPICS if topic.name in present]
        if there:
            described = await admin.describe_topics([topic.name for topic in there])
            for found in described:
                wanted, partitions = topics.BY_NAME[found["topic"]].partitions, len(found["partitions"])
                if partitions != wanted:
                    raise Transient(
                        "partitions_differ",
                        f"topic {found['topic']} has {partitions} partitions, but keys are spread over {wanted}",
                    )
            await admin.alter_configs(
                [
                    ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=dict(topic.config))
                    for topic in there
                ]
            )
        return [topic.name for topic in missing]
    finally:
        await admin.close()


async def end_offsets(settings: KafkaSettings, wanted: Sequence[Topic]) -> dict[str, dict[int, int]]:
    """Per topic and partition the offset that the next record will get; raises Transient when Kafka is away."""
    consumer = AIOKafkaConsumer(**client_options(settings))
    try:
        await consumer.start()
        places = [
            TopicPartition(topic.name, number) for topic in wanted for number in range(topic.partitions)
        ]
        ends = await consumer.end_offsets(places)
    except (KafkaError, OSError) as error:
        raise Transient("kafka_unavailable", f"Kafka does not tell its offsets: {error!r}") from error
    finally:
        await consumer.stop()
    found: dict[str, dict[int, int]] = {topic.name: {} for topic in wanted}
    for place, end in ends.items():
        found[place.topic][place.partition] = end
    return found
