"""Write the generated files of deploy/k8s as text: the settings of the pods, the topics of Kafka, and who may use them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from libs.common.contracts.topics import DEAD_LETTER, NOT_SENT_YET, SYNC_COMMANDS, TOPICS, Topic

_GENERATED: Final = "# `python -m tools.docs` writes this file from {}; do not edit it.\n"
_SETTING: Final = re.compile(r"(#?)(MRRLYTICS_[A-Z_]+)=(.*)")
_ONLY_LOCAL: Final = "# --- only `make up` ---"
_RUN: Final = "/run/mrrlytics"
# Settings whose values in a pod are not those on one machine.
_IN_PODS: Final = {
    "MRRLYTICS_DATABASE_URL_FILE": f"{_RUN}/database/url",
    "MRRLYTICS_POSTGRES_CA_FILE": f"{_RUN}/postgres-ca/ca.crt",
    "MRRLYTICS_KAFKA_BOOTSTRAP": "mrrlytics-kafka-bootstrap:9093",
    "MRRLYTICS_KAFKA_CA_FILE": f"{_RUN}/kafka-ca/ca.crt",
    "MRRLYTICS_TOPICS_MANAGED": "true",
    "MRRLYTICS_HEALTH_HOST": "0.0.0.0",  # noqa: S104  a network policy and the pod are around it
    "MRRLYTICS_METRICS_PORT": "9464",
    "MRRLYTICS_HOST": "0.0.0.0",  # noqa: S104  the gateway serves TLS 1.3 there
    "MRRLYTICS_PORT": "8443",
    "MRRLYTICS_PUBLIC_URL": "https://mrrlytics.example.com",
    "MRRLYTICS_TLS_CERTIFICATE_FILE": f"{_RUN}/tls/tls.crt",
    "MRRLYTICS_TLS_KEY_FILE": f"{_RUN}/tls/tls.key",
    "MRRLYTICS_SESSION_KEY_FILE": f"{_RUN}/session/key",
    "MRRLYTICS_CREDENTIAL_KEYS_FILE": f"{_RUN}/credential-keys/keys.json",
}
# These have a file in each pod, or another value in each Deployment.
_SECRETS: Final = ("MRRLYTICS_KAFKA_PASSWORD", "MRRLYTICS_INIT_OWNER_PASSWORD", "MRRLYTICS_INIT_API_TOKEN")
_OF_EACH_SERVICE: Final = ("MRRLYTICS_KAFKA_USERNAME", "MRRLYTICS_REPLICA", "MRRLYTICS_DATABASE_POOL_SIZE")


def deployment_files(repository: Path) -> dict[Path, str]:
    """Return every generated file of deploy/k8s with the text that it should have."""
    folder = repository / "deploy" / "k8s"
    example = (repository / ".env.example").read_text(encoding="utf-8")
    return {
        folder / "base" / "config.env": config_env(example),
        folder / "components" / "kafka-strimzi" / "topics.yaml": kafka_topics(),
        folder / "components" / "kafka-strimzi" / "users.yaml": kafka_users(),
    }


def config_env(example: str) -> str:
    """Return all settings of .env.example that are no secret, with their values in a pod; optional ones are comments."""
    lines = [_GENERATED.format(".env.example")]
    for is_optional, name, value in _settings(example):
        name = "MRRLYTICS_DATABASE_URL_FILE" if name == "MRRLYTICS_DATABASE_URL" else name
        if name in _SECRETS or name in _OF_EACH_SERVICE:
            continue
        sign = "#" if is_optional and name not in _IN_PODS else ""
        lines.append(f"{sign}{name}={_IN_PODS.get(name, value)}\n")
    return "".join(lines)


def _settings(example: str) -> Iterator[tuple[bool, str, str]]:
    for line in example.partition(_ONLY_LOCAL)[0].splitlines():
        if match := _SETTING.fullmatch(line):
            yield bool(match[1]), match[2], match[3]


def kafka_topics() -> str:
    """Return a KafkaTopic for each topic, with three replicas."""
    return _GENERATED.format("libs/common/contracts/topics.py") + "---\n".join(map(_kafka_topic, TOPICS))


def _kafka_topic(topic: Topic) -> str:
    return f"""apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata:
  name: {topic.name}
  labels:
    strimzi.io/cluster: mrrlytics
spec:
  partitions: {topic.partitions}
  replicas: 3
  config:
{_entries({**topic.config, "min.insync.replicas": "2", "max.message.bytes": "1048588"})}"""


def _entries(config: Mapping[str, str]) -> str:
    return "".join(f"    {name}: {value}\n" for name, value in config.items())


def kafka_users() -> str:
    """Return a KafkaUser for each service and one for the operator's commands, each with exactly the rights that it uses."""
    in_use = [topic for topic in TOPICS if not topic.messages or set(topic.messages) - set(NOT_SENT_YET)]
    services = sorted({service for topic in in_use for service in (*topic.publishers, *topic.consumers)})
    users = [
        _kafka_user(
            service,
            reads=[topic.name for topic in in_use if service in topic.consumers],
            writes=[topic.name for topic in in_use if service in topic.publishers],
            group=service,
        )
        for service in services
    ]
    # `mrrlytics dead-letters` reads letters, notes which ones are discarded, and asks for rows again.
    letters = [DEAD_LETTER.name]
    users.append(_kafka_user("operator", reads=letters, writes=[*letters, SYNC_COMMANDS.name], group=None))
    return _GENERATED.format("libs/common/contracts/topics.py") + "---\n".join(users)


def _kafka_user(name: str, *, reads: list[str], writes: list[str], group: str | None) -> str:
    acls = [_acl("topic", topic, "literal", "[Read, Describe]") for topic in reads]
    acls += [_acl("topic", topic, "literal", "[Write, Describe]") for topic in writes]
    if group is not None:
        # The consumer groups of a service begin with its name.
        acls.append(_acl("group", group, "prefix", "[Read, Describe]"))
    return f"""apiVersion: kafka.strimzi.io/v1
kind: KafkaUser
metadata:
  name: {name}
  labels:
    strimzi.io/cluster: mrrlytics
spec:
  authentication:
    type: scram-sha-512
  authorization:
    type: simple
    acls:
{"".join(acls)}"""


def _acl(kind: str, name: str, pattern: str, operations: str) -> str:
    return f"""      - resource:
          type: {kind}
          name: {name}
          patternType: {pattern}
        operations: {operations}
"""
