"""Rules that compare the manifests with the code: settings, topics, consumer groups and rights in Kafka."""

from collections.abc import Iterator
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.topics import NOT_SENT_YET, TOPICS, Topic
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KNOWN_SETTINGS, PREFIX, Block, PostgresSettings
from mrrlytics import MigrateSettings
from services.connector import handlers as connector
from services.connector.settings import Settings as ConnectorSettings
from services.gateway import handlers as gateway
from services.gateway.context import Context
from services.gateway.settings import Settings as GatewaySettings
from services.metrics import handlers as metrics
from services.metrics.settings import Settings as MetricsSettings
from services.scheduler import handlers as scheduler
from services.scheduler.settings import Settings as SchedulerSettings
from tests.deploy.rendering import SERVICES, Documents, environment, name_of, of_kind, pods

SETTINGS: dict[str, type[Block]] = {
    "connector": ConnectorSettings,
    "gateway": GatewaySettings,
    "metrics": MetricsSettings,
    "scheduler": SchedulerSettings,
    "migrate": MigrateSettings,
    "maintenance": PostgresSettings,
}
# The exporter of OpenTelemetry reads this one.
OTHERS = {"OTEL_EXPORTER_OTLP_CERTIFICATE"}
# `mrrlytics dead-letters` reads and discards letters, and asks for rows again.
OPERATOR = {("Read", "dead-letter"), ("Write", "dead-letter"), ("Write", "sync.commands")}


class _Listening:
    """Stands for a consumer, and notes which group reads which topics."""

    def __init__(self) -> None:
        self.topics: dict[str, set[str]] = {}

    def subscribe(self, topics: list[Topic], *, group: str, **_: Any) -> None:
        self.topics.setdefault(group, set()).update(topic.name for topic in topics)


def groups_in_code() -> dict[str, dict[str, set[str]]]:
    """Return the topics that each service reads, by service and consumer group."""
    nothing = cast(Any, object())
    noted = {service: _Listening() for service in SERVICES}
    engine, publisher = cast(AsyncEngine, nothing), cast(Publisher, nothing)
    at = {service: cast(Consumer, listening) for service, listening in noted.items()}
    connector.build_handlers(at["connector"], publisher, engine, nothing)
    gateway.build_handlers(at["gateway"], publisher, cast(Context, _NoContext()))
    metrics.build_handlers(at["metrics"], publisher, engine)
    scheduler.build_handlers(at["scheduler"], publisher, engine, now=nothing, full_spread_seconds=0)
    return {service: listening.topics for service, listening in noted.items()}


class _NoContext:
    clock = None


def known_settings(documents: Documents) -> Iterator[str]:
    """Check that each variable is a setting, and that each setting without a default is set."""
    for pod in pods(documents):
        names = set(environment(pod, documents))
        settings = {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}
        unknown = {name for name in settings if not {name, name.removesuffix("_FILE")} & KNOWN_SETTINGS}
        yield from (f"{pod.place}: {name} is no setting" for name in sorted(unknown))
        others = names - OTHERS - {f"{PREFIX}{name}" for name in settings}
        yield from (f"{pod.place}: {name} is read by nobody" for name in sorted(others))
        for name, field in SETTINGS[pod.component].model_fields.items():
            if field.is_required() and not {name.upper(), f"{name.upper()}_FILE"} & settings:
                yield f"{pod.place}: {name.upper()} is not set"


def topics(documents: Documents) -> Iterator[str]:
    """Check that each topic of the code has a KafkaTopic like it, and that there are no others."""
    present = {
        document["metadata"]["name"]: document["spec"] for document in of_kind(documents, "KafkaTopic")
    }
    if not present:
        return
    expected = {topic.name: topic for topic in TOPICS}
    yield from (f"the topic {name} exists only here" for name in sorted(set(present) - set(expected)))
    for name, topic in expected.items():
        spec = present.get(name)
        if spec is None:
            yield f"the topic {name} is missing"
        elif spec["partitions"] != topic.partitions:
            yield f"the topic {name} has {spec['partitions']} partitions"
        elif any(str(spec["config"].get(key)) != value for key, value in topic.config.items()):
            yield f"the topic {name} has another configuration"


def rights(documents: Documents) -> Iterator[str]:
    """Check that each user of Kafka may do exactly what its code does."""
    users = {document["metadata"]["name"]: document for document in of_kind(documents, "KafkaUser")}
    if not users:
        return
    if set(users) != {*SERVICES, "operator"}:
        yield f"users and services differ: {set(users) ^ {*SERVICES, 'operator'}}"
    groups = groups_in_code()
    for name, user in users.items():
        expected = _expected(name, groups) if name in SERVICES else OPERATOR
        given = _given(user)
        yield from (f"{name} may not {what} {topic}" for what, topic in sorted(expected - given))
        yield from (f"{name} may {what} {topic}, and does not" for what, topic in sorted(given - expected))
        prefixes = _prefixes(user)
        for group in groups.get(name, {}):
            if not any(group.startswith(prefix) for prefix in prefixes):
                yield f"{name} may not use its group {group}"
        others = [group for other in groups for group in groups[other] if other != name]
        if any(group.startswith(prefix) for group in others for prefix in prefixes):
            yield f"{name} may use groups of others"


def _expected(service: str, groups: dict[str, dict[str, set[str]]]) -> set[tuple[str, str]]:
    reads = {("Read", topic) for read in groups[service].values() for topic in read}
    sent = [topic for topic in TOPICS if not topic.messages or set(topic.messages) - set(NOT_SENT_YET)]
    return reads | {("Write", topic.name) for topic in sent if service in topic.publishers}


def _given(user: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (operation, acl["resource"]["name"])
        for acl in user["spec"]["authorization"]["acls"]
        if acl["resource"]["type"] == "topic" and acl["resource"]["patternType"] == "literal"
        for operation in acl["operations"]
        if operation != "Describe"
    }


def _prefixes(user: dict[str, Any]) -> list[str]:
    acls = user["spec"]["authorization"]["acls"]
    return [acl["resource"]["name"] for acl in acls if acl["resource"]["type"] == "group"]


def only_tls(documents: Documents) -> Iterator[str]:
    """Check that Kafka and PostgreSQL accept nothing below TLS 1.3, and Kafka nobody without a password."""
    for kafka in of_kind(documents, "Kafka"):
        for listener in kafka["spec"]["kafka"]["listeners"]:
            if not listener["tls"] or "authentication" not in listener:
                yield f"{name_of(kafka)}: the listener {listener['name']} is open"
        if kafka["spec"]["kafka"]["config"].get("ssl.enabled.protocols") != "TLSv1.3":
            yield f"{name_of(kafka)}: accepts old versions of TLS"
        if kafka["spec"]["kafka"]["config"].get("auto.create.topics.enable") != "false":
            yield f"{name_of(kafka)}: makes topics by itself"
    for cluster in of_kind(documents, "Cluster"):
        if cluster["spec"]["postgresql"]["parameters"].get("ssl_min_protocol_version") != "TLSv1.3":
            yield f"{name_of(cluster)}: accepts old versions of TLS"
        for role in cluster["spec"]["managed"]["roles"]:
            if role.get("superuser") or role.get("bypassrls"):
                yield f"{name_of(cluster)}: the role {role['name']} passes row-level security"
